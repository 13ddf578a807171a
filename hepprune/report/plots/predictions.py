"""Plot of what calibration is worth: predicted against measured, before and after."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hepprune.hardware.validation import Prediction
from hepprune.report.plots import canvas, save

_MARKERS = {"lut": "o", "ff": "s", "dsp": "D", "bram18": "^", "uram": "v"}


def predicted_vs_measured(rows: Sequence[Prediction], path: Path) -> list[Path]:
    """Draw predictions against measurements, and their ratio below, and return the files.

    Open markers are the cost model's own predictions, full ones the calibrated, with the uncertainty that they claim.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    with canvas(7.0, 7.0) as (figure, whole):
        whole.remove()
        axes, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [2, 1]})
        for colour, resource in enumerate(dict.fromkeys(row.resource for row in rows)):
            _draw(axes, below, [row for row in rows if row.resource == resource], f"C{colour}")
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


def _draw(axes: Any, below: Any, rows: Sequence[Prediction], colour: str) -> None:
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
