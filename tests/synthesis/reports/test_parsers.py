"""Every parser on public reports and on samples read by eye, and on anything at all."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from hepprune import synthesis
from hepprune.errors import ReportError
from hepprune.hardware.resources import Measurement, Resources
from hepprune.synthesis import reports
from hepprune.synthesis.failures import Failure
from hepprune.synthesis.reports import modules, registry
from tests.reference import REPORTS

SOLUTION = "myproject_prj/solution1/syn/report"
JET_MLP = f"jet-mlp-2022.2/hls4ml_prj/{SOLUTION}"
MNIST = f"mnist-cnn-stream-2020.1/my-hls-test/{SOLUTION}"

HEAD = """| Tool Version : Vivado v.2023.1 (lin64) Build 3865809 Sun May  7 15:04:56 MDT 2023
| Command      : {command}
| Design       : tagger
| Device       : xcvu13p-flga2577
| Design State : {state}
"""
HIERARCHY = HEAD.format(command="report_utilization -hierarchical -file h.rpt", state="Routed") + """
1. Utilization by Hierarchy
---------------------------
+-------------------------------+--------------------------+------------+------------+---------+------+-----+--------+--------+------+------------+
|            Instance           |          Module          | Total LUTs | Logic LUTs | LUTRAMs | SRLs | FFs | RAMB36 | RAMB18 | URAM | DSP Blocks |
+-------------------------------+--------------------------+------------+------------+---------+------+-----+--------+--------+------+------------+
| tagger                        |                    (top) |        120 |        100 |      12 |    8 |  90 |      1 |      1 |    0 |          3 |
|   (tagger)                    |                    (top) |         10 |         10 |       0 |    0 |   9 |      0 |      0 |    0 |          0 |
|   grp_dense_config2_s_fu_95   | tagger_dense_config2_s   |         70 |         60 |       6 |    4 |  50 |      1 |      0 |    0 |          2 |
|     mul_U1                    |               tagger_mul |         30 |         30 |       0 |    0 |  10 |      0 |      0 |    0 |          1 |
|   dense_da_4_U0               | tagger_dense_da_4_s      |         40 |         30 |       6 |    4 |  31 |      0 |      1 |    0 |          1 |
+-------------------------------+--------------------------+------------+------------+---------+------+-----+--------+--------+------+------------+
"""  # fmt: skip
TIMING = (
    HEAD.format(command="report_timing_summary -file timing_routed.rpt", state="Routed")
    + """
| Design Timing Summary
    WNS(ns)      TNS(ns)  TNS Failing Endpoints  TNS Total Endpoints      WHS(ns)      THS(ns)
    -------      -------  ---------------------  -------------------      -------      -------
      {wns}        0.000                      0                 8153        {whs}        0.000

| Clock Summary
Clock   Waveform(ns)       Period(ns)      Frequency(MHz)
-----   ------------       ----------      --------------
ap_clk  {{0.000 2.500}}      5.000           200.000
"""
)
EXPORT = """

Implementation tool: Xilinx Vivado v.2020.1
Project:             tagger_prj
Solution:            solution1
Device target:       xcvu13p-flga2577-2-e
Report date:         Fri Nov 03 00:31:37 CET 2023

