"""What values of a network are worth: how much the loss minds their rounding, and how large they become.

A value whose last place is 2**-f is off by a noise of variance 4**-f / 12. The empirical Fisher information of the
value, the mean squared gradient of a jet's loss by it, times half of that is the loss that the rounding is predicted to
cost (LeCun, Denker and Solla, NeurIPS 1989, on values instead of weights).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hepprune.network import Dense, Network
from hepprune.pruning.statistics import recorded
from hepprune.task.sample import Sample


@dataclass(frozen=True)
class Worths:
    """Empirical Fisher information, per jet: of `weights` and of `biases` by dense layer, of `values` by any layer."""

    weights: Mapping[str, Tensor]
    biases: Mapping[str, Tensor]
    values: Mapping[str, Tensor]

    def mixed(self, newer: "Worths", share: float) -> "Worths":
        """Return a running mean, of which a newer measurement makes a share."""
        pairs = ((getattr(self, name), getattr(newer, name)) for name in ("weights", "biases", "values"))
        return Worths(*({name: old[name].lerp(new[name], share) for name in old} for old, new in pairs))


def worths(network: Network, sample: Sample) -> Worths:
    """Return the information of a network of dense layers on single jets, from one pass over the jets of a sample.

    Both may be on any device; what is returned is on the processor.

    Raises:
        DataError: a gradient is not finite.
    """
    inputs = tuple(x.clone().requires_grad_() for x in sample.x)
    seen = recorded.run(network, inputs)
    loss = sample.root_weighted().loss(seen.raw, reduction="sum")  # weights count once in a square
    dense = [layer.name for layer in network if isinstance(layer, Dense)]
    named = {name: value for name, value in seen.values.items() if value.requires_grad}
    points = [*(seen.totals[name] for name in dense), *named.values()]
    gradients = torch.autograd.grad(loss, points, materialize_grads=True)
    recorded.check_finite(gradients)
    squares = [gradient.square() for gradient in gradients]
    totals = dict(zip(dense, squares, strict=False))
    read = {name: seen.values[network.sources[name][0]].detach().square() for name in dense}
    return Worths(
        {name: (square.T @ read[name] / len(square)).cpu() for name, square in totals.items()},
        {name: square.mean(dim=0).cpu() for name, square in totals.items()},
        {name: square.mean(dim=0).cpu() for name, square in zip(named, squares[len(dense) :], strict=True)},
    )


@torch.no_grad()
def largest(network: Network, *samples: Sample) -> dict[str, Tensor]:
    """Return the largest magnitude, on the jets of all samples, of each value before its quantiser, by layer."""
    found: dict[str, Tensor] = {}
    for sample in samples:
        for name, value in recorded.run(network, sample.x).totals.items():
            most = value.abs().amax(dim=0)
            found[name] = torch.maximum(found[name], most) if name in found else most
    return found
