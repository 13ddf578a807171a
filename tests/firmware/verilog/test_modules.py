"""Verilog whose repeated parts are modules: as exact as flat Verilog, and of the same size for a network without."""

import dataclasses
from pathlib import Path

import pytest

from hepprune import synthesis
from hepprune.firmware import equivalence, rtl
from hepprune.network import Input, Layer, Network
from hepprune.network.layers import Activation, GlobalPool
from hepprune.synthesis import yosys
from tests.firmware.layers.test_projects import random_features
from tests.firmware.networks import FEATURES, NARROW, POSITIVE, Maker
from tests.firmware.verilog.test_repeats import deep_sets

PART = "xcvu13p-flga2577-2-e"


def written(solution: rtl.Solution, folder: Path) -> rtl.Design:
    return rtl.write_verilog(solution, folder, name="tagger", levels_per_cycle=3, part=PART, clock_ns=5.0)


def shared(design: rtl.Design) -> list[str]:
    return [source.name for source in design.sources if "_shared" in source.name]


def test_a_chain_of_dense_layers_has_no_modules(tmp_path: Path) -> None:
    make = Maker(1)
    network = Network([Input("x", 8, FEATURES), make.dense("one", 8, 8), make.dense("two", 8, 4)])
    design = written(rtl.solve(network), tmp_path / "rtl")
    stages = [f"tagger_stage{stage}.v" for stage in range(design.latency_cycles)]
    assert sorted(path.name for path in (design.folder / "src").glob("tagger_stage*")) == sorted(stages)


def test_modules_grow_with_matrices_and_not_with_places(tmp_path: Path) -> None:
    few, many = (written(rtl.solve(deep_sets(n)), tmp_path / str(n)) for n in (4, 16))
    assert few.latency_cycles <= many.latency_cycles
    assert all(source.is_file() for source in (*few.sources, *many.sources))
    text, same = ((design.folder / "src" / shared(design)[0]).read_text() for design in (few, many))
    assert text == same


@pytest.mark.slow
def test_a_chain_at_each_place_is_exact(tmp_path: Path) -> None:
    network = deep_sets(6)
    design = written(rtl.solve(network), tmp_path / "rtl")
    assert shared(design)
    assert equivalence.against_rtl(network, design, random_features(network, 500)).mismatches == 0


@pytest.mark.slow
def test_tables_within_modules_are_exact(tmp_path: Path) -> None:
    layers: list[Layer] = [Input("x", (4, 3), FEATURES), Maker(8).dense("phi", 3, 3)]
    network = Network([*layers, Activation("table", "tanh", result=NARROW)])
    design = written(rtl.solve(network), tmp_path / "rtl")
    text = "".join((design.folder / "src" / name).read_text() for name in shared(design))
    assert "table_" in text
    assert equivalence.against_rtl(network, design, random_features(network, 300)).mismatches == 0


def convolution() -> Network:
    make = Maker(3)
    layers: list[Layer] = [Input("x", (4, 2), FEATURES), make.conv("conv", 3, 2, 2, result=POSITIVE)]
    return Network([*layers, GlobalPool("mean", "average", result=NARROW), make.dense("out", 3, 2)])


@pytest.mark.slow
@pytest.mark.parametrize("network", [deep_sets(2), convolution()])
def test_counts_are_those_of_the_flat_design(network: Network, tmp_path: Path) -> None:
    solution = rtl.solve(network)
    modules, flat = (
        yosys.synthesise(synthesis.Job.of(design, tmp_path / str(len(places)) / "run")).resources
        for places in (solution.places, ())
        for design in [written(dataclasses.replace(solution, places=places), tmp_path / str(len(places)) / "rtl")]
    )
    assert (modules.lut or 0) / (flat.lut or 1) == pytest.approx(1, abs=0.05)
    assert (modules.ff or 0) / (flat.ff or 1) == pytest.approx(1, abs=0.05)
    assert (modules.dsp, modules.bram18) == (flat.dsp, flat.bram18) == (0, 0)
