"""The operators that become layers, by their ONNX name, and how their attributes and inputs are read."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from hepprune.errors import NetworkError
from hepprune.frontends.onnx.arrays import FileConstant
from hepprune.frontends.onnx.building import Graph, OnnxNode
from hepprune.frontends.pytorch.operators import elementwise
from hepprune.frontends.pytorch.operators import registry as checked
from hepprune.frontends.pytorch.operators.registry import F, Operator
from hepprune.frontends.pytorch.values import Value
from hepprune.network import Layer

# Takes what is built so far, the node, and its inputs: values of the jets, constants, None where one is left out.
OPERATORS: dict[str, Operator] = {}
QUANTISERS: dict[str, Operator] = {}


def operator(*kinds: str, table: dict[str, Operator] = OPERATORS) -> Callable[[F], F]:
    """Register a function for operators by name."""
    return checked.operator(*kinds, table=table)


def jets_value(given: Any, node: OnnxNode) -> Value:
    """Return an input that must depend on the jets."""
    return checked.jets_value(given, node.call(node.kind))


def constant(given: Any, node: OnnxNode, what: str) -> FileConstant:
    """Return an input that must be a constant."""
    if isinstance(given, FileConstant):
        return given
    raise NetworkError(f"'{node.name}' ({node.kind}) computes its {what} from the jets; only constants are known")


def numbers(given: Any, node: OnnxNode, what: str) -> list[Any]:
    """Return the numbers of a constant, or of an attribute that older operators have in its place."""
    if given is None:
        found = node.attributes.get(what, [])
        return list(found) if isinstance(found, Sequence) else [found]
    return constant(given, node, what).tensor.reshape(-1).tolist()


def spans(node: OnnxNode, bounds: Sequence[Any]) -> list[list[int]]:
    """Return starts, ends, axes and steps of a slice, empty where they are left out."""
    given = zip((*bounds, None, None, None, None), ("starts", "ends", "axes", "steps"), strict=False)
    return [[int(n) for n in numbers(entry, node, what)] for entry, what in given]


def added(built: Graph, node: OnnxNode, x: Any, make: Callable[[str], Layer]) -> Value:
    """Add a layer that leaves every value at its place."""
    return elementwise.added(built, node.call(node.kind), x, make)


def counted(axis: int, rank: int, node: OnnxNode) -> int:
    """Return an axis counted from 0."""
    if not -rank <= axis < rank:
        raise NetworkError(f"'{node.name}' ({node.kind}) has no axis {axis} in a value of {rank}")
    return axis % rank


def plain(array: FileConstant) -> FileConstant:
    """Return the values that act, without a way back to the file where that is more than an order of axes."""
    found = array.settled()
    return found if found.undo is None else FileConstant(tensor=found.tensor, fixed=found.fixed)


def flat(array: FileConstant, size: int) -> FileConstant:
    """Return a constant as one axis of `size` values, spread if it has but one."""
    if array.tensor.numel() == size:
        return array.reshaped((size,))
    if array.tensor.numel() == 1:
        return FileConstant(tensor=array.acting.reshape(1).expand(size).clone(), fixed=array.fixed)
    raise NetworkError(f"a constant of shape {tuple(array.tensor.shape)} stands where {size} values are expected")


def number(given: Any, node: OnnxNode, what: str) -> float:
    """Return the one value of a constant."""
    found = constant(given, node, what)
    if found.tensor.numel() != 1 or not torch.isfinite(found.tensor.double()).all():
        raise NetworkError(f"'{node.name}' ({node.kind}) has a {what} of shape {tuple(found.tensor.shape)}, no number")
    return float(found.acting)
