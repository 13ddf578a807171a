"""What every layer of a Network is: a torch module with a name, a shape rule and a quantiser for its result."""

import copy
import math
from collections.abc import Collection
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor, nn

from hepprune.errors import NetworkError, refused, unknown
from hepprune.fixed import FixedPoint, Quantiser, digits
from hepprune.fixed.quantisers import FixedPoints
from hepprune.network import quantise
from hepprune.network.layers.kernel import Kernel

# The shape of one jet's value, channels last, without the axis of jets.
Shape = tuple[int, ...]

LAYERS: dict[str, type["Layer"]] = {}
_RESERVED = frozenset(dir(nn.ModuleDict()))  # names that torch refuses for a child
MAX_VALUES = 2**23  # of one jet, all layers together; more is a damaged file and no trigger network
_MAX_WORK = 2**33  # multiplications or additions for one jet, of one layer
_MAX_AXES = 8

L = TypeVar("L", bound="type[Layer]")


def layer(kind: L) -> L:
    """Register a layer class under its own name, by which it is stored."""
    LAYERS[kind.__name__] = kind
    return kind


class Module(nn.Module):
    """A module of torch that is copied without its dozen empty tables of hooks, which torch copies one by one."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return an independent copy."""
        copied = memo[id(self)] = type(self).__new__(type(self))
        for name, value in vars(self).items():
            empty = isinstance(value, dict) and not value
            vars(copied)[name] = type(value)() if empty else copy.deepcopy(value, memo)
        return copied


class Layer(Module):
    """One node of a Network: a name, and the quantiser of its result (None keeps full precision)."""

    is_head: ClassVar[bool] = False
    takes: ClassVar[tuple[str, ...]] = ()  # by the constructor besides arrays, and kept under the same names
    # as `takes`, but no settings where they have this value, so that networks keep the identity they had before these
    takes_unless: ClassVar[dict[str, Any]] = {}
    fixed: bool = False  # whether its arrays are constants of the model

    def __init__(self, name: str, result: Quantiser | None = None) -> None:
        super().__init__()
        given: object = name  # a file's, of whatever kind
        if not (isinstance(given, str) and given.isidentifier() and given.isascii()):
            raise NetworkError(f"layer name '{name}' is not an identifier; firmware needs letters, digits, underscores")
        if name in _RESERVED:
            raise NetworkError(f"layer name '{name}' is taken by torch; choose another")
        self.name = name
        self.result = result

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The weights that can be cut, one for each matrix product of the layer."""
        return ()

    def kernel_reads(self, kernel: Kernel, arriving: Tensor) -> Tensor:
        """Return what the weights of one of its kernels multiply, (n_jets, n_places, groups, terms)."""
        raise TypeError(f"{type(self).__name__} has no kernel '{kernel.name}'")

    @property
    def fixed_result(self) -> FixedPoint | None:
        """The result's type where there is one, and refuse a quantiser that firmware has no type for."""
        if self.result is None or isinstance(self.result, FixedPoint):
            return self.result
        raise refused(self.name, f"has a {type(self.result).__name__} result, no single fixed-point type")

    @property
    def result_types(self) -> FixedPoint | FixedPoints | None:
        """The result's type, or those of its values, and refuse any other quantiser."""
        return self.result if isinstance(self.result, FixedPoints) else self.fixed_result

    def compute(self, *arriving: Any, **options: Any) -> Tensor:
        """Return the layer's value before its result quantiser, (n_jets, *shape), `quantised` within or in float."""
        raise TypeError(f"{type(self).__name__} does not compute")

    def forward(self, *values: Tensor, quantised: bool = True) -> Tensor:
        """Return the layer's value, under its quantisers or in float."""
        return quantise.activations(self.compute(*values, quantised=quantised), self.result if quantised else None)

    def shape(self, *arriving: Shape) -> Shape:
        """Return the shape the layer puts out for the shapes that come in, and refuse what does not fit."""
        return self.only(arriving)

    def only(self, arriving: tuple[Shape, ...], *, rank: int | None = None, does: str = "") -> Shape:
        """Return the one shape that comes in; refuse several, and another rank than what the layer `does` takes."""
        if len(arriving) != 1:
            raise refused(self.name, f"reads one layer and is given {len(arriving)}")
        if rank not in {None, len(arriving[0])}:
            raise refused(self.name, f"{does} and is given the shape {arriving[0]}")
        return arriving[0]

    def ending_in(self, n_values: int, arriving: tuple[Shape, ...]) -> Shape:
        """Return the one shape that comes in, and refuse several, or another number of values on its last axis."""
        before = self.only(arriving)
        if before[-1] != n_values:
            raise refused(self.name, f"takes {n_values} values and is given {before[-1]}")
        return before

    def settings(self) -> dict[str, Any]:
        """Return what the constructor takes besides arrays: JSON values, and quantisers."""
        found = {name: getattr(self, name) for name in ("name", "result", *self.takes)}
        unusual = {name: getattr(self, name) for name in self.takes_unless}
        return found | {name: value for name, value in unusual.items() if value != self.takes_unless[name]}

    def rebuilt(self, **changes: Any) -> Self:
        """Return a layer of the same settings and arrays but for the changes, by the constructor's names."""
        return type(self)(**{**self.settings(), **self.state_dict(), **changes})


