"""A network as a cost model sees it: one Operation for each layer, so that a changed layer is priced alone."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from hepprune.errors import RecipeError, check_known, unknown
from hepprune.fixed import FixedPoint, Quantiser
from hepprune.hardware.cost import kernels, reuse
from hepprune.hardware.cost.kernels import HLS4ML_DEFAULT
from hepprune.hardware.cost.operations import IO_TYPES, Operation
from hepprune.network import Network, Rules, layers
from hepprune.network.layers.recurrent import GATES


@dataclass(frozen=True)
class Options:
    """How a whole network is built; None takes each layer's own strategy and reuse factor.

    Raises:
        RecipeError: an unknown strategy or io_type, or a reuse factor below 1.
    """

    strategy: str | None = None
    io_type: str = "io_parallel"
    reuse_factor: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        check_known("io_type", self.io_type, IO_TYPES, RecipeError)
        if self.reuse_factor is not None and self.reuse_factor < 1:
            raise RecipeError(f"a reuse factor of {self.reuse_factor} is not a whole number from 1 up")
        if self.strategy is not None:
            check_known("strategy", self.strategy, layers.STRATEGIES, RecipeError)


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a layer stands: the operations and shapes that come in, its own shape, and how its hardware is built."""

    layer: layers.Layer
    before: tuple[Operation, ...]
    arriving: tuple[tuple[int, ...], ...]
    shape: tuple[int, ...]
    options: Options

    @property
    def in_width(self) -> int:
        """The bits of the widest value that comes in."""
        return max((operation.out_width for operation in self.before), default=0)

    @property
    def streams(self) -> bool:
        """Whether values come one after the other."""
        return self.options.io_type == "io_stream"

    def operation(self, kind: str, *, n_in: int, n_out: int, **facts: Any) -> Operation:
        """Return the operation of this layer, of that kind."""
        sources = tuple(operation.name for operation in self.before)
        own: dict[str, Any] = {"in_width": self.in_width, "streams": self.streams, "sources": sources} | facts
        return Operation(name=self.layer.name, kind=kind, n_in=n_in, n_out=n_out, **own)


def described(network: Network, options: Options) -> tuple[Operation, ...]:
    """Return the operations of a network in the order they run.

    Raises:
        NetworkError: a layer without a price.
        RecipeError: a layer asks for an unknown strategy.
    """
    found: dict[str, Operation] = {}
    for layer in network:
        found[layer.name] = describe(network, layer, found, options=options)
    return with_dataflow(found.values())


@torch.no_grad()
def describe(network: Network, layer: layers.Layer, known: Mapping[str, Operation], *, options: Options) -> Operation:
    """Return the operation of one layer, given those of the layers it reads."""
    sources = network.sources.get(layer.name, ()) if not isinstance(layer, layers.Input) else ()
    before, arriving = tuple(known[name] for name in sources), tuple(network.shapes[name] for name in sources)
    runs, shape = network.runs(layer), network.shapes[layer.name]
    place = _Place(layer=layer, before=before, arriving=arriving, shape=shape, options=options)
    return PRICED.find(runs)(runs, place)


def with_dataflow(operations: Iterable[Operation]) -> tuple[Operation, ...]:
    """Return operations that know whether their design is one pipeline or of layers side by side."""
    each = tuple(operations)
    turns = (op.strategy == "resource" or (op.kind == "matrix" and op.calls > 1) for op in each)
    dataflow = any(op.streams for op in each) or any(turns)
    return tuple(op if op.dataflow == dataflow else replace(op, dataflow=dataflow) for op in each)


def width(kind: Quantiser | None) -> int | None:
    """Return the bits of a type, the widest where each value has its own."""
    if kind is None:
        return None
    return kind.width if isinstance(kind, FixedPoint) else max(1, math.ceil(float(np.max(kind.bits))))


def _values(layer: layers.Layer, place: _Place, kind: str, **facts: Any) -> Operation:
    """Describe a layer that treats values one by one; without a type it passes on the width that comes in."""
    n_in = sum(math.prod(shape) for shape in place.arriving)
    untyped = facts.pop("out_width", place.in_width)
    out_width = width(layer.result) or untyped
    positions = math.prod(place.arriving[0][:-1])
    facts = {"operands": len(place.arriving), "positions": positions, "casts": _casts(layer.result)} | facts
    facts |= {"out_width": out_width, "accumulator_width": place.in_width}
    return place.operation(kind, n_in=n_in, n_out=math.prod(place.shape), **facts)


def _casts(kind: Quantiser | None) -> bool:
    return isinstance(kind, FixedPoint) and (kind.rounding != "TRN" or kind.overflow != "WRAP")


def _input(layer: layers.Input, place: _Place) -> Operation:
    n, bits = layer.n_features, width(layer.result) or HLS4ML_DEFAULT.width
    widths = dict.fromkeys(("in_width", "out_width", "accumulator_width"), bits)
    return place.operation("input", n_in=n, n_out=n, **widths, assumed=layer.result is None)


