"""Plots, png and pdf: the Pareto front of the search, the resource bars, the sensitivity map."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np

from hepprune.files import replacing
from hepprune.metrics import scores
from hepprune.report.summary import FIGURES, Summary

_FORMATS = (".png", ".pdf")
_LABEL: ContextVar[str | None] = ContextVar("label", default=None)


@contextmanager
def canvas(width: float = 7.0, height: float = 5.0) -> Iterator[tuple[Any, Any]]:
    """Yield a figure and its axes in the field's style, and close the figure."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    import mplhep

    own = {"figure.figsize": (width, height), "font.size": 13, "figure.dpi": 120}
    with plt.style.context([mplhep.style.ROOT, own]):
        figure, axes = plt.subplots(layout="constrained")
        try:
            yield figure, axes
        finally:
            plt.close(figure)


@contextmanager
def panels(height: float = 6.0, *, ratio: float = 3.0) -> Iterator[tuple[Any, tuple[Any, Any]]]:
    """Yield a figure with axes and lower ones, so many times less high, that share their x, and close the figure."""
    with canvas(7.0, height) as (figure, first):
        first.remove()
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(ratio, 1))
        yield figure, (axes, below)


@contextmanager
def labelled(text: str | None) -> Iterator[None]:
    """Have every figure that is saved meanwhile bear a text above its axes, such as "CMS Simulation"."""
    token = _LABEL.set(text)
    try:
        yield
    finally:
        _LABEL.reset(token)


def save(figure: Any, path: Path) -> list[Path]:
    """Write a figure as png and pdf, each whole and without the time, so that the same plot is the same file."""
    if label := _LABEL.get():
        font = {"fontsize": 13, "fontweight": "bold", "fontstyle": "italic"}
        figure.axes[0].set_title(label, loc="left", parse_math=False, **font)
    paths = [path.with_suffix(suffix) for suffix in _FORMATS]
    figure.get_layout_engine().execute(figure)  # once for all formats
    figure.set_layout_engine(None)  # as "none", which would lay out each format once more, to no end
    for target in paths:
        with replacing(target) as temporary:
            figure.savefig(temporary, metadata={"CreationDate": None} if target.suffix == ".pdf" else None)
    return paths


def legend(axes: Any, handles: Sequence[Any], names: Sequence[str], **options: Any) -> None:
    """Add a legend whose names are shown as they are: dollars begin no formula, and an underscore hides no entry."""
    added = axes.legend(handles, [str(index) for index in range(len(names))], **options)
    for text, name in zip(added.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(name)


def write_cells(axes: Any, values: Any, form: Callable[[float], str], *, dark: Any, fontsize: int = 9) -> None:
    """Write values (n_rows, n_columns) into the cells of an image, in white where those are dark."""
    for (row, column), value in np.ndenumerate(values):
        style = {"ha": "center", "va": "center", "fontsize": fontsize}
        axes.text(column, row, form(value), color="white" if dark[row, column] else "black", **style)
    axes.minorticks_off()


def pareto(summary: Summary, path: Path) -> list[Path]:
    """Draw the primary metric's change against LUT along the search, with the budget line, and return the files.

    Validation and test jets are different samples, so each network is shown relative to the baseline on its own jets.
    """
    metric, points = next(iter(summary.baseline.scores)), summary.search
    scale, unit = scores.scale(metric), " [points]" if scores.scale(metric) != 1 else ""
    with canvas() as (figure, axes):
        luts, changes = [p.lut for p in points], [scale * p.change for p in points]
        errors = [scale * (p.scores[metric].error or 0.0) for p in points]
        label = "search (validation, estimated LUT, errors unpaired)"
        axes.errorbar(luts, changes, errors, fmt="o-", markersize=4, capsize=2, alpha=0.5, label=label)
        named = (
            ("uniform", summary.uniform, summary.uniform_minus_baseline, "v"),
            ("hepprune", summary.compressed, summary.compressed_minus_baseline, "*"),
        )
        kind = "estimated" if summary.compressed.solved_lut is None else "solved"
        for name, tagger, gap, marker in named:
            own, label = gap.scores[metric].times(scale), f"{name} (test, {kind} LUT, errors paired)"
            style = {"fmt": marker, "markersize": 12 if marker == "*" else 7, "capsize": 3, "zorder": 3}
            axes.errorbar(tagger.lut, own.value, own.error, label=label, **style)
        axes.plot(summary.baseline.lut, 0, "s", color="black", markersize=7, label="baseline")
        axes.axhline(0, color="black", linewidth=0.8)
        if "lut" in summary.budget:
            axes.axvline(summary.budget["lut"], color="black", linestyle="--", label="budget")
        axes.set(xscale="log", xlabel="LUT", ylabel=f"{scores.label(metric)} - baseline{unit}")
        axes.margins(y=0.25)
        axes.legend(fontsize=9, loc="best")
        return save(figure, path)


def resource_bars(summary: Summary, path: Path) -> list[Path]:
    """Draw each limited figure, estimated and measured, as a fraction of its budget, and return the files."""
    measured = summary.compressed.measured
    stages = [("estimated", summary.compressed.estimate)]
    if measured is not None:
        stages.append((f"measured ({measured.stage})", measured))
    limits = {name: limit for name, limit in summary.budget.items() if limit > 0}
    positions, width = np.arange(len(limits)), 0.8 / len(stages)
    with canvas() as (figure, axes):
        for index, (label, cost) in enumerate(stages):
            values = [getattr(cost, name) for name in limits]
            used = [(value or 0.0) / limit for value, limit in zip(values, limits.values(), strict=True)]
            bars = axes.bar(positions + (index - (len(stages) - 1) / 2) * width, used, width, label=label)
            names = ["?" if value is None else f"{value:,.0f}" for value in values]
            for text in axes.bar_label(bars, labels=names, fontsize=10, padding=2):
                text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})
        axes.axhline(1, color="black", linestyle="--", label="budget")
        axes.set_xticks(positions, [f"{FIGURES[name]}\n$\\leq$ {limit:,.0f}" for name, limit in limits.items()])
        axes.set(ylabel="fraction of the budget", ylim=(0, 1.35))
        axes.minorticks_off()
        axes.legend(fontsize=10, loc="upper right", ncols=3)
        return save(figure, path)


def sensitivity_map(
    labels: Sequence[str], levels: Sequence[float], changes: Any, path: Path, *, unit: str = "nat"
) -> list[Path]:
    """Draw the loss change (n_curves, n_levels) of pruning one layer alone, in 1e-3 of its unit; return the files."""
    from matplotlib.colors import SymLogNorm

    values = 1000 * np.asarray(changes, dtype=float)
    label = f"$10^{{-3}}$ {unit}".strip()
    with canvas(7.0, 0.45 * len(labels) + 1.8) as (figure, axes):
        largest = max(float(np.abs(values).max()), 1.0)
        image = axes.imshow(values, aspect="auto", cmap="RdBu_r", norm=SymLogNorm(1.0, vmin=-largest, vmax=largest))
        axes.set_xticks(range(len(levels)), [f"{level:.0%}" for level in levels])
        axes.set_yticks(range(len(labels)), labels)
        write_cells(axes, values, "{:.1f}".format, dark=np.abs(values) > 0.3 * largest)
        axes.set(xlabel="fraction cut")
        figure.colorbar(image, label=f"loss change [{label}]")
        return save(figure, path)