#=== Post-Implementation Resource usage ===
CLB:           100
LUT:           312
FF:            900
DSP:             4
BRAM:            5
SRL:            48
#=== Final timing ===
CP required:    5.000
CP achieved post-synthesis:    3.345
CP achieved post-implementation:    5.102
Timing not met
"""
COSIM = """Report time       : Fri Nov  3 04:18:01 CET 2023.
Solution          : solution1.
+----------+----------+-----------------+-----------------+
|   RTL    |  Status  |min  | avg | max |min  | avg | max |
+----------+----------+-----------------+-----------------+
|      VHDL|        NA|   NA|   NA|   NA|   NA|   NA|   NA|
|   Verilog|{status:>10}|   18|   19|   21|    2|    2|    3|
+----------+----------+-----------------+-----------------+
"""
YOSYS = json.dumps(
    {
        "creator": "Yosys 0.70 (git sha1 28ba3cb92, Release)",
        "design": {"num_cells_by_type": {"LUT4": 12, "FDRE": 3}},
    }
)


def read(folder: Path, text: str, clock_ns: float | None = None) -> Measurement:
    path = folder / "report"
    path.write_text(text, encoding="utf-8")
    return synthesis.read(path, clock_ns=clock_ns)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (f"{JET_MLP}/myproject_csynth.xml", f"{JET_MLP}/myproject_csynth.rpt"),
        (f"{JET_MLP}/csynth.xml", f"{JET_MLP}/csynth.rpt"),
        (f"{JET_MLP}/csynth.xml", f"{JET_MLP}/myproject_csynth.rpt"),
        (f"{MNIST}/myproject_csynth.xml", f"{MNIST}/myproject_csynth.rpt"),
        (f"{MNIST}/myproject_axi_csynth.xml", f"{MNIST}/myproject_axi_csynth.rpt"),
        *(
            tuple(f"jet1layer-2016.4-reuse{n}/{SOLUTION}/myproject_csynth.{kind}" for kind in ("xml", "rpt"))
            for n in (1, 2, 4)
        ),
        (
            f"conv-2018.3/hls4ml_prj/{SOLUTION}/csynth.xml",
            "conv-2018.3/hls4ml_prj/myproject_prj/solution1/solution1_data.json",
        ),
        *(
            (
                f"l1-jet-id-deepsets-{bits}bit/kfold_0/synthesis_final/{SOLUTION}/csynth.xml",
                f"l1-jet-id-deepsets-{bits}bit/kfold_0/synthesis_final/myproject_prj/solution1/solution1_data.json",
            )
            for bits in (4, 6, 8)
        ),
    ],
)
def test_two_reports_of_one_synthesis_say_the_same(one: str, other: str) -> None:
    """XML, text, tree and JSON are written by the same tool of the same run: each is the other's oracle."""
    a, b = (synthesis.read(REPORTS / name) for name in (one, other))
    assert a.resources == b.resources
    assert (a.latency_cycles, a.interval_cycles, a.clock_ns, a.clock_met, a.part) == (
        b.latency_cycles,
        b.interval_cycles,
        b.clock_ns,
        b.clock_met,
        b.part,
    )
    if a.layers:
        assert sorted(map(str, a.layers)) == sorted(map(str, b.layers))


# What the summary tables of the reports give to the top's own logic: expression, multiplexer and register; and FIFO LUTs,
# of which Vivado HLS 2020.1 says nothing in its table of FIFOs.
@pytest.mark.parametrize(
    ("name", "layers", "rest"),
    [
        (f"{JET_MLP}/myproject_csynth.rpt", 8, Resources(lut=4 + 36, ff=3426, dsp=0, bram18=0, uram=0)),
        (f"{MNIST}/myproject_csynth.rpt", 19, Resources(lut=11844 + 2 + 9, ff=1, dsp=0, bram18=0, uram=0)),
        ("hls4ml-test-reports/myproject_csynth.rpt", 3, Resources(lut=140 + 2, ff=0, dsp=0, bram18=0, uram=0)),
        (f"jet1layer-2016.4-reuse1/{SOLUTION}/myproject_csynth.rpt", 4, Resources(lut=0, ff=1184, dsp=0, bram18=0)),
        (f"conv-2018.3/hls4ml_prj/{SOLUTION}/myproject_csynth.rpt", 24, Resources(lut=34 + 36, ff=6, dsp=0, bram18=0)),
    ],
)
def test_modules_and_the_rest_make_the_total(name: str, layers: int, rest: Resources) -> None:
    found = synthesis.read(REPORTS / name)
    assert len(found.layers) == layers
    assert modules.unexplained(found) == rest


def test_layers_of_a_public_report_as_read_by_eye() -> None:
    found = synthesis.read(REPORTS / f"{MNIST}/myproject_csynth.rpt")
    layers = {(each.layer, "buffers" if each.module == "buffers" else "function"): each for each in found.layers}
    dense, fifo = layers["config9", "function"], layers["config2", "buffers"]
    assert dense.resources == Resources(lut=42488, ff=18464, dsp=256, bram18=57, uram=0)
    assert (dense.latency_cycles, dense.interval_cycles) == (85, 85)
    assert (fifo.resources.bram18, fifo.resources.ff) == (64, 1824)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("quartus", Measurement(stage="route", tool="quartus", version="unknown", part="unknown", clock_ns=2.5, resources=Resources(lut=4182, ff=16419, dsp=40), latency_cycles=None, interval_cycles=None, clock_met=True)),
        ("summary", Measurement(stage="csynth", tool="oneapi", version="unknown", part="unknown", clock_ns=2.5, resources=Resources(lut=2462, ff=7938, dsp=40))),
        ("area", Measurement(stage="csynth", tool="oneapi", version="2025.0", part="unknown", clock_ns=2.5, resources=Resources(lut=2462, ff=7938, dsp=40))),
        ("loop_attr", Measurement(stage="csynth", tool="oneapi", version="unknown", part="unknown", clock_ns=2.0833, resources=Resources(), latency_cycles=None, interval_cycles=1)),
    ],
)  # fmt: skip
def test_oneapi_reports_as_read_by_eye(name: str, expected: Measurement) -> None:
    found = synthesis.read(REPORTS / f"hls4ml-test-reports/oneAPI/{name}.ndjson", clock_ns=2.5)
    without = {field: getattr(found, field) for field in expected.__dataclass_fields__ if field != "layers"}
    assert Measurement(**without) == expected
    if name == "summary":
        assert [(each.layer, each.resources.lut, each.resources.dsp) for each in found.layers] == [
            ("config3", 168, 0),
            ("config2", 2134, 40),
            (None, 95, 0),
        ]


