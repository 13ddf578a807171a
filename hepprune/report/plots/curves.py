"""Curves with their errors: a figure of merit against what it costs, and latency against LUT of a study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.metrics.scores import Stated
from hepprune.report.plots import canvas, save

_MARKERS = "os^vD*Pp<>hX"
PointColumns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Line:
    """One line: scores at points x, without a bar where their error is not known."""

    label: str
    x: Sequence[float]
    scores: Sequence[Stated]


def draw(
    curves: Sequence[Line],
    path: Path,
    *,
    x_label: str,
    y_label: str,
    level: tuple[str, Stated] | None = None,
    log_x: bool = False,
    falling: bool = False,
) -> list[Path]:
    """Draw curves, png and pdf, and return the files; `falling` draws x from large to small.

    A `level` is a horizontal line with its error band, such as that of the unpruned network.
    """
    with canvas() as (figure, axes):
        # ten colours that all eyes tell apart (arXiv:2107.02270): a style's six repeat too soon
        from matplotlib import style

        axes.set_prop_cycle(style.library["petroff10"]["axes.prop_cycle"])
        if level is not None:
            name, score = level
            error = score.error or 0.0
            axes.axhline(score.value, color="black", linestyle="--", label=name)
            axes.axhspan(score.value - error, score.value + error, color="black", alpha=0.12, linewidth=0)
        for marker, curve in zip(_MARKERS * len(curves), curves, strict=False):
            values = [score.value for score in curve.scores]
            errors = [score.error or 0.0 for score in curve.scores]
            axes.errorbar(curve.x, values, errors, fmt=f"{marker}-", markersize=5, capsize=2, label=curve.label)
        if log_x:  # with plain numbers at 1, 2, 5 of each decade
            from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=sum(len(each.x) for each in curves) + 20))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axes.set(xlabel=x_label, ylabel=y_label)
        if falling:
            axes.invert_xaxis()
        axes.legend(fontsize=10)
        return save(figure, path)


def latency_against_lut(
    columns: PointColumns, path: Path, *, budget_ns: float | None = None, budget_lut: float | None = None
) -> list[Path]:
    """Draw the columns of a study, one array (n_points,) each, and return the files.

    Latency has the cycles in it that a wrapper takes. Points that others beat are faint; those of the front carry one
    standard deviation; a design measured at the stage of the estimates is a black cross, joined to its estimate.
    """
    whole = {**columns, "total_ns": columns["latency_ns"] + columns["reserved_ns"]}
    clocks = np.unique(whole["clock_ns"])
    with canvas(8.0, 6.0) as (figure, axes):
        for colour, strategy in enumerate(dict.fromkeys(whole["strategy"])):
            for marker, clock in zip(_MARKERS * len(clocks), clocks, strict=False):
                mine = (whole["strategy"] == strategy) & (whole["clock_ns"] == clock)
                _draw(axes, {name: column[mine] for name, column in whole.items()}, f"C{colour}", marker)
        for place in np.flatnonzero(_is_measured(whole)):
            x = whole["lut"][place], whole["measured_lut"][place]
            y = whole["total_ns"][place], whole["measured_latency_ns"][place] + whole["reserved_ns"][place]
            axes.plot(x, y, "-", color="black", linewidth=0.8, zorder=4)
            axes.plot(x[1], y[1], "x", color="black", markersize=8, mew=2, zorder=5)
        for line, limit in ((axes.axhline, budget_ns), (axes.axvline, budget_lut)):
            if limit is not None:
                line(limit, color="black", linestyle="--", linewidth=1.2)
        axes.set(xscale="log", yscale="log", xlabel=f"LUT ({whole['stage'][0]})", ylabel="latency [ns]")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:,.0f}")
            axis.set_minor_formatter(_few)
        _legend(axes, whole, clocks, budget=budget_ns is not None or budget_lut is not None)
        return save(figure, path)


def _draw(axes: Any, mine: PointColumns, colour: str, marker: str) -> None:
    """Draw the points of one strategy and clock: faint ones, then those of the front with their errors."""
    front = mine["front"]
    axes.plot(mine["lut"][~front], mine["total_ns"][~front], marker, color=colour, markersize=3, alpha=0.4, mew=0)
    x, y = mine["lut"][front], mine["total_ns"][front]
    x_error = np.nan_to_num(np.minimum(mine["lut_error"][front], 0.9 * x))
    y_error = np.nan_to_num(np.minimum(mine["latency_error_ns"][front], 0.9 * y))
    style = {"fmt": marker, "color": colour, "markersize": 6, "elinewidth": 0.8, "capsize": 2, "alpha": 0.9}
    axes.errorbar(x, y, y_error, x_error, **style)


def _is_measured(whole: PointColumns) -> NDArray[np.bool_]:
    """Return which points were measured at the stage that they are predicted at: others are not counts of that axis."""
    known = np.isfinite(whole["measured_lut"]) & np.isfinite(whole["measured_latency_ns"])
    return np.asarray(known & (whole["measured_stage"] == whole["stage"]))


def _few(value: float, _place: int) -> str:
    """Return the label of a minor tick: of 2 and 5 times a power of ten."""
    digit = round(value / 10 ** np.floor(np.log10(value)))
    return f"{value:,.0f}" if digit in {2, 5} and value >= 1 else ""


def _legend(axes: Any, whole: PointColumns, clocks: NDArray[Any], *, budget: bool) -> None:
    from matplotlib.lines import Line2D

    strategies = [str(name).replace("_", " ") for name in dict.fromkeys(whole["strategy"])]
    entries: list[dict[str, Any]] = [
        {"color": f"C{place}", "marker": "o", "label": name} for place, name in enumerate(strategies)
    ]
    marked = zip(_MARKERS * len(clocks), clocks, strict=False)
    entries += [{"color": "grey", "marker": marker, "label": f"{clock:g} ns"} for marker, clock in marked]
    entries += [{"color": "black", "marker": "x", "mew": 2, "label": "measured"}] if _is_measured(whole).any() else []
    entries += [{"color": "black", "linestyle": "--", "label": "budget"}] if budget else []
    handles = [Line2D([], [], **{"linestyle": "", **each}) for each in entries]
    axes.legend(handles=handles, fontsize=9, loc="best", ncols=2)
