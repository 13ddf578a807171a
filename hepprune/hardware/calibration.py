"""What measurements teach the cost model: a factor per resource and whole cycles of latency, with their uncertainty."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean, stdev

from hepprune.errors import ReportError
from hepprune.files import write_json
from hepprune.hardware.resources import Estimate, Measurement

PRIOR_WIDTH = 0.3  # of the log ratio before any measurement: the model is trusted to about 30 %
DESIGN_WIDTH = 0.05  # of the log ratio from one design to the next, as seen on solved adder graphs


@dataclass(frozen=True)
class Correction:
    """The natural log of measured over estimated, the uncertainty of its mean and its spread between designs.

    `n` counts the designs it was learned from.
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


@dataclass(frozen=True)
class Calibration:
    """Corrections by resource for one stage, tool and strategy, and the cycles added to every latency."""

    stage: str
    tool: str
    strategy: str
    corrections: dict[str, Correction] = field(default_factory=dict)
    latency_offset_cycles: int = 0

    def __getitem__(self, resource: str) -> Correction:
        """Return the correction of a resource; one never measured has factor 1 and the prior's width."""
        return self.corrections.get(resource, Correction())

    def apply(self, estimate: Estimate) -> Estimate:
        """Return the estimate as the measurements correct it.

        Raises:
            ReportError: the estimate is of another stage or strategy.
        """
        if (estimate.stage, estimate.strategy) != (self.stage, self.strategy):
            raise ReportError(
                f"a calibration of {self.strategy} at stage '{self.stage}' cannot correct "
                f"an estimate of {estimate.strategy} at stage '{estimate.stage}'"
            )
        factors = {name: correction.factor for name, correction in self.corrections.items()}
        layers = tuple(replace(la, resources=la.resources.scaled(factors)) for la in estimate.layers)
        cycles = max(0, estimate.latency_cycles + self.latency_offset_cycles)
        return replace(estimate, resources=estimate.resources.scaled(factors), latency_cycles=cycles, layers=layers)

    def save(self, path: Path) -> Path:
        """Write the calibration as JSON, and return its path."""
        return write_json(path, asdict(self))


def load(path: Path) -> Calibration:
    """Read a calibration that `save` wrote.

    Raises:
        ReportError: the file is missing or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        corrections = {name: Correction(**values) for name, values in content.pop("corrections").items()}
        return Calibration(**content, corrections=corrections)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as problem:
        raise ReportError(f"'{path}' holds no calibration: {problem}") from problem


def fit(pairs: Iterable[tuple[Estimate, Measurement]]) -> Calibration:
    """Return the calibration that pairs of an uncalibrated estimate and the measurement of the same design teach.

    Each log ratio is normal around one mean, and that mean is normal around 0 with PRIOR_WIDTH: with one pair the
    correction takes 97 % of what was seen, and the more pairs disagree the less it takes. Counts of zero teach nothing.

    Raises:
        ReportError: there are no pairs, or they are not all of one stage, tool and strategy.
    """
    observed = tuple(pairs)
    kinds = {(estimate.stage, measured.stage, measured.tool, estimate.strategy) for estimate, measured in observed}
    if len(kinds) != 1:
        raise ReportError(f"a calibration needs pairs of one stage, tool and strategy, not {sorted(kinds) or 'none'}")
    ((stage, measured_stage, tool, strategy),) = kinds
    if stage != measured_stage:
        raise ReportError(f"an estimate at stage '{stage}' cannot be held against a measurement at '{measured_stage}'")
    ratios: dict[str, list[float]] = {}
    for estimate, measured in observed:
        predicted, seen = estimate.resources.known(), measured.resources.known()
        for name in predicted.keys() & seen.keys():
            if predicted[name] > 0 and seen[name] > 0:
                ratios.setdefault(name, []).append(math.log(seen[name] / predicted[name]))
    corrections = {name: _posterior(values) for name, values in sorted(ratios.items())}
    return Calibration(stage, tool, strategy, corrections, _offset(observed))


def _posterior(log_ratios: list[float]) -> Correction:
    n = len(log_ratios)
    spread = max(DESIGN_WIDTH, stdev(log_ratios)) if n > 1 else DESIGN_WIDTH
    precision = 1 / PRIOR_WIDTH**2 + n / spread**2
    return Correction(fmean(log_ratios) * n / spread**2 / precision, precision**-0.5, spread, n)


def _offset(observed: tuple[tuple[Estimate, Measurement], ...]) -> int:
    seen = [m.latency_cycles - e.latency_cycles for e, m in observed if m.latency_cycles is not None]
    return round(fmean(seen)) if seen else 0
