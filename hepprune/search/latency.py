"""The latency-aware search on a processor or GPU: neurons and filters go until the measured latency meets its limit."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch

from hepprune.errors import BudgetMissedError
from hepprune.hardware.cost.measured import Meter, Timing
from hepprune.hardware.resources import Budget, Estimate
from hepprune.network import Network
from hepprune.pruning import importance
from hepprune.pruning.statistics import Statistics
from hepprune.pruning.structure import coupling, surgery
from hepprune.search import greedy
from hepprune.search.moves import Move
from hepprune.search.moves import neurons as coupled
from hepprune.search.stages import Problem, Settings, Stage
from hepprune.task.sample import Sample
from hepprune.training import Fit

_TURNS = 4  # searches, each aiming lower where the network as a whole was slower than its layers said
_SLACK = 0.98


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
        found = greedy.search(found, problem, advance=advance).network
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
