"""Which points of a study nothing beats, and which of them a synthesis would tell most about."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hepprune.hardware import calibration
from hepprune.metrics import Floats, is_lower_better
from hepprune.studies.points import Point

_BLOCK = 256  # points compared with all others at once
_MOST = 2000  # points that a choice looks at, those that matter first


def marked(points: Sequence[Point], metric: str | None) -> tuple[Point, ...]:
    """Return the points with those marked that no other beats in latency, interval, LUT, DSP and metric at once.

    Latency is that with a wrapper, whose cycles follow the clock; interval is in ns too.
    Without a metric nothing tells what bits and cuts cost, and only points of the same network are compared.
    """
    groups: dict[object, list[int]] = {}
    for place, point in enumerate(points):
        groups.setdefault(None if metric else point.setting.network, []).append(place)
    best = set[int]()
    for places in groups.values():
        values = np.array([_objectives(points[place], metric) for place in places])
        best |= {place for place, kept in zip(places, unbeaten(values), strict=True) if kept}
    return tuple(replace(point, front=place in best) for place, point in enumerate(points))


def _objectives(point: Point, metric: str | None) -> tuple[float, ...]:
    cells = point.figures.resources
    loss = 0.0
    if metric:
        loss = point.scores[metric].value * (1 if is_lower_better(metric) else -1)
    return point.whole_ns, point.interval_ns, cells.lut or 0.0, cells.dsp or 0.0, loss


def unbeaten(values: Floats) -> NDArray[np.bool_]:
    """Return which rows (n_points,) of values (n_points, n_objectives), the smaller the better, no other row beats.

    Rows that are equal do not beat each other.
    """
    kept = np.ones(len(values), dtype=bool)
    for start in range(0, len(values), _BLOCK):
        block = values[start : start + _BLOCK, None]
        no_worse, better = np.all(values <= block, axis=-1), np.any(values < block, axis=-1)
        kept[start : start + _BLOCK] = ~np.any(no_worse & better, axis=1)
    return kept


def informative(points: Sequence[Point], candidates: Sequence[int], n: int) -> list[int]:
    """Return the places of up to `n` candidates whose measurement would teach most about the points that matter.

    Those are the front and what may or may not fit. What a design's LUT has beside its estimate is taken as one
    Gaussian field over the grid, as uncertain as the estimates claim, in which designs that are built alike err alike;
    what is already measured is known. Each next candidate takes most variance off the points that matter (Krause,
    Singh and Guestrin, JMLR 9 (2008) 235).
    """
    matter = [place for place, point in enumerate(points) if point.front or point.verdict == "doubtful"]
    known = [place for place, point in enumerate(points) if point.measurement is not None]
    field = list(dict.fromkeys([*known, *matter, *candidates]))[:_MOST]
    covariance = _covariance([points[place] for place in field])
    for place in range(len(known)):
        covariance = _given(covariance, place)
    open_ = set(candidates) - set(known)
    left = [place for place, own in enumerate(field) if own in open_]
    counts = np.isin(field, matter) if matter else np.ones(len(field), dtype=bool)
    chosen: list[int] = []
    while left and len(chosen) < n:
        gains = (covariance[left][:, counts] ** 2).sum(axis=1) / (np.diag(covariance)[left] + _NOISE)
        chosen.append(left.pop(int(np.argmax(gains))))
        covariance = _given(covariance, chosen[-1])
    beyond = [place for place in candidates if place in open_.difference(field)]
    return [*(field[place] for place in chosen), *beyond[: n - len(chosen)]]


_NOISE = calibration.LEAST_SPREAD**2
# How much of the error two designs share: a factor for each axis, to the power of how far they are apart.
_SHARED = {"model": 0.5, "strategy": 0.3, "bits": 0.9, "sparsity": 0.5}
_SHARED |= {"reuse_factor": 0.8, "parallelization": 0.8, "clock_ns": 0.95}
_IN_OCTAVES = {"reuse_factor", "parallelization", "clock_ns"}  # in which distances are counted


def _covariance(points: Sequence[Point]) -> Floats:
    """Return the covariance (n_points, n_points) of the relative errors of the LUT."""
    shared: Floats = np.ones((len(points), len(points)))
    for name, factor in _SHARED.items():
        values = np.array([getattr(point.setting, name) or 0 for point in points])
        if name in {"model", "strategy"}:  # all others are one step away
            distance = (values[:, None] != values).astype(np.float64)
        else:
            numbers = np.log2(np.where(values > 0, values, 1)) if name in _IN_OCTAVES else values.astype(np.float64)
            distance = np.abs(numbers[:, None] - numbers)
        shared *= factor**distance
    errors = np.array([_relative_error(point) for point in points])
    return np.asarray(shared * errors[:, None] * errors)


def _relative_error(point: Point) -> float:
    lut, doubt = point.estimate.resources.lut, point.estimate.uncertainty.lut
    return max(doubt / lut, calibration.LEAST_SPREAD) if lut and doubt else calibration.PRIOR_WIDTH


def _given(covariance: Floats, place: int) -> Floats:
    """Return the covariance that is left when one point has been measured."""
    column = covariance[:, place]
    return np.asarray(covariance - np.outer(column, column) / (column[place] + _NOISE))
