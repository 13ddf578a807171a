"""The gradient of a chain of dense layers written out, so that no graph is built and walked at each step.

Values and gradients are bit for bit those that autograd makes of the Network: by the same products, in the same order.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from hepprune.fixed import ROUNDING, FixedPoint, Quantiser
from hepprune.fixed.quantisers import FixedPoints
from hepprune.network import Dense, Input, Layer, Network, ReLU, quantise
from hepprune.task.sample import Sample
from hepprune.training.acting import Acting
from hepprune.training.optimiser import AdamW


@dataclass(frozen=True)
class RoundedValues:
    """Values under a quantiser."""

    kind: Quantiser

    def __call__(self, values: Tensor) -> Tensor:
        """Return values as the quantiser holds them."""
        return self.kind(values)

    def passed(self, gradient: Tensor, values: Tensor) -> Tensor:
        """Return the gradient of the values that arrive from that of those that leave."""
        return quantise.passed(gradient, values, self.kind)


@dataclass(frozen=True)
class Rectified:
    """Values from zero to `high`, under a type where there is one."""

    high: float
    kind: FixedPoint | None

    def __call__(self, values: Tensor) -> Tensor:
        """Return values clamped and rounded; a type that saturates at zero clamps by itself."""
        if self.kind is None or self.kind.signed or self.kind.overflow == "WRAP" or self.high < math.inf:
            values = torch.clamp(values, 0.0, None if self.high == math.inf else self.high)
        return values if self.kind is None else self.kind(values)

    def passed(self, gradient: Tensor, values: Tensor) -> Tensor:
        """Return the gradient of the values that arrive from that of those that leave."""
        high = self.high if self.kind is None else min(self.high, self.kind.maximum)
        return quantise.passed_between(gradient, values, 0.0, high)


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Values that each saturate in a type of their own: its last place and its ends, those in whole places first."""

    kind: FixedPoint | FixedPoints
    step: Tensor = field(compare=False)
    low: Tensor = field(compare=False)
    high: Tensor = field(compare=False)
    ends: tuple[Tensor, Tensor] = field(compare=False)

    @classmethod
    def of(cls, kind: FixedPoint | FixedPoints, like: Tensor) -> "Placed":
        """Return types as arrays of the floating type and on the device of a tensor."""
        step, least, most = (torch.as_tensor(each).to(like) for each in (kind.step, kind.minimum, kind.maximum))
        return cls(kind=kind, step=step, low=least / step, high=most / step, ends=(least, most))

    def __call__(self, values: Tensor) -> Tensor:
        """Return values as their types hold them."""
        places: Tensor = ROUNDING[self.kind.rounding](values * (1 / self.step))
        return torch.minimum(torch.maximum(places, self.low), self.high).mul_(self.step)

    def passed(self, gradient: Tensor, values: Tensor) -> Tensor:
        """Return the gradient of the values that arrive from that of those that leave: masks of bytes are slow."""
        above = quantise.passed_between(gradient, values - self.ends[0], 0.0, math.inf)
        return quantise.passed_between(above, values - self.ends[1], -math.inf, 0.0)


ChainStep = RoundedValues | Rectified | Placed


@dataclass(frozen=True)
class Passage:
    """One passage of jets through a dense layer: what arrived, the weight that acted, values before each step."""

    arriving: Tensor
    weight: Tensor
    before: tuple[Tensor, ...]


