"""When to stop: what was predicted and measured says that no smaller network of the kind will meet the budget.

A limit is given up where even the smallest network, with one weight in each layer, would miss it by `SIGMAS` standard
deviations, in either of two ways: as the cost model predicts it with all that measurements have taught, or where a
straight line through the figures of the designs measured so far leads. A metric is given up where a design that is
still over budget has lost more of it than may be lost by as many standard deviations.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from hepprune import metrics, training
from hepprune.errors import BudgetMissedError
from hepprune.hardware.calibration import DESIGN_WIDTH, Calibration, Correction, Pair
from hepprune.hardware.resources import Budget, Estimate, Measurement, Resources
from hepprune.metrics.scores import Difference, amount, form, label, scale
from hepprune.network import Layer, Network, Recurrent
from hepprune.network.layers.recurrent import GATES
from hepprune.pruning.structure import surgery
from hepprune.pruning.structure.constants import constants
from hepprune.pruning.structure.coupling.units import follow, read_by_constants
from hepprune.task.sample import Sample

log = logging.getLogger(__name__)

SIGMAS = 3.0


@dataclass(frozen=True)
class Floor:
    """What is left of a figure in the smallest network: as expected, the least within `SIGMAS`, and what says so."""

    expected: float
    least: float
    witness: str


def least(network: Network, price: Callable[[Network], Estimate], *, tries: int = 8) -> Estimate:
    """Return the least of each figure that any of several smallest networks is priced at.

    Which weight is left decides what biases and functions behind it cost, so the largest is tried and others by chance.
    What puts out constants says nothing, as where a ReLU never lets the one weight through, unless all of them do.
    """
    made = [smallest(network, seed=seed) for seed in range(tries)]
    found = [price(each) for each in [each for each in made if _moves(each)] or made]
    known = [each.resources.known() for each in found]
    cells = Resources(**{name: min(each[name] for each in known) for name in known[0]})
    return replace(
        found[0],
        resources=cells,
        latency_cycles=min(each.latency_cycles for each in found),
        interval_cycles=min(each.interval_cycles for each in found),
    )


def _moves(network: Network) -> bool:
    values = constants(network)
    return any(bool(values[name].isnan().any()) for name in network.raw_outputs)


@torch.no_grad()
def smallest(network: Network, *, seed: int = 0) -> Network:
    """Return the network with one signed digit of one weight left in each kernel of a path to the outputs.

    In a chain that is every kernel. Of the layers that make a unit together, as in a residual sum, only one keeps a
    weight, the first where the seed is 0; a recurrent layer keeps none that reads its own states. The weight is the
    largest where the seed is 0, and else drawn; seeds take the gates of recurrent layers in turn, since what moves
    behind one may cost a multiple of what moves behind another.
    """
    cut = surgery.shrink(network, warn=False).clone()
    draw = torch.Generator().manual_seed(seed) if seed else None
    units, first = follow(cut), dict[int, str]()
    path = {int(unit) for name in cut.raw_outputs for ids in units.values[name] for unit in ids}
    path |= read_by_constants(cut, units)
    layers = [layer for layer in cut if layer.kernels]
    for layer in layers if seed % 2 else layers[::-1]:
        first |= {int(unit): layer.name for unit in units.made.get(layer.name, ())}
    for layer in reversed(layers):
        made = units.carried[layer.name] if layer.name in units.carried else units.made[layer.name]
        passed = layer.name in units.carried
        rows = np.array([unit in path and (passed or first[unit] == layer.name) for unit in made.tolist()])
        candidates = _candidates(layer, rows, gate=seed - 1 if seed else None)
        path |= _leave_one(layer, candidates, units.read.get(layer.name), draw)
    return surgery.shrink(cut, warn=False)


def _leave_one(
    layer: Layer, rows: NDArray[np.bool_], read: NDArray[np.int64] | None, draw: torch.Generator | None
) -> set[int]:
    """Leave one weight of some rows of a kernel one digit, in place, and all others none; return the unit it reads."""
    kernel, *others = layer.kernels
    sizes = kernel.rows().abs()
    if draw is not None:
        sizes = (sizes > 0) * torch.rand(sizes.shape, generator=draw)
    sizes = sizes * torch.as_tensor(rows)[:, None]
    row, term = divmod(int(sizes.argmax()), sizes.shape[1])
    for each in (kernel, *others):
        each.digit_limit.zero_()
    if not rows.any():
        return set()
    kernel.digit_limit.flatten(1)[row, term] = 1
    return set() if read is None else {int(read[term % kernel.n_columns])}


def _candidates(layer: Layer, states: NDArray[np.bool_], *, gate: int | None) -> NDArray[np.bool_]:
    """Return which rows may be left: in a recurrent layer those that a state's next value comes from, or of a gate."""
    if not isinstance(layer, Recurrent):
        return states
    n_gates = GATES[layer.cell]
    found = np.zeros((n_gates, len(states)), bool)
    found[min(2, n_gates - 1) if gate is None else gate % n_gates] = states
    return found.ravel()


