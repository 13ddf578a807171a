"""How well designs are predicted that the cost model has not seen measured: before calibration, and after."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from hepprune.hardware import calibration
from hepprune.hardware.calibration import Calibration, Pair

_FOLDS = 20


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One resource of one design: predicted by the cost model, by it calibrated on other designs, and measured.

    `relative_error` is what the calibration claims of its own prediction, `n` the designs it was learned from.
    """

    stage: str
    strategy: str
    tool: str
    version: str
    resource: str
    predicted: float
    calibrated: float
    measured: float
    relative_error: float
    n: int

    @property
    def before(self) -> float:
        """The natural log of measured over predicted."""
        return math.log(self.measured / self.predicted)

    @property
    def after(self) -> float:
        """The natural log of measured over calibrated."""
        return math.log(self.measured / self.calibrated)


@dataclass(frozen=True, kw_only=True)
class ResourceErrors:
    """Mean and median absolute log ratios of one resource, before and after; `pull` is the rms of error over claim.

    An absolute log ratio of 0.1 is about 10 %. A pull of 1 says that the uncertainty claimed is right.
    """

    stage: str
    strategy: str
    resource: str
    n: int
    before: float
    after: float
    before_median: float
    after_median: float
    pull: float


def forecasts(pairs: Sequence[Pair]) -> list[Prediction]:
    """Predict each design but the first from those before it, as a search does that goes on."""
    return [row for place in range(1, len(pairs)) for row in _predict(pairs[:place], pairs[place])]


def left_out(pairs: Sequence[Pair]) -> list[Prediction]:
    """Predict each design from all others (cross-validation, in 20 folds at most); a network measured twice is one."""
    networks = list(dict.fromkeys(estimate.layers or estimate for estimate, _ in pairs))
    fold = {network: place % _FOLDS for place, network in enumerate(networks)}
    rows: list[Prediction] = []
    for number in range(min(_FOLDS, len(networks))):
        inside = [fold[estimate.layers or estimate] == number for estimate, _ in pairs]
        others = [pair for pair, held in zip(pairs, inside, strict=True) if not held]
        for pair, held in zip(pairs, inside, strict=True):
            rows += _predict(others, pair) if held and others else ()
    return rows


def _predict(known: Sequence[Pair], pair: Pair) -> Iterator[Prediction]:
    alike = [each for each in known if each[0].stage == pair[0].stage]
    if not alike:
        return
    learned: Calibration = calibration.fit(alike, like=pair)
    estimate, measured = pair
    before, after = estimate.resources.known(), learned.apply(estimate).resources.known()
    for name, seen in measured.resources.known().items():
        if seen > 0 and before.get(name, 0) > 0:
            yield Prediction(
                stage=estimate.stage,
                strategy=estimate.strategy,
                tool=measured.tool,
                version=measured.version,
                resource=name,
                predicted=before[name],
                calibrated=after[name],
                measured=seen,
                relative_error=learned[name].relative_error,
                n=learned[name].n,
            )


def scores(rows: Sequence[Prediction]) -> list[ResourceErrors]:
    """Return the errors of each stage, strategy and resource."""
    found = []
    for stage, strategy, resource in dict.fromkeys((row.stage, row.strategy, row.resource) for row in rows):
        own = [row for row in rows if (row.stage, row.strategy, row.resource) == (stage, strategy, resource)]
        before, after = ([abs(getattr(row, name)) for row in own] for name in ("before", "after"))
        each = ResourceErrors(
            stage=stage,
            strategy=strategy,
            resource=resource,
            n=len(own),
            before=fmean(before),
            after=fmean(after),
            before_median=median(before),
            after_median=median(after),
            pull=math.sqrt(fmean((row.after / row.relative_error) ** 2 for row in own)),
        )
        found.append(each)
    return found
