"""First-order statistics: mean gradients of the loss, signed over jets and jet by jet."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hepprune.network import Network
from hepprune.pruning import statistics
from hepprune.pruning.statistics import recorded, recurrences
from hepprune.task.sample import Sample


@dataclass(frozen=True)
class Gradients:
    """For one layer: `signed`, the mean gradient of the loss over jets, and `absolute`, the mean of its size per jet.

    `weight_...` is shaped like the weights; `neuron_...` (n_out,) is the gradient by a factor on the neuron's deviation
    from its mean, sum over places of (activation - mean) dL/dactivation; empty for a recurrent layer's kernel.
    """

    weight_signed: Tensor
    weight_absolute: Tensor
    neuron_signed: Tensor
    neuron_absolute: Tensor


def gather(network: Network, sample: Sample, *, batch_size: int = 8192) -> dict[str, Gradients]:
    """Return the gradients of every kernel by its name, over the jets of a sample.

    Raises:
        DataError: there are no jets, or a gradient is not finite.
    """
    means = statistics.means(network, sample)
    sums = recorded.summed(part for jets in sample.batches(batch_size) for part in _batch(network, jets, means).items())
    return {name: Gradients(*(term / len(sample) for term in terms)) for name, terms in sums.items()}


def _batch(network: Network, jets: Sample, means: dict[str, Tensor]) -> dict[str, list[Tensor]]:
    seen = recorded.run(network, jets.x)
    loss = jets.loss(seen.raw, reduction="sum")
    none, terms = torch.zeros(0), (torch.clone, torch.abs)
    result = {name: [*sums, none, none] for name, sums in recurrences.sums(seen, loss, terms).items()}
    found = statistics.kernel_gradients(seen, loss)
    for layer in statistics.scored(network):
        gradient, sensitivity = found[layer.name]
        arriving, activations = seen.arriving(layer), recorded.rows(seen.activations(layer)).detach().flatten(2)
        neuron = ((activations - means[layer.name].to(activations.dtype)) * sensitivity.flatten(2)).sum(dim=1)
        signed = torch.einsum("npgf,npgk->gfk", gradient, arriving)
        if gradient.shape[1] == 1:  # with one place per jet it is a matrix product
            absolute = torch.einsum("npgf,npgk->gfk", gradient.abs(), arriving.abs())
        else:
            absolute = recorded.sum_over_jets(gradient, arriving, torch.abs)
        weights = [part.reshape(layer.weight.shape) for part in (signed, absolute)]
        result[layer.name] = [*weights, neuron.sum(dim=0), neuron.abs().sum(dim=0)]
    return result
