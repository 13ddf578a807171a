import json
import shutil
from importlib import metadata

import pytest
from typer.testing import CliRunner

from hepprune.cli import app
from hepprune.errors import EquivalenceError, PrerequisiteError
from hepprune.firmware.routes import ROUTES
from hepprune.jobs import doctor


def test_what_is_missing_or_of_another_version_is_said_with_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [
        "numpy>=1",
        "torch>=99",
        "surely-missing>=1.2",
        'not-there-either>=3; extra == "hls"',
        'hepprune[hls]; extra == "all"',
        'numpy>=99; extra == "all"',
    ]
    monkeypatch.setattr(metadata, "requires", lambda _: wanted)
    here = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name in {"perl", "vivado"} else here(name))
    found = doctor.diagnose(test=False)
    parts = {part.name: part for part in found.parts}
    assert parts["numpy"].fix is None
    assert parts["torch"].fix == "pip install 'torch>=99'"
    assert parts["torch"].version == metadata.version("torch")
    assert (parts["surely-missing"].version, parts["surely-missing"].fix) == (None, "pip install 'surely-missing>=1.2'")
    assert parts["not-there-either"].fix == "pip install 'hepprune[hls]'"
    assert parts["not-there-either"].purpose == "HLS projects and their C simulation"
    assert parts["perl"].fix == "apt install perl"
    assert parts["vivado"].fix is not None
    assert "vivado on PATH" in parts["vivado"].fix
    assert "hepprune" not in parts
    assert not found.healthy


def test_a_machine_without_a_vendors_tool_is_healthy() -> None:
    assert doctor.diagnose(test=False).healthy


def test_a_trial_that_fails_ends_in_its_sentence_and_one_without_its_program_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor.yosys, "synthesise", lambda _: pytest.fail("there is nothing to synthesise"))
    for error, healthy in ((PrerequisiteError("g++ is missing"), True), (EquivalenceError("bit 3 differs"), False)):

        def refuse(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        for route in ROUTES.values():
            monkeypatch.setattr(type(route), "build", refuse)
        found = doctor.diagnose()
        said = [trial.left_out or trial.problem for trial in found.trials]
        assert said == [str(error), str(error), "there is no Verilog to synthesise"]
        assert found.healthy is healthy


@pytest.mark.slow
@pytest.mark.xdist_group("hls")
def test_the_self_test_takes_a_network_through_every_route_here() -> None:
    done = CliRunner().invoke(app, ["doctor", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [trial["name"] for trial in found["trials"]] == [
        "HLS project = network",
        "Verilog = network",
        "synthesis in Yosys",
    ]
    assert all(trial["problem"] is None for trial in found["trials"])
    assert {"torch", "hls4ml", "verilator", "g++"} <= {part["name"] for part in found["parts"]}
