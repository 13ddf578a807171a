"""Plots of the physics: ROC curves, response, rates and turn-ons against the baseline, and the weights left."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hepprune import metrics
from hepprune.metrics import Curve, Floats
from hepprune.report.plots import canvas, legend, panels, save

_BINS = 10  # of the truth
_LEAST = 0.1  # efficiency; below it a mistag rate rests on a handful of jets, of classes that are alike in number
_N_MARKERS = 12
WeightedValues = tuple[Floats, Floats]  # values, and how often each is there
MARKERS = frozenset("o")  # lines that are markers: of hardware, which lies on the curve of its network
_POINTS, _BINS_OF_TURN_ON = 60, 12
_LEAST_EFFICIENCY = 0.1  # efficiency that others are divided by


@dataclass(frozen=True)
class Scored:
    """One form of a tagger: its name, its line style, and what it says of each jet.

    Those are scores for each class, (n_jets, n_classes), or values, (n_jets,).
    """

    name: str
    line: Literal["-", "--", ":", "o"]
    scores: Floats

    @property
    def style(self) -> dict[str, Any]:
        """How matplotlib draws it."""
        marked = self.line in MARKERS
        return {"marker": self.line, "linestyle": "", "fillstyle": "none"} if marked else {"linestyle": self.line}


def roc(
    forms: Sequence[Scored], labels: NDArray[Any], classes: Sequence[str], path: Path, *, least: float = _LEAST
) -> list[Path]:
    """Draw mistag rate against efficiency, one colour a class and one line style a form, and return the files.

    Mistag rates that fewer than ten jets of the other classes pass are left out, and efficiencies below the `least`.
    """
    from matplotlib.lines import Line2D

    with canvas(7.5, 6.0) as (figure, axes):
        colours = [f"C{index}" for index in range(len(classes))]
        for number, form in enumerate(forms):
            for index, colour in enumerate(colours if len(classes) > 1 else [f"C{number}"]):
                positive = labels == index
                efficiency, mistag = metrics.roc(form.scores[:, index], positive)
                seen = (efficiency > least) & (mistag * np.count_nonzero(~positive) >= 10)
                x, y = efficiency[seen], mistag[seen]
                if form.line in MARKERS and len(x):
                    at = np.searchsorted(x, np.linspace(0, 1, _N_MARKERS + 2)[1:-1])
                    x, y = (values[np.unique(at.clip(max=len(x) - 1))] for values in (x, y))
                axes.plot(x, y, color=colour, linewidth=2.2 if form.line == ":" else 1.5, **form.style)
        axes.set(yscale="log", xlabel="efficiency", ylabel="mistag rate", xlim=(0, 1), ylim=(None, 1.5))
        own = ["black" if len(classes) > 1 else f"C{number}" for number in range(len(forms))]
        kinds = [handle(form, colour) for form, colour in zip(forms, own, strict=True)]
        axes.add_artist(axes.legend(handles=kinds, fontsize=10, loc="upper left"))
        if len(classes) > 1:
            named = [Line2D([], [], color=colour) for colour in colours]
            legend(axes, named, classes, fontsize=10, loc="lower right", ncols=2)
        return save(figure, path)


def handle(form: Scored, colour: str = "black") -> Any:
    """Return what stands for a form in a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, label=form.name, **form.style)


def response(forms: Sequence[Scored], truth: Floats, name: str, path: Path) -> list[Path]:
    """Draw value / truth in bins of the truth, which is never zero: its median, and below half its central 68 %.

    Every bin holds as many jets. Both have their statistical errors. Returns the files.
    """
    edges = np.unique(np.quantile(truth, np.linspace(0, 1, _BINS + 1)))
    edges[-1] = np.nextafter(edges[-1], np.inf)  # the last bin has its upper edge too
    place_of = np.searchsorted(edges, truth, side="right") - 1
    middles = np.array([np.median(truth[place_of == index]) for index in range(len(edges) - 1)])
    with panels() as (figure, (axes, below)):
        for index, form in enumerate(forms):
            shift = 0.006 * (edges[-1] - edges[0]) * (index - (len(forms) - 1) / 2)
            for what, place in (("median", axes), ("68 %", below)):
                curve = metrics.response(form.scores, truth, edges, what=what)  # type: ignore[arg-type]
                errors = (curve.high - curve.low) / 2
                centres = middles + shift
                marker = "s" if form.line in MARKERS else "o"
                options: dict[str, Any] = {"fmt": marker, "markersize": 4, "capsize": 2, "fillstyle": "none"}
                place.errorbar(centres, curve.values, yerr=errors, label=form.name, color=f"C{index}", **options)
        axes.axhline(1, color="black", linewidth=0.8)
        axes.set(ylabel="value / truth, median")
        below.set(ylabel="resolution (68 %)", ylim=(0, None))
        below.set_xlabel(f"{name}, truth", parse_math=False)
        axes.legend(fontsize=10)
        return save(figure, path)


