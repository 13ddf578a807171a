"""Pooling over windows, and means, sums and maxima over axes."""

from typing import Any

from hepprune.errors import refused
from hepprune.frontends.onnx.building import Graph, OnnxNode
from hepprune.frontends.onnx.operators.registry import jets_value, numbers, operator
from hepprune.frontends.onnx.operators.weighted import borders
from hepprune.frontends.pytorch.operators import pooling
from hepprune.frontends.pytorch.values import Value

_REDUCED = {"ReduceMean": "mean", "ReduceSum": "sum", "ReduceMax": "amax"}


@operator("MaxPool", "AveragePool")
def pool(built: Graph, node: OnnxNode, x: Any) -> Value:
    """The largest or the mean value of each window."""
    value, size = jets_value(x, node), tuple(node.attributes["kernel_shape"])
    rank = len(size)
    strides, dilation = (tuple(node.attributes.get(name, (1,) * rank)) for name in ("strides", "dilations"))
    if value.index.ndim != rank + 2 or set(dilation) != {1} or len(node.outputs) > 1:
        raise refused(node.name, "pools dilated windows, another shape, or puts out places")
    pads = borders(node, value.shape[2:], size, strides=strides, dilation=dilation)
    call = node.call("max_pool" if node.kind == "MaxPool" else "avg_pool")
    counted = node.kind == "AveragePool" and bool(node.attributes.get("count_include_pad"))
    upwards = bool(node.attributes.get("ceil_mode"))
    if upwards and counted and any(map(any, pads)):
        raise refused(node.name, "rounds its number of windows up and counts its padding")
    return pooling.windows(built, call, value, size=size, strides=strides, pads=pads, ceil=upwards, counted=counted)


@operator("GlobalMaxPool", "GlobalAveragePool")
def global_pool(built: Graph, node: OnnxNode, x: Any) -> Any:
    """The largest or the mean value over all positions."""
    value, call = jets_value(x, node), node.call("amax" if "Max" in node.kind else "mean")
    return pooling.reduced(built, call, value, dim=list(range(2, value.index.ndim)), keepdim=True)


@operator(*_REDUCED)
def reduced(built: Graph, node: OnnxNode, x: Any, axes: Any = None) -> Any:
    """The mean, sum or maximum over axes."""
    value = jets_value(x, node)
    over = [int(axis) for axis in numbers(axes, node, "axes")]
    if not over and node.attributes.get("noop_with_empty_axes"):
        return value
    kept = bool(node.attributes.get("keepdims", 1))
    return pooling.reduced(built, node.call(_REDUCED[node.kind]), value, dim=over, keepdim=kept)
