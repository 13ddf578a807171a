"""Plots of how values are spread: scores of each kind, the confusion matrix on the truth, bits of single values."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.metrics import Floats
from hepprune.report.plots import canvas, legend, save, write_cells
from hepprune.report.plots.physics import MARKERS, Scored, WeightedValues, handle

_BINS = 40
Widths = Mapping[str, WeightedValues]  # bits, and how many values have as many, by layer


def scores(forms: Sequence[Scored], kinds: NDArray[Any], names: Sequence[str], title: str, path: Path) -> list[Path]:
    """Draw the distribution of a score (n_jets,) for jets of each kind, one colour a kind and one line style a form.

    `kinds` (n_jets,) number the names. Each distribution has an area of one; a score above zero with a long tail is
    drawn on a logarithmic axis.
    """
    from matplotlib.lines import Line2D

    every = np.concatenate([form.scores for form in forms])
    edges, is_log = _edges(every)
    with canvas() as (figure, axes):
        for form in forms:
            for kind in range(len(names)):
                _draw(axes, form, form.scores[kinds == kind], edges, f"C{kind}")
        axes.set(ylabel="fraction of jets", yscale="log", xscale="log" if is_log else "linear")
        axes.set_xlabel(title, parse_math=False)
        axes.set_ylim(top=20 * axes.get_ylim()[1])
        axes.add_artist(axes.legend(handles=[handle(form) for form in forms], fontsize=10, loc="upper left"))
        legend(axes, [Line2D([], [], color=f"C{kind}") for kind in range(len(names))], names, fontsize=10)
        return save(figure, path)


def _edges(values: Floats) -> tuple[Floats, bool]:
    """Return bins from the smallest to the largest value, logarithmic where values reach far beyond their middle."""
    low, middle, high = (float(np.quantile(values, q)) for q in (0.0, 0.5, 1.0))
    if low > 0 and high > 20 * middle:
        return np.geomspace(low, high * (1 + 1e-9), _BINS + 1), True
    return np.linspace(low, high if high > low else low + 1, _BINS + 1), False


def _draw(axes: Any, form: Scored, values: Floats, edges: Floats, colour: str) -> None:
    if not len(values):
        return
    heights = np.histogram(values, edges)[0] / len(values)
    heights = np.where(heights > 0, heights, np.nan)
    if form.line in MARKERS:
        axes.plot((edges[1:] + edges[:-1]) / 2, heights, form.line, color=colour, markersize=4, fillstyle="none")
    else:
        axes.stairs(heights, edges, color=colour, linestyle=form.line, linewidth=1.6)


def confusion(forms: Mapping[str, Floats], truth: NDArray[Any], classes: Sequence[str], path: Path) -> list[Path]:
    """Draw what fraction of the jets of each true class each form takes for which, side by side; return the files."""
    n_classes, turn = len(classes), {"rotation": 30, "ha": "right"} if max(map(len, classes)) > 4 else {}
    with canvas(0.9 * n_classes * len(forms) + 2.5, 0.9 * n_classes + 1.6) as (figure, first):
        first.remove()
        axes = figure.subplots(1, len(forms), sharey=True, squeeze=False)[0]
        for each, (name, values) in zip(axes, forms.items(), strict=True):
            matrix = np.zeros((n_classes, n_classes))
            np.add.at(matrix, (truth, values.argmax(axis=1)), 1)
            matrix /= np.maximum(matrix.sum(axis=1, keepdims=True), 1)
            image = each.imshow(matrix, cmap="Blues", vmin=0, vmax=1)
            write_cells(each, matrix, "{:.2f}".format, dark=matrix > 0.55, fontsize=10)
            each.set_xticks(range(n_classes), classes, parse_math=False, fontsize=11, **turn)
            each.set_yticks(range(n_classes), classes, parse_math=False, fontsize=11)
            each.tick_params(length=0)
            each.set_xlabel("taken for")
            each.set_title(name, fontsize=12)
        axes[0].set_ylabel("true class")
        figure.colorbar(image, ax=list(axes), label="fraction of the true class", shrink=0.8, pad=0.02)
        return save(figure, path)


def of_values(before: Widths, after: Widths, path: Path) -> list[Path]:
    """Draw how many values of each layer have how many bits, and the mean of them before; return the files."""
    most = int(max(widths.max(initial=0) for each in (before, after) for widths, _ in each.values()))
    counts = np.zeros((len(after), most + 1))
    for row, (widths, numbers) in zip(counts, after.values(), strict=True):
        row[widths.astype(int)] = numbers
    with canvas(0.5 * most + 4.0, 0.55 * len(after) + 1.8) as (figure, axes):
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        image = axes.imshow(shares, aspect="auto", cmap="Blues", vmin=0, vmax=1)
        write_cells(axes, counts, lambda count: f"{count:,.0f}" if count else "", dark=shares > 0.55)
        there = [(row, before[name]) for row, name in enumerate(after) if name in before]
        means = [np.average(widths, weights=numbers) for _, (widths, numbers) in there]
        axes.plot(means, [row + 0.36 for row, _ in there], "^", color="C1", markersize=8, label="baseline, mean")
        axes.set_xticks(range(most + 1))
        axes.set_yticks(range(len(after)), list(after))
        axes.set(xlabel="bits of a value", xlim=(-0.5, most + 0.5))
        axes.legend(fontsize=9, loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
        figure.colorbar(image, label="fraction of the layer's values")
        return save(figure, path)
