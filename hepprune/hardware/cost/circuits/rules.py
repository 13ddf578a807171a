"""The rules by which layers are priced as parts of an adder graph, each as the firmware's rule traces it."""

import functools
import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from hepprune.errors import NetworkError, refused
from hepprune.fixed import FixedPoint, Quantiser
from hepprune.fixed.quantisers import FixedPoints, spread
from hepprune.hardware.cost.circuits import kernels, operations, tables
from hepprune.hardware.cost.circuits.operations import Bill, CircuitOperation
from hepprune.hardware.cost.circuits.wires import Bools, Wires, constants, joined, where
from hepprune.network import Node, Rules, layers
from hepprune.network.parts import INPUT, parts

TypedOperation = Callable[[Bill, Wires, FixedPoint], Wires]
_LEAST = -(2.0**40)  # of what is not a value in a maximum
_OPERATIONS: dict[str, CircuitOperation] = {
    "add": operations.add,
    "multiply": operations.product,
    "maximum": operations.largest,
    "minimum": operations.smallest,
}

# A rule is given the bill, which of its values anything reads, the layer, and what arrives.
CIRCUITS: Rules[Callable[..., Wires]] = Rules(
    lacks="has no price as part of an adder graph",
    fix="build the network by way of hls4ml, whose layers are priced one by one (`--stage csynth`)",
)


def priced(bill: Bill, layer: layers.Layer, alive: Bools, *arriving: Wires) -> Wires:
    """Return what a layer puts out in its result type, and charge for it.

    Raises:
        NetworkError: no rule prices the layer, or it lacks a type.
    """
    made = CIRCUITS.find(layer)(bill, alive, layer, *arriving)
    typed = isinstance(layer, layers.Input | layers.ReLU | layers.Activation | layers.PReLU)  # come in their type
    if layer.result is None or typed:
        return made
    kind = layer.result_types
    return made if kind is None else in_type(bill, operations.quantise, made, kind)


def moved(run: Callable[..., Tensor], *arriving: Wires) -> Wires:
    """Return what a function that only moves values makes of wires; its own zeros are always zero."""
    return Wires(run(*(torch.from_numpy(wires.planes) for wires in arriving)).numpy())


def only(alive: Bools, wires: Wires) -> Wires:
    """Return wires of which those that nothing reads are zero, so that they cost nothing."""
    alike = np.broadcast_to(alive, wires.shape)
    return wires if alike.all() else where(alike, wires, constants(np.zeros(wires.shape)))


def in_type(bill: Bill, operation: TypedOperation, values: Wires, kind: Quantiser) -> Wires:
    """Return what an operation makes of values and the type of each; one without bits is zero."""
    if isinstance(kind, FixedPoint):
        return operation(bill, values, kind)
    kinds, flat = spread(kind, values.shape), values.reshaped(-1)
    planes = np.empty_like(flat.planes)
    for one in dict.fromkeys(kinds):
        chosen = np.array([own == one for own in kinds])
        zeros = constants(np.zeros(int(chosen.sum())))
        planes[:, chosen] = (zeros if one is None else operation(bill, flat[chosen], one)).planes
    return Wires(planes).reshaped(*values.shape)


@CIRCUITS.of(layers.Input)
def _port(bill: Bill, _alive: Bools, layer: layers.Input) -> Wires:
    if layer.result_types is None:
        raise NetworkError(f"input '{layer.name}' has no fixed-point type")

    def held(_: Bill, values: Wires, kind: FixedPoint) -> Wires:
        return Wires.of(*(np.full(values.shape, end) for end in (kind.minimum, kind.maximum)), kind.fraction)

    return in_type(bill, held, constants(np.zeros(layer.features_shape)), layer.result_types)


@CIRCUITS.of(*layers.MOVING)
def _moved(_bill: Bill, _alive: Bools, layer: layers.Layer, *arriving: Wires) -> Wires:
    return moved(functools.partial(layer.compute, quantised=True), *arriving)


@CIRCUITS.of(layers.Weighted)
@torch.no_grad()
def _weighted(bill: Bill, alive: Bools, layer: layers.Weighted, arriving: Wires) -> Wires:
    kernel = layer.matrix
    matrix = kernels.integers(kernel)
    bias = kernels.rounded_biases(layer.name, layer.bias, layer.bias_type)
    shape, by_row = layer.shape(arriving.shape), alive.reshape(-1, len(bias))
    reads = moved(kernel.reads, arriving)  # n_places, groups, terms
    made = []
    for group, rows in enumerate(np.split(np.arange(len(bias)), kernel.groups)):
        part = kernels.FixedMatrix(matrix.weight[rows], matrix.fraction)
        made.append(kernels.applied(bill, part, bias[rows], reads[:, group], alive=by_row[:, rows]))
    return joined(made, axis=-1).reshaped(*shape)


