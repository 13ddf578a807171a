"""Which values of a network act on its outputs: only those are in its adder graph."""

import functools
import hashlib
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from hepprune.hardware.cost.circuits import recurrent
from hepprune.hardware.cost.circuits.kernels import integers
from hepprune.hardware.cost.circuits.wires import Bools
from hepprune.network import Argmax, Einsum, GlobalPool, Layer, Merge, Network, Pool, Softmax, Weighted
from hepprune.network.layers import MOVING, LayerNorm, Recurrent, Shape, TopK

Reads = Callable[..., Tensor]
T = TypeVar("T")
KEPT = 1024


@dataclass(frozen=True)
class Keyed(Generic[T]):
    """Something known by a key, under which what follows from it is kept."""

    key: Hashable
    value: T = field(compare=False)


def contents(network: Network) -> dict[str, bytes]:
    """Return what names the content of each node by its name: its layer's kind, settings and arrays, its types."""
    found = {}
    for node in network.nodes:
        content = hashlib.blake2b(digest_size=16)
        content.update(repr((type(node.layer), node.layer.settings(), node.results)).encode())
        for array in (*node.layer.parameters(), *node.layer.buffers()):
            content.update(array.detach().cpu().numpy().tobytes())
        found[node.name] = content.digest()
    return found


def alive(
    network: Network, named: Mapping[str, bytes], *, among: Mapping[str, Bools] | None = None
) -> dict[str, Bools]:
    """Return which values of each node act on an output before any head, by name; none but those `among` some.

    A node of a content that was `named` before is not looked at again.
    """
    nodes = network.nodes
    found = {node.name: np.zeros(node.shape, bool) for node in nodes}
    for name in network.raw_outputs:
        found[name][...] = True
    for node in reversed(nodes):
        if among is not None and node.name in among and node.sources:
            found[node.name] &= among[node.name]
        if not node.sources or not found[node.name].any():
            continue
        shapes, acts = tuple(found[source].shape for source in node.sources), found[node.name]
        reading = Keyed((named[node.name], acts.tobytes(), shapes), (node.layer, acts, shapes))
        for source, those in zip(node.sources, read(reading), strict=True):
            found[source] |= those
    return found


@functools.lru_cache(maxsize=KEPT)
def read(reading: Keyed[tuple[Layer, Bools, tuple[Shape, ...]]]) -> list[Bools]:
    """Return which of the values that arrive, of those shapes, act on those of a layer that act."""
    layer, acts, shapes = reading.value
    if isinstance(layer, Recurrent):
        # which rows of a GRU's candidate act is not told apart
        weights = {kernel.array: integers(kernel).weight for kernel in layer.kernels}
        steps = recurrent.states_read(layer, weights["recurrent_weight"], acts, shapes[0][0])
        rows = weights["weight"].reshape(-1, layer.n_out, layer.n_in) != 0
        read = np.stack([np.any(rows[:, each.memory], axis=(0, 1)) for each in steps])
        return [read[::-1] if layer.backwards else read]
    run = next((function(layer) for kinds, function in _POSITIVE.items() if isinstance(layer, kinds)), None)
    if run is None:
        return [acts]
    ones = [torch.ones(1, *shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    with torch.enable_grad():
        acting = (run(*ones) * torch.as_tensor(acts)).sum()  # torch imports sympy to be given slopes of its own
        slopes = torch.autograd.grad(acting, ones)
    return [slope[0].numpy() > 0 for slope in slopes]


def _linear(layer: Weighted) -> Reads:
    weight = torch.as_tensor(integers(layer.matrix).weight != 0, dtype=torch.float64).reshape(layer.weight.shape)
    bias = torch.zeros(len(layer.bias), dtype=torch.float64)
    return lambda arriving: layer.linear(arriving, weight, bias)


def _whole_row(layer: Layer) -> Reads:
    """Return what reads a whole row for each of its values."""
    axis = getattr(layer, "axis", -1)
    return lambda arriving: arriving + arriving.sum(dim=axis if axis < 0 else axis + 1, keepdim=True)


# Functions of positive slope in each value that a layer reads; of any other layer each value is read alone.
_POSITIVE: dict[Any, Callable[[Any], Reads]] = {
    (*MOVING, Einsum): lambda layer: functools.partial(layer.compute, quantised=False),
    Weighted: _linear,
    (Pool, GlobalPool): lambda layer: functools.partial(layer.rebuilt(kind="average").compute, quantised=False),
    Merge: lambda _: lambda *arriving: functools.reduce(torch.add, arriving),
    Argmax: lambda _: lambda arriving: arriving.sum(dim=-1, keepdim=True),
    (Softmax, LayerNorm, TopK): _whole_row,
}
