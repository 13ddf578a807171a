"""AdamW over all parameters as one vector, on a one-cycle schedule: bit for bit torch's own, in far fewer kernels.

Loshchilov and Hutter, arXiv:1711.05101; Smith and Topin, arXiv:1708.07120.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass

import torch
from torch import Tensor, nn

SQUARES, EPSILON = 0.999, 1e-8  # how much is kept of the mean square of the gradient, and what is added to its root
_RISING = 0.3  # the part of a training in which the learning rate rises


@dataclass(frozen=True)
class Rate:
    """What a step is taken with: the learning rate, and how much is kept of the mean gradient."""

    learning_rate: float
    momentum: float


def one_cycle(peak: float, n_steps: int) -> Iterator[Rate]:
    """Yield the rates of a training: from a 25th of the peak up to it, then down to nothing; momentum the other way."""
    start, top, end = Rate(peak / 25, 0.95), Rate(peak, 0.85), Rate(peak / 25 / 1e4, 0.95)
    turn, last = _RISING * n_steps - 1, n_steps - 1
    for step in range(n_steps):
        ends, passed = ((start, top), step / turn) if step <= turn else ((top, end), (step - turn) / (last - turn))
        eased = math.cos(math.pi * passed) + 1  # along half a cosine
        pairs = zip(astuple(ends[0]), astuple(ends[1]), strict=True)
        yield Rate(*(second + (first - second) / 2.0 * eased for first, second in pairs))


class AdamW:
    """The optimiser of parameters that it moves into one vector, of which they become views.

    `slopes` holds the gradient of each parameter, parts of one vector too.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], *, weight_decay: float = 0.0) -> None:
        own = list(parameters)
        self.weight_decay, self.n_steps = weight_decay, 0
        self.values = torch.cat([each.detach().flatten() for each in own])
        self.largest = torch.finfo(self.values.dtype).max  # a step beyond what torch takes diverges all the same
        self.gradient, self.mean, self.squares = (torch.zeros_like(self.values) for _ in range(3))
        parts = zip(own, torch.split(self.gradient, [each.numel() for each in own]), strict=True)
        self.slopes = {parameter: part.view(parameter.shape) for parameter, part in parts}
        self.hold()

    @torch.no_grad()
    def hold(self) -> None:
        """Make the parameters views of the vector, with the values that they have now."""
        own = list(self.slopes)
        self.values.copy_(torch.cat([each.detach().flatten() for each in own]))
        for parameter, part in zip(own, torch.split(self.values, [each.numel() for each in own]), strict=True):
            parameter.data = part.view(parameter.shape)

    def differentiate(self, loss: Tensor) -> Tensor:
        """Return a loss without its graph, and write its gradient."""
        found = torch.autograd.grad(loss, list(self.slopes), materialize_grads=True)
        torch.cat([each.flatten() for each in found], out=self.gradient)
        return loss.detach()

    @torch.no_grad()
    def step(self, rate: Rate) -> None:
        """Take one step down the gradient."""
        self.n_steps += 1
        self.values.mul_(1 - rate.learning_rate * self.weight_decay)
        self.mean.lerp_(self.gradient, 1 - rate.momentum)
        self.squares.mul_(SQUARES).addcmul_(self.gradient, self.gradient, value=1 - SQUARES)
        root = (self.squares.sqrt() / (1 - SQUARES**self.n_steps) ** 0.5).add_(EPSILON)
        size = min(rate.learning_rate / (1 - rate.momentum**self.n_steps), self.largest)
        self.values.addcdiv_(self.mean, root, value=-size)
