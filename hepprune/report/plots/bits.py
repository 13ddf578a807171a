"""The plot of what single values have of bits."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hepprune.report.plots import canvas, save
from hepprune.report.plots.physics import WeightedValues

Widths = Mapping[str, WeightedValues]  # bits, and how many values have as many, by layer


def of_values(before: Widths, after: Widths, path: Path) -> list[Path]:
    """Draw how many values of each layer have how many bits, and the mean of them before; return the files."""
    most = int(max(widths.max(initial=0) for each in (before, after) for widths, _ in each.values()))
    counts = np.zeros((len(after), most + 1))
    for row, (widths, numbers) in zip(counts, after.values(), strict=True):
        row[widths.astype(int)] = numbers
    with canvas(0.5 * most + 4.0, 0.55 * len(after) + 1.8) as (figure, axes):
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        image = axes.imshow(shares, aspect="auto", cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[row, column] > 0.55 else "black"
                axes.text(column, row, f"{count:,.0f}", ha="center", va="center", fontsize=9, color=colour)
        there = [(row, before[name]) for row, name in enumerate(after) if name in before]
        means = [np.average(widths, weights=numbers) for _, (widths, numbers) in there]
        axes.plot(means, [row + 0.36 for row, _ in there], "^", color="C1", markersize=8, label="baseline, mean")
        axes.set_xticks(range(most + 1))
        axes.set_yticks(range(len(after)), list(after))
        axes.minorticks_off()
        axes.set(xlabel="bits of a value", xlim=(-0.5, most + 0.5))
        axes.legend(fontsize=9, loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
        figure.colorbar(image, label="fraction of the layer's values")
        return save(figure, path)
