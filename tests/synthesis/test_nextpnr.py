"""Real placement and routing of a small adder, and the report that nextpnr writes, whole and damaged."""

import json
from pathlib import Path

import pytest

from hepprune import synthesis
from hepprune.errors import ReportError
from hepprune.hardware.resources import Resources

VERILOG = """
module add(input clk, input [7:0] a, b, output reg [8:0] sum, output reg [8:0] twice);
reg [7:0] left, right;
always @(posedge clk) begin left <= a; right <= b; sum <= left + right; twice <= sum + right; end
endmodule
"""
REPORT = {
    "critical_paths": [],
    "fmax": {"clk": {"achieved": 62.5, "constraint": 200}, "slow": {"achieved": 40, "constraint": 50}},
    "utilization": {
        "DP16KD": {"available": 208, "used": 2},
        "MULT18X18D": {"available": 156, "used": 3},
        "TRELLIS_COMB": {"available": 83640, "used": 4454},
        "TRELLIS_FF": {"available": 83640, "used": 564},
    },
}


@pytest.mark.slow
def test_a_design_is_placed_routed_and_timed(tmp_path: Path) -> None:
    source = tmp_path / "my verilog" / "add.v"
    source.parent.mkdir()
    source.write_text(VERILOG)
    reported: list[str] = []
    folder = tmp_path / "run"
    job = synthesis.Job(
        folder=folder,
        top="add",
        sources=(source,),
        part="xcvu13p-flga2577-2-e",
        clock_ns=5.0,
        latency_cycles=3,
        interval_cycles=1,
        progress=reported.append,
    )
    tool = synthesis.choose("nextpnr")
    found = tool.run(job)
    # 16 registers of inputs, 9 of each sum (their top bits are sums too); every bit of a sum is a cell on a carry chain.
    assert 33 <= (found.resources.ff or 0) <= 34
    assert 17 <= (found.resources.lut or 0) <= 40
    assert (found.resources.dsp, found.resources.bram18) == (0, 0)
    assert (found.stage, found.tool, found.part) == ("nextpnr-ecp5", "nextpnr", "LFE5U-85F")
    assert found.version == tool.version()
    assert (found.clock_ns, found.latency_cycles, found.interval_cycles) == (5.0, 3, 1)
    assert 100 < (found.frequency_mhz or 0) < 600
    assert found.clock == ("met" if (found.critical_path_ns or 0) <= 5 else "missed")
    assert any("pass" in phase for phase in reported)
    assert sorted(path.name for path in folder.iterdir()) == ["nextpnr.json", "synthesis.log", "synthesis.ys"]
    assert tool.run(job) == found  # one seed, one result


def report(folder: Path, content: object) -> Path:
    path = folder / "nextpnr.json"
    path.write_text(json.dumps(content))
    return path


def test_a_report_tells_cells_and_the_clock_that_is_missed_most(tmp_path: Path) -> None:
    found = synthesis.read(report(tmp_path, REPORT))
    assert found.resources == Resources(lut=4454, ff=564, dsp=3, bram18=2, uram=0)
    assert (found.part, found.clock_ns, found.clock) == ("LFE5U-85F", 5.0, "missed")
    assert found.critical_path_ns == 16.0
    assert found.frequency_mhz == pytest.approx(62.5)
    assert found.latency_cycles is None


def test_a_design_without_registers_has_no_frequency(tmp_path: Path) -> None:
    path = report(tmp_path, REPORT | {"fmax": {}})
    with pytest.raises(ReportError, match="holds no clock"):
        synthesis.read(path)
    found = synthesis.read(path, clock_ns=4.0)
    assert (found.clock_ns, found.clock, found.frequency_mhz) == (4.0, "assumed", None)


@pytest.mark.parametrize(
    "change",
    [
        {"utilization": None},
        {"utilization": {}},
        {"utilization": REPORT["utilization"] | {"TRELLIS_FF": {"used": -1}}},  # type: ignore[operator]
        {"utilization": REPORT["utilization"] | {"TRELLIS_FF": {"used": 10**400}}},  # type: ignore[operator]
        {"fmax": [1]},
        {"fmax": {"clk": {"achieved": True, "constraint": 1}}},
        {"fmax": {"clk": {"achieved": float("nan"), "constraint": 1}}},
    ],
)
def test_a_report_that_is_none_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(ReportError, match=r"nextpnr\.json"):
        synthesis.read(report(tmp_path, REPORT | change))


def test_no_part_of_a_report_is_taken_for_the_whole(tmp_path: Path) -> None:
    whole = json.dumps(REPORT)
    path = tmp_path / "nextpnr.json"
    for end in range(len(whole)):
        path.write_text(whole[:end])
        with pytest.raises(ReportError):
            synthesis.read(path)
