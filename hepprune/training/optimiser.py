"""AdamW over all parameters as one vector, on a one-cycle schedule: bit for bit torch's own, in far fewer kernels.

Loshchilov and Hutter, arXiv:1711.05101; Smith and Topin, arXiv:1708.07120.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_SQUARES, _EPSILON = 0.999, 1e-8  # how much is kept of the mean square of the gradient, and what is added to its root
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
        yield Rate(*(_eased(getattr(ends[0], name), getattr(ends[1], name), passed) for name in Rate.__annotations__))


def _eased(first: float, second: float, passed: float) -> float:
    """Return a number on the way from one to another, along half a cosine."""
    return second + (first - second) / 2.0 * (math.cos(math.pi * passed) + 1)


class AdamW:
    """The optimiser of parameters that it moves into one vector, of which they become views."""

    def __init__(self, parameters: Iterable[nn.Parameter], *, weight_decay: float = 0.0) -> None:
        self.parameters, self.weight_decay, self.n_steps = list(parameters), weight_decay, 0
        self.values = torch.cat([each.detach().flatten() for each in self.parameters])
        self.mean, self.squares = torch.zeros_like(self.values), torch.zeros_like(self.values)
        parts = torch.split(self.values, [each.numel() for each in self.parameters])
        for parameter, part in zip(self.parameters, parts, strict=True):
            parameter.data = part.view(parameter.shape)

    @torch.no_grad()
    def step(self, loss: Tensor, rate: Rate) -> None:
        """Take one step down the gradient of a loss."""
        with torch.enable_grad():
            found = torch.autograd.grad(loss, self.parameters, materialize_grads=True)
        gradient = torch.cat([each.flatten() for each in found])
        self.n_steps += 1
        self.values.mul_(1 - rate.learning_rate * self.weight_decay)
        self.mean.lerp_(gradient, 1 - rate.momentum)
        self.squares.mul_(_SQUARES).addcmul_(gradient, gradient, value=1 - _SQUARES)
        root = (self.squares.sqrt() / (1 - _SQUARES**self.n_steps) ** 0.5).add_(_EPSILON)
        self.values.addcdiv_(self.mean, root, value=-rate.learning_rate / (1 - rate.momentum**self.n_steps))
