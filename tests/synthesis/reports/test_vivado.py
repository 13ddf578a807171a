from pathlib import Path

import pytest

from hepprune import synthesis
from hepprune.errors import ReportError
from hepprune.hardware.resources import Measurement, Resources
from tests.reference import REPORTS

DEEPSETS = "l1-jet-id-deepsets-{}bit/kfold_0/synthesis_final/vivado_synth.rpt"

SAMPLE = """Copyright 1986-2022 Xilinx, Inc. All Rights Reserved.
| Tool Version : Vivado v.2023.1 (lin64) Build 3865809 Sun May  7 15:04:56 MDT 2023
| Command      : report_utilization -file vivado_synth.rpt
| Device       : xcvu13p-flga2577-2-e
Utilization Design Information
1. CLB Logic
------------
|        Site Type        | Used | Fixed | Prohibited | Available | Util% |
| CLB LUTs*               |  312 |     0 |          0 |   1728000 |  0.02 |
|   LUT as Logic          |  300 |     0 |          0 |   1728000 |  0.02 |
| CLB Registers           |  900 |     0 |          0 |   3456000 |  0.03 |
2. BLOCKRAM
| Block RAM Tile    |  2.5 |     0 |          0 |      2688 |  0.09 |
| URAM              |    3 |     0 |          0 |      1280 |  0.23 |
3. ARITHMETIC
| DSPs           |    4 |     0 |          0 |     12288 |  0.03 |
13. SLR CLB Logic and Dedicated Block Utilization
-------------------------------------------------
| CLB LUTs                   |    0 |    0 |    0 |    0 |   0.00 |   0.00 |   0.00 |   0.00 |
| URAM                       |    0 |    0 |    0 |    0 |   0.00 |   0.00 |   0.00 |   0.00 |
"""
# Read by eye: device, lut, ff, dsp, bram18, uram.
CASES = [
    (
        "hls4ml-test-reports/vivado_synth.rpt",
        "7z020clg400-1",
        Resources(lut=1526, ff=2428, dsp=66, bram18=0, uram=None),
    ),
    (DEEPSETS.format(4), "xcvu13pflga2577-2", Resources(lut=235359, ff=90190, dsp=101, bram18=4, uram=0)),
    (DEEPSETS.format(6), "xcvu13pflga2577-2", Resources(lut=313230, ff=114745, dsp=292, bram18=4, uram=0)),
]


def written(folder: Path, text: str) -> Path:
    path = folder / "vivado_synth.rpt"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0].split("/")[0])
def test_public_reports_read_as_by_eye(case: tuple[str, str, Resources]) -> None:
    name, device, resources = case
    expected = Measurement(
        stage="vsynth", tool="vivado", version="2020.1", part=device, clock_ns=5.0, resources=resources
    )
    assert synthesis.read(REPORTS / name, clock_ns=5.0) == expected


def test_a_newer_report_with_half_a_tile(tmp_path: Path) -> None:
    found = synthesis.read(written(tmp_path, SAMPLE), clock_ns=2.5)
    assert found == Measurement(
        stage="vsynth",
        tool="vivado",
        version="2023.1",
        part="xcvu13p-flga2577-2-e",
        clock_ns=2.5,
        resources=Resources(lut=312, ff=900, dsp=4, bram18=5, uram=3),
        latency_cycles=None,
        interval_cycles=None,
        clock_met=None,
    )


def test_the_clock_has_to_be_given(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="give clock_ns"):
        synthesis.read(written(tmp_path, SAMPLE))


@pytest.mark.parametrize("row", ["CLB LUTs*", "CLB Registers", "Block RAM Tile", "DSPs "])
def test_a_lost_row_is_named_and_no_share_is_taken_for_the_total(tmp_path: Path, row: str) -> None:
    lines = [line for line in SAMPLE.splitlines() if f"| {row}" not in line]
    assert len(lines) < len(SAMPLE.splitlines())
    with pytest.raises(ReportError, match=row.strip(" *")):
        synthesis.read(written(tmp_path, "\n".join(lines)), clock_ns=5.0)


def test_a_broken_cell_is_named_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, SAMPLE.replace("|  312 |", "|  3x2 |"))
    with pytest.raises(ReportError, match=r"vivado_synth\.rpt', line 9: '3x2' used of CLB LUTs"):
        synthesis.read(path, clock_ns=5.0)