@dataclass(frozen=True)
class Chain:
    """A chain of dense layers up to its only raw output, under its quantisers or in float.

    `entry` is done to features, and the steps of each layer to each of its values before the next one reads them.
    """

    entry: tuple[ChainStep, ...]
    steps: tuple[tuple[ChainStep, ...], ...]
    acting: Acting
    optimiser: AdamW

    @classmethod
    def of(cls, network: Network, optimiser: AdamW, *, quantised: bool) -> "Chain | None":
        """Return a network, whose parameters the optimiser has, as the chain that it is; None where it is none."""
        layers = _line(network)
        dense = [layer for layer in layers if isinstance(layer, Dense)]
        own = [array for layer in dense for array in (layer.weight, layer.bias)]
        if list(map(id, own)) != list(map(id, optimiser.slopes)):
            return None
        acting = Acting.of(dense, quantised=quantised)
        if acting is None:
            return None
        # what is done before the first dense layer, then behind each of them
        steps: list[list[ChainStep]] = [[]]
        for layer in layers:
            steps += [[]] if isinstance(layer, Dense) else []
            steps[-1] += _steps(layer, optimiser.values, quantised=quantised)
        entry, *behind = map(tuple, steps)
        return cls(entry, tuple(behind), acting, optimiser)

    @torch.no_grad()
    def enter(self, jets: Sample) -> Sample:
        """Return jets with features as the first layer reads them."""
        values = jets.features
        for step in self.entry:
            values = step(values)
        return replace(jets, x=(values,))

    @torch.no_grad()
    def differentiate(self, jets: Sample) -> Tensor:
        """Return the loss of jets that have entered, and write its gradient."""
        passages, raw = self.forward(jets.features)
        with torch.enable_grad():
            loss = jets.loss((raw.requires_grad_(),))
        (gradient,) = torch.autograd.grad(loss, raw)
        slopes = list(self.optimiser.slopes.values())
        for place in reversed(range(len(passages))):
            gradient = self._back(passages[place], self.steps[place], gradient, slopes[2 * place : 2 * place + 2])
            if place:
                gradient = torch.mm(gradient, passages[place].weight)
        own, acting = self.optimiser, self.acting  # of what acts, the gradient of the arrays is kept
        own.gradient.mul_((own.values >= acting.low).logical_and_(own.values <= acting.high))
        return loss.detach()

    def forward(self, values: Tensor) -> tuple[list[Passage], Tensor]:
        """Return the passages of features that have entered, and the raw output."""
        passages, used = [], self.acting.used(self.optimiser.values)
        for weight, bias, steps in zip(used[::2], used[1::2], self.steps, strict=True):
            arriving, values, before = values, nn.functional.linear(values, weight, bias), []
            for step in steps:
                before.append(values)
                values = step(values)
            passages.append(Passage(arriving, weight, tuple(before)))
        return passages, values

    @staticmethod
    def _back(passage: Passage, steps: tuple[ChainStep, ...], gradient: Tensor, slopes: list[Tensor]) -> Tensor:
        """Return the gradient of a layer's sums from that of what leaves, and write those of weight and bias."""
        for step, values in zip(reversed(steps), reversed(passage.before), strict=True):
            gradient = step.passed(gradient, values)
        torch.mm(gradient.t(), passage.arriving, out=slopes[0])
        torch.sum(gradient, dim=0, out=slopes[1])
        return gradient


def _line(network: Network) -> list[Layer]:
    """Return the layers from the only input to the only raw output where each reads one and is plain, else none."""
    layers = [network[network.raw_outputs[0]]]
    while not isinstance(layers[-1], Input) and len(network.sources[layers[-1].name]) == 1:
        layers.append(network.source(layers[-1]))
    plain = all(type(layer) in {Input, Dense, ReLU} and not layer.fixed for layer in layers)
    flat = all(len(network.shapes[layer.name]) == 1 for layer in layers)
    alone = len(network.inputs) == len(network.raw_outputs) == 1
    return layers[::-1] if plain and flat and alone and isinstance(layers[-1], Input) else []


def _steps(layer: Layer, like: Tensor, *, quantised: bool) -> Iterator[ChainStep]:
    """Yield what is done to each value of a layer."""
    kind = layer.result if quantised else None
    if isinstance(layer, ReLU):
        high = math.inf if layer.maximum is None else layer.maximum
        yield Rectified(high, kind if isinstance(kind, FixedPoint) else None)
    if isinstance(kind, FixedPoints) and kind.overflow != "WRAP":
        yield Placed.of(kind, like)
    elif kind is not None and not (isinstance(layer, ReLU) and isinstance(kind, FixedPoint)):
        yield RoundedValues(kind)
