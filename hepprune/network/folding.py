"""Folding: batch norms become part of a layer beside them, and come back as ones that change nothing."""

import torch
from torch import Tensor

from hepprune.network import BatchNorm, Conv, Layer, Network, Weighted


@torch.no_grad()
def fold_batch_norm(network: Network) -> Network:
    """Return a float-equal network in which batch norms are part of the layer before them or those after them.

    Jacob et al., arXiv:1712.05877. One that neither can take in stays, a multiplier and an adder for each value.
    """
    smaller: Network | None = network.clone()
    while smaller is not None:
        network = smaller
        norms = [layer for layer in network if isinstance(layer, BatchNorm) and not layer.fixed]
        smaller = next((found for norm in norms if (found := _without(network, norm)) is not None), None)
    return network


def _without(network: Network, norm: BatchNorm) -> Network | None:
    """Return the network with a norm folded, None where no layer can take it in."""
    changed = _into_the_layer_before(network, norm)
    after = network.readers(norm)
    hidden = norm.result is None and norm.name not in network.outputs
    # padding is read as it is, and a norm before it would add no shift there
    padded = any(isinstance(layer, Conv) and any(map(any, layer.padding)) for layer in after)
    taking = not padded and all(layer.kernels and not _runs_elsewhere(network, layer) for layer in after)
    if not changed and hidden and taking:
        scale, shift = (each.expand(network.shapes[norm.name][-1]) for each in (norm.scale, norm.shift))
        changed = {layer.name: _behind_norm(layer, scale, shift) for layer in after}
    if not changed or _runs_elsewhere(network, norm):
        return None
    passed = {norm.name: network.source(norm).name}
    sources = {name: tuple(passed.get(s, s) for s in of) for name, of in network.sources.items() if name != norm.name}
    layers = [changed.get(layer.name, layer) for layer in network if layer is not norm]
    return Network(layers, sources, [passed.get(name, name) for name in network.outputs])


def _into_the_layer_before(network: Network, norm: BatchNorm) -> dict[str, Layer]:
    before = network.source(norm)
    feeds_more = len(network.readers(before)) != 1 or before.name in network.outputs
    if not isinstance(before, Weighted) or before.fixed or feeds_more or _runs_elsewhere(network, before):
        return {}
    scale = norm.scale.expand(before.n_out)
    weight = scale.reshape(-1, *(1,) * (before.weight.ndim - 1)) * before.weight
    return {before.name: before.rebuilt(weight=weight, bias=scale * before.bias + norm.shift, result=norm.result)}


def _behind_norm(layer: Layer, scale: Tensor, shift: Tensor) -> Layer:
    """Return a layer whose kernel scales and shifts the channels that it reads, (n_channels,) each."""
    kernel = layer.kernels[0]
    by_group = kernel.weight.reshape(kernel.groups, -1, *kernel.weight.shape[1:])
    shape = (kernel.groups, *(1,) * (by_group.ndim - 2), kernel.n_columns)
    scales, shifts = scale.reshape(shape), shift.reshape(shape)
    bias = layer.get_parameter("bias") + (by_group * shifts).flatten(2).sum(dim=2).flatten()
    return layer.rebuilt(weight=(by_group * scales).reshape(kernel.weight.shape), bias=bias)


def _runs_elsewhere(network: Network, layer: Layer) -> bool:
    return sum(network.runs(node) is layer for node in network) > 1


def unfold_batch_norm(network: Network, original: Network) -> Network:
    """Return an equal network in which batch norms of the original that were folded stand in their places again.

    They change nothing there; formats that keep a model's layers can then take the network back.
    """
    layers, sources = [], dict(network.sources)
    folded = {layer.name for layer in original if isinstance(layer, BatchNorm)} - {layer.name for layer in network}
    for layer in network.clone():
        layers.append(layer)
        ones = torch.ones(network.shapes[layer.name][-1])
        found = [layer.name]
        for each in found:  # grows on the way
            found += [reader.name for reader in original.readers(original[each]) if reader.name in folded]
        for norm in found[1:]:
            layers.append(BatchNorm(norm, ones, torch.zeros_like(ones)))
            readers = {reader.name for reader in original.readers(original[norm])}
            moved = {n: tuple(norm if s == layer.name and n in readers else s for s in of) for n, of in sources.items()}
            sources = moved | {norm: original.sources[norm]}
    return Network(layers, sources, original.outputs)
