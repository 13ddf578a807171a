"""Folding: batch norms become part of the layer before them, and come back as ones that change nothing."""

import torch

from hepprune.errors import NetworkError
from hepprune.network import BatchNorm, Layer, Network, Weighted


@torch.no_grad()
def fold_batch_norm(network: Network) -> Network:
    """Return a float-equal network in which every batch norm is part of the dense layer before it.

    Jacob et al., arXiv:1712.05877.

    Raises:
        NetworkError: a batch norm does not directly follow a dense layer that feeds only it.
    """
    changed: dict[str, Layer] = {}
    sources, outputs = dict(network.sources), list(network.outputs)
    for norm in [layer for layer in network if isinstance(layer, BatchNorm)]:
        before = network.source(norm)
        if not isinstance(before, Weighted) or len(network.readers(before)) != 1:
            raise NetworkError(f"batch norm '{norm.name}' must follow a dense layer that feeds nothing else")
        scale = norm.scale.expand(before.n_out)
        weight = scale.reshape(-1, *(1,) * (before.weight.ndim - 1)) * before.weight
        changed[before.name] = before.rebuilt(weight=weight, bias=scale * before.bias + norm.shift, result=norm.result)
        (removed,) = sources.pop(norm.name)
        passed = {norm.name: removed}
        sources = {reader: tuple(passed.get(name, name) for name in names) for reader, names in sources.items()}
        outputs = [passed.get(name, name) for name in outputs]
    kept = [changed.get(layer.name, layer) for layer in network if not isinstance(layer, BatchNorm)]
    return Network(kept, sources, outputs).clone()


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
            moved = {name: tuple(norm.name if s == layer.name else s for s in of) for name, of in sources.items()}
            sources = moved | {norm.name: (layer.name,)}
    return Network(layers, sources, original.outputs)
