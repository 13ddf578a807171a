"""Gated channels: a small side layer says for each jet which channels to compute (Gao et al., arXiv:1810.05331).

A gate reads the features and multiplies each channel's activation by a saliency. Channels whose saliency is zero need
not be computed: all but the k largest ("top-k"), or all that do not exceed a threshold.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hepprune.errors import NetworkError
from hepprune.network import Activation, Dense, Layer, Merge, Network, ReLU, TopK
from hepprune.pruning.dynamic.work import Penalty, Work, multiplications


def with_gates(network: Network, layers: Sequence[str], *, k: int | None = None, seed: int) -> Network:
    """Return a float network in which these dense layers have gates, all open at first.

    With `k` so many channels of each are computed, else those whose saliency exceeds a threshold, 0 to begin with.
    Layers are named gate_L (dense), saliency_L, and gated_L for the layer L that they gate.

    Raises:
        NetworkError: a layer is not dense or has no ReLU of its own after it, or the network is quantised already.
    """
    if network.input.result is not None:
        raise NetworkError("gates are added to a float network, before it is quantised")
    generator = torch.Generator().manual_seed(seed)
    handed = {_relu(network, name): name for name in layers}
    built: list[Layer] = []
    sources: dict[str, tuple[str, ...]] = {}
    for layer in network.clone():
        built.append(layer)
        read = network.sources.get(layer.name, ())
        sources[layer.name] = tuple(f"gated_{handed[name]}" if name in handed else name for name in read)
        if layer.name in handed:
            added = _gate(network, handed[layer.name], k=k, generator=generator)
            built += [*added, Merge(f"gated_{handed[layer.name]}", "multiply")]
            reads = (network.input.name, *(node.name for node in added))
            sources |= {node.name: (reads[place],) for place, node in enumerate(added)}
            sources[f"gated_{handed[layer.name]}"] = (layer.name, added[-1].name)
    return Network(built, {name: read for name, read in sources.items() if read}, network.outputs)


def _relu(network: Network, name: str) -> str:
    """Return the ReLU that alone reads a dense layer."""
    readers = network.readers(network[name])
    if not isinstance(network[name], Dense) or len(readers) != 1 or not isinstance(readers[0], ReLU):
        raise NetworkError(f"layer '{name}' cannot be gated; a gate needs a dense layer with a ReLU after it")
    return readers[0].name


def _gate(network: Network, name: str, *, k: int | None, generator: torch.Generator) -> list[Layer]:
    n_in, n_out = network.widths[network.input.name], network.widths[name]
    weight = torch.randn(n_out, n_in, generator=generator) * (0.1 / n_in**0.5)
    gate = Dense(f"gate_{name}", weight, torch.ones(n_out))
    if k is None:
        return [gate, _threshold(name, 0.0)]
    return [gate, ReLU(f"positive_{name}"), TopK(f"saliency_{name}", k)]


def _threshold(name: str, theta: float) -> Activation:
    return Activation(f"saliency_{name}", "thresholded_relu", parameters={"theta": theta})


def gated(network: Network) -> list[str]:
    """Return the names of the layers that have a gate."""
    return [layer.name.removeprefix("gated_") for layer in network if layer.name.startswith("gated_")]


def opened(network: Network, *, threshold: float) -> Network:
    """Return a copy whose threshold gates let through what exceeds this saliency."""
    return network.replacing({f"saliency_{name}": _threshold(name, threshold) for name in gated(network)})


def penalty(network: Network, strength: float) -> Penalty:
    """Return what training adds to its loss, so that gates close: strength x the mean saliency."""
    names = [f"saliency_{name}" for name in gated(network)]

    def added(values: Mapping[str, Tensor], targets: Tensor) -> Tensor:
        del targets
        return strength * torch.stack([values[name].mean() for name in names]).mean()

    return added


@torch.no_grad()
def gated_work(network: Network, x: Tensor) -> Work:
    """Return what jets (n_jets, n_features) cost where closed channels are neither computed nor read.

    The worst case has the k costliest channels open of a top-k gate, and all of a threshold gate.
    """
    values = network.activations(x, until=network.raw_outputs)
    own = multiplications(network)
    each = torch.zeros(len(x), dtype=torch.float64)
    worst = 0.0
    for name, count in own.items():
        layer = network[name]
        read = network.sources[name][0]
        if not isinstance(layer, Dense) or not (name in gated(network) or read.startswith("gated_")):
            each, worst = each + count, worst + count
            continue
        acts = (layer.used_weight() != 0).double()
        rows = _open(network, name, values, layer.n_out)
        columns = _open(network, read.removeprefix("gated_"), values, layer.n_in)
        each = each + torch.einsum("no,oi,ni->n", rows, acts, columns)
        worst += _most(
            acts, _bound(network, name, layer.n_out), _bound(network, read.removeprefix("gated_"), layer.n_in)
        )
    return Work(float(each.mean()), float(each.max()), worst)


def _open(network: Network, name: str, values: Mapping[str, Tensor], width: int) -> Tensor:
    """Return which channels of a layer are open for each jet, (n_jets, width)."""
    n_jets = len(values[network.input.name])
    if name not in gated(network):
        return torch.ones(n_jets, width, dtype=torch.float64)
    return (values[f"saliency_{name}"] > 0).double()


def _bound(network: Network, name: str, width: int) -> int:
    """Return how many channels of a layer can be open at once."""
    gate = network[f"saliency_{name}"] if name in gated(network) else None
    return gate.k if isinstance(gate, TopK) else width


def _most(acts: Tensor, rows: int, columns: int) -> float:
    """Return the most weights that act among so many rows and columns, at most: each row's best columns."""
    per_row = acts.sort(dim=1, descending=True).values[:, :columns].sum(dim=1)
    return float(per_row.sort(descending=True).values[:rows].sum())
