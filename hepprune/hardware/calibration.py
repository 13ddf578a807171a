"""What measurements teach the cost model: factors by stage, strategy, tool, version, kind of layer and resource.

The log of measured over estimated is the sum of an effect of the stage, of the strategy there, of the tool, of its
version, of the kinds of layers in proportion to what they cost, and of the design. `pooling` learns them together, for
each resource alone: a new version of a tool starts from what older ones taught, with the uncertainty that versions
differ by.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, median
from typing import TypeVar

from hepprune.errors import ReportError
from hepprune.hardware import pooling
from hepprune.hardware.pooling import GroupKey, Observation, PooledEffects
from hepprune.hardware.resources import RESOURCES, Estimate, LayerEstimate, Measurement, Resources

Pair = tuple[Estimate, Measurement]
_Predicted = TypeVar("_Predicted", Estimate, LayerEstimate)

# Standard deviations of the log ratio before any measurement. The first five make PRIOR_WIDTH, to which the model is
# trusted; designs differ as the LUTs of the ten in `benchmarks/calibration.py` do, or as much as their estimates claim
# to be uncertain if that is more; layers of one kind differ by more.
WIDTHS = {"stage": 0.15, "strategy": 0.18, "tool": 0.12, "version": 0.08, "kind": 0.10, "design": 0.10, "layer": 0.15}
PRIOR_WIDTH = math.hypot(*(WIDTHS[level] for level in ("stage", "strategy", "tool", "version", "kind")))
DESIGN_WIDTH = WIDTHS["design"]
LEAST_SPREAD = 0.03  # between designs: less is never claimed
_TOTAL = "total"  # the noise of a whole design's count, beside its own effect: next to none
_TOTAL_WIDTH = 0.01
_MAX_DESIGNS = 300  # the last ones; more teach nothing more


@dataclass(frozen=True)
class Correction:
    """The natural log of measured over estimated, the uncertainty of its mean and its spread between designs.

    `n` counts the designs of the same stage that it was learned from.
    """

    log_ratio: float = 0.0
    uncertainty: float = PRIOR_WIDTH
    spread: float = DESIGN_WIDTH
    n: int = 0

    @property
    def factor(self) -> float:
        """What an estimate is multiplied by."""
        return math.exp(self.log_ratio)

    @property
    def relative_error(self) -> float:
        """The relative uncertainty of one corrected estimate."""
        return math.hypot(self.uncertainty, self.spread)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Corrections by resource for one stage, tool, version and strategy, and the cycles added to every latency.

    `corrections` hold for the mixture of layers that was seen, `kinds` for each kind of layer, by resource.
    """

    stage: str
    tool: str
    strategy: str
    corrections: dict[str, Correction] = field(default_factory=dict)
    latency_offset_cycles: int = 0
    version: str = ""
    kinds: dict[str, dict[str, Correction]] = field(default_factory=dict)
    latency_error_cycles: float | None = None

    def __getitem__(self, resource: str) -> Correction:
        """Return the correction of a resource; one never measured has factor 1 and the prior's width."""
        return self.corrections.get(resource, Correction())

    def apply(self, estimate: Estimate) -> Estimate:
        """Return the estimate as the measurements correct it, with their uncertainty where they know a resource.

        Raises:
            ReportError: the estimate is of another stage or strategy.
        """
        if (estimate.stage, estimate.strategy) != (self.stage, self.strategy):
            raise ReportError(
                f"a calibration of {self.strategy} at stage '{self.stage}' cannot correct "
                f"an estimate of {estimate.strategy} at stage '{estimate.stage}'"
            )
        layers, factors = [], {}
        for layer in estimate.layers:
            own = {name: self.kinds.get(name, {}).get(layer.kind, each) for name, each in self._of(layer.resources)}
            layers.append(_corrected(layer, own, {name: each.factor for name, each in own.items()}))
        for name, found in self.corrections.items():
            # what correcting its layers makes of a design, where they say something of a resource
            corrected = sum(layer.resources.known().get(name, 0.0) for layer in layers)
            raw = sum(layer.resources.known().get(name, 0.0) for layer in estimate.layers)
            factors[name] = (corrected / raw if raw > 0 else 0.0) or found.factor
        return replace(
            _corrected(estimate, dict(self._of(estimate.resources)), factors),
            latency_cycles=max(0, estimate.latency_cycles + self.latency_offset_cycles),
            latency_error_cycles=self.latency_error_cycles or estimate.latency_error_cycles,
            layers=tuple(layers),
        )

    def _of(self, cells: Resources) -> Iterator[tuple[str, Correction]]:
        return ((name, self.corrections[name]) for name in cells.known() if name in self.corrections)


def _corrected(own: _Predicted, found: dict[str, Correction], factors: dict[str, float]) -> _Predicted:
    """Return a prediction with cells times their factors, as uncertain as corrections are of the resources found."""
    cells = own.resources.scaled(factors)
    doubt = {name: cells.known()[name] * each.relative_error for name, each in found.items()}
    return replace(own, resources=cells, uncertainty=Resources(**(own.uncertainty.known() | doubt)))


