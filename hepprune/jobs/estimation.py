"""What a model would cost on a target, what to know before building it, and what a ledger has taught of estimates."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepprune import frontends
from hepprune.errors import ReportError
from hepprune.hardware import calibration, checks, cost, targets, validation
from hepprune.hardware.calibration import Calibration, Pair
from hepprune.hardware.cost import describing, hls
from hepprune.hardware.cost.describing import Options
from hepprune.hardware.resources import STAGES, Budget, Estimate
from hepprune.hardware.targets import Target
from hepprune.hardware.validation import Prediction, ResourceErrors
from hepprune.network import Network
from hepprune.report.plots import costs
from hepprune.synthesis.ledger import existing


@dataclass(frozen=True, kw_only=True)
class Estimation:
    """An estimate against a target's budget: the fraction used of each limit, and the warnings.

    `clock` is "assumed": only a vendor's timing report says that a clock is met.
    """

    target: str
    strategy: str
    io_type: str
    stage: str
    estimate: Estimate
    budget: Budget
    used: dict[str, float]
    warnings: tuple[checks.BuildWarning, ...]
    clock: str = "assumed"

    @property
    def fits(self) -> bool:
        """Whether no limit is broken."""
        return not self.exceeded

    @property
    def exceeded(self) -> tuple[str, ...]:
        """The limits that are broken, worst first."""
        return tuple(self.budget.exceeded(self.estimate))

    @property
    def doubtful(self) -> tuple[str, ...]:
        """The limits that hold, but not by one standard deviation of the estimate."""
        return self.budget.doubted(self.estimate)


def estimate(
    model: Any,
    target: str | Path | Target,
    *,
    strategy: str = "latency",
    reuse_factor: int | None = None,
    io_type: str = "io_parallel",
    stage: str | None = None,
    ledger: Path | None = None,
) -> Estimation:
    """Return what a model costs on a target; `stage` None is the cost model's own.

    A `ledger` of designs that were measured at that stage calibrates it, as the last of them with this strategy was.

    Raises:
        ReportError: there is no ledger, or nothing in it was predicted and measured at that stage and strategy.
        NetworkError: the model cannot be read, or a layer has no price under this strategy.
        RecipeError: an unknown target, strategy, io_type or stage, or a target without a clock.
    """
    network = model if isinstance(model, Network) else frontends.read(model)
    place = target if isinstance(target, Target) else targets.load(target)
    found = cost.estimate(network, place, strategy=strategy, stage=stage, io_type=io_type, reuse_factor=reuse_factor)
    if ledger is not None:
        found = calibration_of(ledger, stage=found.stage, strategy=strategy).apply(found)
    warned = warnings(network, place, strategy=strategy, reuse_factor=reuse_factor, io_type=io_type)
    used = place.budget.usage(found)
    return Estimation(
        target=place.name,
        strategy=strategy,
        io_type=io_type,
        stage=found.stage,
        estimate=found,
        budget=place.budget,
        used=used,
        warnings=warned,
    )


def warnings(
    network: Network, place: Target, *, strategy: str, reuse_factor: int | None = None, io_type: str = "io_parallel"
) -> tuple[checks.BuildWarning, ...]:
    """Return what to know before building a network on a target; a reuse factor of None is each layer's own.

    Raises:
        NetworkError: a layer has no price.
        RecipeError: an unknown strategy or io_type, or a target without a clock.
    """
    described = describing.described(network, Options(strategy, io_type, reuse_factor))
    return checks.of_part(place) + checks.warnings(described, place.budget, clock=hls.clock_of(place))


@dataclass(frozen=True)
class Learned:
    """The calibration of each stage, strategy, tool and version, and the errors on designs left out of it."""

    calibrations: tuple[Calibration, ...]
    scores: tuple[ResourceErrors, ...]
    predictions: tuple[Prediction, ...]
    files: tuple[Path, ...] = ()


def from_ledger(path: Path, *, plot: Path | None = None) -> Learned:
    """Return what the pairs of estimate and measurement in a ledger teach, and draw it where `plot` is given.

    Raises:
        ReportError: there is no ledger, it is damaged, or no design in it was both predicted and measured.
    """
    if not (pairs := _pairs(path)):
        raise ReportError(f"no design in '{path}' was both predicted and measured at one stage")
    rows = validation.left_out(pairs)
    files = costs.calibrated_vs_measured(rows, plot) if plot and rows else []
    last = {(e.stage, e.strategy, m.tool, m.version): (e, m) for e, m in pairs}
    calibrations = tuple(calibration.fit(pairs, like=pair) for pair in last.values())
    return Learned(calibrations, tuple(validation.scores(rows)), tuple(rows), tuple(files))


def calibration_of(path: Path, *, stage: str, strategy: str) -> Calibration:
    """Return what a ledger teaches of a stage, for the tool and version that measured a strategy there last.

    Raises:
        ReportError: there is no ledger, it is damaged, or no such design in it was both predicted and measured.
    """
    pairs = [pair for pair in _pairs(path) if pair[0].stage == stage]
    mine = [pair for pair in pairs if pair[0].strategy == strategy]
    if not mine:
        raise ReportError(f"no design of strategy {strategy} in '{path}' was both predicted and measured at {stage}")
    return calibration.fit(pairs, like=mine[-1])


def _pairs(path: Path) -> list[Pair]:
    with existing(path) as book:
        return [pair for stage in STAGES for pair in book.pairs(stage)]
