"""The greedy search: cut, fine-tune, validate, stage by stage, until every limit of the budget holds.

Which digits matter changes as weights are trained, and weights that may not take new ones train badly. So stages of
cutting are followed by one long training in which the network settles: before each epoch the most valuable digits are
chosen among all, ever fewer of them. Should the budget be missed all the same, what is left is trimmed. On a processor
or GPU the budget is a latency, and neurons go until the measured one meets its limit (`reach`).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from hepprune import metrics, training
from hepprune.errors import BudgetMissedError
from hepprune.fixed import digits
from hepprune.hardware.cost.measured import Meter, Timing
from hepprune.hardware.resources import Budget, Estimate
from hepprune.metrics.scores import led
from hepprune.network import Network, identity
from hepprune.pruning import importance, masks, statistics
from hepprune.pruning.statistics import Statistics
from hepprune.pruning.structure import coupling, surgery
from hepprune.pruning.structure.constants import constants
from hepprune.search import allocation
from hepprune.search.allocation import bits
from hepprune.search.allocation.competition import Narrowing
from hepprune.search.cutting import cut_until, gather, trim
from hepprune.search.moves import Move, PerKernel, knobs, missed
from hepprune.search.moves import neurons as coupled
from hepprune.search.sensitivity import analyse
from hepprune.search.stages import Outcome, Phase, Price, Problem, Settings, Stage, Step, of_graphs
from hepprune.store import Store
from hepprune.task.sample import Sample
from hepprune.training import Fit, Prepare

_MORE = 6  # stages beyond twice the planned ones, after which a budget counts as missed
_TURNS = 4  # searches, each aiming lower where the network as a whole was slower than its layers said
_SLACK = 0.98


def search(
    network: Network,
    problem: Problem,
    *,
    state: Path | None = None,
    advance: Callable[[Stage], None] = lambda _: None,
    trained: Callable[[int], None] = lambda _: None,
) -> Outcome:
    """Return the network at which the priced figures meet the budget, and the stages on the way.

    Every stage is saved whole under `state`; a search that was interrupted goes on from there and ends as if it had
    not been. An allocation is one stage of all its epochs, and starts again from nothing. `advance` is called after
    each stage, `trained` with the epochs just done, `Settings.epochs` in all.

    Raises:
        BudgetMissedError: no cut is left that would free a limit still broken.
    """
    problem = replace(problem, price=of_graphs(problem.price))
    if problem.settings.allocates:  # what competes is finer than the network, and would use all that the budget has
        problem = replace(problem, budget=problem.budget.held_to(problem.price(network)))
    start = problem.budget.usage(problem.price(network))
    keep, key = Store(state), key_of(network, problem) if state else None
    planned, trimming = problem.settings.phases(start), problem.settings.trimming(start)
    n_most = 2 * problem.settings.stages + _MORE
    stages: list[Stage] = []
    unsettled = network
    for index, phase in enumerate(chain(planned, repeat(trimming, n_most - len(planned))), start=1):
        if keep.has(f"stage_{index}", key):
            trained(phase.fit.epochs)
        unsettled = unsettled if phase.kind == "trim" else network
        run = partial(_run_stage, network, problem, phase, index, trained)
        network, stage = keep.step(Stage, f"stage_{index}", key, run)
        stages.append(stage)
        advance(stage)
        if index >= len(planned) and problem.budget.met_by(stage.estimate):
            return Outcome(network, tuple(stages), unsettled)
    raise missed(problem.budget, stages[-1].estimate, network)


def within(
    network: Network,
    train: Sample,
    validation: Sample,
    *,
    budget: Budget,
    price: Price,
    granularities: Sequence[str] = masks.GRANULARITIES,
    settings: Settings | None = None,
    state: Path | None = None,
) -> Outcome:
    """Measure sensitivities, then search until the priced figures meet a budget; the whole network is the teacher.

    Raises:
        BudgetMissedError: no cut is left that would free a limit still broken.
    """
    settings = settings or Settings()
    gathered = statistics.gather(*training.placed(network, train.first(settings.statistics_jets)))
    curves = analyse(network, validation, gathered, granularities=granularities)
    problem = Problem(
        train=train,
        validation=validation,
        budget=budget,
        price=price,
        propose=PerKernel.of(curves, granularities),
        settings=settings,
        teacher=network,
    )
    return search(network, problem, state=state)


def _run_stage(
    network: Network, problem: Problem, phase: Phase, index: int, trained: Callable[[int], None]
) -> tuple[Network, Stage]:
    started = time.perf_counter()
    before = scored(network, problem)
    network, steps, prepare = _cut(network, problem, phase)
    if problem.settings.bits:
        bits.calibrate(network, problem.train)
    network = fitted(network, problem, phase.fit, index=index, prepare=prepare, trained=trained)
    if problem.settings.bits:
        network = bits.finished(network, problem.train, problem.validation)
    network = knobs.settled(surgery.shrink(network))
    _check_alive(network, problem.budget)
    after, estimate = scored(network, problem), problem.price(network)
    return network, Stage(
        index=index,
        steps=steps,
        estimate=estimate,
        usage=problem.budget.usage(estimate),
        layer_sizes=tuple(network.sizes.values()),
        nonzero_weights=masks.nonzero_weights(network),
        scores=metrics.stated(after),
        changes=metrics.differences(after, before),
        seconds=time.perf_counter() - started,
    )


def fitted(
    network: Network, problem: Problem, fit: Fit, *, index: int, prepare: Prepare, trained: Callable[[int], None]
) -> Network:
    """Return a network trained on the jets of a problem, with a seed of its own for each index."""
    jets, seed = (problem.train, problem.validation), problem.seed + index
    options = {"settings": fit, "seed": seed, "teacher": problem.teacher, "prepare": prepare, "advance": trained}
    return training.fit(network, *jets, **options)[0]  # type: ignore[arg-type]


def scored(network: Network, problem: Problem) -> dict[str, metrics.Score]:
    """Return the metrics of the task, after that which is the objective."""
    objective, own = problem.settings.objective, problem.validation.task.metrics
    names = None if objective == "loss" else (*own, objective)
    return led(training.scores(network, problem.validation, names=names), objective)


def _cut(network: Network, problem: Problem, phase: Phase) -> tuple[Network, tuple[Step, ...], Prepare]:
    """Return the network that a stage trains, the moves taken, and what is pruned while it trains."""
    if phase.kind == "settle":
        free = release_digits(network)
        return free, (), allocation.tightening(free, problem.price, problem.budget, gather=partial(gather, problem))
    if phase.kind == "narrow":
        begin = network if bits.is_opened(network) else release_digits(network)
        opened, finest = bits.opened(begin, problem.train)
        narrowing = Narrowing(train=problem.train, price=problem.price, budget=problem.budget, finest=finest)
        return opened, (), narrowing
    begin, take = (network, trim) if phase.kind == "trim" else (release_digits(network), cut_until)
    cut, steps = take(begin, problem, phase.goal)
    cut = knobs.settled(surgery.shrink(cut))
    holds = phase.kind == "trim" and problem.settings.digits
    return hold_digits(cut) if holds else cut, steps, lambda *_: True


def _check_alive(network: Network, budget: Budget) -> None:
    """Refuse a network with an output that depends on no input any more; branches may be left without a weight."""
    silent = [kernel.name for kernel in network.kernels if not kernel.used().any()]
    if not silent:
        return
    values = constants(network)
    if any(bool(values[name].isfinite().all()) for name in network.raw_outputs):
        limits = ", ".join(f"{name} {limit:g}" for name, limit in budget.limits().items())
        raise BudgetMissedError(f"the budget cannot be reached: layer '{silent[0]}' is left without weights ({limits})")


@torch.no_grad()
def release_digits(network: Network) -> Network:
    """Return a copy whose surviving weights may take any value of their type again.

    Which digits matter changes as the network is trained on, so every stage but the last chooses them anew.
    """
    released = network.clone()
    for kernel in released.kernels:
        kernel.digit_limit[kernel.digit_limit > 0] = digits.UNLIMITED
    return released


@torch.no_grad()
def hold_digits(network: Network) -> Network:
    """Return a copy in which no weight can have more signed digits than it has now."""
    held = network.clone()
    for kernel in held.kernels:
        kernel.digit_limit.copy_(kernel.digit_counts())
    return held


def key_of(network: Network, problem: Problem) -> list[Any]:
    """Return what names this search: the same only if network, jets, budget, price and settings all are."""
    jets = [problem.train.key, problem.validation.key]
    settings = TypeAdapter(Settings).dump_python(problem.settings, mode="json")
    limits = problem.budget.limits()
    price = TypeAdapter(Estimate).dump_python(problem.price(network), mode="json")
    taught = identity(problem.teacher) if problem.teacher else None
    judged = metrics.own_content(problem.settings.objective)
    return [identity(network), jets, settings, limits, price, problem.seed, str(problem.propose), taught, *judged]


@dataclass(frozen=True)
class LatencyOutcome:
    """The network found, and what it was and is measured to take as a whole."""

    network: Network
    before: Timing
    after: Timing


def reach(
    network: Network,
    train: Sample,
    validation: Sample,
    *,
    meter: Meter,
    limit_ns: float,
    fine_tune: Fit,
    stages: int = 4,
    step: float = 0.1,
    seed: int = 0,
    advance: Callable[[Stage], None] = lambda _: None,
) -> LatencyOutcome:
    """Return a smaller network that runs within `limit_ns` on the meter's device, as measured.

    The greedy search prices every cut by the table of measured layers; the result is measured as a whole, and where
    that is still too slow the search goes on.

    Raises:
        BudgetMissedError: no cut is left, or the limit is out of reach.
    """
    before = meter.whole(network)
    settings = Settings(stages=stages, step=step, digits=False, fine_tune=fine_tune, settle=fine_tune, trim=fine_tune)
    # what the layers' sum is of the whole: so a limit on one is a limit on the other
    budget = Budget(latency_ns=limit_ns * (meter.estimate(network).latency_ns / before.median_ns))

    def price(masked: Network) -> Estimate:
        return meter.estimate(surgery.shrink(masked))

    problem = Problem(
        train=train, validation=validation, budget=budget, price=price, propose=neurons, settings=settings, seed=seed
    )
    found, after = network, before
    for _ in range(_TURNS):
        found = search(found, problem, advance=advance).network
        after = meter.whole(found)
        if after.median_ns <= limit_ns:
            return LatencyOutcome(found, before, after)
        lower = _SLACK * limit_ns / after.median_ns * meter.estimate(found).latency_ns
        problem = replace(problem, budget=Budget(latency_ns=lower), settings=replace(settings, stages=1))
    raise BudgetMissedError(
        f"the latency cannot be reached on {meter.device}: {limit_ns:,.0f} ns allowed, "
        f"{after.median_ns:,.0f} ns at the closest point"
    )


def neurons(network: Network, statistics: Statistics, fraction: float) -> Iterator[Move]:
    """Yield for each coupled group the cut of its least important neurons, to be really removed: zeros, no means."""
    for each in coupled.find(network):
        scores, alive = each.scores(statistics, importance.fisher), torch.nonzero(each.alive()).flatten()
        n_cut = min(max(1, round(fraction * len(alive))), len(alive) - 1)
        if n_cut < 1:
            continue
        units = alive[torch.argsort(scores[alive], stable=True)[:n_cut]]
        yield Move(coupling.cuts(each.group, units.tolist()), float(scores[units].sum()), "neuron")
