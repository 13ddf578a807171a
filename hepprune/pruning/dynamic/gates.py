"""Gated channels: a small side layer says for each jet which channels to compute (Gao et al., arXiv:1810.05331).

A gate reads the features and multiplies each channel's activation by a saliency. Channels whose saliency is zero need
not be computed: all but the k largest ("top-k"), or all that do not exceed a threshold.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hepprune.errors import NetworkError, refused
from hepprune.network import Activation, Dense, Layer, Merge, Network, ReLU, TopK, Weighted

# What training adds to its loss, from the value of every layer and the targets.
WorkPenalty = Callable[[Mapping[str, Tensor], Tensor], Tensor]


@dataclass(frozen=True)
class Work:
    """Multiplications per jet: the mean over jets, the most that any of them took, and the most that any can take."""

    mean: float
    largest: float
    worst_case: float


@torch.no_grad()
def multiplications(network: Network) -> dict[str, int]:
    """Return by layer the multiplications of one jet by weights that act; a kernel acts at each of its places."""
    kernels = {node.name: layer for node in network if isinstance(layer := network.runs(node), Weighted)}
    counts = {name: int(torch.count_nonzero(layer.used_weight())) for name, layer in kernels.items()}
    return {name: count * math.prod(network.shapes[name][:-1]) for name, count in counts.items()}


@dataclass(frozen=True)
class Gate:
    """The gate of a dense layer: the layers that give the saliency of each channel, and multiply by it."""

    layer: str
    saliency: str
    product: str


@dataclass(frozen=True)
class Gated:
    """A network with its gates."""

    network: Network
    gates: tuple[Gate, ...]

    def of(self, layer: str) -> Gate | None:
        """Return the gate of a layer, None without one."""
        return next((gate for gate in self.gates if gate.layer == layer), None)

    def behind(self, value: str) -> Gate | None:
        """Return the gate whose product a value is, None for other values."""
        return next((gate for gate in self.gates if gate.product == value), None)


def with_gates(network: Network, layers: Sequence[str], *, k: int | None = None, seed: int) -> Gated:
    """Return a float network in which these dense layers have gates, all open at first.

    With `k` so many channels of each are computed, else those whose saliency exceeds a threshold, 0 to begin with.
    Layers are named gate_L (dense), saliency_L, and gated_L for the layer L that they gate.

    Raises:
        NetworkError: a layer is not dense or has no ReLU of its own after it, or the network is quantised already.
    """
    if network.input.result is not None:
        raise NetworkError("gates are added to a float network, before it is quantised")
    generator = torch.Generator().manual_seed(seed)
    gates = {_relu(network, name): Gate(name, f"saliency_{name}", f"gated_{name}") for name in layers}
    built: list[Layer] = []
    sources: dict[str, tuple[str, ...]] = {}
    for layer in network.clone():
        built.append(layer)
        read = network.sources.get(layer.name, ())
        sources[layer.name] = tuple(gates[name].product if name in gates else name for name in read)
        if gate := gates.get(layer.name):
            added = _gate(network, gate, k=k, generator=generator)
            built += [*added, Merge(gate.product, "multiply")]
            reads = (network.input.name, *(node.name for node in added))
            sources |= {node.name: (reads[place],) for place, node in enumerate(added)}
            sources[gate.product] = (layer.name, gate.saliency)
    joined = Network(built, {name: read for name, read in sources.items() if read}, network.outputs)
    return Gated(joined, tuple(gates.values()))


def _relu(network: Network, name: str) -> str:
    """Return the ReLU that alone reads a dense layer."""
    readers = network.readers(network[name])
    if not isinstance(network[name], Dense) or len(readers) != 1 or not isinstance(readers[0], ReLU):
        raise refused(name, "cannot be gated; a gate needs a dense layer with a ReLU after it")
    return readers[0].name


def _gate(network: Network, gate: Gate, *, k: int | None, generator: torch.Generator) -> list[Layer]:
    n_in, n_out = network.widths[network.input.name], network.widths[gate.layer]
    weight = torch.randn(n_out, n_in, generator=generator) * (0.1 / n_in**0.5)
    dense = Dense(f"gate_{gate.layer}", weight, torch.ones(n_out))
    if k is None:
        return [dense, _threshold(gate, 0.0)]
    return [dense, ReLU(f"positive_{gate.layer}"), TopK(gate.saliency, k)]


def _threshold(gate: Gate, theta: float) -> Activation:
    return Activation(gate.saliency, "thresholded_relu", parameters={"theta": theta})


def opened(gated: Gated, *, threshold: float) -> Gated:
    """Return a copy whose threshold gates let through what exceeds this saliency."""
    changed = {gate.saliency: _threshold(gate, threshold) for gate in gated.gates}
    return replace(gated, network=gated.network.replacing(changed))


def penalty(gated: Gated, strength: float) -> WorkPenalty:
    """Return what training adds to its loss, so that gates close: strength x the mean saliency."""
    names = [gate.saliency for gate in gated.gates]

    def added(values: Mapping[str, Tensor], _targets: Tensor) -> Tensor:
        return strength * torch.stack([values[name].mean() for name in names]).mean()

    return added


@torch.no_grad()
def gated_work(gated: Gated, x: Tensor) -> Work:
    """Return what jets (n_jets, n_features) cost where closed channels are neither computed nor read.

    The worst case has the k costliest channels open of a top-k gate, and all of a threshold gate.
    """
    network = gated.network
    values = network.activations(x, until=network.raw_outputs)
    each = torch.zeros(len(x), dtype=torch.float64)
    worst = 0.0
    for name, count in multiplications(network).items():
        layer, own, before = network[name], gated.of(name), gated.behind(network.sources[name][0])
        if not isinstance(layer, Dense) or not (own or before):
            each, worst = each + count, worst + count
            continue
        acts = (layer.used_weight() != 0).double()
        rows, columns = _open(own, values, layer.n_out, len(x)), _open(before, values, layer.n_in, len(x))
        each = each + torch.einsum("no,oi,ni->n", rows, acts, columns)
        # at the most: each row's best columns, of the best rows
        per_row = acts.sort(dim=1, descending=True).values[:, : _bound(network, before, layer.n_in)].sum(dim=1)
        worst += float(per_row.sort(descending=True).values[: _bound(network, own, layer.n_out)].sum())
    return Work(float(each.mean()), float(each.max()), worst)


def _open(gate: Gate | None, values: Mapping[str, Tensor], width: int, n_jets: int) -> Tensor:
    """Return which channels are open for each jet, (n_jets, width)."""
    if gate is None:
        return torch.ones(n_jets, width, dtype=torch.float64)
    return (values[gate.saliency] > 0).double()


def _bound(network: Network, gate: Gate | None, width: int) -> int:
    """Return how many channels can be open at once."""
    layer = network[gate.saliency] if gate else None
    return layer.k if isinstance(layer, TopK) else width
