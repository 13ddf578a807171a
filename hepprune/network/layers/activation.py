"""Element-wise functions."""

import inspect
import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hepprune.errors import NetworkError, explained
from hepprune.fixed import Quantiser
from hepprune.fixed.quantisers import FixedPoints, by_table
from hepprune.network import quantise
from hepprune.network.layers.base import Layer, Shape, check_choice, layer, parameter

ActivationFunction = Callable[..., Tensor]


# Names and defaults are Keras 2's, which hls4ml's are too; "decay" and "reciprocal" are the tables of a softmax,
# "inverse_root" is that of a layer norm, and "quotient" is what HGQ2's scalers begin with.
FUNCTIONS: dict[str, ActivationFunction] = {
    "linear": lambda values: values,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "hard_sigmoid": lambda values, *, slope=0.2, shift=0.5: torch.clamp(slope * values + shift, 0, 1),
    "hard_tanh": lambda values, *, slope=0.2, shift=0.5: 2 * torch.clamp(slope * values + shift, 0, 1) - 1,
    "leaky_relu": lambda values, *, slope=0.3: torch.where(values < 0, slope * values, values),
    "elu": lambda values, *, alpha=1.0: nn.functional.elu(values, alpha),
    "selu": nn.functional.selu,
    "softplus": nn.functional.softplus,
    "softsign": nn.functional.softsign,
    "swish": nn.functional.silu,
    "gelu": lambda values, *, tanh=False: nn.functional.gelu(values, approximate="tanh" if tanh else "none"),
    "exponential": torch.exp,
    "decay": lambda values, *, rate=1.0: torch.exp(-rate * values),
    "reciprocal": lambda values, *, epsilon=1e-7: 1 / (values + epsilon),
    "inverse_root": lambda values, *, scale=1.0, epsilon=1e-3: scale / torch.sqrt(values.clamp(min=0) + epsilon),
    "quotient": lambda values, *, by=1.0: values / by,
    "thresholded_relu": lambda values, *, theta=1.0: values * (values > theta),
    "binary_tanh": lambda values: quantise.between(values, torch.where(values >= 0, 1.0, -1.0).to(values), -1.0, 1.0),
}
# Those that turn round or fall whatever their parameters, and what must not be below zero for others to rise.
_FALL = frozenset({"swish", "gelu", "reciprocal", "inverse_root"})
_SIGNS: dict[str, tuple[str, float]] = {
    "hard_sigmoid": ("slope", 1.0),
    "hard_tanh": ("slope", 1.0),
    "leaky_relu": ("slope", 1.0),
    "elu": ("alpha", 1.0),
    "thresholded_relu": ("theta", 1.0),
    "decay": ("rate", -1.0),
    "quotient": ("by", 1.0),
}


@layer
class ReLU(Layer):
    """max(x, 0), at most `maximum` where one is given."""

    takes_unless: ClassVar[dict[str, Any]] = {"maximum": None}

    def __init__(self, name: str, result: Quantiser | None = None, maximum: float | None = None) -> None:
        super().__init__(name, result)
        self.maximum = maximum

    def compute(self, arriving: Tensor, *, quantised: bool) -> Tensor:
        """Return the positive part."""
        return quantise.clamped(arriving, 0.0, math.inf if self.maximum is None else self.maximum)


@layer
class Activation(Layer):
    """One of FUNCTIONS by name, with its parameters; "linear" only applies the result quantiser."""

    def __init__(
        self, name: str, function: str, parameters: dict[str, float] | None = None, result: Quantiser | None = None
    ) -> None:
        super().__init__(name, result)
        check_choice(name, "activation", function, FUNCTIONS)
        self.function, self.parameters_of = function, dict(parameters or {})
        unfit = f"layer '{name}': {function} takes no {', '.join(self.parameters_of)}"
        with explained(NetworkError, unfit, TypeError):
            FUNCTIONS[function](torch.zeros(1), **self.parameters_of)
        for key, value in self.parameters_of.items():
            if not math.isfinite(value):
                raise NetworkError(f"layer '{name}': {function} with {key} {value:g} has no values; give a finite one")
            if key == "by" and value == 0:
                raise NetworkError(f"layer '{name}': {function} takes no divisor of zero")
            if key == "epsilon" and value <= 0:  # a pole where the argument is zero or above
                raise NetworkError(f"layer '{name}': {function} takes an epsilon above zero, not {value:g}")

    @property
    def rises(self) -> bool:
        """Whether the value never falls while the argument rises, so that the ends of a range give the result's."""
        if self.function not in _SIGNS:
            return self.function not in _FALL
        key, sign = _SIGNS[self.function]
        return bool(sign * self.parameter(key) >= 0)

    def parameter(self, key: str) -> float:
        """Return a parameter of the function, its default where none is given."""
        default: float = inspect.signature(FUNCTIONS[self.function]).parameters[key].default
        return self.parameters_of.get(key, default)

    @property
    def is_tabled(self) -> bool:
        """Whether each value is looked up in a table of its own type: no adder rounds so, or the types differ."""
        return by_table(self.result) or (isinstance(self.result, FixedPoints) and self.function != "linear")

    def compute(self, arriving: Tensor, *, quantised: bool) -> Tensor:
        """Return the function of every value."""
        return FUNCTIONS[self.function](arriving, **self.parameters_of)

    def settings(self) -> dict[str, Any]:
        """Return the constructor's values."""
        return super().settings() | {"function": self.function, "parameters": self.parameters_of}


@layer
class PReLU(Layer):
    """x where it is positive, slope * x where it is not; one slope per channel or per value."""

    takes_unless: ClassVar[dict[str, Any]] = {"slope_type": None}

    def __init__(
        self, name: str, slope: Tensor, result: Quantiser | None = None, *, slope_type: Quantiser | None = None
    ) -> None:
        super().__init__(name, result)
        self.slope, self.slope_type = parameter(slope), slope_type

    def used_slope(self, *, quantised: bool = True) -> Tensor:
        """Return the slopes that act."""
        return quantise.activations(self.slope, self.slope_type if quantised else None)

    def compute(self, arriving: Tensor, *, quantised: bool) -> Tensor:
        """Return the value, its negative part scaled."""
        return torch.where(arriving < 0, self.used_slope(quantised=quantised) * arriving, arriving)

    def shape(self, *arriving: Shape) -> Shape:
        """Return the shape as it comes in, and refuse slopes that do not fit it."""
        before = self.only(arriving)
        slopes = tuple(self.slope.shape)
        if len(slopes) > len(before) or any(n not in {1, size} for n, size in zip(slopes[::-1], before[::-1])):  # noqa: B905
            raise NetworkError(f"layer '{self.name}' has slopes of shape {slopes}, not for {before}")
        return before
