"""Plots of the physics: ROC curves of every class, the response of values, and what pruning leaves of the weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hepprune import metrics
from hepprune.metrics import Floats
from hepprune.report.plots import canvas, legend, save

_BINS = 10  # of the truth
_LEAST_EFFICIENCY = 0.1  # below it a mistag rate rests on a handful of jets


@dataclass(frozen=True)
class Scored:
    """One form of a tagger: its name, its line style, and what it says of each jet.

    Those are scores for each class, (n_jets, n_classes), or values, (n_jets,).
    """

    name: str
    line: Literal["-", "--", ":"]
    scores: Floats


def roc(forms: Sequence[Scored], labels: NDArray[np.integer[Any]], classes: Sequence[str], path: Path) -> list[Path]:
    """Draw mistag rate against efficiency, one colour a class and one line style a form, and return the files.

    Mistag rates that fewer than ten jets of the other classes pass are left out.
    """
    from matplotlib.lines import Line2D

    with canvas(7.5, 6.0) as (figure, axes):
        colours = [f"C{index}" for index in range(len(classes))]
        for form in forms:
            width = 3.0 if form.line == ":" else 1.5  # dots that lie on a line stay visible
            for index, colour in enumerate(colours):
                positive = labels == index
                efficiency, mistag = metrics.roc(form.scores[:, index], positive)
                seen = (efficiency > _LEAST_EFFICIENCY) & (mistag * np.count_nonzero(~positive) >= 10)
                axes.plot(efficiency[seen], mistag[seen], linestyle=form.line, color=colour, linewidth=width)
        axes.set(yscale="log", xlabel="efficiency", ylabel="mistag rate", xlim=(0, 1), ylim=(None, 1))
        kinds = [Line2D([], [], color="black", linestyle=form.line, label=form.name) for form in forms]
        named = [Line2D([], [], color=colour) for colour in colours]
        axes.add_artist(axes.legend(handles=kinds, fontsize=10, loc="upper left"))
        legend(axes, named, classes, fontsize=10, loc="lower right", ncols=2)
        return save(figure, path)


def response(forms: Sequence[Scored], truth: Floats, name: str, path: Path) -> list[Path]:
    """Draw value / truth in bins of the truth, which is never zero: its median and its central 68 %; return the files.

    Every bin holds as many jets.
    """
    edges = np.unique(np.quantile(truth, np.linspace(0, 1, _BINS + 1)))
    edges[-1] = np.nextafter(edges[-1], np.inf)  # the last bin has its upper edge too
    centres = (edges[1:] + edges[:-1]) / 2
    with canvas() as (figure, axes):
        for index, form in enumerate(forms):
            median, width = (metrics.response(form.scores, truth, edges, what=what) for what in ("median", "68 %"))
            middle, half = (np.array([score.value for score in curve.scores]) for curve in (median, width))
            place = centres + 0.01 * (edges[-1] - edges[0]) * (index - (len(forms) - 1) / 2)
            axes.errorbar(place, middle, yerr=half, fmt="o", markersize=4, capsize=2, label=form.name)
        axes.axhline(1, color="black", linewidth=0.8)
        axes.set(ylabel="value / truth, median and central 68 %")
        axes.set_xlabel(name, parse_math=False)
        axes.legend(fontsize=10)
        return save(figure, path)


def weight_histogram(before: Floats, after: Floats, path: Path) -> list[Path]:
    """Draw the weights that act, before and after; those of `before` that are gone count as zeros after.

    Both are flat arrays of quantised weights; the spike at zero is what the firmware does not build.
    """
    gone = np.zeros(max(len(before) - len(after), 0))
    reach = float(max(np.abs(before).max(initial=0.0), np.abs(after).max(initial=0.0), 1e-6))
    bins = np.linspace(-1.05 * reach, 1.05 * reach, 64)  # an odd number of bins, so that zero has one of its own
    pruned = np.concatenate([after, gone])
    with canvas() as (figure, axes):
        shown = (("baseline", before, "stepfilled", 0.35), ("hepprune", pruned, "step", 1.0))
        for name, values, kind, alpha in shown:
            label = f"{name}, {np.mean(values == 0):.1%} zeros"
            axes.hist(values, bins, histtype=kind, alpha=alpha, linewidth=1.5, label=label)
        axes.set(yscale="log", xlabel="quantised weight", ylabel="weights", ylim=(0.5, None))
        axes.legend(fontsize=10)
        return save(figure, path)
