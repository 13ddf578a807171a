from pathlib import Path

import pytest

from hepprune import synthesis
from hepprune.errors import ReportError
from hepprune.hardware.resources import Measurement, Resources
from tests.reference import REPORTS

SOLUTION = "myproject_prj/solution1/syn/report"

SAMPLE = """<profile>
<ReportVersion><Version>2025.1</Version></ReportVersion>
<UserAssignments><unit>ns</unit><Part>xcvu13p-flga2577-2-e</Part><TopModelName>tagger</TopModelName>
<TargetClockPeriod>5.00</TargetClockPeriod><ClockUncertainty>1.35</ClockUncertainty></UserAssignments>
<PerformanceEstimates>
<SummaryOfTimingAnalysis><EstimatedClockPeriod>3.650</EstimatedClockPeriod></SummaryOfTimingAnalysis>
<SummaryOfOverallLatency><Best-caseLatency>3</Best-caseLatency><Worst-caseLatency>4</Worst-caseLatency>
<Interval-min>1</Interval-min><Interval-max>2</Interval-max></SummaryOfOverallLatency>
</PerformanceEstimates>
<AreaEstimates>
<Resources><BRAM_18K>6</BRAM_18K><DSP>7</DSP><FF>80</FF><LUT>90</LUT><URAM>1</URAM></Resources>
<AvailableResources><BRAM_18K>5376</BRAM_18K><DSP>12288</DSP><FF>3456000</FF><LUT>1728000</LUT></AvailableResources>
</AreaEstimates>
</profile>
"""
# Read by eye from the files: version, lut, ff, dsp, bram18, uram, worst latency and interval in cycles, clock met.
CASES = [
    (f"jet1layer-2016.4-reuse1/{SOLUTION}", "2016.4", 4047, 4769, 163, 1, None, 12, 1, True),
    (f"jet1layer-2016.4-reuse2/{SOLUTION}", "2016.4", 5630, 5113, 100, 1, None, 14, 2, True),
    (f"jet1layer-2016.4-reuse4/{SOLUTION}", "2016.4", 5151, 5280, 48, 1, None, 17, 7, True),
    (f"conv-2018.3/hls4ml_prj/{SOLUTION}", "2018.3", 8349, 4852, 9, 124, None, 7004283, 2917349, True),
    ("hls4ml-test-reports", "2020.1", 2532, 7969, 73, 0, 0, 10, 8, True),
    (f"mnist-cnn-stream-2020.1/my-hls-test/{SOLUTION}", "2020.1", 100632, 51600, 330, 236, 0, 63518, 63506, False),
    *(
        (
            f"l1-jet-id-deepsets-{bits}bit/kfold_0/synthesis_final/{SOLUTION}",
            "2020.1",
            lut,
            ff,
            dsp,
            4,
            0,
            cycles,
            2,
            True,
        )
        for bits, lut, ff, dsp, cycles in (
            (4, 518548, 56865, 71, 19),
            (6, 739886, 75016, 298, 19),
            (8, 898212, 81429, 619, 20),
        )
    ),
    (f"jet-mlp-2022.2/hls4ml_prj/{SOLUTION}", "2022.2", 116694, 24233, 2557, 8, 0, 15, 1, True),
]


def written(folder: Path, text: str) -> Path:
    path = folder / "tagger_csynth.xml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0].split("/")[0])
def test_public_reports_read_as_by_eye(case: tuple[str, str, int, int, int, int, int | None, int, int, bool]) -> None:
    folder, version, lut, ff, dsp, bram18, uram, latency, interval, met = case
    found = synthesis.read(REPORTS / folder / "myproject_csynth.xml")
    assert found.resources == Resources(lut=lut, ff=ff, dsp=dsp, bram18=bram18, uram=uram)
    assert (found.stage, found.version, found.clock_ns) == ("csynth", version, 5.0)
    assert (found.latency_cycles, found.interval_cycles, found.clock_met) == (latency, interval, met)


def test_every_public_csynth_xml_reads() -> None:
    paths = sorted(REPORTS.rglob("*csynth.xml"))
    assert len(paths) > 100
    for path in paths:
        found = synthesis.read(path)
        assert found.part.startswith("xc")
        assert found.resources.lut is not None


