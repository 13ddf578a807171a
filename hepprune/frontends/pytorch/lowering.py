"""From a program of aten operators to a Network."""

import operator
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch.utils._pytree import tree_leaves, tree_map_only

from hepprune.errors import NetworkError, explained, refused
from hepprune.fixed import FixedPoint
from hepprune.frontends.inputs import type_inputs
from hepprune.frontends.pytorch import pquant
from hepprune.frontends.pytorch.building import Assembly, Slot
from hepprune.frontends.pytorch.fitting import Fitting, Traces
from hepprune.frontends.pytorch.folding import FOLDED, SPLITS, folded
from hepprune.frontends.pytorch.operators import MOVES, OPERATORS, SAME
from hepprune.frontends.pytorch.operators.elementwise import in_types
from hepprune.frontends.pytorch.ports import Ports, lies_channels_last, ports
from hepprune.frontends.pytorch.program import Call, Program, Ref, aten, named
from hepprune.frontends.pytorch.values import Constant, Value
from hepprune.network import Einsum, Input, Network, Permute, Shape, Shared

_FREE_JETS = 2  # stands for a number of jets that the program leaves open
_CHANNELS_FIRST = (
    "conv", "batch_norm", "_native_batch_norm", "max_pool", "avg_pool", "adaptive", "_adaptive", "upsample", "prelu",
)  # fmt: skip
_ELEMENTWISE = SAME | {
    "add", "sub", "mul", "div", "relu", "relu6", "hardtanh", "clamp", "leaky_relu", "elu", "sigmoid", "pad",
    "looked_up",
}  # fmt: skip
_NUMBERS = {"add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "eq", "ne", "lt", "le", "gt", "ge"}
_MAX_NUMBER = 2**62
# What goes wrong where a file is damaged, or operators have learned more.
UNFIT = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
_CHECKS = ("_assert", "sym_constrain", "_guards")
# The names that a call reads, those it makes, whether it has channels on axis 1, and whether it is element-wise.
AxisStep = tuple[set[str], Iterable[str], bool, bool]
FreeShape = tuple[int | None, ...]


@dataclass(frozen=True, kw_only=True)
class Lowered:
    """The network of a program, where each tensor of the model comes from in it, and how values go in and out."""

    network: Network
    slots: tuple[Slot, ...]
    ports: Ports
    traces: Traces


def lower(program: Program, fit: Fitting | None = None) -> Lowered:
    """Return the network that computes what the program does, and which of its arrays are whose tensors.

    With `fit` the program's settings are taken as a network has them, and left there.

    Raises:
        NetworkError: an operator has no layer; the sentence names it.
    """
    calls = program.needed()
    built = Assembly(n_jets=n_jets(program.inputs), fitting=fit, calls={call.name: call for call in calls})
    built.in_scope = Counter(call.scope[0] for call in calls if call.operator in OPERATORS)
    for call in (*calls, Call(name="output", target="output", args=program.outputs, kwargs={})):
        for name in call.reads:
            built.readers.setdefault(name, []).append(call)
    values: dict[str, Any] = {}
    for name, (origin, tensor) in program.constants.items():
        fixed, kind = origin not in program.parameters, program.types.get(origin)
        values[name] = Constant(tensor=tensor, origin=origin, fixed=fixed, type=kind)
    kinds = ((call.operator.startswith(_CHANNELS_FIRST), call.operator in _ELEMENTWISE) for call in calls)
    steps = [(call.reads, {call.name}, *kind) for call, kind in zip(calls, kinds, strict=True)]
    for name, shape in program.inputs.items():
        values[name] = add_input(built, name, shape, steps)
    for position, call in enumerate(calls):
        result = _run(built, call, values)
        if call.in_place:
            _overwritten(call, result, values, calls[position + 1 :])
        values[call.name] = result
    outputs = [output_layer(built, values.get(ref.name), ref) for ref in program.outputs]
    network = network_of(built, outputs)
    if program.types:
        type_inputs({layer.name: layer for layer in network}, network.sources, network.outputs)
    slots = tuple(slot for slot in built.slots if slot.layer in network.layers)
    arriving, leaving = [values[name] for name in program.inputs], [values[ref.name] for ref in program.outputs]
    lying = ports(built, program.inputs, arriving, leaving)
    return Lowered(network=network, slots=slots, ports=lying, traces=built.traces)


def network_of(built: Assembly, outputs: list[str]) -> Network:
    """Return the network, contractions putting their result at once into the order that a permutation would."""
    layers, sources = {layer.name: layer for layer in built.layers}, dict(built.sources)
    read = Counter(source for names in sources.values() for source in names) + Counter(outputs)
    for name, layer in list(layers.items()):
        before = layers.get(sources.get(name, ("",))[0])
        if not isinstance(layer, Permute) or not isinstance(before, Einsum) or read[before.name] != 1:
            continue
        if layer.result is None and isinstance(before.result, FixedPoint | None):  # else a type would change its place
            left, right, out = before.terms
            equation = f"{left},{right}->{''.join(out[axis] for axis in layer.order)}"
            layers[before.name] = Einsum(before.name, equation, before.result)
            del layers[name], sources[name]
            sources = {reader: tuple(before.name if n == name else n for n in ns) for reader, ns in sources.items()}
            outputs = [before.name if n == name else n for n in outputs]
    for name in reversed(list(layers)):  # what a packed dense layer was before its parts were taken
        shared = {layer.of for layer in layers.values() if isinstance(layer, Shared)}
        if name not in shared.union(outputs, *sources.values()) and not isinstance(layers[name], Input):
            del layers[name], sources[name]
    return Network(layers.values(), sources, outputs)


def n_jets(inputs: Mapping[str, FreeShape]) -> int:
    """Return the number of jets that all inputs have, two where it is left open."""
    first = {shape[0] if shape else 0 for shape in inputs.values()}
    if len(first) != 1 or any(size is not None and size < 1 for size in first):
        raise NetworkError("every input needs a first axis of jets, of the same size for all")
    (size,) = first
    return size or _FREE_JETS


def add_input(built: Assembly, name: str, shape: FreeShape, steps: Sequence[AxisStep]) -> Value:
    """Add an Input, its channels last, and return the value as the program has it."""
    sizes = [size for size in shape[1:] if size is not None]
    if len(sizes) != len(shape) - 1 or not sizes:
        raise NetworkError(f"input '{name}' has the shape {shape}; only the number of jets can be free")
    moved = len(sizes) > 1 and _is_channels_first(name, steps)
    layer = built.add(Input(built.name(name), tuple([*sizes[1:], sizes[0]] if moved else sizes)))
    return built.value(layer, (0, *range(2, len(shape)), 1) if moved else None)


def _is_channels_first(name: str, steps: Sequence[AxisStep]) -> bool:
    """Return whether an input reaches, through element-wise operators only, one that has channels on axis 1."""
    reached = {name}
    for reads, makes, is_first, is_elementwise in steps:
        if reached & reads:
            if is_first:
                return True
            reached.update(makes if is_elementwise else ())
    return False


def _run(built: Assembly, call: Call, values: dict[str, Any]) -> Any:
    args, options = filled((call.args, call.kwargs), values)
    # the file is damaged, or torch has learned more
    with explained(NetworkError, f"'{call.name}' uses {call.target} in a way that is not known:", *UNFIT):
        if call.operator.startswith(_CHECKS):
            return None
        if call.operator == "sym_size":
            return args[0].shape[args[1]]
        if call.target == pquant.LOOKED_UP:
            x, types, modes, function, parameter = args
            looked_up = function, pquant.options_of(function, parameter)
            return in_types(built, call, x, pquant.fixed_points(types.tensor, modes), looked_up=looked_up)
        if not call.target.startswith("aten."):
            return _python(call, args)
        if any(isinstance(entry, Value) for entry in tree_leaves((args, options))):
            return _layered(built, call, args, options)
        return folded(call, _split_anew(built, call, args), options)


def _split_anew(built: Assembly, call: Call, args: Any) -> Any:
    """Return the arguments of what splits a constant, whose parts are as large a share of it as they were."""
    sizes = args[1] if call.operator in SPLITS and len(args) > 1 else None
    if built.fitting is None or not isinstance(sizes, list | tuple) or len(args) > 2 or call.kwargs.get("dim"):
        return args
    total, now = sum(sizes), len(args[0].tensor)
    if total == now or any(size * now % total for size in sizes):
        return args
    shares = [size * now // total for size in sizes]
    built.rewrite(call, split_sizes=shares)
    return (args[0], shares)


def _layered(built: Assembly, call: Call, args: Any, options: dict[str, Any]) -> Any:
    name, first, title = call.operator, args[0], built.title(call)
    if name in SAME:
        if "dropout" in name and True in args[2:3]:
            raise NetworkError(f"'{call.name}' drops values at random; bring the model into eval mode")
        return [first, None] if name == "native_dropout" else first
    if name in MOVES and isinstance(first, Value):
        return _moved(built, call, first, args, options)
    if name == "embedding":
        raise refused(title, "is an Embedding, which looks up whole numbers; no Network has it")
    if name not in OPERATORS:
        raise NetworkError(f"'{title}' uses {call.target}, which no layer of a Network computes")
    _, *others = named(call, args, options).items()
    return OPERATORS[name](built, call, first, **dict(others))


# The argument of operators that says which sizes they give.
_SIZES = {"view": "size", "reshape": "shape", "_unsafe_view": "size", "view_copy": "size", "_reshape_copy": "size"}


def _moved(built: Assembly, call: Call, value: Value, args: Any, options: dict[str, Any]) -> Value:
    title = built.title(call)
    given = next(iter([*call.args[1:2], *call.kwargs.values()]), None)
    listed = given if isinstance(given, list | tuple) else []
    made = {axis: built.calls.get(size.name) for axis, size in enumerate(listed) if isinstance(size, Ref)}
    jets = {axis for axis, source in made.items() if source is not None and source.operator == "sym_size"}
    resizes = call.operator in {*_SIZES, "unflatten"}
    wanted = built.fitting.sizes(call, value.shape, jets) if built.fitting and resizes else None
    if wanted is None:
        found = aten(call)(value.index.contiguous(), *args[1:], **options)
    else:
        found = value.index.reshape(wanted)
        _resize(built, call, named(call, args, options), wanted)
    built.traces.sizes[call.name] = value.shape, tuple(found.shape)
    return value.moved(found, title)


def _resize(built: Assembly, call: Call, known: dict[str, Any], wanted: Shape) -> None:
    """Let a call give other sizes; those that are -1 stay so, and so do computed ones that are still right."""
    given = named(call, call.args, call.kwargs)
    if call.operator == "unflatten":
        axis = given["dim"] % (len(wanted) - len(given["sizes"]) + 1)
        built.rewrite(call, sizes=list(wanted[axis : axis + len(given["sizes"])]))
        return
    name = _SIZES[call.operator]
    sizes = [
        (old if now == new else -1) if isinstance(old, Ref) else old if old == -1 else new
        for old, now, new in zip(given[name], known[name], wanted, strict=True)
    ]
    if sizes.count(-1) > 1:
        raise NetworkError(f"'{call.name}' ({call.target}) computes several of its sizes, which would all be others")
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

    def value(ref: Ref) -> Any:
        if ref.name not in values:
            raise NetworkError(f"the program uses '{ref.name}' before it is known")
        return values[ref.name]

    return tree_map_only(Ref, value, argument)


def _python(call: Call, args: Any) -> Any:
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


def output_layer(built: Assembly, value: Any, ref: Ref) -> str:
    """Return the layer with an output's values, channels last where they come so, else in torch's order."""
    if not isinstance(value, Value):
        raise NetworkError(f"output '{ref.name}' of the program does not depend on the inputs alone")
    if built.jets(value) != 0:
        raise NetworkError(f"output '{ref.name}' of the program has no jets on its first axis")
    index = value.index if value.index.ndim > 1 else value.index.unsqueeze(1)
    if lies_channels_last(built, value):
        return value.layer
    return built.laid(value, index, f"{ref.name}.out")
