"""The Pareto front of a plan search: what the metric loses against the share of the budget."""

from collections.abc import Sequence
from pathlib import Path

from hepprune.report.plots import canvas, save

Point = tuple[float, float, float]  # the largest share of any limit, the loss, its error


def draw(points: Sequence[Point], chosen: Point, *, metric: str, path: Path) -> list[Path]:
    """Draw the front with its errors, the chosen plan and the budget, and return the files (png and pdf)."""
    with canvas() as (figure, axes):
        shares, losses, errors = zip(*points, strict=True)
        axes.errorbar(
            shares, losses, yerr=errors, fmt="o-", markersize=4, capsize=2, label="Pareto front of whole networks"
        )
        axes.errorbar(*chosen[:2], yerr=chosen[2], fmt="*", markersize=14, capsize=3, label="chosen")
        axes.axvline(1, color="black", linestyle="--", label="budget")
        axes.set(xlabel="largest share of any limit", ylabel=f"loss in {metric}")
        axes.set_xlim(left=0)
        axes.legend(fontsize=10, loc="upper right")
        return save(figure, path)