def test_the_sample_reads_whole(tmp_path: Path) -> None:
    assert synthesis.read(written(tmp_path, SAMPLE)) == Measurement(
        stage="csynth",
        tool="vitis",
        version="2025.1",
        part="xcvu13p-flga2577-2-e",
        clock_ns=5.0,
        resources=Resources(lut=90, ff=80, dsp=7, bram18=6, uram=1),
        latency_cycles=4,
        interval_cycles=2,
        clock_met=True,
    )


@pytest.mark.parametrize("unknown", ["undef", "?", "-", "~0", ""])
def test_what_the_tool_does_not_know_is_none(tmp_path: Path, unknown: str) -> None:
    text = SAMPLE.replace(">4<", f">{unknown}<").replace(">3.650<", f">{unknown}<").replace(">6<", f">{unknown}<")
    found = synthesis.read(written(tmp_path, text))
    assert (found.latency_cycles, found.clock_met, found.resources.bram18) == (None, None, None)
    assert (found.interval_cycles, found.latency_ns, found.clock) == (2, None, "assumed")


@pytest.mark.parametrize(("period", "met"), [("3.650", True), ("3.651", False), ("4.99", False)])
def test_the_clock_is_met_only_with_its_uncertainty_on_top(tmp_path: Path, period: str, *, met: bool) -> None:
    assert synthesis.read(written(tmp_path, SAMPLE.replace("3.650", period))).clock_met is met


@pytest.mark.parametrize("tag", ["DSP48E", "DSP48"])
def test_older_names_of_a_dsp(tmp_path: Path, tag: str) -> None:
    text = SAMPLE.replace("<DSP>7</DSP>", f"<{tag}>7</{tag}>").replace("<URAM>1</URAM>", "")
    found = synthesis.read(written(tmp_path, text)).resources
    assert (found.dsp, found.uram) == (7, None)


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        (">90<", ">ninety<", "LUT is 'ninety'"),
        (">90<", ">-90<", "LUT is '-90'"),
        (">90<", ">nan<", "LUT is 'nan'"),
        (">90<", ">1e999<", "LUT is '1e999'"),
        (">4<", ">4.5<", "whole clock cycles"),
        ("<LUT>90</LUT>", "", "has no LUT"),
        ("<DSP>7</DSP>", "", "has no DSP"),
        ("Interval-max", "Interval-top", "has no Interval-max"),
        (">5.00<", ">undef<", "TargetClockPeriod"),
        (">5.00<", ">0<", "TargetClockPeriod"),
        ("<Part>xcvu13p-flga2577-2-e</Part>", "<Part/>", "Part is empty"),
    ],
)
def test_damage_is_named_with_file_and_place(tmp_path: Path, old: str, new: str, place: str) -> None:
    path = written(tmp_path, SAMPLE.replace(old, new))
    with pytest.raises(ReportError) as refusal:
        synthesis.read(path)
    assert str(path) in str(refusal.value)
    assert place in str(refusal.value)


def test_no_part_of_a_report_is_taken_for_the_whole(tmp_path: Path) -> None:
    for end in range(len(SAMPLE.rstrip())):
        with pytest.raises(ReportError):
            synthesis.read(written(tmp_path, SAMPLE[:end]))


def test_entities_are_refused_before_they_grow(tmp_path: Path) -> None:
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    bomb = f'<?xml version="1.0"?><!DOCTYPE profile [<!ENTITY e0 "lol">{levels}]>'
    path = written(tmp_path, bomb + SAMPLE.replace(">90<", ">&e9;<"))
    with pytest.raises(ReportError, match="document type or entities"):
        synthesis.read(path)


def test_files_outside_are_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("90")
    outside = f'<!DOCTYPE profile [<!ENTITY x SYSTEM "{secret.as_uri()}">]>'
    with pytest.raises(ReportError, match="document type or entities"):
        synthesis.read(written(tmp_path, outside + SAMPLE.replace(">90<", ">&x;<")))