def test_a_hierarchy_is_read_one_level_deep(tmp_path: Path) -> None:
    found = read(tmp_path, HIERARCHY, 5.0)
    assert (found.stage, found.resources) == ("route", Resources(lut=120, ff=90, dsp=3, bram18=3, uram=0))
    assert [(each.layer, each.resources) for each in found.layers] == [
        ("config2", Resources(lut=70, ff=50, dsp=2, bram18=2, uram=0)),
        ("config4", Resources(lut=40, ff=31, dsp=1, bram18=1, uram=0)),
    ]
    assert modules.unexplained(found) == Resources(lut=10, ff=9, dsp=0, bram18=0, uram=0)


@pytest.mark.parametrize(
    ("wns", "whs", "met"),
    [("0.312", "0.010", True), ("-0.020", "0.010", False), ("0.1", "-0.3", False), ("NA", "NA", None)],
)
def test_a_clock_is_met_by_its_slowest_and_fastest_path(
    tmp_path: Path, wns: str, whs: str, *, met: bool | None
) -> None:
    found = read(tmp_path, TIMING.format(wns=wns, whs=whs))
    assert found == Measurement(
        stage="route",
        tool="vivado",
        version="2023.1",
        part="xcvu13p-flga2577",
        clock_ns=5.0,
        resources=Resources(),
        clock_met=met,
    )


def test_an_export_summary_and_yosys_statistics(tmp_path: Path) -> None:
    resources = Resources(lut=312, ff=900, dsp=4, bram18=5)
    expected = Measurement(
        stage="route",
        tool="vivado",
        version="2020.1",
        part="xcvu13p-flga2577-2-e",
        clock_ns=5.0,
        resources=resources,
        clock_met=False,
    )
    assert read(tmp_path, EXPORT) == expected
    assert read(tmp_path, YOSYS, 2.5).resources == Resources(lut=12, ff=3, dsp=0, bram18=0, uram=0)


def test_a_cosimulation(tmp_path: Path) -> None:
    found = read(tmp_path, COSIM.format(status="Pass"), 5.0)
    assert (found.stage, found.latency_cycles, found.interval_cycles) == ("cosim", 21, 3)
    with pytest.raises(ReportError, match="Verilog ended with Fail.*equivalence checks"):
        read(tmp_path, COSIM.format(status="Fail"))


# Files beside the reports that are none: settings, trained models, Vivado HLS' list of sources.
NO_REPORTS = {"hls4ml_config.yml", "keras_model.h5", "keras_model.keras", "vivado_hls.app"}
FAILED = {
    "dataflow-XFORM-203-711.log": "dataflow_violation",
    "elaborate-HLS-200-70.log": "elaboration",
    "l1-jet-id-deepsets-8bit": "simulation",  # whose co-simulation ended with Fail
}


def test_every_public_file_is_figures_a_failure_or_named_here() -> None:
    """All of them; whoever adds one that no parser reads has to say so above."""
    paths = [path for path in sorted(REPORTS.rglob("*")) if path.is_file() and path.name not in NO_REPORTS]
    assert len(paths) == 160
    kinds, failures = set[str | None](), dict[str, str]()
    for path in paths:
        text = registry.text_of(path)
        kinds.add(reports.kind_of(text))
        if path.suffix == ".log" and path.name not in FAILED:
            with pytest.raises(ReportError, match="did not fail"):
                reports.parse(path, text)
            continue
        found = reports.parse(path, text, clock_ns=5.0)
        if isinstance(found, Failure):
            failures[path.name if path.name in FAILED else path.relative_to(REPORTS).parts[0]] = found.kind
        else:
            assert found.clock_ns > 0
            assert found.resources.known() or found.stage == "cosim" or found.interval_cycles
    assert failures == FAILED
    assert kinds == set(reports.REPORT_PARSERS) - NOT_PUBLIC