class Stepwise(Layer):
    """A layer that hardware computes in steps: `types` are those of all its `steps`, or none, and it is in float."""

    steps: ClassVar[tuple[str, ...]] = ()

    def __init__(self, name: str, result: Quantiser | None, **types: Quantiser | None) -> None:
        super().__init__(name, result)
        if strange := types.keys() - set(self.steps):
            raise TypeError(f"a {type(self).__name__} has no {' and '.join(sorted(strange))}")
        self.types = {step: kind for step in self.steps if (kind := types.get(step)) is not None}
        if missing := [step for step in self.steps if self.types and step not in self.types]:
            raise refused(name, f"has types of some steps and lacks its {' and '.join(missing)}")

    def settings(self) -> dict[str, Any]:
        """Return the constructor's values; types of steps only where there are some."""
        return super().settings() | self.types

    def typed(self, values: Tensor, step: str) -> Tensor:
        """Return values in the type of a step."""
        return quantise.activations(values, self.types[step])


@layer
class Input(Layer):
    """The features as the firmware receives them; its result type is the input precision."""

    def __init__(self, name: str, n_features: int | Shape, result: Quantiser | None = None) -> None:
        super().__init__(name, result)
        self.features_shape = (n_features,) if isinstance(n_features, int) else tuple(n_features)
        sizes = self.features_shape
        if not 1 <= len(sizes) <= _MAX_AXES or min(sizes) < 1 or math.prod(sizes) > MAX_VALUES:
            needed = f"1 to {_MAX_AXES} axes and 1 to {MAX_VALUES} values"
            raise NetworkError(f"input '{name}' has the shape {sizes}; it needs {needed}")

    @property
    def n_features(self) -> int:
        """Values per jet."""
        return math.prod(self.features_shape)

    def compute(self, features: Tensor, *, quantised: bool) -> Tensor:
        """Return the features as they are."""
        return features

    def shape(self, *arriving: Shape) -> Shape:
        """Return the shape of one jet's features."""
        return self.features_shape

    def settings(self) -> dict[str, Any]:
        """Return the constructor's values."""
        return super().settings() | {"n_features": self.features_shape}


@layer
class Shared(Layer):
    """A layer that runs a second time, on other values: the weights of layer `of` at another place in the graph."""

    takes = ("of",)

    def __init__(self, name: str, of: str, result: Quantiser | None = None) -> None:
        super().__init__(name, result)
        self.of = of


def checked_axis(name: str, axis: int, rank: int) -> int:
    """Return an axis counted from 0, the jets' axis left out, of a value with `rank` axes."""
    if not -rank <= axis < rank:
        raise refused(name, f"has no axis {axis} in a value of {rank}")
    return axis % rank


def check_choice(name: str, kind: str, given: str, choices: Collection[str]) -> None:
    """Refuse a setting of a layer that is none of the choices."""
    if given not in choices:
        raise NetworkError(f"layer '{name}': " + unknown(kind, given, choices))


def check_size(name: str, shape: Shape) -> Shape:
    """Return the shape, and refuse one that is empty or absurdly large."""
    if len(shape) > _MAX_AXES or any(size < 1 for size in shape) or math.prod(shape) > MAX_VALUES:
        raise refused(name, f"puts out the shape {shape}; there are up to {_MAX_AXES} axes and {MAX_VALUES} values")
    return shape


def check_work(name: str, shape: Shape, each: int) -> Shape:
    """Return the shape that a layer puts out, and refuse one whose every value takes absurdly many operations."""
    if math.prod(check_size(name, shape)) * each > _MAX_WORK:
        raise refused(name, f"would take {math.prod(shape) * each} operations, more than {_MAX_WORK}")
    return shape


def own(values: Tensor) -> Tensor:
    """Return an independent copy, in the order of its indices: frameworks hand over transposed views."""
    return values.detach().clone(memory_format=torch.contiguous_format)


def hold(owner: nn.Module, key: str, values: Tensor, *, fixed: bool) -> None:
    """Give a module an independent copy of an array under a name: trainable, or fixed, which training leaves alone."""
    if fixed:
        owner.register_buffer(key, own(torch.as_tensor(values)))
    else:
        setattr(owner, key, parameter(values))


def hold_limit(owner: Layer, key: str, limit: Tensor | None, weight: Tensor) -> None:
    """Give a layer the most signed digits that each weight may have, as bytes under a name; None is no limit."""
    full = torch.full_like(weight, digits.UNLIMITED, dtype=torch.uint8) if limit is None else limit
    if full.shape != weight.shape or full.dtype != torch.uint8:
        given = f"{full.dtype} {tuple(full.shape)}"
        raise refused(owner.name, f"has a {key} of {given}, not of bytes in its weight's shape {tuple(weight.shape)}")
    owner.register_buffer(key, own(full))


def parameter(values: Tensor) -> nn.Parameter:
    """Return an independent, trainable copy."""
    return nn.Parameter(own(torch.as_tensor(values)))