def weight_histogram(before: WeightedValues, after: WeightedValues, path: Path) -> list[Path]:
    """Draw the weights that act, before and after; those of `before` that are gone count as zeros after.

    Both are quantised weights and how often each is there; the spike at zero is what the firmware does not build.
    """
    gone = max(before[1].sum() - after[1].sum(), 0.0)
    reach = float(max(np.abs(before[0]).max(initial=0.0), np.abs(after[0]).max(initial=0.0), 1e-6))
    bins = np.linspace(-1.05 * reach, 1.05 * reach, 64)  # an odd number of bins, so that zero has one of its own
    pruned = np.append(after[0], 0.0), np.append(after[1], gone)
    with canvas() as (figure, axes):
        shown = (("baseline", before, "stepfilled", 0.35), ("hepprune", pruned, "step", 1.0))
        for name, (values, counts), kind, alpha in shown:
            label = f"{name}, {counts[values == 0].sum() / max(counts.sum(), 1.0):.1%} zeros"
            axes.hist(values, bins, weights=counts, histtype=kind, alpha=alpha, linewidth=1.5, label=label)
        axes.set(yscale="log", xlabel="quantised weight", ylabel="weights", ylim=(0.5, None))
        axes.legend(fontsize=10)
        return save(figure, path)


def rates(forms: Sequence[Scored], signal: NDArray[Any], n_bunches: int, name: str, path: Path) -> list[Path]:
    """Draw the rate of what is not signal above each threshold, with its errors, and return the files.

    Scores are (n_jets,). Thresholds that fewer than ten events pass are left out.
    """
    with canvas() as (figure, axes):
        for index, form in enumerate(forms):
            background = np.sort(form.scores[signal == 0])
            # from the median to the threshold that ten events pass, both above zero
            low, high = float(np.median(background)), float(background[max(len(background) - 11, 0)])
            thresholds = np.unique(np.geomspace(*(max(low, 1e-9), max(high, low * (1 + 1e-6), 2e-9)), _POINTS))
            curve = metrics.rate(background, thresholds, n_bunches=n_bunches)
            if form.line in MARKERS:
                axes.plot(thresholds[::5], curve.values[::5], form.line, color=f"C{index}", label=form.name)
                continue
            axes.plot(thresholds, curve.values, form.line, color=f"C{index}", label=form.name)
            axes.fill_between(thresholds, curve.low, curve.high, color=f"C{index}", alpha=0.2, linewidth=0)
        axes.set(xscale="log", yscale="log", ylabel=f"rate of minimum bias [kHz], {n_bunches} bunches")
        axes.set_xlabel(f"threshold on {name}", parse_math=False)
        axes.legend(fontsize=10)
        return save(figure, path)


def has_turn_on(truth: Floats) -> bool:
    """Return whether the truth is spread over more than one bin."""
    return len(_edges(truth)) > 2


def _edges(truth: Floats) -> Floats:
    return np.unique(np.quantile(truth, np.linspace(0.01, 0.99, _BINS_OF_TURN_ON + 1)))


def turn_on(forms: Sequence[Scored], truth: Floats, name: str, path: Path) -> list[Path]:
    """Draw how often a value lies above the median truth, in bins of the truth, and its ratio to the first form."""
    cut, edges = float(np.median(truth)), _edges(truth)
    with panels() as (figure, (axes, below)):
        first: Curve | None = None
        for index, form in enumerate(forms):
            curve = metrics.turn_on(truth, form.scores > cut, edges)
            first = first or curve
            _points(axes, curve, form, index, len(forms))
            if curve is not first:
                _ratio(below, curve, first, form, index)
        axes.set(ylabel=f"efficiency of a cut at {cut:.3g}", ylim=(0, 1.15))
        axes.axhline(1, color="black", linewidth=0.6)
        below.axhline(1, color="black", linewidth=0.8)
        below.set(ylabel=f"/ {forms[0].name}", ylim=(0.7, 1.3))
        below.set_xlabel(f"{name}, truth", parse_math=False)
        axes.legend(fontsize=10, loc="lower right")
        return save(figure, path)


def _points(axes: Any, curve: Curve, form: Scored, index: int, n_forms: int) -> None:
    centres, style = (curve.x[1:] + curve.x[:-1]) / 2, {"color": f"C{index}", "label": form.name}
    if form.line in MARKERS:
        axes.plot(centres, curve.values, form.line, fillstyle="none", **style)
        return
    axes.stairs(curve.values, curve.x, linestyle=form.line, linewidth=1.8, baseline=None, **style)
    ends = [np.maximum(curve.values - curve.low, 0), np.maximum(curve.high - curve.values, 0)]
    place = centres + (index - (n_forms - 1) / 2) * 0.1 * np.diff(curve.x)
    axes.errorbar(place, curve.values, yerr=ends, fmt="none", ecolor=f"C{index}", capsize=2)


def _ratio(axes: Any, curve: Curve, first: Curve, form: Scored, index: int) -> None:
    """Draw the ratio where there is something to be relative to, with the paired error of the difference."""
    seen = first.values > _LEAST_EFFICIENCY
    centres = ((curve.x[1:] + curve.x[:-1]) / 2)[seen]
    ratio = curve.values[seen] / first.values[seen]
    pairs = zip(curve.scores, first.scores, strict=True)
    errors = np.array([metrics.difference(*pair).error for pair in pairs])[seen] / first.values[seen]
    marker = form.line if form.line in MARKERS else "_"
    axes.errorbar(centres, ratio, errors, fmt=marker, color=f"C{index}", fillstyle="none")
