"""The greedy search: cut, fine-tune, validate, stage by stage, until every limit of the budget holds."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from pydantic import TypeAdapter

from hepprune import digits, metrics, training
from hepprune.errors import BudgetMissedError
from hepprune.files import content_hash, write_text
from hepprune.hardware.resources import Budget, Estimate
from hepprune.network import Network, identity, load, save
from hepprune.pruning import masks, statistics, surgery
from hepprune.search.moves import Move, Price, Proposal, gain
from hepprune.training import Fit, Sample

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """How a search goes: stages of cutting, the fraction of a layer's units per move, and the training in between."""

    stages: int = 12
    step: float = 0.05
    hold_digits: bool = True
    statistics_jets: int = 16384
    fine_tune: Fit = field(default_factory=lambda: Fit(epochs=2))
    final: Fit = field(default_factory=lambda: Fit(epochs=20))


@dataclass(frozen=True)
class Step:
    """One move taken: where, what, how many units, the loss predicted, the share of the broken limits it freed."""

    layers: tuple[str, ...]
    kind: str
    n_units: int
    predicted_loss: float
    gain: float


@dataclass(frozen=True)
class Stage:
    """What one stage did, what is left, and the change of accuracy since the last, paired on validation jets."""

    index: int
    steps: tuple[Step, ...]
    estimate: Estimate
    usage: dict[str, float]
    layer_sizes: tuple[int, ...]
    nonzero_weights: int
    accuracy: float
    accuracy_error: float
    change: float
    change_error: float
    seconds: float

    @property
    def significant(self) -> bool:
        """Whether the change of accuracy exceeds its statistical error; a smaller one is noise."""
        return abs(self.change) > self.change_error


@dataclass(frozen=True)
class Outcome:
    """The network a search ended with, and its stages."""

    network: Network
    stages: tuple[Stage, ...]


@dataclass(frozen=True)
class Problem:
    """What a search is given: jets to train and validate on, a budget, a price, and where moves come from.

    With a `teacher`, fine-tuning distils it: the pruned network learns its class probabilities too.
    """

    train: Sample
    validation: Sample
    budget: Budget
    price: Price
    propose: Proposal
    settings: Settings = field(default_factory=Settings)
    seed: int = 0
    teacher: Network | None = None


def search(
    network: Network,
    problem: Problem,
    *,
    state: Path | None = None,
    advance: Callable[[Stage], None] = lambda _: None,
) -> Outcome:
    """Return the network at which the priced figures meet the budget, and the stages on the way.

    The limits tighten geometrically from what the network uses to what the budget allows. Every stage is saved whole
    under `state`; a search that was interrupted goes on from there and ends as if it had not been.

    Raises:
        BudgetMissedError: no cut is left that would free a limit still broken.
    """
    start = problem.budget.usage(problem.price(network))
    folder = state / _key(network, problem) if state else None
    stages, network = _resume(folder, network)
    for stage in stages:
        advance(stage)
    while not _finished(stages, problem):
        index = len(stages) + 1
        remaining = max(0.0, 1 - index / problem.settings.stages)
        goals = {name: max(used, 1.0) ** remaining for name, used in start.items()}
        network, stage = _run_stage(network, problem, goals, index)
        stages = (*stages, stage)
        _save(folder, network, stages)
        advance(stage)
    return Outcome(network, stages)


def _finished(stages: tuple[Stage, ...], problem: Problem) -> bool:
    done = len(stages) >= problem.settings.stages and problem.budget.met_by(stages[-1].estimate)
    if not done and len(stages) >= 2 * problem.settings.stages + 6:
        raise missed(problem.budget, stages[-1].estimate)
    return done


def _run_stage(network: Network, problem: Problem, goals: dict[str, float], index: int) -> tuple[Network, Stage]:
    started, settings = time.perf_counter(), problem.settings
    before = metrics.accuracy(training.evaluate(network, problem.validation), problem.validation.y.numpy())
    freedom = min(1.0, max(0.0, 2 * (1 - index / settings.stages))) if settings.hold_digits else 1.0
    network, steps = cut_until(release_digits(network, freedom), problem, goals)
    network = surgery.shrink(network)
    if index >= settings.stages and settings.hold_digits:
        network = release_digits(network, 0.0)
    schedule = settings.final if index == settings.stages else settings.fine_tune
    network, _ = training.fit(
        network,
        problem.train,
        problem.validation,
        settings=schedule,
        seed=problem.seed + index,
        teacher=problem.teacher,
    )
    after = metrics.accuracy(training.evaluate(network, problem.validation), problem.validation.y.numpy())
    change, estimate = metrics.difference(after, before), problem.price(network)
    return network, Stage(
        index,
        steps,
        estimate,
        problem.budget.usage(estimate),
        tuple(layer.n_out for layer in network.dense_layers),
        masks.nonzero_weights(network),
        after.value,
        after.error,
        change.value,
        change.error,
        time.perf_counter() - started,
    )