@CIRCUITS.of(layers.ReLU)
def _relu(bill: Bill, alive: Bools, layer: layers.ReLU, arriving: Wires) -> Wires:
    values = only(alive, arriving)
    if layer.maximum is None:
        kinds = layer.result_types
        return operations.relu(bill, values) if kinds is None else in_type(bill, operations.relu_in, values, kinds)
    kind = layer.fixed_result
    wide = kind or FixedPoint(52, 52 - 32)
    limit = replace(wide, width=52, integer=52 - wide.fraction, signed=True)(np.full(values.shape, layer.maximum))
    positive = operations.relu(bill, operations.rounded(bill, values, wide))
    clamped = operations.smallest(bill, positive, constants(limit))
    return clamped if kind is None else operations.quantise(bill, clamped, kind)


@CIRCUITS.of(layers.Activation)
def _activation(bill: Bill, alive: Bools, layer: layers.Activation, arriving: Wires) -> Wires:
    values = only(alive, arriving)
    if layer.is_tabled:
        return tables.in_type(bill, layer, values)
    if layer.function == "linear":
        kind = layer.result_types
        return values if kind is None else in_type(bill, operations.quantise, values, kind)
    return tables.looked_up(bill, tables.of(layer, rises=layer.rises), values)


@CIRCUITS.of(layers.PReLU)
def _prelu(bill: Bill, alive: Bools, layer: layers.PReLU, arriving: Wires) -> Wires:
    slopes = torch.broadcast_to(layer.used_slope().detach(), arriving.shape).numpy()
    values = only(alive, arriving)
    found = values.planes.copy()
    for slope in np.unique(slopes):
        single = layer.rebuilt(slope=torch.tensor([slope]))
        here = slopes == slope
        found[:, here] = tables.looked_up(bill, tables.of(single, rises=bool(slope >= 0)), values[here]).planes
    return Wires(found)


@CIRCUITS.of(layers.Lookup)
def _lookup(bill: Bill, alive: Bools, layer: layers.Lookup, arriving: Wires) -> Wires:
    values = only(alive, arriving).reshaped(-1)
    planes = np.empty_like(values.planes)
    for place, single in enumerate(layer.singles(arriving.shape)):
        made = tables.looked_up(bill, tables.of(single, rises=False), values[place : place + 1])
        planes[:, place] = made.planes[:, 0]
    return Wires(planes).reshaped(*arriving.shape)


@CIRCUITS.of(layers.BatchNorm)
@torch.no_grad()
def _batch_norm(bill: Bill, alive: Bools, layer: layers.BatchNorm, arriving: Wires) -> Wires:
    if not all(isinstance(kind, FixedPoint | FixedPoints) for kind in (layer.scale_type, layer.shift_type)):
        fix = "fold it into the layer before it first (`hepprune.network.folding`)"
        raise refused(layer.name, f"(BatchNorm) has no fixed-point types for its scale and shift; {fix}")
    scale, shift = (
        np.broadcast_to(part.double().numpy(), arriving.shape) for part in (layer.used_scale(), layer.used_shift())
    )
    return operations.plus(bill, operations.times(bill, only(alive, arriving), scale, balanced=True), shift * alive)


@CIRCUITS.of(layers.Pool)
def _pool(bill: Bill, alive: Bools, layer: layers.Pool, arriving: Wires) -> Wires:
    return _reduced(bill, alive, layer, moved(layer.windows, arriving))


@CIRCUITS.of(layers.GlobalPool)
def _whole_pool(bill: Bill, alive: Bools, layer: layers.GlobalPool, arriving: Wires) -> Wires:
    shape, channels = layer.shape(arriving.shape), arriving.shape[-1]
    windows = Wires(arriving.planes.reshape(len(arriving.planes), -1, channels).transpose(0, 2, 1))
    return _reduced(bill, alive.reshape(-1), layer, windows).reshaped(*shape)


def _reduced(bill: Bill, alive: Bools, layer: layers.Pool | layers.GlobalPool, windows: Wires) -> Wires:
    values = only(alive[..., None], windows)
    if layer.kind == "average":
        counted = values.planes.copy()
        counted[-1] = windows.planes[-1]
        return operations.mean(bill, Wires(counted), layer.fixed_result)
    missing = constants(np.full(windows.shape, _LEAST))
    return operations.reduced(bill, operations.largest, where(windows.present, values, missing))


