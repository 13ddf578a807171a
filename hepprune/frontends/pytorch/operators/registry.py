"""The operators that become layers, by their aten name, and what is asked of constants."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from hepprune.errors import NetworkError, refused
from hepprune.frontends.pytorch.program import Call
from hepprune.frontends.pytorch.values import Constant, Value

# Takes what is built so far, the call, its first argument, and the others by the names of the operator's schema.
Operator = Callable[..., Any]
OPERATORS: dict[str, Operator] = {}
F = TypeVar("F", bound=Operator)


def operator(*names: str, table: dict[str, Operator] = OPERATORS) -> Callable[[F], F]:
    """Register a function for operators by name."""

    def register(function: F) -> F:
        table.update(dict.fromkeys(names, function))
        return function

    return register


def jets_value(argument: Any, call: Call) -> Value:
    """Return an argument that must depend on the jets."""
    if isinstance(argument, Value):
        return argument
    raise NetworkError(f"'{call.name}' ({call.target}) works on a constant where values of jets are expected")


def constant(argument: Any, title: str, what: str) -> Constant:
    """Return an argument that must be a finite tensor of the model."""
    if isinstance(argument, Constant):
        if not torch.isfinite(argument.tensor).all():
            raise refused(title, f"has {what} that is not finite ({argument.origin or 'a constant'})")
        return argument
    raise refused(title, f"computes its {what} from the jets; only constants can be taken over")


def optional(argument: Any, title: str, what: str) -> Constant | None:
    """Return a constant, or None where there is none."""
    return None if argument is None else constant(argument, title, what)


def array(found: Constant | None, like: Tensor, default: float) -> Tensor:
    """Return a constant as float32, or the default in its place, one per row of `like`."""
    if found is None:
        return torch.full((like.shape[0],), default)
    return found.tensor.detach().float()


def picked(values: Tensor, order: Tensor) -> Tensor:
    """Return values of the last axis in an order; one made for another size is left to the model's next reading."""
    return values[..., order] if values.shape[-1] == len(order) else values


def unchanged(source: Value, layer: str) -> Value:
    """Return a value that lies in `layer` as it lay in its source."""
    return Value(layer, source.index, source.moved_by)