def cut_until(network: Network, problem: Problem, goals: dict[str, float]) -> tuple[Network, tuple[Step, ...]]:
    """Return a masked network that uses no more of each limit than its goal, and the moves that led there.

    Each move is the one with the least predicted loss per share of the broken limits that it frees.
    """
    sample = problem.train.first(problem.settings.statistics_jets)
    gathered = statistics.gather(network, sample.x, sample.y)
    steps: list[Step] = []
    estimate = problem.price(network)
    while any(used > goals[name] for name, used in problem.budget.usage(estimate).items()):
        move, freed, network, estimate = _best(network, estimate, problem, goals, gathered)
        layers = tuple(cut.layer for cut in move.cuts)
        steps.append(Step(layers, move.kind, move.n_units, move.predicted_loss, freed))
    return network, tuple(steps)


def _best(
    network: Network, estimate: Estimate, problem: Problem, goals: dict[str, float], gathered: statistics.Statistics
) -> tuple[Move, float, Network, Estimate]:
    """Return the best move with what it frees and what it leads to, from the full step down to single units."""
    candidates = []
    for move in problem.propose(network, gathered, problem.settings.step):
        masked = masks.apply(network, move.cuts)
        price = problem.price(masked)
        freed = gain(estimate, price, problem.budget, goals)
        loss = move.predicted_loss / freed if freed > 0 else move.predicted_loss
        candidates.append(((freed <= 0, loss), move, freed, masked, price))
    if not candidates:
        raise missed(problem.budget, estimate)
    _, move, freed, masked, price = min(candidates, key=lambda candidate: candidate[0])
    return move, freed, masked, price


@torch.no_grad()
def release_digits(network: Network, freedom: float) -> Network:
    """Return a copy in which that fraction of each layer's surviving weights, the smallest, may take any value again.

    Which digits matter changes as the network is trained on, so stages choose them anew; the others keep no more digits
    than they have. Towards the end ever fewer are free, and make up for those that are held (incremental network
    quantisation, Zhou et al., arXiv:1702.03044).
    """
    released = network.clone()
    for layer in released.dense_layers:
        magnitude, counts = layer.used_weight().abs(), masks.digit_counts(layer)
        acting = magnitude[magnitude > 0]
        largest = float(torch.quantile(acting, freedom)) if len(acting) and freedom > 0 else -1.0
        limits = torch.where(magnitude <= largest, digits.UNLIMITED, counts)
        layer.digit_limit.copy_(torch.where(layer.digit_limit > 0, limits, 0))
    return released


def missed(budget: Budget, figures: Estimate) -> BudgetMissedError:
    """Return the error of an unreachable budget, naming the figure that binds and the closest point."""
    name, used = next(iter(budget.exceeded(figures).items()))
    limit = budget.limits()[name]
    return BudgetMissedError(
        f"the budget cannot be reached: {name} binds, {limit:g} allowed, {used * limit:g} at the closest point"
    )


_STAGES = TypeAdapter(tuple[Stage, ...])


def _key(network: Network, problem: Problem) -> str:
    """Return the name of this search: the same only if network, jets, budget, price and settings all are."""
    jets = [
        float(t.double().sum()) for t in (problem.train.x, problem.train.y, problem.validation.x, problem.validation.y)
    ]
    settings = TypeAdapter(Settings).dump_python(problem.settings, mode="json")
    limits = problem.budget.limits()
    price = TypeAdapter(Estimate).dump_python(problem.price(network), mode="json")
    taught = identity(problem.teacher) if problem.teacher else None
    parts = (jets, settings, limits, price, problem.seed, problem.propose.__qualname__, taught)
    return content_hash(identity(network), *parts)


def _resume(folder: Path | None, network: Network) -> tuple[tuple[Stage, ...], Network]:
    if folder is None or not (folder / "stages.json").is_file():
        return (), network
    stages = _STAGES.validate_json((folder / "stages.json").read_bytes())
    logger.info("resuming after stage %d from %s", len(stages), folder)
    return stages, load(folder / f"stage_{len(stages)}.npz")


def _save(folder: Path | None, network: Network, stages: tuple[Stage, ...]) -> None:
    """Save the network first and the list of stages, which names it, after it."""
    if folder is not None:
        save(network, folder / f"stage_{len(stages)}.npz")
        write_text(folder / "stages.json", _STAGES.dump_json(stages, indent=2).decode())
