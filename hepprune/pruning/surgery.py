"""Surgery: really remove units with all that is coupled to them, so that shapes change and no output moves by a bit."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hepprune.network import Conv, Einsum, Layer, Network, Recurrent, Weighted
from hepprune.pruning import coupling, masks, removal
from hepprune.pruning.constants import constants, silent_states
from hepprune.pruning.coupling import Units
from hepprune.pruning.masks import Cut

logger = logging.getLogger(__name__)

Flags = NDArray[np.bool_]  # one for each unit


def shrink(network: Network, plan: Iterable[Cut] = ()) -> Network:
    """Return a smaller network, equal to `masks.apply(network, plan)` on every input: bit for bit in fixed point.

    What leaves is dead: units that nothing reads, and units whose value is constant over all possible inputs, which
    the next biases take over. A constant that a bias cannot hold exactly keeps its units, and the log says so. Every
    layer keeps at least one neuron. In float only constants of zero are taken over, which is exact.

    Raises:
        NetworkError: the plan names no layer with weights, or would leave one without a neuron.
    """
    cuts = list(plan)
    network = masks.apply(network, cuts) if cuts else network
    while True:
        smaller = _smaller(network)
        if smaller is network:
            return network
        network = smaller


@dataclass(frozen=True)
class _Reader:
    """A layer with weights, the units of its inputs, and the constant of each, NaN where it can change."""

    layer: Weighted | Recurrent
    units: NDArray[np.int64]
    constant: Tensor

    def with_constant(self, bias: Tensor | None, unit: int) -> Tensor | None:
        """Return the bias (n_out,), float64, that has taken over a unit's constant too, None if it cannot exactly."""
        layer, own = self.layer, torch.as_tensor(self.units == unit)
        if not isinstance(layer, Weighted):
            return None
        weight = layer.used_weight().double()[..., own].reshape(layer.n_out, -1, int(own.sum()))
        total = layer.used_bias().double() if bias is None else bias
        if not weight.any():
            return total
        if layer.bias_type is None or _sees_borders(layer):
            return None
        total = total + weight.sum(dim=1) @ self.constant[own]
        exact = (total.to(layer.bias.dtype).double() == total) & (layer.bias_type(total) == total)
        return total if bool(exact.all()) else None


def _sees_borders(layer: Weighted) -> bool:
    """Return whether an output does not see the same constant everywhere, or not all channels."""
    return isinstance(layer, Conv) and (layer.groups > 1 or any(size for pair in layer.padding for size in pair))


@torch.no_grad()
def _smaller(network: Network) -> Network:
    units, values = coupling.follow(network), constants(network)
    readers = [_reader(network, network[name], units, values) for name in units.read]
    unread = units.free & ~_heard(network, readers, units, values)
    steady = units.free & ~_changing(network, readers, units, values)
    gone, biases = _taken_over(_sparing(units, unread, steady), unread, readers)
    if not gone.any():
        return network
    return removal.without(network.replacing(biases), units, gone)


def _reader(network: Network, layer: Layer, units: Units, values: dict[str, Tensor]) -> _Reader:
    """Return a layer with weights as a reader of the constants that arrive at all of its places."""
    places = [network.sources[node.name][0] for node in network if network.runs(node) is layer]
    ids = units.read[layer.name]
    constant = torch.cat([values[name].reshape(-1, len(ids)) for name in places])
    same = (constant == constant[0]).all(dim=0)
    return _Reader(layer, ids, torch.where(same, constant[0], torch.nan))  # type: ignore[arg-type]


def _heard(network: Network, readers: list[_Reader], units: Units, values: dict[str, Tensor]) -> Flags:
    """Return which units something reads."""
    found = _summed(network, units, values)
    for reader in readers:
        layer = reader.layer
        weight = layer.used("weight") if isinstance(layer, Recurrent) else layer.used_weight()
        found[reader.units[(weight != 0).flatten(0, -2).any(dim=0).numpy()]] = True
    return found | _fed(network, units)


def _changing(network: Network, readers: list[_Reader], units: Units, values: dict[str, Tensor]) -> Flags:
    """Return which units have no constant in the place of one of their readers."""
    found = _summed(network, units, values)
    for reader in readers:
        found[reader.units[torch.isnan(reader.constant).numpy()]] = True
    for name in units.fed:
        silent = silent_states(network[name])  # type: ignore[arg-type]
        found[units.fed[name][~silent.numpy()]] = True
    return found


def _fed(network: Network, units: Units) -> Flags:
    """Return which units are states that another state reads in the next step."""
    found = np.zeros(units.count, bool)
    for name, ids in units.fed.items():
        kernel = network[name].used("recurrent_weight").reshape(-1, len(ids), len(ids))  # type: ignore[operator]
        others = (kernel != 0) & ~torch.eye(len(ids), dtype=torch.bool)
        found[ids[others.flatten(0, 1).any(dim=0).numpy()]] = True
    return found


def _summed(network: Network, units: Units, values: dict[str, Tensor]) -> Flags:
    """Return which units a contraction sums over while they are zeros in none of its values."""
    found = np.zeros(units.count, bool)
    for node in network:
        layer = network.runs(node)
        if not isinstance(layer, Einsum):
            continue
        for letter in set("".join(layer.terms[:2])) - set(layer.terms[2]):
            pairs = zip(layer.terms, network.sources[node.name], strict=False)
            axes = [(name, term.index(letter)) for term, name in pairs if letter in term]
            silent = [(values[name] == 0).movedim(axis, 0).flatten(1).all(dim=1).numpy() for name, axis in axes]
            name, axis = axes[0]
            found[units.values[name][axis][~np.any(silent, axis=0)]] = True
    return found


def _sparing(units: Units, unread: Flags, steady: Flags) -> Flags:
    """Return which units leave when each axis of each value keeps at least one, rather a constant than an unread."""
    gone = unread | steady
    for ids in (ids for axes in units.values.values() for ids in axes):
        if gone[ids].all():
            heard = ids[~unread[ids]]
            gone[(heard if len(heard) else ids)[-1]] = False
    return gone


def _taken_over(gone: Flags, unread: Flags, readers: list[_Reader]) -> tuple[Flags, dict[str, Layer]]:
    """Return which units leave for good, and the readers with biases that have taken over their constants.

    One after the other, each on top of those already taken.
    """
    gone = gone.copy()
    totals: dict[str, Tensor | None] = {}
    telling = [np.unique(reader.units[(torch.nan_to_num(reader.constant) != 0).numpy()]) for reader in readers]
    for unit in np.unique(np.concatenate([*telling, np.zeros(1, np.int64)])):
        if unread[unit] or not gone[unit]:
            continue
        told = [reader for reader, units in zip(readers, telling, strict=True) if unit in units]
        after = {r.layer.name: r.with_constant(totals.get(r.layer.name), unit) for r in told}
        full = [reader for reader in told if after[reader.layer.name] is None]
        for reader in full:
            kind = reader.layer.bias_type
            logger.warning("layer '%s' cannot hold a dead neuron's constant in %s: kept", reader.layer.name, kind)
        gone[unit] = not full
        totals |= {} if full else after
    layers = {reader.layer.name: reader.layer for reader in readers}
    return gone, {
        name: layers[name].rebuilt(bias=total.to(layers[name].bias.dtype))
        for name, total in totals.items()
        if total is not None
    }
