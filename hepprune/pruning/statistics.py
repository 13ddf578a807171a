"""One pass over jets that gathers what the data-driven criteria need: squared gradients and mean activations."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hepprune.errors import DataError
from hepprune.network import Dense, Network, ReLU


@dataclass(frozen=True)
class LayerStatistics:
    """For one dense layer: means over jets of squared per-jet gradients of the loss, and of what it reads and feeds.

    `weight_fisher` (n_out, n_in) is the empirical Fisher diagonal of the weights; `neuron_fisher` (n_out,) is the mean
    of ((activation - mean) dL/dactivation)^2 for the value each neuron hands on; `mean` (n_out,) is that value's mean.
    """

    weight_fisher: Tensor
    neuron_fisher: Tensor
    mean: Tensor


Statistics = Mapping[str, LayerStatistics]


def gather(network: Network, x: Tensor, y: Tensor, *, batch_size: int = 8192) -> dict[str, LayerStatistics]:
    """Return the statistics of every dense layer by name, over jets x (n_jets, n_features) of classes y (n_jets,).

    The per-jet gradient of a dense weight is the outer product of the gradient at its output and its input, so the
    mean of squares is one matrix product per batch and needs no per-jet copies. The network is unchanged.

    Raises:
        DataError: there are no jets, or a gradient is not finite.
    """
    if not len(x):
        raise DataError("statistics need at least one jet")
    sums: dict[str, list[Tensor]] = {}
    for jets, labels in zip(torch.split(x, batch_size), torch.split(y, batch_size), strict=True):
        for name, terms in _batch(network, jets, labels).items():
            sums[name] = [a + b for a, b in zip(sums[name], terms, strict=True)] if name in sums else terms
    return {name: _finish(terms, len(x)) for name, terms in sums.items()}


def _batch(network: Network, jets: Tensor, labels: Tensor) -> dict[str, list[Tensor]]:
    """Return per dense layer the sums over a batch of: g^2 x^2, (a d)^2, a d^2, d^2, a."""
    values = network.activations(jets, until=network.logits_name)
    handed = {layer.name: _handed_on(network, layer) for layer in network.dense_layers}
    names = sorted({name for pair in handed.items() for name in pair})
    loss = nn.functional.cross_entropy(values[network.logits_name], labels, reduction="sum")
    gradients = dict(zip(names, torch.autograd.grad(loss, [values[name] for name in names]), strict=True))
    return {
        name: _sums(
            values[network.source(network[name]).name].detach(),
            gradients[name],
            values[activation].detach(),
            gradients[activation],
        )
        for name, activation in handed.items()
    }


def _handed_on(network: Network, layer: Dense) -> str:
    """Return the name of the layer whose value a neuron of `layer` hands on: its activation where it has one."""
    readers = network.readers(layer)
    return readers[0].name if len(readers) == 1 and isinstance(readers[0], ReLU) else layer.name


def _sums(inputs: Tensor, gradient: Tensor, activation: Tensor, sensitivity: Tensor) -> list[Tensor]:
    squared = sensitivity**2
    return [
        (gradient**2).T @ inputs**2,
        (activation**2 * squared).sum(0),
        (activation * squared).sum(0),
        squared.sum(0),
        activation.sum(0),
    ]


def _finish(terms: list[Tensor], n_jets: int) -> LayerStatistics:
    weight, second, cross, squared, activation = (term / n_jets for term in terms)
    neuron = second - 2 * activation * cross + activation**2 * squared
    if not all(bool(torch.isfinite(tensor).all()) for tensor in (weight, neuron)):
        raise DataError("gradients are not finite; the network or its features hold NaN or infinite values")
    return LayerStatistics(weight.detach(), neuron.clamp(min=0).detach(), activation.detach())
