"""Plots of a trigger: rate against threshold, and the turn-on of a cut, each with its ratio to the baseline."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune import metrics
from hepprune.metrics import Curve, Floats
from hepprune.report.plots import canvas, panels, save
from hepprune.report.plots.physics import MARKERS, Scored

_POINTS, _BINS = 60, 12
_LEAST = 0.1  # efficiency that others are divided by


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
    return np.unique(np.quantile(truth, np.linspace(0.01, 0.99, _BINS + 1)))


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
    seen = first.values > _LEAST
    centres = ((curve.x[1:] + curve.x[:-1]) / 2)[seen]
    ratio = curve.values[seen] / first.values[seen]
    pairs = zip(curve.scores, first.scores, strict=True)
    errors = np.array([metrics.difference(*pair).error for pair in pairs])[seen] / first.values[seen]
    marker = form.line if form.line in MARKERS else "_"
    axes.errorbar(centres, ratio, errors, fmt=marker, color=f"C{index}", fillstyle="none")
