"""From a program of aten operators to a Network."""

import operator
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from hepprune.errors import NetworkError
from hepprune.frontends.checking import Run
from hepprune.frontends.pytorch.building import Building, Slot
from hepprune.frontends.pytorch.fitting import Fitting, Traces
from hepprune.frontends.pytorch.folding import FOLDED, folded, leaves
from hepprune.frontends.pytorch.operators import MOVES, OPERATORS, SAME
from hepprune.frontends.pytorch.program import Call, Program, Ref, aten
from hepprune.frontends.pytorch.values import Axes, Constant, Value, axes_of
from hepprune.network import Einsum, Input, Network, Permute, Shape, Shared

_FREE_JETS = 2  # stands for a number of jets that the program leaves open
_CHANNELS_FIRST = (
    "conv",
    "batch_norm",
    "_native_batch_norm",
    "max_pool",
    "avg_pool",
    "adaptive",
    "_adaptive",
    "upsample",
    "prelu",
)
_ELEMENTWISE = SAME | {
    "add",
    "sub",
    "mul",
    "div",
    "relu",
    "relu6",
    "hardtanh",
    "clamp",
    "leaky_relu",
    "elu",
    "sigmoid",
    "pad",
}
_NUMBERS = {"add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "eq", "ne", "lt", "le", "gt", "ge"}
_MAX_NUMBER = 2**62
_UNFIT = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
_CHECKS = ("_assert", "sym_constrain", "_guards")


@dataclass(frozen=True)
class Ports:
    """How a program's inputs and outputs become the network's: the order of their axes; and how many jets, if set."""

    inputs: tuple[Axes, ...]
    outputs: tuple[Axes, ...]
    n_jets: int | None

    @property
    def batches(self) -> tuple[int, ...]:
        """Numbers of jets to try a model on: two other than it was traced with, or the only one that it takes."""
        return (3, 5) if self.n_jets is None else (self.n_jets,)

    def running(self, model: Callable[[list[Tensor]], Sequence[Tensor]]) -> Run:
        """Return what runs a model, which takes and gives values as the program does, on the network's features."""

        def run(given: Sequence[Tensor]) -> list[Tensor]:
            values = [x.permute(*_undone(axes)) for x, axes in zip(given, self.inputs, strict=True)]
            found = [y if y.ndim > 1 else y.unsqueeze(1) for y in model(values)]
            return [y.permute(*axes) for y, axes in zip(found, self.outputs, strict=True)]

        return run


def _undone(axes: Axes) -> list[int]:
    return [axes.index(axis) for axis in range(len(axes))]


@dataclass(frozen=True)
class Lowered:
    """The network of a program, where each tensor of the model comes from in it, and how values go in and out."""

    network: Network
    slots: tuple[Slot, ...]
    ports: Ports
    traces: Traces = field(default_factory=Traces, kw_only=True)


def lower(program: Program, fit: Fitting | None = None) -> Lowered:
    """Return the network that computes what the program does, and which of its arrays are whose tensors.

    With `fit` the program's settings are taken as a network has them, and left there.

    Raises:
        NetworkError: an operator has no layer; the sentence names it.
    """
    calls = program.needed()
    built = Building(n_jets(program), fit=fit, calls={call.name: call for call in calls})
    counted = [call.scope[0] for call in calls if call.operator in OPERATORS]
    built.in_scope = Counter(counted)
    for call in (*calls, Call("output", "output", program.outputs, {})):
        for name in call.reads:
            built.readers.setdefault(name, []).append(call)
    values: dict[str, Any] = {name: Constant(tensor, origin) for name, (origin, tensor) in program.constants.items()}
    for name, shape in program.inputs.items():
        values[name] = add_input(built, name, shape, channels_first=_is_channels_first(name, calls))
    for position, call in enumerate(calls):
        result = _run(built, call, values)
        if call.in_place:
            _overwritten(call, result, values, calls[position + 1 :])
        values[call.name] = result
    arriving = [values[name] for name in program.inputs]
    outputs = [output_layer(built, values.get(ref.name), ref) for ref in program.outputs]
    network = network_of(built, outputs)
    slots = tuple(slot for slot in built.slots if slot.layer in network.layers)
    leaving = [values[ref.name] for ref in program.outputs]
    return Lowered(network, slots, ports(built, program.inputs, arriving, leaving), traces=built.traces)


def ports(
    built: Building, sizes: Mapping[str, tuple[int | None, ...]], inputs: Iterable[Value], outputs: Iterable[Value]
) -> Ports:
    """Return how values go in and out: an input as it lies, an output channels last or in the program's order."""
    given = (axes_of(x.index, (built.n_jets, *built.shapes[x.layer])) for x in inputs)
    taken = tuple(axes or tuple(range(x.index.ndim)) for axes, x in zip(given, inputs, strict=True))
    (size,) = {shape[0] for shape in sizes.values()}
    return Ports(taken, tuple(_output_axes(built, y) for y in outputs), size)


def network_of(built: Building, outputs: list[str]) -> Network:
    """Return the network, contractions putting their result at once into the order that a permutation would."""
    layers, sources = {layer.name: layer for layer in built.layers}, dict(built.sources)
    read = Counter(source for names in sources.values() for source in names) + Counter(outputs)
    for name, layer in list(layers.items()):
        before = layers.get(sources.get(name, ("",))[0])
        if isinstance(layer, Permute) and isinstance(before, Einsum) and read[before.name] == 1:
            left, right, out = before.terms
            layers[before.name] = Einsum(before.name, f"{left},{right}->{''.join(out[axis] for axis in layer.order)}")
            del layers[name], sources[name]
            sources = {reader: tuple(before.name if n == name else n for n in ns) for reader, ns in sources.items()}
            outputs = [before.name if n == name else n for n in outputs]
    for name in reversed(list(layers)):  # what a packed dense layer was before its parts were taken
        shared = {layer.of for layer in layers.values() if isinstance(layer, Shared)}
        if name not in shared.union(outputs, *sources.values()) and not isinstance(layers[name], Input):
            del layers[name], sources[name]
    return Network(layers.values(), sources, outputs)


def n_jets(program: Program) -> int:
    """Return the number of jets that all inputs have, two where it is left open."""
    first = {shape[0] if shape else 0 for shape in program.inputs.values()}
    if len(first) != 1 or any(size is not None and size < 1 for size in first):
        raise NetworkError("every input needs a first axis of jets, of the same size for all")
    (size,) = first
    return size or _FREE_JETS


def add_input(built: Building, name: str, shape: tuple[int | None, ...], *, channels_first: bool) -> Value:
    """Add an Input, its channels last, and return the value as the program has it."""
    sizes = [size for size in shape[1:] if size is not None]
    if len(sizes) != len(shape) - 1 or not sizes:
        raise NetworkError(f"input '{name}' has the shape {shape}; only the number of jets can be free")
    moved = channels_first and len(sizes) > 1
    layer = built.add(Input(built.name(name), tuple([*sizes[1:], sizes[0]] if moved else sizes)))
    return built.value(layer, (0, *range(2, len(shape)), 1) if moved else None)


def _is_channels_first(name: str, calls: tuple[Call, ...]) -> bool:
    """Return whether an input reaches, through element-wise operators only, one that has channels on axis 1."""
    reached = {name}
    for call in calls:
        if reached & call.reads:
            if call.operator.startswith(_CHANNELS_FIRST):
                return True
            if call.operator in _ELEMENTWISE:
                reached.add(call.name)
    return False


def _run(built: Building, call: Call, values: dict[str, Any]) -> Any:
    args, options = filled(call.args, values), {key: filled(value, values) for key, value in call.kwargs.items()}
    try:
        if call.operator.startswith(_CHECKS):
            return None
        if call.operator == "sym_size":
            return args[0].shape[args[1]] if isinstance(args[0], Value) else args[0].tensor.shape[args[1]]
        if not call.target.startswith("aten."):
            return _python(call, args)
        if any(isinstance(entry, Value) for entry in leaves((args, list(options.values())))):
            return _layered(built, call, args, options)
        return folded(call, args, options)
    except _UNFIT as problem:  # the file is damaged, or torch has learned more
        reason = (str(problem).splitlines() or [""])[0]
        raise NetworkError(f"'{call.name}' uses {call.target} in a way that is not known: {reason[:200]}") from problem


def _layered(built: Building, call: Call, args: Any, options: dict[str, Any]) -> Any:
    """Return what an operator makes of values of jets."""
    name, first = call.operator, args[0]
    if name in SAME:
        if "dropout" in name and True in args[2:3]:
            raise NetworkError(f"'{call.name}' drops values at random; bring the model into eval mode")
        return [first, None] if name == "native_dropout" else first
    if name in MOVES and isinstance(first, Value):
        return _moved(built, call, first, args, options)
    if name == "embedding":
        raise NetworkError(
            f"layer '{built.title(call)}' is an Embedding, which looks up whole numbers; no Network has it"
        )
    if name not in OPERATORS:
        raise NetworkError(f"'{built.title(call)}' uses {call.target}, which no layer of a Network computes")
    named = dict(zip((argument.name for argument in aten(call)._schema.arguments[1:]), args[1:], strict=False))  # noqa: SLF001 -- the only place that has the names
    return OPERATORS[name](built, call, first, **named, **options)


# The argument of operators that says which sizes they give.
_SIZES = {"view": "size", "reshape": "shape", "_unsafe_view": "size", "view_copy": "size", "_reshape_copy": "size"}


def _moved(built: Building, call: Call, value: Value, args: Any, options: dict[str, Any]) -> Value:
    """Return a value with its numbers in another order or shape."""
    title = built.title(call)
    wanted = built.fit.sizes(call, value.shape) if built.fit and call.operator in {*_SIZES, "unflatten"} else None
    if wanted is None:
        found = aten(call)(value.index.contiguous(), *args[1:], **options)
    else:
        found = value.index.reshape(wanted)
        _resize(built, call, value, wanted)
    built.traces.sizes[call.name] = value.shape, tuple(found.shape)
    return value.moved(found, title)


def _resize(built: Building, call: Call, value: Value, wanted: Shape) -> None:
    """Let a call give other sizes; those that are -1 or computed stay so."""
    if call.operator == "unflatten":
        given = dict(zip(("dim", "sizes"), call.args[1:], strict=False)) | call.kwargs
        axis = given["dim"] % value.index.ndim
        built.rewrite(call, sizes=list(wanted[axis : axis + len(given["sizes"])]))
        return
    name = _SIZES[call.operator]
    given = [*call.args[1:2], *(call.kwargs[key] for key in call.kwargs if key == name)][0]
    sizes = [old if isinstance(old, Ref) or old == -1 else new for old, new in zip(given, wanted, strict=True)]
    settings: dict[str, Any] = {name: sizes}
    built.rewrite(call, **settings)


def call_known(call: Call, args: Any, options: dict[str, Any]) -> Any:
    """Return what torch computes for a call, if it is one of those a Network can hold.

    Raises:
        NetworkError: it is not.
    """
    if call.operator.startswith(_CHECKS):
        return None
    if not call.target.startswith("aten."):
        return _python(call, args)
    if call.operator not in {"sym_size", *MOVES, *SAME, *OPERATORS, *FOLDED}:
        raise NetworkError(f"'{call.name}' uses {call.target}, which no layer of a Network computes")
    return aten(call)(*args, **options)


def filled(argument: Any, values: dict[str, Any]) -> Any:
    """Return an argument with values in the place of references."""
    if isinstance(argument, Ref):
        if argument.name not in values:
            raise NetworkError(f"the program uses '{argument.name}' before it is known")
        return values[argument.name]
    if isinstance(argument, list | tuple):
        return type(argument)(filled(entry, values) for entry in argument)
    return argument


def _python(call: Call, args: Any) -> Any:
    """Return what Python's operators make of lists and of whole numbers."""
    if call.target == "getitem":
        return args[0][args[1]]
    if call.target in _NUMBERS and not any(isinstance(entry, Constant | Value) for entry in args):
        found = getattr(operator, call.target)(*args)
        if abs(found) > _MAX_NUMBER:
            raise NetworkError(f"'{call.name}' computes a number beyond 2**62")
        return found
    raise NetworkError(f"'{call.name}' uses {call.target or 'a function'}, which no layer of a Network computes")


def _overwritten(call: Call, result: Any, values: dict[str, Any], later: tuple[Call, ...]) -> None:
    """Let an operator that works in place change the value under every name it goes by."""
    (first,) = (argument.name for argument in call.args[:1] if isinstance(argument, Ref))
    old = values[first]
    read_later = {name for after in later for name in after.reads}
    for name, value in list(values.items()):
        if value is old:
            values[name] = result
        elif isinstance(value, Value) and isinstance(old, Value) and value.layer == old.layer and name in read_later:
            raise NetworkError(f"'{call.name}' ({call.target}) overwrites values that '{name}' still reads")


def output_layer(built: Building, value: Any, ref: Ref) -> str:
    """Return the layer with an output's values, channels last where they come so, else in torch's order."""
    if not isinstance(value, Value):
        raise NetworkError(f"output '{ref.name}' of the program does not depend on the inputs alone")
    if built.jets(value) != 0:
        raise NetworkError(f"output '{ref.name}' of the program has no jets on its first axis")
    index = value.index if value.index.ndim > 1 else value.index.unsqueeze(1)
    if _lies_channels_last(built, value):
        return value.layer
    return built.laid(value, index, f"{ref.name}.out")


def _lies_channels_last(built: Building, value: Value) -> bool:
    index = value.index if value.index.ndim > 1 else value.index.unsqueeze(1)
    lying = axes_of(index.permute(0, *range(2, index.ndim), 1), (built.n_jets, *built.shapes[value.layer]))
    return lying == tuple(range(index.ndim))


def _output_axes(built: Building, value: Value) -> Axes:
    rank = max(value.index.ndim, 2)
    return (0, *range(2, rank), 1) if _lies_channels_last(built, value) else tuple(range(rank))
