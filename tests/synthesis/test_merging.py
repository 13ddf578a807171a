from pathlib import Path

import pytest

from hepprune.hardware.resources import Resources
from hepprune.jobs import ingestion

SYNTHESISED, PLACED = ("Synthesized", "Optimized"), ("Placed", "Fully Placed", "Physopt postPlace")
ROUTED = ("Routed", "Fully Routed", "Partially Routed", "Physopt postRoute")
# As Vivado writes them: the device with its speed grade in the one, without it in the other.
HEAD = """| Tool Version      : Vivado v.2023.1 (lin64) Build 3865809 Sun May  7 15:04:56 MDT 2023
| Command           : {command}
| Design            : tagger
| Device            : {device}
| Design State      : {state}
"""
CELLS = """
| CLB LUTs                   | 312 |     0 |          0 |    1728000 |  0.02 |
| CLB Registers              | 900 |     0 |          0 |    3456000 |  0.03 |
| Block RAM Tile    | 2.5 |     0 |          0 |       2688 |  0.09 |
| DSPs           |    4 |     0 |          0 |     12288 |  0.03 |
"""
SLACK = """
    WNS(ns)      TNS(ns)  TNS Failing Endpoints  TNS Total Endpoints      WHS(ns)      THS(ns)
    -------      -------  ---------------------  -------------------      -------      -------
      0.372        0.000                      0                 8153        0.013        0.000

Clock   Waveform(ns)       Period(ns)      Frequency(MHz)
-----   ------------       ----------      --------------
ap_clk  {0.000 1.250}      2.500           400.000
"""


def written(folder: Path, state: str, *, device: str = "xcvu13p-flga2577-2-e", timed: str = "xcvu13p-flga2577") -> Path:
    cells = HEAD.format(command="report_utilization -file a.rpt", device=device, state=state) + CELLS
    slack = HEAD.format(command="report_timing_summary -file b.rpt", device=timed, state=state) + SLACK
    (folder / "a_utilisation.rpt").write_text(cells)
    (folder / "b_timing.rpt").write_text(slack)
    return folder


@pytest.mark.parametrize(
    ("state", "stage"),
    [*((state, "vsynth") for state in SYNTHESISED), *((state, "route") for state in (*PLACED, *ROUTED))],
)
def test_a_timing_summary_and_the_cells_beside_it_are_one_measurement(tmp_path: Path, state: str, stage: str) -> None:
    (found,) = ingestion.ingest(written(tmp_path, state)).designs
    (measured,) = found.measurements
    assert (found.top, measured.stage, measured.clock_ns, measured.clock) == ("tagger", stage, 2.5, "met")
    assert (measured.resources, measured.part) == (Resources(lut=312, ff=900, dsp=4, bram18=5), "xcvu13p-flga2577-2-e")


def test_a_summary_without_a_state_says_it_by_the_name_of_its_file(tmp_path: Path) -> None:
    written(tmp_path, "Routed")
    timing = (tmp_path / "b_timing.rpt").read_text().replace("| Design State      : Routed\n", "")
    for name, stages in (("timing_summary_routed.rpt", ["route"]), ("timing.rpt", ["route", "vsynth"])):
        (tmp_path / "b_timing.rpt").write_text(timing.replace("b.rpt", name))
        (found,) = ingestion.ingest(tmp_path).designs
        assert sorted(each.stage for each in found.measurements) == stages


def test_older_names_of_a_part_are_the_same_part_and_another_part_is_not(tmp_path: Path) -> None:
    (found,) = ingestion.ingest(written(tmp_path, "Routed", device="7z020clg400-1", timed="xc7z020-clg400")).designs
    assert len(found.measurements) == 1
    (found,) = ingestion.ingest(written(tmp_path, "Routed", device="7z020clg400-1", timed="7z045-ffg900")).designs
    assert len(found.measurements) == 2