# What no public run left behind; samples of these are in this file and in those of Vivado and nextpnr.
NOT_PUBLIC = {"vsynth_hierarchy", "timing", "export", "yosys", "nextpnr"}


SAMPLES = {
    "hierarchy": HIERARCHY,
    "timing": TIMING.format(wns="0.1", whs="0.1"),
    "export": EXPORT,
    "cosim": COSIM.format(status="Pass"),
    "yosys": YOSYS,
    "csynth": "<profile><ReportVersion><Version>2025.1</Version></ReportVersion></profile>",
    "csynth_text": "== Vitis HLS Report for 'f'\n* Version: 2025.1\n* Target device: p\n| Clock | 1 |\n| x | 1 | 2 | 3 |\n",
    "csynth_tree": "== Synthesis Summary Report of 'f'\n    * Version: 2025.1\n    * Target device: p\n| Modules | LUT |\n| & | |\n|+ f | 1 |\n",
    "solution": '{"Top": "f", "ModuleInfo": {"Metrics": {"f": {"Area": {"LUT": "1"}}}}}',
    "fit": '{"quartusFitClockSummary": {"nodes": [{"clock fmax": "1"}]}}',
    "area": '{"columns": ["", "ALUTs"], "total": [1, 2, 3, 4]}\n{"type": "function", "parent": 0}',
    "summary": '{"name": "Kernel Summary"}\n{"name": "Total", "data": [1, 2, 3, 4, 5, 6]}',
    "loops": '{"name": "loop_attributes"}\n{"type": "kernel", "fmax": "480", "id": 1, "children": [2]}\n{"type": "bb", "id": 2}',
    "log": "****** Vivado(TM) HLS - High-Level Synthesis v2019.1 (64-bit)\nERROR: [HLS 200-70] no\n",
    "utilisation": HEAD.format(command="report_utilization -file v.rpt", state="Synthesized") + "| CLB LUTs | 3 |\n",
}
TOKENS = st.sampled_from(
    ["", "-1", "1e999", "9" * 400, "NaN", "null", "[]", "{}", "|", "undef", "~0", "\x00", "\u2028", "²", "\n", "\ud7ff", "true", "&e;", "]]>"]
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A sample with a few pieces of it replaced, doubled or cut out."""
    text = draw(st.sampled_from(sorted(SAMPLES.values())))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 40)))
        middle = draw(TOKENS | st.text(max_size=8) | st.just(text[start:end] * 2))
        text = text[:start] + middle + text[end:]
    return text


@settings(max_examples=300, deadline=None)
@given(damaged(), st.none() | st.just(5.0))
def test_damage_is_figures_a_failure_or_one_sentence(text: str, clock_ns: float | None) -> None:
    check(text, clock_ns)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(reports.REPORT_PARSERS)), st.text(max_size=300) | damaged())
def test_no_parser_is_surprised_by_what_its_mark_did_not_see(name: str, text: str) -> None:
    said = ""
    try:
        found = reports.REPORT_PARSERS[name].parse(Path("r"), text, 5.0)
    except ReportError as problem:
        said = str(problem)
    else:
        assert isinstance(found, Measurement | Failure)
    assert "\n" not in said


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes(content: bytes) -> None:
    try:
        text = registry.decoded(Path("r"), content)
    except ReportError:
        return
    check(text, 5.0)


def check(text: str, clock_ns: float | None) -> None:
    try:
        found = reports.parse(Path("r"), text, clock_ns=clock_ns)
    except ReportError:
        return
    assert isinstance(found, Measurement | Failure)
    adapter = TypeAdapter(Measurement | Failure)
    assert adapter.validate_json(adapter.dump_json(found)) == found


def test_a_row_of_an_older_ledger_still_reads() -> None:
    adapter = TypeAdapter(Measurement)
    old = json.loads(
        adapter.dump_json(
            Measurement(
                stage="yosys", tool="yosys", version="0.70", part="part", clock_ns=5.0, resources=Resources(lut=1)
            )
        )
    )
    del old["layers"]
    assert adapter.validate_python(old).layers == ()
