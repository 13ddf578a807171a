"""One pass over jets that gathers what the data-driven criteria need: squared gradients and mean activations."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hepprune.network import Dense, Network, Weighted
from hepprune.pruning.statistics import recorded, recurrences
from hepprune.pruning.statistics.recorded import Recorded
from hepprune.task.sample import Sample


@dataclass(frozen=True, kw_only=True)
class LayerStatistics:
    """For one layer: means over jets of squared per-jet gradients of the loss, and of what it reads and feeds.

    `weight_fisher`, shaped like the weights, is their empirical Fisher diagonal; `neuron_fisher` (n_out,) is the mean
    of ((activation - mean) dL/dactivation)^2 for the output of each neuron; `mean` (n_out,) is that output's mean.
    The rows of a recurrent layer's kernel are not neurons: there both are empty. `reads` (n_in,) is the mean of each of
    the layer's inputs over places; `read_fisher` (n_in,), of a dense layer on single jets, the mean of the squared
    gradient by each.
    """

    weight_fisher: Tensor
    neuron_fisher: Tensor
    mean: Tensor
    reads: Tensor = field(default_factory=lambda: torch.zeros(0))
    read_fisher: Tensor = field(default_factory=lambda: torch.zeros(0))


Statistics = Mapping[str, LayerStatistics]


def gather(network: Network, sample: Sample, *, batch_size: int = 8192) -> dict[str, LayerStatistics]:
    """Return the statistics of every kernel by its name, over the jets of a sample.

    The per-jet gradient of a dense weight is the outer product of the gradient at its output and its input, so the
    mean of squares is one matrix product per batch and needs no per-jet copies. The network is unchanged. Network and
    jets may be on any device; what is returned is on the processor.

    Raises:
        DataError: there are no jets, their targets are none of the outputs, or a gradient is not finite.
    """
    sums = recorded.summed(part for jets in sample.batches(batch_size) for part in _batch(network, jets).items())
    return {name: _finish(terms, len(sample)) for name, terms in sums.items()}


@torch.no_grad()
def means(network: Network, sample: Sample, *, batch_size: int = 8192) -> dict[str, Tensor]:
    """Return the mean output of each neuron, float64 (n_out,), by layer; of a constant it is that constant.

    Raises:
        DataError: there are no jets.
    """
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    for jets in sample.batches(batch_size):
        seen = recorded.run(network, jets.x)
        for layer in scored(network):
            activations = recorded.rows(seen.activations(layer)).flatten(0, 2).double()
            sums[layer.name] = sums.get(layer.name, torch.zeros(())) + activations.sum(dim=0)
            counts[layer.name] = counts.get(layer.name, 0) + len(activations)
    return {name: total / counts[name] for name, total in sums.items()}


def scored(network: Network) -> list[Weighted]:
    """Return the layers with weights to train that the logits depend on."""
    return [layer for layer in recorded.contributing(network) if isinstance(layer, Weighted) and not layer.fixed]


def kernel_gradients(seen: Recorded, loss: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Return per layer the derivatives of a loss, summed over jets, by its totals and by its activations.

    Each is (n_jets, n_places, groups, n_out / groups).

    Raises:
        DataError: a gradient is not finite.
    """
    layers = scored(seen.network)
    points = [(seen.outputs(layer), seen.activations(layer)) for layer in layers]
    tensors = [tensor for pair in points for part in pair for tensor in part]
    found = iter(torch.autograd.grad(loss, tensors, materialize_grads=True))
    result = {}
    for layer, (totals, activations) in zip(layers, points, strict=True):
        pair = [recorded.rows([next(found) for _ in part], layer.kernels[0].groups) for part in (totals, activations)]
        recorded.check_finite(pair)
        result[layer.name] = (pair[0], pair[1])
    return result


def _batch(network: Network, jets: Sample) -> dict[str, list[Tensor]]:
    """Return per kernel the sums over a batch of: g^2 x^2, (a d)^2, a d^2, d^2, a, x, (W g)^2."""
    seen = recorded.run(network, jets.x)
    jets.check(seen.raw)
    loss = jets.root_weighted().loss(seen.raw, reduction="sum")  # weights count once in a square
    none, terms = loss.new_zeros(0), (torch.square,)
    cells = recurrences.sums(seen, loss, terms)
    result = {name: [*sums, *[none] * 4, _reads(seen, name), none] for name, sums in cells.items()}
    found = kernel_gradients(seen, loss)
    for layer in scored(network):
        gradient, sensitivity = found[layer.name]
        arriving = seen.arriving(layer)
        activation = recorded.rows(seen.activations(layer), layer.kernels[0].groups).detach()
        weight = squares(gradient, arriving).reshape(layer.weight.shape)
        single = isinstance(layer, Dense) and gradient.shape[1] == 1
        read = (gradient[:, 0, 0] @ layer.used_weight().detach()).square().sum(dim=0) if single else none
        result[layer.name] = [weight, *_neuron_sums(activation, sensitivity), _reads(seen, layer.name), read]
    return result


def _reads(seen: Recorded, kernel: str) -> Tensor:
    """Return the sum over jets of each input's mean over the places and uses of a kernel's layer, (n_in,)."""
    layer = seen.network.kernel(kernel).layer
    arriving = (seen.values[seen.network.sources[use][0]].detach() for use in seen.uses(layer))
    places = [each.flatten(1, -2) if each.ndim > 2 else each[:, None] for each in arriving]
    return torch.cat(places, dim=1).mean(dim=1).sum(dim=0)


def squares(gradient: Tensor, arriving: Tensor) -> Tensor:
    """Return the sum over jets of each weight's squared gradient, (groups, n_out / groups, weights of one output)."""
    if gradient.shape[1:3] == (1, 1):
        return ((gradient[:, 0, 0] ** 2).T @ arriving[:, 0, 0] ** 2)[None]
    return recorded.sum_over_jets(gradient, arriving, torch.square)


def _neuron_sums(activation: Tensor, sensitivity: Tensor) -> list[Tensor]:
    n_places = activation.shape[1]
    a, d = (tensor.flatten(2) for tensor in (activation, sensitivity))
    if n_places == 1:
        a, d = a[:, 0], d[:, 0]
        squared = d**2
        return [(a**2 * squared).sum(0), (a * squared).sum(0), squared.sum(0), a.sum(0)]
    whole, shift = (a * d).sum(dim=1), d.sum(dim=1)
    return [(whole**2).sum(0), (whole * shift).sum(0), (shift**2).sum(0), a.mean(dim=1).sum(dim=0)]


def _finish(terms: list[Tensor], n_jets: int) -> LayerStatistics:
    weight, second, cross, squared, activation, reads, read = ((term / n_jets).cpu() for term in terms)
    neuron = second - 2 * activation * cross + activation**2 * squared
    recorded.check_finite((weight, neuron))
    fisher = {"weight_fisher": weight.detach(), "neuron_fisher": neuron.clamp(min=0).detach(), "read_fisher": read}
    return LayerStatistics(mean=activation.detach(), reads=reads, **fisher)
