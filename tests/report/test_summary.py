import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from hepprune.errors import ReportError
from hepprune.hardware.resources import Estimate, LayerEstimate, Measurement, Resources
from hepprune.metrics.scores import Difference, Stated
from hepprune.report import plots, summary, table
from hepprune.report.plots import costs
from hepprune.report.summary import Comparison, Cost, Equalities, Feedback, StagePoint, Summary, Tagger

PREDICTED = Estimate(
    stage="yosys",
    strategy="latency",
    resources=Resources(lut=900.04, ff=100.0, dsp=3.0),
    latency_cycles=4,
    interval_cycles=1,
    clock_ns=5.0,
)
MEASURED = Measurement(
    stage="yosys",
    tool="yosys",
    version="0.7",
    part="xcvu13p",
    clock_ns=5.0,
    resources=Resources(lut=950.0, ff=120.0),
    latency_cycles=4,
    interval_cycles=1,
)


def _gap(accuracy: float, *, significant: bool) -> Comparison:
    found = {
        "accuracy": Difference(accuracy, 0.002),
        "auc": Difference(0.003, 0.0004),
        "cross_entropy": Difference(-0.0085, 0.0011),
    }
    assert Comparison.of(found).significant == significant
    return Comparison.of(found)


def _scores(accuracy: float) -> dict[str, Stated]:
    return {"accuracy": Stated(accuracy, 0.003), "auc": Stated(0.88, 0.001), "cross_entropy": Stated(0.97, 0.01)}


TAGGER = Tagger(
    scores=_scores(0.65),
    nonzero_weights=500,
    layer_sizes=(16, 5),
    estimate=Cost.of(PREDICTED),
    solved_lut=920.0,
    solved_depth=18.0,
    measured=Cost.of(MEASURED),
)
FOUND = Summary(
    recipe="jets",
    target="here",
    budget={"latency_ns": 30.0, "lut": 1000.0},
    baseline=replace(TAGGER, scores=_scores(0.66), solved_lut=8000.0, measured=None),
    compressed=TAGGER,
    uniform=replace(TAGGER, scores=_scores(0.64), measured=None),
    compressed_minus_baseline=_gap(-0.01, significant=True),
    compressed_minus_uniform=_gap(0.001, significant=False),
    uniform_minus_baseline=_gap(-0.011, significant=True),
    checks=Equalities(csim_vectors=10_000, csim_mismatches=0, rtl_vectors=2_000, rtl_mismatches=0, csim_agreement=1.0),
    feedback=(Feedback(1, Cost.of(PREDICTED), Cost.of(MEASURED), met=True),),
    search=(
        StagePoint(lut=4000.0, latency_ns=25.0, scores=_scores(0.66), significant=False, change=0.0),
        StagePoint(lut=900.0, latency_ns=20.0, scores=_scores(0.65), significant=True, change=-0.01),
    ),
    seconds={"search": 1.5},
    seed=1,
    versions={"hepprune": "0"},
)


@pytest.fixture
def found() -> Summary:
    return FOUND


def test_what_is_written_is_read_back(found: Summary, tmp_path: Path) -> None:
    assert summary.read(summary.write(found, tmp_path / "summary.json")) == found


def test_a_damaged_summary_is_refused_in_one_sentence(found: Summary, tmp_path: Path) -> None:
    path = summary.write(found, tmp_path / "summary.json")
    text = path.read_text()
    for damaged in ("", text[:100], "[]", text.replace('"seed": 1', '"seed": "one"'), text.replace("recipe", "dish")):
        path.write_text(damaged)
        with pytest.raises(ReportError, match=r"summary.json' is damaged or of another version of hepprune \("):
            summary.read(path)
    with pytest.raises(ReportError, match="cannot be read: No such file"):
        summary.read(tmp_path / "none.json")


