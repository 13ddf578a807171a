"""The page of a run: did it fit, who says so, what was proved, what it cost, and how the search went there."""

from collections.abc import Iterator
from pathlib import Path

from hepprune.errors import BudgetMissedError, HeppruneError
from hepprune.hardware import targets
from hepprune.jobs import models
from hepprune.metrics import scores
from hepprune.network import load
from hepprune.pipeline import evidence, searches
from hepprune.report import designs, table
from hepprune.report import page as pages
from hepprune.report import summary as summaries
from hepprune.report.page import Cell, Page, PageSection, Table
from hepprune.report.plots import gallery
from hepprune.report.summary import FIGURES, Cost, Summary

_PICTURES = (
    ("pareto", "The primary metric against LUT along the search, with the budget"),
    ("sensitivity", "What cutting each layer costs"),
    ("resources", "Cells of the baseline and of the smaller network against the budget"),
    ("latency", "Latency by layer against the budget"),
    ("predictions", "What was predicted against what was measured, turn by turn"),
    ("weights", "The weights before and after"),
    ("bits", "How many values of each layer have how many bits"),
)
_VERDICTS = {
    None: "The design waits to be measured on another machine",
    True: "The measured design meets its limits",
    False: "The measured design misses its limits",
}
_OUTPUTS = {
    "roc": "Mistag rate against efficiency",
    "confusion": "What is taken for what, by the truth",
    "scores": "Scores of each kind",
    "rate": "Rate against threshold",
    "response": "Value over truth, median and central 68 %",
    "turn_on": "Efficiency of a threshold, with the ratio to the baseline",
}


def page(build: Path) -> Page:
    """Return the page of a build folder.

    Raises:
        ReportError: its summary is damaged.
    """
    summary = summaries.read(build / "summary.json")
    stages = searches.read(build / searches.FILE)
    met, lost = summary.feedback[-1].met if summary.feedback else None, list[str]()
    try:
        evidence.check_kept(summary.compressed_minus_baseline.scores, summary.max_losses, met=met is True)
    except BudgetMissedError as problem:
        lost = [str(problem)]
    steps = [searches.steps(stages)] if stages else []
    near = [[name, str(_near(build, Path(path)))] for name, path in summary.files.items()]
    files = Table(caption="Under the folder of the run", columns=("", "path"), rows=near)
    versions = ", ".join(f"{name} {version}" for name, version in summary.versions.items())
    lost += [f"Not written as the kind of model that it came as: {summary.no_model}"] if summary.no_model else []
    made = f"Seed {summary.seed}, {sum(summary.seconds.values()):,.0f} s; {versions}."
    command = f"hepprune run recipe.yaml  # the recipe named {summary.recipe!r}, seed {summary.seed}"
    budget = Table(caption="Against the budget", columns=table.BUDGET, rows=table.budget(summary))
    networks = Table(caption="On the same test jets", columns=table.NETWORKS, rows=table.networks(summary))
    return Page(
        title=f"{summary.recipe} on {summary.target}",
        verdict=_VERDICTS[met],
        good=met if met is None else met and not lost,
        lines=[*_whose(summary.compressed.measured), *lost],
        sections=(
            PageSection(title="Budget and cost", tables=[budget, *_on_device(summary)]),
            PageSection(title="Proof", lines=table.proofs(summary.checks)),
            PageSection(title="Before, after, and uniform pruning", tables=[networks, _differences(summary)]),
            PageSection(title="Plots", pictures=pages.pictures(build / "plots", (*_PICTURES, *_physics(build)))),
            PageSection(title="Layers", tables=list(_layers(build, stages))),
            PageSection(title="Predicted and measured", tables=[_turns(summary)] if summary.feedback else []),
            PageSection(title="Stages of the search", tables=[searches.staged(stages)] if stages else []),
            PageSection(title="Every step of the search", tables=steps, folded=True),
            PageSection(title="Files", tables=[files], folded=True),
            PageSection(title="How to make it again", lines=[made], commands=[command]),
        ),
    )


