"""Folding: batch norms become part of a layer beside them, and come back as ones that change nothing."""

import torch

from hepprune.errors import NetworkError
from hepprune.network import BatchNorm, Dense, Layer, Network, Weighted


@torch.no_grad()
def fold_batch_norm(network: Network) -> Network:
    """Return a float-equal network in which every batch norm is part of the layer before it or the dense ones after it.

    Jacob et al., arXiv:1712.05877.

    Raises:
        NetworkError: neither the layer before a batch norm nor those after it can take it in.
    """
    network = network.clone()
    while norms := [layer for layer in network if isinstance(layer, BatchNorm)]:
        network = _without(network, norms[0])
    return network


def _without(network: Network, norm: BatchNorm) -> Network:
    changed = _into_the_layer_before(network, norm) or _into_those_after(network, norm)
    if not changed:
        raise NetworkError(
            f"batch norm '{norm.name}' can be folded neither into a layer before it that feeds nothing else, "
            "nor into dense layers after it"
        )
    source = network.source(norm).name
    passed = {norm.name: source}
    sources = {name: tuple(passed.get(s, s) for s in of) for name, of in network.sources.items() if name != norm.name}
    layers = [changed.get(layer.name, layer) for layer in network if layer is not norm]
    return Network(layers, sources, [passed.get(name, name) for name in network.outputs])


def _into_the_layer_before(network: Network, norm: BatchNorm) -> dict[str, Layer]:
    before = network.source(norm)
    feeds_more = len(network.readers(before)) != 1 or before.name in network.outputs
    if not isinstance(before, Weighted) or feeds_more or _runs_elsewhere(network, before):
        return {}
    scale = norm.scale.expand(before.n_out)
    weight = scale.reshape(-1, *(1,) * (before.weight.ndim - 1)) * before.weight
    return {before.name: before.rebuilt(weight=weight, bias=scale * before.bias + norm.shift, result=norm.result)}


def _into_those_after(network: Network, norm: BatchNorm) -> dict[str, Layer]:
    readers = network.readers(norm)
    after = [layer for layer in readers if isinstance(layer, Dense) and not _runs_elsewhere(network, layer)]
    hidden = norm.result is None and norm.name not in network.outputs
    if not hidden or len(after) != len(readers):
        return {}
    return {
        layer.name: layer.rebuilt(
            weight=layer.weight * norm.scale, bias=layer.bias + (layer.weight * norm.shift).sum(dim=1)
        )
        for layer in after
    }


def _runs_elsewhere(network: Network, layer: Layer) -> bool:
    return sum(network.runs(node) is layer for node in network) > 1


def unfold_batch_norm(network: Network, original: Network) -> Network:
    """Return an equal network in which every batch norm of the original stands in its place again, as the identity.

    Formats that keep a model's layers can then take the network back.
    """
    layers, sources = [], dict(network.sources)
    for layer in network.clone():
        layers.append(layer)
        for norm in [node for node in original.readers(original[layer.name]) if isinstance(node, BatchNorm)]:
            ones = torch.ones(network.shapes[layer.name][-1])
            layers.append(BatchNorm(norm.name, ones, torch.zeros_like(ones)))
            readers = {reader.name for reader in original.readers(norm)}
            moved = {
                n: tuple(norm.name if s == layer.name and n in readers else s for s in of) for n, of in sources.items()
            }
            sources = moved | {norm.name: (layer.name,)}
    return Network(layers, sources, original.outputs)