def test_older_summaries_are_read_and_newer_ones_by_older_readers(found: Summary, tmp_path: Path) -> None:
    path = summary.write(
        replace(found, compressed=replace(TAGGER, input_bits=96, weight_bits=3.2)), tmp_path / "s.json"
    )
    content = json.loads(path.read_text())
    assert content["compressed"]["input_bits"] == 96
    for name in ("input_bits", "weight_bits"):
        del content["compressed"][name]
    path.write_text(json.dumps(content | {"of_a_later_version": 1}))
    assert summary.read(path) == found


def test_the_table_has_bits_where_they_are_known(found: Summary) -> None:
    of = "input bits", "activation bits", "bits per weight"
    known = replace(found, baseline=replace(found.baseline, input_bits=128, activation_bits=1768, weight_bits=4.251))
    assert not set(of) & {row[0] for row in table.networks(found)}
    rows = {label: cells for label, *cells in table.networks(known)}
    assert [rows[name] for name in of] == [["128", "", ""], ["1,768", "", ""], ["4.3", "", ""]]


def test_what_is_unknown_is_absent_and_never_a_number(found: Summary) -> None:
    measured = json.loads(summary.to_json(found))["compressed"]["measured"]
    assert "dsp" not in measured
    assert "bram18" not in measured
    assert measured["latency_ns"] == 20.0
    assert measured["clock"] == "assumed"


def test_predicted_and_measured_say_their_stage_and_tool() -> None:
    assert (Cost.of(PREDICTED).tool, Cost.of(PREDICTED).clock) == (None, None)
    assert Cost.of(replace(MEASURED, clock_met=True)).clock == "met"
    assert Cost.of(replace(MEASURED, clock_met=False)).clock == "missed"
    assert Cost.of(MEASURED).tool == "yosys 0.7"


def test_the_table_shows_errors_budget_tool_and_clock(found: Summary) -> None:
    console = Console(record=True, width=160, file=io.StringIO())
    console.print(table.render(found))
    text = console.export_text()
    for part in ("0.6500 ± 0.0030", "1,000", "950", "yosys 0.7", "clock: assumed", "no difference seen", "10,000"):
        assert part in text, part
    assert "-1.00 ± 0.20 points of accuracy, AUC +0.0030 ± 0.0004, cross entropy -0.0085 ± 0.0011" in text


def test_what_is_not_written_is_said_with_its_reason(found: Summary) -> None:
    checks = Equalities(rtl_vectors=2_000, rtl_mismatches=0, no_hls="layer 'tables' has no hls4ml form")
    lines = table.lines(replace(found, checks=checks, no_model="layer 'logits' has no bias"))
    assert "no HLS project, Verilog alone: layer 'tables' has no hls4ml form" in lines
    assert "written as network.npz alone, not as it came: layer 'logits' has no bias" in lines
    assert not [line for line in table.lines(found) if "alone" in line]


@pytest.mark.slow
def test_plots_are_written_as_png_and_pdf(found: Summary, tmp_path: Path) -> None:
    drawn = [*plots.pareto(found, tmp_path / "a"), *plots.resource_bars(found, tmp_path / "b")]
    drawn += plots.sensitivity_map(
        ["dense_1 weight", "dense_2 neuron"], [0.1, 0.5], [[0.0, 0.01], [0.1, -0.2]], tmp_path / "c"
    )
    drawn += costs.predicted_vs_measured(found.feedback, tmp_path / "d")
    layers = (
        LayerEstimate(layer="dense_1", resources=Resources(), depth=7.0),
        LayerEstimate(layer="dense_2", resources=Resources(), depth=5.0),
    )
    drawn += costs.latency_stack(
        {"hepprune": replace(PREDICTED, layers=layers)},
        tmp_path / "e",
        budget_ns=30.0,
        measured_ns={"hepprune": 20.0},
        reserved_ns={"hepprune": 4.0},
    )
    drawn += costs.latency_stack({}, tmp_path / "f", budget_ns=30.0)
    assert [path.suffix for path in drawn] == [".png", ".pdf"] * 6
    for path in drawn:
        assert path.read_bytes()[:4] in {b"\x89PNG", b"%PDF"}
    assert not list(tmp_path.glob(".*"))