@CIRCUITS.of(layers.Merge)
def _merged(bill: Bill, alive: Bools, layer: layers.Merge, *arriving: Wires) -> Wires:
    # a value of fewer axes gets some of size one in front
    shapes = (((1,) * (alive.ndim - len(wires.shape)) + wires.shape, wires) for wires in arriving)
    several = np.broadcast_arrays(*(wires.reshaped(*shape).planes for shape, wires in shapes))
    values = only(alive[..., None], Wires(np.stack(several, axis=-1)))
    if layer.operation == "average":
        return operations.mean(bill, values, layer.fixed_result)
    if layer.operation == "subtract":
        return operations.subtract(bill, values[..., 0], values[..., 1])
    return operations.reduced(bill, _OPERATIONS[layer.operation], values)


@CIRCUITS.of(layers.Einsum)
def _contracted(bill: Bill, alive: Bools, layer: layers.Einsum, left: Wires, right: Wires) -> Wires:
    operands = (Wires(p.reshape(len(p), alive.size, -1)) for p in layer.aligned(left.planes, right.planes))
    made = operations.product(bill, *(only(alive.reshape(-1, 1), wires) for wires in operands))
    if left is right and layer.terms[0] == layer.terms[1]:  # a square
        made = made.replaced(low=np.maximum(made.low, 0.0))
    return operations.total(bill, made).reshaped(*alive.shape)


@CIRCUITS.of(layers.Argmax)
def _argmax(bill: Bill, alive: Bools, layer: layers.Argmax, arriving: Wires) -> Wires:
    values = only(alive, arriving).reshaped(-1, arriving.shape[-1])
    places = constants(np.broadcast_to(np.arange(float(values.shape[-1])), values.shape))
    while values.shape[-1] > 1:
        even = values.shape[-1] // 2 * 2
        (ours, theirs), (here, there) = ((w[:, 0:even:2], w[:, 1:even:2]) for w in (values, places))
        key = operations.subtract(bill, ours, theirs)
        chosen = operations.choose(bill, key, there, here)
        values, places = (
            joined([made, rest[:, even:]], axis=-1)
            for made, rest in ((operations.largest(bill, ours, theirs), values), (chosen, places))
        )
    return places.reshaped(*layer.shape(arriving.shape))


@CIRCUITS.of(layers.TopK)
def _top(bill: Bill, alive: Bools, layer: layers.TopK, arriving: Wires) -> Wires:
    """Return the channels, each of which counts how many are ahead of it."""
    values = arriving.reshaped(-1, arriving.shape[-1])
    ahead: list[list[Wires]] = [[] for _ in range(values.shape[-1])]
    for first, second in itertools.combinations(range(values.shape[-1]), 2):
        # one where the value is negative, zero where it is not
        value = operations.subtract(bill, values[:, first], values[:, second])
        bill.add(value.negated / 2, value.moving)
        bit = Wires.of(np.zeros(value.shape), np.ones(value.shape), 0, value.level, value.smooth)
        loses = where((value.low < 0) & (value.high >= 0), bit, constants((value.high < 0).astype(np.float64)))
        ahead[first].append(loses)
        ahead[second].append(operations.plus(bill, operations.negative(loses), np.ones(loses.shape)))
    found = []
    for place, losing in enumerate(ahead):
        value = values[:, place]
        zero = constants(np.zeros(value.shape))
        together = Wires(np.stack([each.planes for each in (*losing, zero)], axis=-1))
        key = operations.plus(bill, operations.total(bill, together), np.full(value.shape, -float(layer.k)))
        found.append(operations.choose(bill, key, value, zero).planes)
    return only(alive, Wires(np.stack(found, axis=-1)).reshaped(*arriving.shape))


@CIRCUITS.of(layers.Softmax, layers.LayerNorm)
def _in_steps(bill: Bill, _alive: Bools, layer: layers.Softmax | layers.LayerNorm, arriving: Wires) -> Wires:
    """Return what a layer puts out that is a network of steps."""
    steps = parts(layer, arriving.shape)

    def rule(node: Node, *values: Wires) -> Wires:
        return priced(bill, node.layer, np.ones(node.shape, bool), *values)

    return steps.interpret(rule, known={INPUT: arriving})[steps.output.name]
