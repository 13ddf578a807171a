"""Dense layers, convolutions, pooling, and the normalisations that go with them."""

from typing import Any

from hepprune.errors import NetworkError, refused
from hepprune.frontends.onnx.arrays import FileConstant
from hepprune.frontends.onnx.building import Graph, OnnxNode
from hepprune.frontends.onnx.operators.registry import constant, counted, flat, jets_value, numbers, operator, plain
from hepprune.frontends.pytorch.operators import contraction, normalisation, pooling, weighted
from hepprune.frontends.pytorch.operators import registry as checked
from hepprune.frontends.pytorch.values import Value
from hepprune.network.layers import Shape, same_padding
from hepprune.network.layers.weighted import Padding


def _dense(built: Graph, node: OnnxNode, x: Value, weight: FileConstant, bias: FileConstant | None) -> Value:
    title = built.title(node.call("linear"), weight)
    for array, what in ((weight, "weight"), (bias, "bias")):
        checked.optional(array, title, what)
    return built.typed(weighted.dense(built, x, weight, bias, title=title), weight=weight, bias=bias)


@operator("Gemm")
def gemm(built: Graph, node: OnnxNode, x: Any, matrix: Any, bias: Any = None) -> Value:
    """A dense layer: alpha * x @ matrix + beta * bias."""
    weight = constant(matrix, node, "weight")
    weight = weight.factor if bias is None else weight  # what has a bias of its own is trained
    alpha, beta = (float(node.attributes.get(name, 1)) for name in ("alpha", "beta"))
    if node.attributes.get("transA") or weight.tensor.ndim != 2:
        raise NetworkError(f"'{node.name}' ({node.kind}) is not a dense layer: its first factor is transposed")
    weight = _times(weight if node.attributes.get("transB") else weight.transposed((1, 0)), alpha)
    shift = None
    if bias is not None:
        shift = _times(flat(constant(bias, node, "bias"), len(weight.tensor)), beta)
    return _dense(built, node, jets_value(x, node), weight, shift)


def _times(array: FileConstant, factor: float) -> FileConstant:
    if factor == 1:
        return array
    if not factor:
        return FileConstant(tensor=array.tensor * 0)
    return array.settled().changed(lambda values: values * factor, lambda values: values / factor)


@operator("MatMul")
def matmul(built: Graph, node: OnnxNode, x: Any, y: Any) -> Value:
    """A dense layer, its bias the constant that is added next; or a product of two values."""
    if isinstance(x, Value) and isinstance(y, FileConstant) and y.tensor.ndim == 2:
        weight = y.factor
        adding, bias = (None, None) if weight.fixed else _bias(built, node, y.tensor.shape[1])
        found = _dense(built, node, x, weight.transposed((1, 0)), bias)
        if adding is not None:
            built.values[adding.outputs[0]] = found
        return found
    sides = [plain(side).factor if isinstance(side, FileConstant) else side for side in (x, y)]
    return contraction.matmul(built, node.call("matmul"), sides[0], other=sides[1])


def _bias(built: Graph, node: OnnxNode, n_out: int) -> tuple[OnnxNode | None, FileConstant | None]:
    """Return the node that adds one constant to each value of the last axis, and that constant."""
    adding = built.only_reader(node.outputs[0])
    if adding is None or adding.kind != "Add":
        return None, None
    others = [name for name in adding.inputs if name != node.outputs[0]]
    found = built.values.get(others[0]) if others else None
    if not isinstance(found, FileConstant) or found.tensor.shape[-1:] != (n_out,) or found.tensor.numel() != n_out:
        return None, None
    return adding, found.reshaped((n_out,))


@operator("Einsum")
def einsum(built: Graph, node: OnnxNode, *sides: Any) -> Value:
    """A contraction of two values, or of one and a constant."""
    tensors = [plain(side).factor if isinstance(side, FileConstant) else side for side in sides]
    return contraction.einsum(built, node.call("einsum"), node.attributes["equation"], tensors=tensors)


@operator("Conv")
def convolution(built: Graph, node: OnnxNode, x: Any, kernel: Any, bias: Any = None) -> Value:
    """Convolve channels-first values."""
    value, weight = jets_value(x, node), constant(kernel, node, "weight")
    shift = None if bias is None else constant(bias, node, "bias")
    rank = weight.tensor.ndim - 2
    strides, dilation = (tuple(node.attributes.get(name, (1,) * rank)) for name in ("strides", "dilations"))
    groups = node.attributes.get("group", 1)
    if built.fitting is not None and groups * weight.tensor.shape[1] != value.shape[1]:
        groups = value.shape[1] // weight.tensor.shape[1]
        built.change(node, "group", groups)
    pads = borders(node, value.shape[2:], tuple(weight.tensor.shape[2:]), strides=strides, dilation=dilation)
    window = {"stride": strides, "dilation": dilation, "padding": pads}
    found = weighted.convolution(built, node.call("conv"), value, weight=weight, bias=shift, groups=groups, **window)
    return built.typed(found, weight=weight, bias=shift)


def borders(node: OnnxNode, positions: Shape, kernel: Shape, *, strides: Shape, dilation: Shape) -> Padding:
    """Return (before, after) for each axis of positions."""
    automatic, rank = node.attributes.get("auto_pad", "NOTSET"), len(kernel)
    if automatic in {"SAME_UPPER", "SAME_LOWER"}:
        found = same_padding(positions, kernel, strides, dilation)
        return found if automatic == "SAME_UPPER" else tuple((high, low) for low, high in found)
    pads = node.attributes.get("pads", (0,) * 2 * rank) if automatic == "NOTSET" else (0,) * 2 * rank
    return tuple(zip(pads[:rank], pads[rank:], strict=True))


@operator("BatchNormalization")
def batch_norm(built: Graph, node: OnnxNode, x: Any, *parameters: Any) -> Any:
    """Fold the running statistics into scale * x + shift over axis 1."""
    found: list[Any] = [constant(given, node, "statistics").settled() for given in parameters]
    names = ("weight", "bias", "running_mean", "running_var")
    options = dict(zip(names, found, strict=True)) | {"training": bool(node.attributes.get("training_mode"))}
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    return normalisation.batch_norm(built, node.call("batch_norm"), x, **options, eps=epsilon)


@operator("LayerNormalization")
def layer_norm(built: Graph, node: OnnxNode, x: Any, scale: Any, bias: Any = None) -> Any:
    """Normalise over the last axes."""
    value = jets_value(x, node)
    axis = counted(node.attributes.get("axis", -1), value.index.ndim, node)
    factor, shift = (None if given is None else constant(given, node, "scale").settled() for given in (scale, bias))
    shape, epsilon = list(value.shape[axis:]), float(node.attributes.get("epsilon", 1e-5))
    call, arrays = node.call("layer_norm"), {"weight": factor, "bias": shift}
    return normalisation.layer_norm(built, call, value, normalized_shape=shape, eps=epsilon, **arrays)


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
