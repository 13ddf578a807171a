"""Layers with a kernel: dense and convolutional, their pruned weights, quantisers and hls4ml knobs."""

import math
from typing import Any, ClassVar

from torch import Tensor, nn

from hepprune.errors import NetworkError, refused
from hepprune.fixed import FixedPoint, Quantiser
from hepprune.network import quantise
from hepprune.network.layers.base import Layer, Shape, check_choice, check_work, hold, hold_limit, layer
from hepprune.network.layers.kernel import Kernel

Padding = tuple[tuple[int, int], ...]
STRATEGIES = ("latency", "resource", "resource_unrolled", "distributed_arithmetic")
MAX_REUSE = 2**24  # products that share one multiplier
_CONVOLUTIONS = {1: nn.functional.conv1d, 2: nn.functional.conv2d, 3: nn.functional.conv3d}


class Weighted(Layer):
    """A kernel and a bias; a weight has at most `digit_limit` signed digits, 0 is pruned.

    `fixed` ones, such as an adjacency matrix, are constants of the model: they are neither trained nor cut, and keep
    the types they have.
    """

    takes: ClassVar[tuple[str, ...]] = ("weight_type", "bias_type", "strategy", "reuse_factor")
    takes_unless: ClassVar[dict[str, Any]] = {"fixed": False}
    weight: Tensor
    bias: Tensor
    digit_limit: Tensor

    def __init__(
        self,
        name: str,
        weight: Tensor,
        bias: Tensor,
        *,
        weight_type: Quantiser | None = None,
        bias_type: Quantiser | None = None,
        digit_limit: Tensor | None = None,
        result: Quantiser | None = None,
        strategy: str = "distributed_arithmetic",
        reuse_factor: int = 1,
        fixed: bool = False,
    ) -> None:
        super().__init__(name, result)
        if weight.ndim < 2 or bias.shape != weight.shape[:1]:
            raise NetworkError(f"layer '{name}': weight {tuple(weight.shape)} and bias {tuple(bias.shape)} do not fit")
        self.fixed = fixed
        for key, values in (("weight", weight), ("bias", bias)):
            hold(self, key, values, fixed=fixed)
        self.weight_type, self.bias_type = weight_type, bias_type
        hold_limit(self, "digit_limit", digit_limit, weight)
        check_choice(name, "strategy", str(strategy), STRATEGIES)
        self.strategy, self.reuse_factor = strategy, checked_reuse(name, reuse_factor)

    @property
    def n_out(self) -> int:
        """Neurons or filters."""
        return self.weight.shape[0]

    @property
    def fixed_types(self) -> tuple[FixedPoint, FixedPoint]:
        """The types of weights and biases.

        Raises:
            NetworkError: there is none, or a quantiser that is not a single fixed-point type.
        """
        if isinstance(self.weight_type, FixedPoint) and isinstance(self.bias_type, FixedPoint):
            return self.weight_type, self.bias_type
        raise refused(self.name, "has no fixed-point types for its weights and biases")

    @property
    def matrix(self) -> Kernel:
        """The one kernel, of the layer's name."""
        return Kernel(self.name, self)

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The one kernel, unless it is fixed."""
        return () if self.fixed else (self.matrix,)

    def kernel_reads(self, kernel: Kernel, arriving: Tensor) -> Tensor:
        """Return what the weights multiply, (n_jets, n_places, groups, terms)."""
        return arriving.reshape(len(arriving), -1, 1, arriving.shape[-1])

    def used_weight(self, *, quantised: bool = True) -> Tensor:
        """Return the weights that act, pruned ones zero."""
        return self.matrix.used(quantised=quantised)

    def used_bias(self, *, quantised: bool = True) -> Tensor:
        """Return the biases that act, (n_out,)."""
        return quantise.activations(self.bias, self.bias_type if quantised else None)

    def compute(self, arriving: Tensor, *, quantised: bool) -> Tensor:
        """Return the kernel applied to the one value that comes in, plus the bias."""
        return self.linear(arriving, self.used_weight(quantised=quantised), self.used_bias(quantised=quantised))

    def linear(self, values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return what the layer would compute with this weight and bias."""
        raise TypeError(f"{type(self).__name__} does not compute")