def check(budget: Budget, least: Estimate, known: Calibration | None, seen: Sequence[Pair]) -> None:
    """Refuse to go on where the evidence says that no cut leads into the budget.

    `least` is the uncalibrated estimate of the smallest network, `seen` holds those of the designs that were measured
    on the way, each with its measurement.

    Raises:
        BudgetMissedError: a limit is out of reach; it says by how much, and how that is known.
    """
    for name, limit in budget.limits().items():
        for floor in _floors(name, least, known, seen):
            if floor.least > limit:
                raise BudgetMissedError(
                    f"the evidence says that the budget cannot be met: {name} binds, {limit:g} allowed, and at the "
                    f"closest, one weight in each layer, {floor.expected:.4g} are left {floor.witness}, no less than "
                    f"{floor.least:.4g} within {SIGMAS:g} standard deviations; the state is kept, allow more"
                )


def _floors(name: str, least: Estimate, known: Calibration | None, seen: Sequence[Pair]) -> Iterator[Floor]:
    """Yield what is left of a figure by the cost model and, of a resource, by the line through what was measured."""
    predicted = known.apply(least) if known else least
    witness = f"as predicted after {len(seen)} measured designs" if seen else "as predicted"
    if name == "interval_cycles":
        yield Floor(predicted.interval_cycles, predicted.interval_cycles, witness)
    elif name == "latency_ns":
        cycles = max(1.0, predicted.latency_cycles - SIGMAS * (predicted.latency_error_cycles or 0.0))
        yield Floor(predicted.latency_ns, cycles * predicted.clock_ns, witness)
    elif (count := predicted.resources.known().get(name)) is not None:
        doubt = (known[name] if known else Correction()).relative_error
        yield Floor(count, count * math.exp(-SIGMAS * doubt), witness)
        yield from _on_the_line(name, least, seen)


def _on_the_line(name: str, least: Estimate, seen: Sequence[Pair]) -> Iterator[Floor]:
    """Yield where a line through measured against predicted counts ends: a part that no cut takes away shows in it.

    Each measurement counts as if designs differed by what was known of that before; what calibration makes of these
    very designs would not do, since a part that stays looks to it like designs that disagree.
    """
    counts = [(before.resources.known().get(name), after.resources.known().get(name)) for before, after in seen]
    points = np.array([(before, after) for before, after in counts if before is not None and after])
    if len(points) == 0 or len(set(points[:, 0])) < 2:
        return
    predicted, measured = points.T
    end = np.array([least.resources.known()[name], 1.0])
    claimed = least.uncertainty.known().get(name, 0.0) / max(end[0], 1.0)
    width = max(DESIGN_WIDTH, claimed)
    line, covariance = np.polyfit(predicted, measured, 1, w=1 / (width * measured), cov="unscaled")
    expected, error = float(end @ line), math.sqrt(float(end @ covariance @ end))
    yield Floor(expected, expected - SIGMAS * error, f"by the line through {len(points)} measured designs")


def check_losses(network: Network, tagger: Network, validation: Sample, *, allowed: Mapping[str, float]) -> None:
    """Refuse to cut a network further that has lost more of a metric than `allowed`, on the same validation jets.

    Raises:
        BudgetMissedError: it has, by more than `SIGMAS` standard deviations.
    """
    after, before = (training.scores(each, validation, names=allowed) for each in (network, tagger))
    for name, most, lost in _losses(metrics.differences(after, before), allowed):
        if lost.value - SIGMAS * lost.error > most:
            raise BudgetMissedError(
                f"the evidence says that the budget cannot be met: {label(name)} binds, {amount(name, most)} may be "
                f"lost, and the measured design, still over budget, has lost {_lost(name, lost)}; the state is kept, "
                "allow more"
            )


def check_clock(measured: Measurement | None) -> None:
    """Warn where a design has its latency in ns only at a clock that it does not reach."""
    if measured is not None and measured.clock_met is False:
        found = (measured.tool, measured.stage, measured.clock_ns)
        log.warning("%s (%s) says that the design misses its clock of %g ns, which its latency is reckoned by", *found)


def check_kept(differences: Mapping[str, Difference], allowed: Mapping[str, float], *, met: bool) -> None:
    """Refuse a design that has lost more of a metric than `allowed`, be the budget `met` or the design unmeasured.

    Raises:
        BudgetMissedError: it has.
    """
    begun = "the budget is met" if met else "the design is to be measured"
    for name, most, lost in _losses(differences, allowed):
        if lost.value > most:
            raise BudgetMissedError(
                f"{begun}, but {label(name)} binds: {amount(name, most)} may be lost and "
                f"{_lost(name, lost)} are; summary.json and the state are kept"
            )


def _losses(
    differences: Mapping[str, Difference], allowed: Mapping[str, float]
) -> Iterator[tuple[str, float, Difference]]:
    for name, most in allowed.items():
        change = differences[name]
        yield name, most, Difference(metrics.lost(name, change.value), change.error)


def _lost(name: str, lost: Difference) -> str:
    return f"{lost.times(scale(name)):{'.2f' if scale(name) != 1 else form(name)}}".replace("±", "+-")
