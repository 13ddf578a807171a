"""Pooling over windows, and means, sums and maxima over axes."""

from typing import Any

from hepprune.errors import NetworkError
from hepprune.frontends.onnx.building import Graph, OnnxNode
from hepprune.frontends.onnx.operators.registry import jets_value, numbers, operator
from hepprune.frontends.onnx.operators.weighted import borders
from hepprune.frontends.pytorch.operators import pooling
from hepprune.frontends.pytorch.values import Value
from hepprune.network import Pad, Pool

_REDUCED = {"ReduceMean": "mean", "ReduceSum": "sum", "ReduceMax": "amax"}


@operator("MaxPool", "AveragePool")
def pool(built: Graph, node: OnnxNode, x: Any) -> Value:
    """The largest or the mean value of each window."""
    value, size = jets_value(x, node), tuple(node.attributes["kernel_shape"])
    rank = len(size)
    strides, dilation = (tuple(node.attributes.get(name, (1,) * rank)) for name in ("strides", "dilations"))
    if value.index.ndim != rank + 2 or set(dilation) != {1} or len(node.outputs) > 1:
        raise NetworkError(f"layer '{node.name}' pools dilated windows, another shape, or puts out places")
    pads = borders(node, value.shape[2:], size, strides=strides, dilation=dilation)
    axes = (0, *range(2, rank + 2), 1)
    layer = built.place(value, axes, f"{node.name}.arranged")
    upwards = bool(node.attributes.get("ceil_mode"))
    if node.kind == "AveragePool" and node.attributes.get("count_include_pad") and any(map(any, pads)):
        if upwards:
            raise NetworkError(f"layer '{node.name}' rounds its number of windows up and counts its padding")
        layer = built.add(Pad(built.name(f"{node.name}.pad"), pads), layer)
        pads = ((0, 0),) * rank
    if upwards:
        pads = tuple(map(_ceiled, value.shape[2:], size, strides, pads))
    kind = "max" if node.kind == "MaxPool" else "average"
    return built.value(built.add(Pool(built.name(node.name), kind, size, strides=strides, padding=pads), layer), axes)


def _ceiled(positions: int, size: int, stride: int, pads: tuple[int, int]) -> tuple[int, int]:
    """Return padding for which a last window that begins inside is full."""
    n_windows = -(-(positions + sum(pads) - size) // stride) + 1
    n_windows -= (n_windows - 1) * stride >= positions + pads[0]
    return pads[0], max((n_windows - 1) * stride + size - positions - pads[0], 0)


@operator("GlobalMaxPool", "GlobalAveragePool")
def global_pool(built: Graph, node: OnnxNode, x: Any) -> Value:
    """The largest or the mean value over all positions."""
    value = jets_value(x, node)
    axes = list(range(2, value.index.ndim))
    return _over(built, node, value, ("amax" if "Max" in node.kind else "mean", axes, True))


@operator(*_REDUCED)
def reduced(built: Graph, node: OnnxNode, x: Any, axes: Any = None) -> Value:
    """The mean, sum or maximum over axes."""
    value = jets_value(x, node)
    over = [int(axis) for axis in numbers(axes, node, "axes")]
    if not over and node.attributes.get("noop_with_empty_axes"):
        return value
    return _over(built, node, value, (_REDUCED[node.kind], over, bool(node.attributes.get("keepdims", 1))))


def _over(built: Graph, node: OnnxNode, value: Value, reduction: tuple[str, list[int], bool]) -> Value:
    kind, axes, kept = reduction
    found: Value = pooling.reduced(built, node.call(kind), value, dim=axes, keepdim=kept)
    return found
