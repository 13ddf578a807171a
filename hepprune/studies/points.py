"""The points of a latency study, and the table that they are: what was predicted, what was measured, what fits."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from hepprune.hardware.resources import RESOURCES, Budget, Estimate, Measurement
from hepprune.metrics.scores import Stated
from hepprune.studies.grid import Setting

_KNOBS = ("model", "bits", "sparsity", "strategy", "reuse_factor", "parallelization", "clock_ns")
_SHOWN = 20  # rows of a notebook


@dataclass(frozen=True, kw_only=True)
class Point:
    """One setting with what it is predicted to cost, what a tool measured of it, and what jets say of its network.

    `estimate` is calibrated where `n_learned` measured designs taught it something. `reserved_ns` is what a wrapper
    takes of the latency at this clock, already taken off the budget. `failure` says why it could not be measured.
    """

    setting: Setting
    estimate: Estimate
    budget: Budget
    reserved_ns: float = 0.0
    scores: dict[str, Stated] = field(default_factory=dict)
    measurement: Measurement | None = None
    failure: str | None = None
    n_learned: int = 0
    front: bool = False

    @property
    def figures(self) -> Estimate | Measurement:
        """What was measured at the stage of the estimate, where that tells all that is limited; else the estimate."""
        measured = self.measurement
        if measured is None or measured.stage != self.estimate.stage or self.budget.unreported(measured):
            return self.estimate
        return measured

    @property
    def fits(self) -> bool:
        """Whether no limit is broken."""
        return self.budget.met_by(self.figures)

    @property
    def doubtful(self) -> tuple[str, ...]:
        """The limits that hold, but not by one standard deviation; of what was measured none is in doubt."""
        return self.budget.doubted(self.estimate) if self.figures is self.estimate else ()

    @property
    def exceeded(self) -> tuple[str, ...]:
        """The limits that are broken, worst first."""
        return tuple(self.budget.exceeded(self.figures))

    @property
    def verdict(self) -> str:
        """One of fits, doubtful, over."""
        return "over" if not self.fits else "doubtful" if self.doubtful else "fits"

    @property
    def latency_ns(self) -> float:
        """Latency of the network itself, if the clock is met; its registers are in it, a wrapper is not.

        It is estimated where a measurement does not tell it.
        """
        return float(self.figures.latency_ns or self.estimate.latency_ns)

    @property
    def whole_ns(self) -> float:
        """Latency with what a wrapper takes of it."""
        return self.latency_ns + self.reserved_ns

    @property
    def interval_ns(self) -> float:
        """The time between two jets."""
        return float(self.figures.interval_cycles or self.estimate.interval_cycles) * self.setting.clock_ns

    def row(self) -> dict[str, Any]:
        """Return the point as one row: knobs, figures with their units, errors of one standard deviation."""
        own = self.estimate
        found: dict[str, Any] = {name: getattr(self.setting, name) for name in _KNOBS}
        found |= {"stage": own.stage, "latency_ns": own.latency_ns, "latency_cycles": own.latency_cycles}
        found["latency_error_ns"] = (own.latency_error_cycles or 0.0) * own.clock_ns
        found |= {"reserved_ns": self.reserved_ns, "interval_cycles": own.interval_cycles}
        for name in RESOURCES:
            found |= {name: getattr(own.resources, name), f"{name}_error": getattr(own.uncertainty, name)}
        for name, score in self.scores.items():
            found |= {name: score.value, f"{name}_error": score.error}
        found |= {"verdict": self.verdict, "front": self.front, "n_learned": self.n_learned}
        seen = self.measurement
        found |= {"measured_stage": seen and seen.stage, "measured_by": seen and seen.tool}
        found |= {f"measured_{name}": seen and getattr(seen, name) for name in ("latency_ns", "interval_cycles")}
        found |= {f"measured_{name}": seen and getattr(seen.resources, name) for name in RESOURCES}
        return found | {"clock": seen.clock if seen else "assumed"}


@dataclass(frozen=True, kw_only=True)
class Study(Sequence[Point]):
    """The legal points of a grid on a target, and why others are none; `files` are what was written.

    `notes` say what is assumed of part and types, `awaited` what to do with designs handed to another machine.
    """

    target: str
    io_type: str
    points: tuple[Point, ...]
    illegal: dict[str, int] = field(default_factory=dict)
    metric: str | None = None
    n_jets: int = 0
    notes: tuple[str, ...] = ()
    awaited: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)

    @overload
    def __getitem__(self, place: int) -> Point: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Point, ...]: ...
    def __getitem__(self, place: int | slice) -> Point | tuple[Point, ...]:
        """Return a point, or several."""
        return self.points[place]

    def __len__(self) -> int:
        """Return how many points there are."""
        return len(self.points)

    @property
    def fitting(self) -> tuple[Point, ...]:
        """The points that break no limit, fastest first."""
        return tuple(sorted((point for point in self if point.fits), key=lambda point: point.whole_ns))

    @property
    def front(self) -> tuple[Point, ...]:
        """The points that no other beats in latency, interval, LUT, DSP and metric at once, fastest first."""
        return tuple(sorted((point for point in self if point.front), key=lambda point: point.whole_ns))

    @property
    def measured(self) -> tuple[Point, ...]:
        """The points that were really synthesised."""
        return tuple(point for point in self if point.measurement is not None)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return every column as an array (n_points,): numbers as float64 with NaN where nothing is known."""
        rows = [point.row() for point in self]
        return {name: _column([row.get(name) for row in rows]) for name in columns(self)}

    def _repr_html_(self) -> str:
        """Return the front as a table for a notebook."""
        names = ["model", "bits", "sparsity", "strategy", "reuse_factor", "clock_ns", "latency_ns", "lut", "dsp"]
        names += [*([self.metric] if self.metric else []), "verdict"]
        rows = [point.row() for point in self.front[:_SHOWN]]
        head = "".join(f"<th>{escape(name)}</th>" for name in names)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(_text(row.get(name)))}</td>" for name in names) + "</tr>" for row in rows
        )
        caption = f"{len(self):,} points on {self.target}, {len(self.fitting):,} fit, {len(self.front):,} on the front"
        return f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def columns(study: Study) -> list[str]:
    """Return the names of the columns of a study, in order."""
    return list(dict.fromkeys(name for point in study for name in point.row()))


def _column(values: list[Any]) -> NDArray[Any]:
    if any(isinstance(value, str) for value in values):
        return np.array(["" if value is None else value for value in values])
    if all(isinstance(value, bool) for value in values):
        return np.array(values)
    return np.array([math.nan if value is None else float(value) for value in values])


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"
    return "" if value is None else str(value)
