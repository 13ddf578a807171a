"""Surgery: really remove units with all that is coupled to them, so that shapes change and no output moves by a bit."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hepprune.network import Conv, Einsum, Layer, Network, Weighted
from hepprune.pruning import masks
from hepprune.pruning.masks import Cut
from hepprune.pruning.structure import coupling, removal
from hepprune.pruning.structure.constants import constants, silent_states
from hepprune.pruning.structure.coupling import Units

logger = logging.getLogger(__name__)

Flags = NDArray[np.bool_]  # one for each unit


def shrink(network: Network, plan: Iterable[Cut] = (), *, warn: bool = True) -> Network:
    """Return a smaller network, equal to `masks.apply(network, plan)` on every input: bit for bit in fixed point.

    What leaves is dead: units that nothing reads, and units whose value is constant over all possible inputs, which
    the next biases take over. A constant that a bias cannot hold exactly keeps its units, and with `warn` the log says
    so. Every layer keeps at least one neuron. In float only constants of zero are taken over, which is exact.

    Raises:
        NetworkError: the plan names no layer with weights, or would leave one without a neuron.
    """
    cuts = list(plan)
    network = masks.apply(network, cuts) if cuts else network
    while True:
        network, units = _without_unread(network)
        smaller = _without_constant(network, units, warn=warn)
        if smaller is network:
            return network
        network = smaller


@torch.no_grad()
def _without_unread(network: Network) -> tuple[Network, Units]:
    """Return the network without what nothing reads, and the units that are left."""
    while True:
        units = coupling.follow(network)
        read = _read_by_states(network, units)
        for ids in units.summed.values():
            read[ids] = True
        for name, ids in units.read.items():
            read[ids[_acting_columns(network[name])]] = True
        gone = _sparing(units, units.free & ~read)
        if not gone.any():
            return network, units
        network = removal.without(network, units, gone)


@torch.no_grad()
def _without_constant(network: Network, units: Units, *, warn: bool) -> Network:
    values = constants(network)
    readers = [_Reader.of(network, network[name], units, values) for name in units.read]
    # units without a constant in the place of one of their readers
    moving = _summed(network, units, values)
    for reader in readers:
        moving[reader.units[torch.isnan(reader.constant).numpy()]] = True
    read = _read_by_states(network, units)
    for name, ids in units.states.items():
        silent = silent_states(network[name])  # type: ignore[arg-type]
        moving[ids[~silent.numpy() & read[ids]]] = True
    gone, biases = _taken_over(_sparing(units, units.free & ~moving), readers, warn=warn)
    if not gone.any():
        return network
    return removal.without(network.replacing(biases) if biases else network, units, gone)


def _acting_columns(layer: Layer) -> Flags:
    """Return which columns of a layer's weights act."""
    return layer.kernels[0].used().flatten(0, -2).any(dim=0).numpy()


@dataclass(frozen=True)
class _Reader:
    """A layer with weights, and of the inputs that its columns which `act` read the units, and the constants.

    Those are NaN where they can change, or differ among the places that the layer runs at.
    """

    layer: Layer
    act: Tensor
    units: NDArray[np.int64]
    constant: Tensor

    @classmethod
    def of(cls, network: Network, layer: Layer, units: Units, values: dict[str, Tensor]) -> "_Reader":
        places = [network.sources[node.name][0] for node in network if network.runs(node) is layer]
        ids, act = units.read[layer.name], _acting_columns(layer)
        constant = torch.cat([values[name].reshape(-1, len(ids)) for name in places])
        same = (constant == constant[0]).all(dim=0)
        found, acting = torch.where(same, constant[0], torch.nan), torch.as_tensor(act)
        return cls(layer, acting, ids[act], found[acting])

    @cached_property
    def columns(self) -> Tensor:
        """What these inputs are multiplied with, over all places of a kernel, (n_out, n_inputs)."""
        weight = self.layer.kernels[0].used().double()[..., self.act]
        return weight.reshape(len(weight), -1, weight.shape[-1]).sum(dim=1)

    def with_constant(self, bias: Tensor | None, unit: int) -> Tensor | None:
        """Return the bias (n_out,), float64, that has taken over a unit's constant too, None if it cannot exactly."""
        layer, own = self.layer, torch.as_tensor(self.units == unit)
        # at a border, or with groups, an output does not read the same constant everywhere, or not all channels
        bordered = isinstance(layer, Conv) and (layer.groups > 1 or any(map(any, layer.padding)))
        if not isinstance(layer, Weighted) or layer.bias_type is None or bordered:
            return None
        total = (layer.used_bias().double() if bias is None else bias) + self.columns[:, own] @ self.constant[own]
        exact = (total.to(layer.bias.dtype).double() == total) & (layer.bias_type(total) == total)
        return total if bool(exact.all()) else None


def _read_by_states(network: Network, units: Units) -> Flags:
    """Return which units are states that another state reads in the next step."""
    found = np.zeros(units.count, bool)
    for name, ids in units.states.items():
        kernel = network.kernel(f"{name}.recurrent_weight").used().reshape(-1, len(ids), len(ids))
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


def _sparing(units: Units, gone: Flags) -> Flags:
    """Return which units leave when each axis of each value keeps at least its last one."""
    gone = gone.copy()
    for ids in (ids for axes in units.values.values() for ids in axes):
        if gone[ids].all():
            gone[ids[-1]] = False
    return gone


def _taken_over(gone: Flags, readers: list[_Reader], *, warn: bool) -> tuple[Flags, dict[str, Layer]]:
    """Return which units leave for good, and the readers with biases that have taken over their constants.

    One after the other, each on top of those already taken.
    """
    gone = gone.copy()
    totals: dict[str, Tensor | None] = {}
    added = [set(reader.units[(torch.nan_to_num(reader.constant) != 0).numpy()].tolist()) for reader in readers]
    for unit in sorted(unit for unit in set[int]().union(*added) if gone[unit]):
        own = [reader for reader, units in zip(readers, added, strict=True) if unit in units]
        after = {r.layer.name: r.with_constant(totals.get(r.layer.name), unit) for r in own}
        full = [reader.layer for reader in own if after[reader.layer.name] is None]
        for layer in full if warn else ():
            logger.warning("layer '%s' cannot hold a dead neuron's constant in %s: kept", layer.name, layer.bias_type)
        gone[unit] = not full
        totals |= {} if full else after
    layers = {reader.layer.name: reader.layer for reader in readers}
    changed = {name: total for name, total in totals.items() if total is not None}
    biases = {name: total.to(layers[name].get_parameter("bias").dtype) for name, total in changed.items()}
    return gone, {name: layers[name].rebuilt(bias=bias) for name, bias in biases.items()}