def _whose(measured: Cost | None) -> list[str]:
    if measured is None:
        return ["All figures are estimates."]
    clock = {"met": "the clock is met", "missed": "the clock is missed", "assumed": "the clock is assumed, not timed"}
    clocked = clock.get(measured.clock or "", "no clock reported")
    return [f"Measured by {measured.tool} (stage {measured.stage}); {clocked}."]


def _on_device(summary: Summary) -> Iterator[Table]:
    try:
        device = targets.load(summary.target).known_device
    except HeppruneError:  # a target of the user's own that is not here
        return
    if device is None:
        return
    cost = summary.compressed.measured or summary.compressed.estimate
    columns = ["", "used", f"of {device.part}", "%"] + (["% of an SLR"] if device.slr > 1 else [])
    rows: list[list[Cell]] = []
    for name in ("lut", "ff", "dsp", "bram18", "uram"):
        used, there = getattr(cost, name), getattr(device, name)
        if used is not None and there:
            share = [100 * used / there, 100 * used * device.slr / there]
            rows.append([FIGURES[name], used, there, *share[: len(columns) - 3]])
    yield Table(caption=f"On the device ({device.source})", columns=columns, rows=rows)


def _differences(summary: Summary) -> Table:
    compared = (summary.compressed_minus_baseline, summary.compressed_minus_uniform)
    rows = [
        [
            scores.label(name),
            *(f"{each.scores[name]:{scores.form(name, sign=True)}}" for each in compared),
            summary.max_losses.get(name),
        ]
        for name in compared[0].scores
    ]
    columns = ("", "hepprune - baseline", "hepprune - uniform", "may be lost to the baseline")
    return Table(caption="Differences on the same test jets, with their paired errors", columns=columns, rows=rows)


def _physics(build: Path) -> Iterator[tuple[str, str]]:
    """Yield the plots of each output, by their names: the kind of plot, and which output it is of."""
    kept = build / designs.JUDGED_FILE
    known = gallery.captions(designs.read_judged(kept)) if kept.is_file() else {}
    for path in sorted((build / "plots").glob("*.png")):
        for kind, title in _OUTPUTS.items():
            place = path.stem.removeprefix(kind)
            output = known.get(place, place.replace("_", " ").strip())
            if path.stem == kind or path.stem.startswith(f"{kind}_"):
                yield path.stem, title + (f": {output}" if output else "")


def _layers(build: Path, stages: searches.Searches) -> Iterator[Table]:
    path = build / "network.npz"
    if not path.is_file():
        return
    estimates = {layer.layer: layer for layer in stages[-1][-1].estimate.layers} if stages else {}
    rows: list[list[Cell]] = []
    for layer in models.describe(load(path)):
        cost = estimates.get(layer.name)
        counts = [None, None] if cost is None else [cost.resources.lut, cost.resources.ff]
        bits = (layer.weight_bits, layer.result_bits)
        rows.append([layer.name, layer.kind, " x ".join(map(str, layer.shape)), layer.nonzero, *bits, *counts])
    columns = ("layer", "kind", "shape", "non-zero weights", "bits of weights", "bits of values", "LUT", "FF")
    yield Table(caption="The smaller network; cells are estimates", columns=columns, rows=rows)


def _turns(summary: Summary) -> Table:
    rows: list[list[Cell]] = []
    for turn in summary.feedback:
        estimate, measured = turn.estimate, turn.measured
        verdict = "waits" if turn.met is None else "met" if turn.met else "over budget: calibrated, searched again"
        found = (None, None) if measured is None else (measured.lut, measured.latency_ns)
        doubt = (estimate.uncertainty or {}).get("lut")
        rows.append([turn.iteration, estimate.lut, doubt, found[0], estimate.latency_ns, found[1], verdict])
    columns = ("turn", "LUT estimated", "±", "LUT measured", "ns estimated", "ns measured", "verdict")
    return Table(caption="Each turn of the loop", columns=columns, rows=rows)


def _near(build: Path, path: Path) -> Path:
    """Return a path from the folder of the run on where it lies there: the page may be read elsewhere."""
    parts, name = path.parts, build.resolve().name
    return Path(*parts[len(parts) - parts[::-1].index(name) :]) if name in parts[:-1] else Path(path.name)
