"""QONNX' quantisers (arXiv:2206.07527), of constants and of values of the jets."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hepprune.errors import NetworkError
from hepprune.fixed import MAX_WIDTH, FixedPoint
from hepprune.frontends.onnx.arrays import FileConstant
from hepprune.frontends.onnx.building import Graph, OnnxNode
from hepprune.frontends.onnx.operators.registry import QUANTISERS, constant, jets_value, number, operator
from hepprune.frontends.onnx.quantisation import Quantisation
from hepprune.frontends.pytorch.operators.registry import unchanged
from hepprune.frontends.pytorch.values import Value
from hepprune.network import Activation


@operator("Quant", "IntQuant", table=QUANTISERS)
def quant(built: Graph, node: OnnxNode, x: Any, scale: Any, *given_as: Any) -> Any:
    """Round to whole numbers of `scale` that fit a number of bits."""
    zero, bits = given_as
    if zero is not None and constant(zero, node, "zero point").tensor.any():
        raise NetworkError(f"quantiser '{node.name}' has a zero point, which no fixed-point type has")
    width = constant(bits, node, "bit width").tensor.reshape(-1)
    if not len(width) or not torch.equal(width, width[:1].round().expand_as(width)):
        raise NetworkError(f"quantiser '{node.name}' has several bit widths, or half bits")
    if not 1 <= width[0] <= MAX_WIDTH:
        raise NetworkError(f"quantiser '{node.name}' has {width[0]:g} bits, where a type has 1 to {MAX_WIDTH}")
    steps = _scale(scale, node)
    given = Quantisation(
        node=node.outputs[0],
        scale=steps,
        bits=int(width[0]),
        signed=bool(node.attributes.get("signed", 1)),
        narrow=bool(node.attributes.get("narrow", 0)),
        rounding=str(node.attributes.get("rounding_mode", "ROUND")).upper(),
        shape=tuple(steps.shape),
    )
    return _quantised(built, node, x, given)


@operator("BipolarQuant", table=QUANTISERS)
def bipolar(built: Graph, node: OnnxNode, x: Any, scale: Any) -> Any:
    """The sign, times a scale."""
    steps = _scale(scale, node)
    given = Quantisation(node=node.outputs[0], scale=steps, bits=1, narrow=True, shape=tuple(steps.shape))
    return _quantised(built, node, x, given)


def _scale(scale: Any, node: OnnxNode) -> Tensor:
    found = constant(scale, node, "scale").acting.double()
    if not torch.isfinite(found).all() or (found <= 0).any():
        raise NetworkError(f"quantiser '{node.name}' has a scale that is not positive and finite")
    return found


def _quantised(built: Graph, node: OnnxNode, x: Any, given: Quantisation) -> Any:
    if isinstance(x, FileConstant):
        if np.broadcast_shapes(tuple(x.tensor.shape), tuple(given.scale.shape)) != x.tensor.shape:
            raise NetworkError(f"quantiser '{node.name}' has scales of another shape than its values")
        _ = given.of(given.scale.numpy())  # refuses what no type is
        return replace(x.settled(), quantisation=given, fixed=False)  # what has a type of weights is one
    return built.quantised(jets_value(x, node), given, node.name)


@operator("Trunc", table=QUANTISERS)
def trunc(built: Graph, node: OnnxNode, x: Any, scale: Any, *given_as: Any) -> Value:
    """Drop bits on the right; version 1 also counts in the old steps afterwards, which divides the value."""
    zero, bits, *given = given_as
    if number(zero, node, "zero point"):
        raise NetworkError(f"quantiser '{node.name}' has a zero point, which no fixed-point type has")
    step, width = number(scale, node, "scale"), round(number(bits, node, "bit width"))
    after = round(number(given[-1], node, "bit width"))
    if len(given) == 1:
        coarse, signed, narrow, out = step * 2.0 ** (width - after), True, False, after + 1
    else:
        coarse, out = number(given[0], node, "output scale"), after
        signed, narrow = bool(node.attributes.get("signed", 1)), bool(node.attributes.get("narrow", 0))
    if not math.log2(coarse / step).is_integer() or coarse < step:
        raise NetworkError(f"quantiser '{node.name}' drops {math.log2(coarse / step):g} bits, no whole number")
    value = _on_grid(built, node, jets_value(x, node), (step, width + 1))
    rounding = str(node.attributes.get("rounding_mode", "FLOOR")).upper()
    steps = torch.tensor(coarse).double()
    kind = Quantisation(node=node.outputs[0], scale=steps, bits=out, signed=signed, narrow=narrow, rounding=rounding)
    name = built.add(Activation(built.name(node.name), "linear", result=kind.of(kind.scale.numpy())), value.layer)
    if len(given) == 1:
        name = built.affine(name, step / coarse, 0.0, f"{node.name}.steps")
    return unchanged(value, name)


def _on_grid(built: Graph, node: OnnxNode, value: Value, grid: tuple[float, int]) -> Value:
    """Round to the steps of the quantiser's input, unless the values are multiples of them as they come."""
    step, width = grid
    before = built.layer(value.layer).result
    if isinstance(before, FixedPoint) and (before.step / step).is_integer():
        return value
    kind = Quantisation(node=node.outputs[0], scale=torch.tensor(step).double(), bits=width)
    rounded = Activation(built.name(f"{node.name}.rounded"), "linear", result=kind.of(kind.scale.numpy()))
    return unchanged(value, built.add(rounded, value.layer))
