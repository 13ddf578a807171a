"""The estimate of a whole adder graph, layer by layer; a layer that has not changed is not priced again."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint
from hepprune.hardware.cost.circuits import operations, reading
from hepprune.hardware.cost.circuits.operations import Bill
from hepprune.hardware.cost.circuits.reading import KEPT, Keyed
from hepprune.hardware.cost.circuits.rules import priced
from hepprune.hardware.cost.circuits.wires import Bools, Floats, Wires, constants, where
from hepprune.hardware.cost.distributed_arithmetic import as_estimate
from hepprune.hardware.resources import Estimate, LayerEstimate, Resources
from hepprune.hardware.targets import Target
from hepprune.network import Input, Network, Node, Recurrent, Weighted

# One standard deviation, as found on networks that fitted nothing (`benchmarks/circuits.py`), FF as modelled.
RELATIVE_ERROR, LAYER_ERROR = {"lut": 0.05, "ff": 0.3}, {"lut": 0.1, "ff": 0.3}
# Bits that live inside a layer over those that it makes in a level: products keep their operands for many levels, and a
# cell is one product after the other. Fitted on the pipelines of 28 networks of `benchmarks/circuits.py`.
INSIDE, INSIDE_CELL = 0.7, 2.6


@dataclass(frozen=True)
class _Priced:
    """What a node costs in LUT and puts out, and what it read."""

    lut: float
    made: Wires
    arriving: tuple[Wires, ...] = ()


def estimate(network: Network, target: Target) -> Estimate:
    """Return the price of the adder graph, at stage "da4ml"; the initiation interval is 1, DSP and BRAM are 0.

    Raises:
        NetworkError: a layer has no fixed-point form, or no price as part of an adder graph.
        RecipeError: the target has no known clock.
    """
    alive, found = _nodes(network)
    ends = [found[name].made for name in network.raw_outputs]
    depth = max(float(end.level.max()) for end in ends)
    n_cycles = max(1, math.ceil(depth / target.levels_per_cycle))
    boundaries = [math.ceil(depth / n_cycles) * stage for stage in range(1, n_cycles)]
    levels, outputs, layers, flip_flops = _critical_levels(network, found), network.raw_outputs, [], []
    for name, each in found.items():
        runs = network.runs(network[name])
        inside = INSIDE_CELL if isinstance(runs, Recurrent) else INSIDE
        ff = _registers(each, alive[name], boundaries, inside=inside)
        for _ in range(outputs.count(name)):  # an output is held at the end, and from where it is done on
            ff += float((each.made.width * each.made.moving).sum()) + sum(_bits_there(each.made, boundaries))
        flip_flops.append(ff)
        has_matrix = isinstance(runs, Weighted | Recurrent)
        if each.lut or ff or has_matrix:
            kind = "matrix" if has_matrix else "input" if isinstance(runs, Input) else "element"
            cells, depth = Resources.logic(each.lut, ff), levels.get(name, 0.0)
            doubt = cells.scaled(LAYER_ERROR)
            layers.append(LayerEstimate(layer=name, resources=cells, depth=depth, uncertainty=doubt, kind=kind))
    totals = Resources.logic(sum(each.lut for each in found.values()), sum(flip_flops))
    return as_estimate(layers, totals, target, n_cycles=n_cycles, errors=RELATIVE_ERROR)


def forget() -> None:
    """Forget all nodes priced so far, of which a changed network has those again that the change does not reach."""
    for kept in (_done, reading.read):
        kept.cache_clear()


def _nodes(network: Network) -> tuple[dict[str, Bools], dict[str, _Priced]]:
    """Return which values act and what each node costs; what makes a value that is always the same costs nothing."""
    named = reading.contents(network)
    alive = reading.alive(network, named)
    found = _walked(network, alive, named)
    moving = {name: each.made.moving for name, each in found.items()}
    if all((moving[name] | ~alive[name]).all() for name in found):
        return alive, found
    acting = reading.alive(network, named, among=moving)
    return acting, _walked(network, acting, named, still=found)


def _walked(
    network: Network,
    alive: Mapping[str, Bools],
    named: Mapping[str, bytes],
    *,
    still: Mapping[str, _Priced] | None = None,
) -> dict[str, _Priced]:
    """Return the price of every node up to the outputs before any head; values that do not act are those of `still`."""

    def rule(node: Node, *arriving: _Priced) -> _Priced:
        acts, values = alive[node.name], tuple(each.made for each in arriving)
        rest = still[node.name].made if still else constants(np.zeros(node.shape))
        if not acts.any():
            return _Priced(0.0, rest)
        # a price is named by the layer's content, what of it acts, and what arrives
        content = hashlib.blake2b(named[node.name] + acts.tobytes(), digest_size=16)
        for each in values:
            content.update(repr(each.shape).encode() + each.planes.tobytes())
        lut, made = _done(Keyed(content.digest(), (node, acts, values)))
        return _Priced(lut, made if acts.all() else where(acts, made, rest), values)

    return network.interpret(rule, until=network.raw_outputs)


@lru_cache(maxsize=KEPT)
def _done(work: Keyed[tuple[Node, Bools, tuple[Wires, ...]]]) -> tuple[float, Wires]:
    """Return the LUT of a node, of whose values some act, and what it puts out of what arrives."""
    (node, acts, arriving), bill = work.value, Bill()
    made = priced(bill, node.layer, acts, *arriving)
    for quantiser in node.results[node.layer.result is not None :]:
        if not isinstance(quantiser, FixedPoint):
            raise NetworkError(f"layer '{node.name}' has a {type(quantiser).__name__} result, no fixed-point type")
        made = operations.quantise(bill, made, quantiser)
    return bill.lut, made


def _critical_levels(network: Network, found: Mapping[str, _Priced]) -> dict[str, float]:
    """Return the levels that each node on the longest path adds to it, before rounding up."""
    last = {name: float(each.made.smooth.max()) for name, each in found.items()}
    name, levels = max(network.raw_outputs, key=lambda each: last[each]), dict[str, float]()
    while sources := network.sources.get(name, ()):
        if isinstance(network[name], Input):
            break
        before = max(sources, key=lambda each: last[each])
        levels[name] = last[name] - last[before]
        name = before
    return levels


def _registers(each: _Priced, acts: Bools, boundaries: list[int], *, inside: float) -> float:
    """Return the bits in registers before and inside a node at the boundaries of stages.

    What has arrived waits as long as values are not done. Inside live so many of the bits that are made in a level.
    """
    if not each.arriving:  # the input port
        return float(each.made.width[acts].sum())
    begin = min(float(one.level[one.moving].min(initial=np.inf)) for one in each.arriving)
    done = float(each.made.level.max())
    unfinished = (each.made.level.size - _there(each.made.level, boundaries)) / each.made.level.size
    waiting = [_bits_there(one, boundaries) for one in each.arriving]
    held = 0.0
    for level, share, *bits in zip(boundaries, unfinished.tolist(), *waiting, strict=True):
        if level < done:
            held += share * sum(bits)
        if begin <= level < done:
            held += inside * each.lut / (done - begin)
    return held


def _there(levels: Floats, boundaries: list[int]) -> NDArray[np.int64]:
    """Return how many of the values are there at each boundary, (n_boundaries,)."""
    return np.sort(levels, axis=None).searchsorted(boundaries, side="right")


def _bits_there(wires: Wires, boundaries: list[int]) -> list[float]:
    """Return the bits of values that are there at each boundary, whole numbers; what is always the same has none."""
    levels, bits = wires.level.ravel(), (wires.width * wires.moving).ravel()
    summed = np.append(0.0, bits[levels.argsort()].cumsum())
    found: list[float] = summed[_there(levels, boundaries)].tolist()
    return found