def _matrix(layer: layers.Weighted, place: _Place, *, positions: int, copies: int) -> Operation:
    wanted, asked = place.options.strategy or layer.strategy, place.options.reuse_factor or layer.reuse_factor
    if wanted not in layers.STRATEGIES:
        raise RecipeError(f"layer '{place.layer.name}': " + unknown("strategy", wanted, layers.STRATEGIES))
    strategy = reuse.strategy_of(layer, wanted, streams=place.streams)
    if strategy == "resource_unrolled" and asked == 1:
        strategy = "resource"  # as hls4ml does, with a word on its screen
    n_in, n_out = reuse.size(layer)
    factor = reuse.taken(n_in, n_out, asked, strategy=strategy)
    kernel = kernels.of(layer.weight, layer.weight_type, layer.digit_limit, factor)
    floating = layer.weight_type is None
    bits = HLS4ML_DEFAULT.width if floating else place.in_width + math.ceil(math.log2(kernel.largest_sum + 1))
    out_width = width(layer.result) or bits
    return place.operation(
        "matrix",
        n_in=n_in,
        n_out=n_out,
        out_width=out_width,
        accumulator_width=out_width,
        strategy=strategy,
        reuse_factor=factor,
        asked_reuse_factor=asked,
        positions=positions,
        copies=min(copies, positions),
        kernels=(kernel,),
        casts=_casts(layer.result),
        function=type(layer).__name__,
        assumed=floating,
    )


def _dense(layer: layers.Dense, place: _Place) -> Operation:
    """Describe a dense layer; on positions hls4ml builds a pointwise convolution, io_parallel all of them at once."""
    positions = math.prod(place.arriving[0][:-1])
    return _matrix(layer, place, positions=positions, copies=1 if place.streams else positions)


def _conv(layer: layers.Conv, place: _Place) -> Operation:
    positions = math.prod(place.shape[:-1])
    found = _matrix(layer, place, positions=positions, copies=layer.parallelization_factor)
    if layer.groups > 1:
        found = replace(found, function="DepthwiseConv")
    # A stream is read position by position, also where a convolution puts out nothing.
    padded = (n + sum(p) for n, p in zip(place.arriving[0][:-1], layer.padding, strict=True))
    return replace(found, steps=math.prod(padded), operands=math.prod(layer.kernel))


def _recurrent(layer: layers.Recurrent, place: _Place) -> Operation:
    gates = GATES[layer.cell]
    asked = place.options.reuse_factor or layer.reuse_factor
    found = []
    for each in layer.kernels:
        factor = reuse.taken(each.n_columns, gates * layer.n_out, asked)
        found.append(kernels.of(each.weight, each.type, each.digit_limit, factor))
    bits = width(layer.state_type) or width(layer.result) or HLS4ML_DEFAULT.width
    return place.operation(
        "recurrent",
        n_in=layer.n_in,
        n_out=layer.n_out,
        out_width=width(layer.result) or bits,
        accumulator_width=bits,
        strategy=place.options.strategy or "resource",
        reuse_factor=max(kernel.reuse_factor for kernel in found),
        asked_reuse_factor=asked,
        steps=place.arriving[0][0],
        kernels=tuple(found),
        operands=gates,
        function=layer.cell,
        assumed=layer.weight_type is None,
    )


def _activation(layer: layers.Activation, place: _Place) -> Operation:
    kind = {"linear": "cast", "leaky_relu": "affine", "thresholded_relu": "relu", "binary_tanh": "relu"}
    found = kind.get(layer.function, "affine" if layer.function.startswith("hard_") else "table")
    return _values(layer, place, found, function=layer.function)


def _pool(layer: layers.Pool | layers.GlobalPool, place: _Place) -> Operation:
    window = math.prod(layer.size) if isinstance(layer, layers.Pool) else math.prod(place.arriving[0][:-1])
    return _values(layer, place, "pool", operands=window, function=layer.kind)


def _contraction(layer: layers.Einsum, place: _Place) -> Operation:
    left, right, _ = layer.terms
    sizes = dict(zip(left, place.arriving[0], strict=True)) | dict(zip(right, place.arriving[1], strict=True))
    products = math.prod(sizes.values())
    out_width = 2 * place.in_width + math.ceil(math.log2(max(products // math.prod(place.shape), 1)))
    return _values(layer, place, "contraction", operands=products, out_width=out_width)


_OPERATIONS: dict[type[layers.Layer], Callable[[Any, _Place], Operation]] = {
    layers.Input: _input,
    layers.Dense: _dense,
    layers.Conv: _conv,
    layers.Recurrent: _recurrent,
    layers.ReLU: lambda layer, place: _values(layer, place, "relu" if layer.maximum is None else "table"),
    layers.Activation: _activation,
    layers.Softmax: lambda layer, place: _values(
        layer, place, "softmax", out_width=HLS4ML_DEFAULT.width, positions=math.prod(place.shape[:-1])
    ),
    layers.Pool: _pool,
    layers.GlobalPool: _pool,
    layers.Einsum: _contraction,
    layers.Merge: lambda layer, place: _values(layer, place, "merge", function=layer.operation),
    layers.BatchNorm: lambda layer, place: _values(layer, place, "affine", assumed=layer.scale_type is None),
    layers.PReLU: lambda layer, place: _values(layer, place, "affine"),
    layers.LayerNorm: lambda layer, place: _values(layer, place, "normalise", operands=place.shape[-1]),
    layers.Argmax: lambda layer, place: _values(layer, place, "argmax", out_width=1),
    layers.TopK: lambda layer, place: _values(layer, place, "top", operands=place.shape[-1]),
    **dict.fromkeys(layers.MOVING, lambda layer, place: _values(layer, place, "wiring")),
}
PRICED = Rules(
    lacks="has no price",
    fix="layers with one: " + ", ".join(sorted(kind.__name__ for kind in _OPERATIONS)),
    fixes={layers.Lookup: "hls4ml cannot build it; take strategy distributed_arithmetic, whose Verilog has it"},
    table=_OPERATIONS,
)
