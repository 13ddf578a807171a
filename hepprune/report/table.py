"""The summary as a table on the screen."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hepprune.metrics import scores
from hepprune.report.summary import FIGURES, Comparison, Cost, Equalities, Feedback, Summary

NETWORKS = ("", "baseline", "uniform pruning", "hepprune")
BUDGET = ("", "budget", "estimated", "measured")


def render(summary: Summary) -> RenderableType:
    """Return the table of networks, the budget, the comparisons, the checks and the feedback."""
    table = Table(title=Text(f"{summary.recipe} on {summary.target}"), title_justify="left")
    against = Table(title="hepprune against its budget", title_justify="left")
    for each, columns, rows in ((table, NETWORKS, networks(summary)), (against, BUDGET, budget(summary))):
        for name in columns:
            each.add_column(name, justify="right" if name else "left")
        for row in rows:
            each.add_row(*row)
    return Group(table, against, *(Text(line) for line in lines(summary)))


def networks(summary: Summary) -> list[list[str]]:
    """Return what the networks score, hold and cost, a row for each figure, under NETWORKS."""
    taggers = (summary.baseline, summary.uniform, summary.compressed)
    rows = {
        **{
            scores.label(name): [f"{tagger.scores[name]:{scores.form(name)}}" for tagger in taggers]
            for name in summary.baseline.scores
        },
        "neurons": ["-".join(map(str, t.layer_sizes)) for t in taggers],
        "non-zero weights": [f"{t.nonzero_weights:,}" for t in taggers],
        "input bits": [_whole(t.input_bits) for t in taggers],
        "activation bits": [_whole(t.activation_bits) for t in taggers],
        "bits per weight": ["" if t.weight_bits is None else f"{t.weight_bits:.1f}" for t in taggers],
        "LUT (solved adder graph)": [_whole(t.solved_lut) for t in taggers],
        "LUT (measured)": [
            _figure(t.measured, "lut") if t.measured and summary.uniform.measured else "" for t in taggers
        ],
        "LUT (estimated)": ["" if t.solved_lut else _figure(t.estimate, "lut") for t in taggers],
        "DSP (estimated)": ["" if t.solved_lut else _figure(t.estimate, "dsp") for t in taggers],
        "adder levels": [_whole(t.solved_depth) for t in taggers],
    }
    return [[label, *cells] for label, cells in rows.items() if any(cells)]


def _whole(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def budget(summary: Summary) -> list[list[str]]:
    """Return limit, estimate and measurement, a row for each figure that has any, under BUDGET."""
    estimate, measured = summary.compressed.estimate, summary.compressed.measured
    rows = []
    for name, label in FIGURES.items():
        limit = summary.budget.get(name)
        if limit is not None or getattr(estimate, name):
            found = _figure(measured, name) if measured else ""
            rows.append([label, "" if limit is None else f"{limit:,.0f}", _figure(estimate, name), found])
    return rows


def _figure(cost: Cost, name: str) -> str:
    value, doubt = getattr(cost, name), (cost.uncertainty or {}).get(name)
    return "" if value is None else f"{value:,.0f}" + (f" ± {doubt:,.0f}" if doubt else "")


def lines(summary: Summary) -> list[str]:
    """Return what was compared, proved and measured, a sentence each."""
    measured = summary.compressed.measured
    said = [
        f"hepprune - baseline: {_difference(summary.compressed_minus_baseline)}",
        f"hepprune - uniform:  {_difference(summary.compressed_minus_uniform)}",
        *proofs(summary.checks),
        *(_turn(turn) for turn in summary.feedback),
    ]
    if summary.no_model:
        said.append(f"written as network.npz alone, not as it came: {summary.no_model}")
    if measured is not None:
        said.append(f"measured by {measured.tool} ({measured.stage}), clock: {measured.clock}")
    return said


def proofs(checks: Equalities) -> list[str]:
    """Return what each equality was proved on, and why there is no HLS project where Verilog stands alone."""
    csim, rtl = (checks.csim_mismatches, checks.csim_vectors), (checks.rtl_mismatches, checks.rtl_vectors)
    said = [("C simulation", *csim), ("RTL simulation", *rtl)]
    proved = [f"{name}: {wrong} logits differ on {n:,} jets" for name, wrong, n in said if n is not None]
    return proved + ([f"no HLS project, Verilog alone: {checks.no_hls}"] if checks.no_hls else [])


def _difference(gap: Comparison) -> str:
    verdict = "" if gap.significant else " (within its error: no difference seen)"
    first, *others = (scores.change(name, difference) for name, difference in gap.scores.items())
    return ", ".join([f"{first}{verdict}", *others])


def _turn(turn: Feedback) -> str:
    estimate, measured = f"turn {turn.iteration}: {turn.estimate.lut or 0:,.0f} LUT estimated", turn.measured
    if measured is None:
        return f"{estimate}, to be measured on another machine"
    verdict = "met" if turn.met else "over budget, calibrated and searched again"
    return f"{estimate}, {measured.lut or 0:,.0f} measured, {measured.latency_ns or 0:.0f} ns: {verdict}"