@layer
class Dense(Weighted):
    """`weight @ x + bias` over the last axis, weight (n_out, n_in)."""

    def __init__(self, name: str, weight: Tensor, bias: Tensor, **options: Any) -> None:
        super().__init__(name, weight, bias, **options)
        if weight.ndim != 2:
            raise NetworkError(f"layer '{name}': a dense weight has two axes, not {weight.ndim}")

    @property
    def n_in(self) -> int:
        """Values that come in."""
        return self.weight.shape[1]

    def shape(self, *arriving: Shape) -> Shape:
        """Return the arriving shape with n_out values in its last axis."""
        return check_work(self.name, (*self.ending_in(self.n_in, arriving)[:-1], self.n_out), self.n_in)

    def linear(self, values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return weight @ values + bias, (n_jets, ..., n_out)."""
        return nn.functional.linear(values, weight, bias)


@layer
class Conv(Weighted):
    """A 1D, 2D or 3D convolution, weight (n_out, *kernel, n_in / groups), over values (n_jets, *positions, n_in).

    `padding` holds (before, after) for each axis of positions; with `groups` = n_in it is a depthwise convolution.
    """

    takes = (*Weighted.takes, "strides", "padding", "dilation", "groups", "parallelization_factor")

    def __init__(
        self,
        name: str,
        weight: Tensor,
        bias: Tensor,
        *,
        strides: tuple[int, ...] | None = None,
        padding: Padding | None = None,
        dilation: tuple[int, ...] | None = None,
        groups: int = 1,
        parallelization_factor: int = 1,
        **options: Any,
    ) -> None:
        super().__init__(name, weight, bias, **options)
        rank = weight.ndim - 2
        if rank not in _CONVOLUTIONS:
            raise NetworkError(f"layer '{name}': a convolution has a weight of 3 to 5 axes, not {weight.ndim}")
        self.strides = tuple(strides or (1,) * rank)
        self.dilation = tuple(dilation or (1,) * rank)
        self.padding = tuple((int(low), int(high)) for low, high in padding or ((0, 0),) * rank)
        self.groups, self.parallelization_factor = groups, parallelization_factor
        if {len(self.strides), len(self.dilation), len(self.padding)} != {rank}:
            raise NetworkError(f"layer '{name}': strides, dilation and padding need {rank} entries each")
        if min(*self.strides, *self.dilation) < 1 or min(p for pair in self.padding for p in pair) < 0:
            raise NetworkError(f"layer '{name}': strides and dilation start at 1, padding at 0")
        if groups < 1 or self.n_out % groups:
            raise NetworkError(f"layer '{name}': {self.n_out} filters cannot be shared among {groups} groups")

    @property
    def n_in(self) -> int:
        """Channels that come in."""
        return self.weight.shape[-1] * self.groups

    @property
    def kernel(self) -> Shape:
        """Positions that one output looks at."""
        return tuple(self.weight.shape[1:-1])

    @property
    def matrix(self) -> Kernel:
        """The one kernel, of the layer's name."""
        return Kernel(self.name, self, groups=self.groups)

    def kernel_reads(self, kernel: Kernel, arriving: Tensor) -> Tensor:
        """Return what the weights multiply at each place, (n_jets, n_places, groups, terms)."""
        rank = len(self.kernel)
        seen = windows(bordered(arriving.movedim(-1, 1), self.padding), self.kernel, self.strides, self.dilation)
        grouped = seen.reshape(len(arriving), self.groups, -1, *seen.shape[2:])  # ..., groups, in, *places, *kernel
        # ..., *places, groups, in, *kernel
        places = grouped.movedim(list(range(3, 3 + rank)), list(range(1, 1 + rank)))
        return places.movedim(rank + 2, -1).reshape(len(arriving), -1, self.groups, self.weight[0].numel())

    def shape(self, *arriving: Shape) -> Shape:
        """Return (*positions, n_out)."""
        before = self.only(arriving)
        if len(before) != len(self.kernel) + 1 or before[-1] != self.n_in:
            raise refused(self.name, f"takes {len(self.kernel)} axes of {self.n_in} channels, not the shape {before}")
        each = zip(before[:-1], self.kernel, self.strides, self.padding, self.dilation, strict=True)
        positions = [(n + sum(p) - (k - 1) * d - 1) // s + 1 for n, k, s, p, d in each]
        return check_work(self.name, (*positions, self.n_out), self.weight[0].numel())

    def linear(self, values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return the convolution, (n_jets, *positions, n_out)."""
        padded = bordered(values.movedim(-1, 1), self.padding)
        convolve = _CONVOLUTIONS[len(self.kernel)]
        steps = {"stride": self.strides, "dilation": self.dilation}
        found: Tensor = convolve(padded, weight.movedim(-1, 1), bias, groups=self.groups, **steps)
        return found.movedim(1, -1)


def bordered(values: Tensor, padding: Padding, filling: float = 0.0) -> Tensor:
    """Return values (n_jets, channels, *positions) with borders around their positions."""
    borders = [size for pair in reversed(padding) for size in pair]
    return nn.functional.pad(values, borders, value=filling) if any(borders) else values  # it would copy them


def windows(values: Tensor, sizes: Shape, strides: Shape, dilation: Shape) -> Tensor:
    """Return values (n_jets, channels, *positions) by window, (n_jets, channels, *places, *sizes)."""
    for axis, (size, stride, step) in enumerate(zip(sizes, strides, dilation, strict=True), start=2):
        values = values.unfold(axis, (size - 1) * step + 1, stride)[..., ::step]
    return values


def checked_reuse(name: str, reuse_factor: object) -> int:
    """Return how many products share a multiplier, and refuse what is no such count."""
    if isinstance(reuse_factor, bool) or not isinstance(reuse_factor, int) or not 1 <= reuse_factor <= MAX_REUSE:
        raise refused(name, f"has reuse factor {reuse_factor}, not a whole number from 1 to {MAX_REUSE}")
    return reuse_factor


def same_padding(positions: Shape, kernel: Shape, strides: Shape, dilation: Shape) -> Padding:
    """Return the padding that TensorFlow calls "same": ceil(positions / strides) outputs, the odd zero at the end."""
    each = zip(positions, kernel, strides, dilation, strict=True)
    totals = [max((math.ceil(n / s) - 1) * s + (k - 1) * d + 1 - n, 0) for n, k, s, d in each]
    return tuple((total // 2, total - total // 2) for total in totals)
