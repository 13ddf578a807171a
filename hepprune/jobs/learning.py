"""What a ledger has taught: the corrections in force, how well they predict designs not seen, and a plot of it."""

from dataclasses import dataclass
from pathlib import Path

from hepprune.errors import ReportError
from hepprune.hardware import calibration, validation
from hepprune.hardware.calibration import Calibration, Pair
from hepprune.hardware.resources import STAGES
from hepprune.hardware.validation import Prediction, ResourceErrors
from hepprune.report.plots import costs
from hepprune.synthesis.ledger import existing


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
        raise ReportError(
            f"no design of strategy {strategy} in '{path}' was both predicted and measured at stage {stage}"
        )
    return calibration.fit(pairs, like=mine[-1])


def _pairs(path: Path) -> list[Pair]:
    with existing(path) as book:
        return [pair for stage in STAGES for pair in book.pairs(stage)]
