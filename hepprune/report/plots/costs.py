"""Plots of the hardware: how good predictions were, and which layer takes the latency."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hepprune.hardware.resources import Estimate
from hepprune.hardware.validation import Prediction
from hepprune.report.plots import canvas, panels, save
from hepprune.report.summary import FIGURES, Feedback

_MARKERS = {"lut": "o", "ff": "s", "dsp": "D", "bram18": "^", "uram": "P", "latency_ns": "v"}
PlanPoint = tuple[float, float, float]  # the largest share of any limit, the loss, its error


def predicted_vs_measured(turns: Sequence[Feedback], path: Path) -> list[Path]:
    """Draw each figure of each turn of the loop, measured against predicted, and return the files.

    Figures that are zero or unknown on either side have no place on logarithmic axes and are left out.
    """
    with canvas() as (figure, axes):
        values: list[float] = []
        costs = [(turn.estimate, turn.measured) for turn in turns if turn.measured is not None]
        for name, marker in _MARKERS.items():
            pairs = [(getattr(estimate, name), getattr(measured, name)) for estimate, measured in costs]
            known = [(turn, *pair) for turn, pair in enumerate(pairs, start=1) if all(pair)]
            if not known:
                continue
            _, x, y = zip(*known, strict=True)
            axes.plot(x, y, marker, markersize=8, alpha=0.7, label=FIGURES[name])
            for turn, predicted, measured in known:
                note, shift = f"turn {turn}: {measured / predicted - 1:+.0%}", (8, -10 if turn % 2 else 6)
                axes.annotate(note, (predicted, measured), shift, textcoords="offset points", fontsize=8)
                values += [predicted, measured]
        ends = [0.6 * min(values, default=1.0), 2.5 * max(values, default=1.0)]
        axes.plot(ends, ends, color="black", linestyle="--", linewidth=1, label="measured as predicted")
        axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, xlabel="predicted", ylabel="measured")
        axes.legend(fontsize=10, loc="upper left")
        return save(figure, path)


def latency_stack(
    estimates: Mapping[str, Estimate],
    path: Path,
    *,
    budget_ns: float | None = None,
    measured_ns: Mapping[str, float] | None = None,
    reserved_ns: Mapping[str, float] | None = None,
) -> list[Path]:
    """Draw the predicted latency of each network, a segment per layer after what a wrapper takes; return the files.

    Latency comes in whole cycles of the design; layers share it in proportion to their depth. `measured_ns` and
    `reserved_ns` are of networks by name, and what was measured has the wrapper in it.
    """
    longest = max(map(len, estimates), default=0)
    ends = [estimate.latency_ns + (reserved_ns or {}).get(name, 0.0) for name, estimate in estimates.items()]
    least = 0.03 * max([budget_ns or 0.0, *ends])
    with canvas(max(7.5, 6.0 + 0.09 * longest), 0.8 * len(estimates) + 2.6) as (figure, axes):
        colours: dict[str, str] = {}
        for row, (name, estimate) in enumerate(estimates.items()):
            whole = sum(layer.depth for layer in estimate.layers) or 1.0
            start = 0.0
            segments = [(layer.layer, estimate.latency_ns * layer.depth / whole) for layer in estimate.layers]
            for layer, width in [("wrapper", (reserved_ns or {}).get(name, 0.0)), *segments]:
                if not width:
                    continue
                new = layer not in colours
                colour = colours.setdefault(layer, "0.95" if layer == "wrapper" else f"C{len(colours) % 10}")
                edge = "0.4" if layer == "wrapper" else colour
                bar = axes.barh(row, width, left=start, color=colour, edgecolor=edge, label=layer if new else None)
                if width > least:  # a narrower one has no room for its number
                    axes.bar_label(bar, [f"{width:.1f}"], label_type="center", fontsize=9)
                start += width
        seen = [(value, row) for row, name in enumerate(estimates) if (value := (measured_ns or {}).get(name))]
        if seen:
            axes.plot(*zip(*seen, strict=True), "D", color="black", markersize=8, label="measured", zorder=3)
        if budget_ns is not None:
            axes.axvline(budget_ns, color="black", linestyle="--", label="budget")
        axes.set_yticks(range(len(estimates)), list(estimates))
        axes.minorticks_off()
        axes.tick_params(axis="y", length=0)  # they would run through the first segments
        axes.set(xlabel="latency [ns]", ylim=(len(estimates) - 0.4, -1.1))
        axes.legend(fontsize=9, loc="upper left", ncols=4)
        return save(figure, path)


def plan_front(points: Sequence[PlanPoint], chosen: PlanPoint, *, metric: str, path: Path) -> list[Path]:
    """Draw the front with its errors, the chosen plan and the budget, and return the files (png and pdf)."""
    with canvas() as (figure, axes):
        shares, losses, errors = zip(*points, strict=True)
        axes.errorbar(shares, losses, errors, fmt="o-", markersize=4, capsize=2, label="Pareto front of whole networks")
        axes.errorbar(*chosen[:2], yerr=chosen[2], fmt="*", markersize=14, capsize=3, label="chosen")
        axes.axvline(1, color="black", linestyle="--", label="budget")
        axes.set(xlabel="largest share of any limit", ylabel=f"loss in {metric}")
        axes.set_xlim(left=0)
        axes.legend(fontsize=10, loc="upper right")
        return save(figure, path)


def calibrated_vs_measured(rows: Sequence[Prediction], path: Path) -> list[Path]:
    """Draw predictions against measurements, and their ratio below, and return the files.

    Open markers are the cost model's own predictions, full ones the calibrated, with the uncertainty that they claim.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    with panels(7.0, ratio=2.0) as (figure, (axes, below)):
        for colour, resource in enumerate(dict.fromkeys(row.resource for row in rows)):
            _draw_calibrated(axes, below, [row for row in rows if row.resource == resource], f"C{colour}")
        values = [value for row in rows for value in (row.measured, row.predicted, row.calibrated)]
        ends = [0.7 * min(values), 1.4 * max(values)]
        axes.plot(ends, ends, color="black", linestyle="--", linewidth=1)
        axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, ylabel="predicted")
        below.axhline(1, color="black", linestyle="--", linewidth=1)
        below.set(xscale="log", xlabel="measured", ylabel="predicted / measured")
        for axis in (axes.yaxis, below.xaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter("{x:,.0f}")
            axis.set_minor_formatter(NullFormatter())
        axes.legend(fontsize=10, loc="upper left")
        return save(figure, path)


def _draw_calibrated(axes: Any, below: Any, rows: Sequence[Prediction], colour: str) -> None:
    measured, before, after, doubt = (
        np.array([getattr(row, name) for row in rows])
        for name in ("measured", "predicted", "calibrated", "relative_error")
    )
    resource = rows[0].resource
    style = {"fmt": _MARKERS.get(resource, "x"), "color": colour, "markersize": 6, "capsize": 2}
    for panel, scale in ((axes, 1.0), (below, measured)):
        panel.errorbar(measured, before / scale, **style, fillstyle="none", label=f"{resource.upper()}, cost model")
        error = after * doubt / scale
        panel.errorbar(measured, after / scale, yerr=error, **style, label=f"{resource.upper()}, calibrated")
