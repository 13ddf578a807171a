"""Pipelining and the Verilog folder; what the Verilog computes is tested in test_verilator."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hepprune.errors import NetworkError
from hepprune.firmware import rtl
from hepprune.fixed import FixedPoint
from hepprune.network import Dense, Input, Network

PART = "xcvu13p-flga2577-2-e"


@pytest.fixture(scope="module")
def solution() -> rtl.Solution:
    weight = torch.tensor(np.random.default_rng(0).normal(size=(3, 8)), dtype=torch.float32)
    dense = Dense("fc", weight, torch.zeros(3), weight_type=FixedPoint(6, 2), bias_type=FixedPoint(12, 4))
    return rtl.solve(Network([Input("features", 8, FixedPoint(6, 2)), dense]))


@pytest.mark.parametrize("levels_per_cycle", [1, 2, 3, 100])
def test_stages_written_are_the_latency_stated(solution: rtl.Solution, tmp_path: Path, levels_per_cycle: int) -> None:
    design = rtl.write_verilog(
        solution, tmp_path / "rtl", name="tagger", levels_per_cycle=levels_per_cycle, part=PART, clock_ns=5.0
    )
    top = (tmp_path / "rtl" / "src" / "tagger.v").read_text()
    assert top.count("_inp <= ") == design.latency_cycles == rtl.cycles(solution.depth, levels_per_cycle)
    assert design.interval_cycles == 1
    assert all(source.is_file() for source in design.sources)
    assert PART in (design.folder / "build_vivado_prj.tcl").read_text()


def test_rewriting_replaces_the_folder_and_leaves_nothing_else(solution: rtl.Solution, tmp_path: Path) -> None:
    for levels in (1, 100):
        design = rtl.write_verilog(
            solution, tmp_path / "rtl", name="tagger", levels_per_cycle=levels, part=PART, clock_ns=5.0
        )
    assert [path.name for path in tmp_path.iterdir()] == ["rtl"]
    assert design.latency_cycles == 1
    assert not (tmp_path / "rtl" / "src" / "tagger_stage1.v").exists()


@pytest.mark.parametrize(
    ("name", "part", "clock_ns"),
    [
        ("1tagger", PART, 5.0),
        ("tag;ger", PART, 5.0),
        ("", PART, 5.0),
        ("../up", PART, 5.0),
        ("tagger", 'x"; exec rm', 5.0),
        ("tagger", "", 5.0),
        ("tagger", PART, 0.0),
        ("tagger", PART, float("nan")),
    ],
)
def test_hostile_names_are_refused(
    solution: rtl.Solution, tmp_path: Path, name: str, part: str, clock_ns: float
) -> None:
    with pytest.raises(NetworkError):
        rtl.write_verilog(solution, tmp_path / "rtl", name=name, levels_per_cycle=2, part=part, clock_ns=clock_ns)
    assert list(tmp_path.iterdir()) == []


def test_no_level_per_cycle_is_refused() -> None:
    with pytest.raises(NetworkError, match="at least one"):
        rtl.cycles(4, 0)


@pytest.mark.parametrize(("shape", "limit"), [((8,), 150_000), ((4, 8), 400_000)])
def test_what_cannot_be_unrolled_is_told_with_what_helps(shape: tuple[int, ...], limit: int) -> None:
    network = Network([Input("features", shape, FixedPoint(6, 2))])
    assert rtl.too_large(network, limit) is None
    said = rtl.too_large(network, limit + 1) or ""
    assert all(part in said for part in (f"{limit + 1:,} LUT", f"{limit:,} here", "reuse factor", "io_stream"))
