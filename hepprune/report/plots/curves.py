"""Curves with their errors: a figure of merit against what it costs, one line per method."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hepprune.metrics.scores import Stated
from hepprune.report.plots import canvas, save

_MARKERS = "os^vD*Pp<>hX"


@dataclass(frozen=True)
class Line:
    """One line: points x, y and the error of y, 0 where it is not known."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    error: Sequence[float]

    @classmethod
    def of(cls, label: str, x: Sequence[float], scores: Sequence[Stated]) -> "Line":
        """Return the line of scores."""
        return cls(label, x, [score.value for score in scores], [score.error or 0.0 for score in scores])


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
            axes.errorbar(curve.x, curve.y, curve.error, fmt=f"{marker}-", markersize=5, capsize=2, label=curve.label)
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
