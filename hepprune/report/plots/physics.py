"""Plots of the physics: ROC curves of every class, the response of values, and what pruning leaves of the weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hepprune import metrics
from hepprune.metrics import Floats
from hepprune.report.plots import canvas, legend, panels, save

_BINS = 10  # of the truth
_LEAST = 0.1  # efficiency; below it a mistag rate rests on a handful of jets, of classes that are alike in number
_N_MARKERS = 12
WeightedValues = tuple[Floats, Floats]  # values, and how often each is there
MARKERS = frozenset("o")  # lines that are markers: of hardware, which lies on the curve of its network


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