def fit(pairs: Iterable[Pair], *, like: Pair | None = None) -> Calibration:
    """Return the calibration that pairs of an uncalibrated estimate and the measurement of the same design teach.

    It is for the stage, strategy, tool and version of `like`, by default of the last pair; the others teach it as much
    as they have in common with that. Counts of zero teach nothing.

    Raises:
        ReportError: there are no pairs, or one is of two different stages.
    """
    observed = tuple(pairs)[-_MAX_DESIGNS:]
    if not observed:
        raise ReportError("a calibration needs pairs of an estimate and a measurement, not none")
    for estimate, measured in observed:
        if estimate.stage != measured.stage:
            raise ReportError(
                f"an estimate at stage '{estimate.stage}' cannot be held against a measurement at '{measured.stage}'"
            )
    estimate, measured = like or observed[-1]
    alike = tuple(pair for pair in observed if pair[0].stage == estimate.stage)  # stages share nothing
    corrections, kinds = {}, {}
    for name in RESOURCES:
        if values := [each for number, pair in enumerate(alike) for each in _observations(pair, name, number)]:
            # how far designs may differ by what their estimates claim, and how little a whole design's count does
            known = [(each.uncertainty.known().get(name), each.resources.known().get(name)) for each, _ in alike]
            claimed = median([doubt / count for doubt, count in known if doubt and count] or [0.0])
            own = {"design": max(DESIGN_WIDTH, claimed), _TOTAL: _TOTAL_WIDTH}
            pool = pooling.learn(values, WIDTHS | own, fixed=frozenset({_TOTAL}))
            corrections[name], kinds[name] = _corrections(pool, values, _origin(estimate, measured))
    offset, error = _latency(alike, estimate.strategy)
    return Calibration(
        stage=estimate.stage,
        tool=measured.tool,
        strategy=estimate.strategy,
        corrections=corrections,
        latency_offset_cycles=offset,
        version=measured.version,
        kinds=kinds,
        latency_error_cycles=error,
    )


def _origin(estimate: Estimate, measured: Measurement) -> dict[GroupKey, float]:
    """Return the groups that a design belongs to whatever it is made of, each within the one before."""
    names = (estimate.stage, estimate.strategy, measured.tool, measured.version)
    levels = ("stage", "strategy", "tool", "version")
    return {(level, *names[: depth + 1]): 1.0 for depth, level in enumerate(levels)}


def _observations(pair: Pair, resource: str, number: int) -> Iterator[Observation]:
    """Yield the log ratio of a whole design, and those of its layers where both sides know them."""
    estimate, measured = pair
    common = _origin(estimate, measured) | {("design", str(number)): 1.0}
    if (ratio := _log_ratio(estimate.resources, measured.resources, resource)) is None:
        return
    costs = [(layer.kind, layer.resources.known().get(resource, 0.0)) for layer in estimate.layers]
    total = sum(cost for _, cost in costs)
    shares: dict[GroupKey, float] = {}
    for kind, cost in costs:
        if cost > 0:
            group = _kind(estimate, kind)
            shares[group] = shares.get(group, 0.0) + cost / total
    yield Observation(ratio, common | shares, _TOTAL)
    seen: dict[str, Resources] = {}
    for module in measured.layers:
        if module.layer is not None:
            seen[module.layer] = seen[module.layer] + module.resources if module.layer in seen else module.resources
    for layer in estimate.layers:
        ratio = _log_ratio(layer.resources, seen.get(layer.layer, Resources()), resource)
        if ratio is not None:
            yield Observation(ratio, common | {_kind(estimate, layer.kind): 1.0}, "layer")


def _log_ratio(predicted: Resources, seen: Resources, resource: str) -> float | None:
    before, after = predicted.known().get(resource), seen.known().get(resource)
    return math.log(after / before) if before and after else None


def _kind(estimate: Estimate, kind: str) -> GroupKey:
    return "kind", estimate.stage, estimate.strategy, kind


def _corrections(
    pool: PooledEffects, values: Sequence[Observation], origin: dict[GroupKey, float]
) -> tuple[Correction, dict[str, Correction]]:
    """Return the correction for the mean mixture of layers, and for each kind of layer that was seen."""
    totals = [each for each in values if each.noise == _TOTAL]
    degrees = len(totals) + pooling.PRIOR_WEIGHT
    student = math.sqrt(degrees / max(degrees - 2, 1.0))  # a width learned from few is itself uncertain: Student's t
    spread = max(LEAST_SPREAD, student * pool.widths["design"])
    stage, strategy = next(group[1:] for group in origin if group[0] == "strategy")
    mine = [group for group in pool.places if group[:3] == ("kind", stage, strategy)]
    mixture = {group: fmean(each.shares.get(group, 0.0) for each in totals) for group in mine}
    whole = sum(mixture.values())
    shares = {group: share / whole for group, share in mixture.items() if whole}
    kinds = {}
    for group in mine:
        n = sum(group in each.shares for each in totals)
        kinds[group[-1]] = Correction(*pool.predict(origin | {group: 1.0}), spread, n)
    return Correction(*pool.predict(origin | shares), spread, len(totals)), kinds


def _latency(pairs: Iterable[Pair], strategy: str) -> tuple[int, float | None]:
    """Return the whole cycles that measured latencies have more than estimates of a strategy, and their spread."""
    seen = [
        measured.latency_cycles - estimate.latency_cycles
        for estimate, measured in pairs
        if measured.latency_cycles is not None and estimate.strategy == strategy
    ]
    if not seen:
        return 0, None
    offset = round(fmean(seen))
    # As if one more design had been off by one cycle: a few that agree do not make the next one certain.
    return offset, math.sqrt((1 + sum((each - offset) ** 2 for each in seen)) / (1 + len(seen)))
