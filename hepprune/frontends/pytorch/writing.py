"""From a Network back to the model it was read from: the same structure, the sizes and numbers of now."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hepprune.errors import NetworkError, explained, refused
from hepprune.files import replacing
from hepprune.frontends.checking import acting_arrays, check
from hepprune.frontends.pytorch import attention, compressed, pquant
from hepprune.frontends.pytorch.building import Slot
from hepprune.frontends.pytorch.fitting import Fitting
from hepprune.frontends.pytorch.lowering import Lowered, lower
from hepprune.frontends.pytorch.modules import capture, examples, input_shapes, whole
from hepprune.frontends.pytorch.program import Program
from hepprune.frontends.pytorch.resizing import resized
from hepprune.frontends.pytorch.running import IN_CODE, export, module_read
from hepprune.frontends.pytorch.values import Rows
from hepprune.network import Layer, Network, Permute, Reshape, Shape, Shared

FilledModel = tuple[Any, Lowered]
_MAX_TRIES = 64  # of sizes of views that can be several


def to_module(network: Network, like: nn.Module, input_shape: Any = None) -> nn.Module:
    """Return a copy of the module that computes what the network does in float: its classes, the network's sizes.

    Raises:
        NetworkError: the network has another graph than the module, or arrays that the module has no place for.
    """
    shapes = input_shapes(like, input_shape)
    like = whole(like, shapes)
    is_compressed, learned = pquant.is_compressed(like), list[Lowered]()

    program = capture(like, shapes)
    known = lower(program)
    _check_graph(network, known.network)
    wanted, network = network, attention.padded(network, known.slots, attention.of_module(like))

    def made(tensors: Mapping[str, Tensor]) -> tuple[nn.Module, Lowered]:
        try:
            module = resized(like, tensors)
            if is_compressed:
                known_now = learned[-1] if learned else None
                compressed.fit(module, like, network, written=tensors.keys(), lowered=known_now)
            learned.append(lower(capture(module, shapes)))
            return module, learned[-1]
        except (NetworkError, RuntimeError) as problem:
            raise NetworkError(_in_code(network, _holding(program, tensors), known) or str(problem)) from problem

    module, lowered = filled_model(network, known, made)
    check(wanted, module_read(module, lowered))
    if is_compressed:
        compressed.measured(module, examples(module, shapes))
    return module  # type: ignore[no-any-return]


def _holding(program: Program, tensors: Mapping[str, Tensor]) -> Program:
    constants = {key: (name, tensors.get(name, old)) for key, (name, old) in program.constants.items()}
    return replace(program, constants=constants)


def _in_code(network: Network, program: Program, known: Lowered) -> str:
    """Return the first of the settings in a module's own code that would have to move, "" where none is known."""
    try:
        fit, _ = fitted(program, network, known)
    except NetworkError:
        return ""
    own = {call.name for call in program.calls if not call.scope[1].startswith("torch.nn.modules")}
    titles = [title for name, title in fit.titles.items() if name in own]
    return f"layer '{titles[0]}' has bounds or sizes in the module's code; {IN_CODE}" if titles else ""


def write_state(network: Network, path: Path, like: nn.Module) -> Path:
    """Write the tensors of `to_module` as a state_dict, which loads with `weights_only=True`."""
    tensors = to_module(network, like).state_dict()
    with replacing(path) as temporary:
        torch.save(tensors, temporary)
    return path


def write_program(network: Network, path: Path, like: Program) -> Path:
    """Write a program of the same operators with the network's tensors, and settings such as bounds, as a `.pt2`.

    Raises:
        NetworkError: the program holds sizes of its own that cannot follow the network's.
    """
    known = lower(like)
    network = _named_as(network, known.network)
    _check_graph(network, known.network)
    network = attention.padded(network, known.slots, attention.of_program)

    def made(tensors: Mapping[str, Tensor]) -> tuple[Program, Lowered]:
        program = _holding(like, tensors)
        fit, lowered = fitted(program, network, known)
        return fit.program(program), lowered

    program, _ = filled_model(network, known, made)
    exported = export(program)
    with replacing(path) as temporary:
        torch.export.save(exported, temporary)
    return path


def _named_as(network: Network, other: Network) -> Network:
    """Return a network under the names of another of its graph: torch names calls otherwise for any number of jets."""
    kinds, others = ([type(layer) for layer in net] for net in (network, other))
    names = dict(zip(network.layers, other.layers, strict=False))
    if kinds != others or all(old == new for old, new in names.items()):
        return network
    of = {layer.name: {"of": names[layer.of]} if isinstance(layer, Shared) else {} for layer in network}
    layers = [layer.rebuilt(name=names[layer.name], **of[layer.name]) for layer in network]
    sources = {names[reader]: [names[source] for source in read] for reader, read in network.sources.items()}
    return Network(layers, sources, [names[name] for name in network.outputs])


def fitted(program: Program, network: Network, known: Lowered) -> tuple[Fitting, Lowered]:
    """Return the settings with which a program has the network's shapes, and what it then is.

    Raises:
        NetworkError: no settings give them; the sentence names the first layer that has another shape.
    """
    choices: tuple[int, ...] | None = ()
    problem, alike = "", None
    for _ in range(_MAX_TRIES):
        fit = Fitting(network=network, before=known.traces, choices=choices or ())
        try:
            found = lower(program, fit)
            odd = [name for name, shape in found.network.shapes.items() if network.shapes.get(name) != shape]
            if not odd:
                return fit, found
            problem = problem or f"layer '{odd[0]}' would put out {found.network.shapes[odd[0]]}"
            if all(_long(network.shapes.get(name, ())) == _long(found.network.shapes[name]) for name in odd):
                alike = alike or (fit, found)
        except NetworkError as raised:
            problem = problem or str(raised)
        choices = fit.following()
        if choices is None:
            break
    if alike is None:
        raise NetworkError(problem)
    return alike


def _long(shape: Shape) -> list[int]:
    """Return the sizes of axes along which values lie; others may be in any place, as that of a single head."""
    return [size for size in shape if size > 1]


def filled_model(network: Network, known: Lowered, made: Callable[[Mapping[str, Tensor]], FilledModel]) -> FilledModel:
    """Return the model that `made` makes of tensors, once to learn its order of values and once to fill it."""
    _check_graph(network, known.network)
    model: Any = None
    changed = {layer.name for layer in network if not _equal(_arrays(layer), _arrays(known.network[layer.name]))}
    for is_final in (False, True):
        tensors = _tensors(network, known.slots, changed, checked=is_final)
        with explained(NetworkError, "the model cannot take the network's sizes:", NetworkError, RuntimeError):
            model, known = made(tensors)
        network = _without_idle(network, known.network)
        _check_graph(network, known.network)
    _check_same(network, known.network)
    return model, known


def _without_idle(network: Network, other: Network) -> Network:
    """Return a network without the Permutes that another lacks, where they only move the axis of a single head."""
    idle = {
        layer.name: network.sources[layer.name][0]
        for layer in network
        if isinstance(layer, Permute)
        and layer.name not in other.layers
        and _is_idle(layer, network.shapes[network.sources[layer.name][0]])
        and all(isinstance(reader, Reshape) for reader in network.readers(layer))
    }
    kept = [layer for layer in network if layer.name not in idle]
    sources = {name: [idle.get(each, each) for each in read] for name, read in network.sources.items()}
    return Network(kept, {layer.name: sources[layer.name] for layer in kept if layer.name in sources}, network.outputs)


def _is_idle(permute: Permute, shape: Shape) -> bool:
    long = [axis for axis in permute.order if shape[axis] > 1]
    return long == sorted(long)


def _check_graph(network: Network, other: Network) -> None:
    for layer, known in zip(network, other, strict=False):
        if layer.name != known.name or type(layer) is not type(known):
            kinds = [f"a {type(each).__name__} '{each.name}'" for each in (layer, known)]
            fix = "only a network of the model's own graph can be written"
            raise NetworkError(f"the network has {kinds[0]} where the model has {kinds[1]}; {fix}")
    if len(network.layers) != len(other.layers):
        raise NetworkError(f"the network has {len(network.layers)} layers, where the model has {len(other.layers)}")
    if network.sources != other.sources or network.outputs != other.outputs:
        raise NetworkError("the network's layers are connected in another way than the model's")
    for mine, own in zip(network.inputs, other.inputs, strict=True):
        if mine.features_shape != own.features_shape:
            raise NetworkError(f"input '{mine.name}' is {mine.features_shape}, that of the model {own.features_shape}")


@torch.no_grad()
def _tensors(network: Network, slots: tuple[Slot, ...], changed: set[str], *, checked: bool) -> dict[str, Tensor]:
    """Return the model's tensors that have changed, in its shapes; once the order of values is right, `checked`."""
    targets = {slot.target for slot in slots if slot.layer in changed}
    found: dict[str, Tensor] = {}
    for slot in (slot for slot in slots if slot.target in targets):
        tensor = slot.tensor(network)
        if not torch.isfinite(tensor).all():
            raise refused(slot.layer, f"has values that the model's '{slot.target}' cannot hold")
        if slot.rows is not None:
            tensor = _packed(slot, tensor, [other.rows for other in slots if other.target == slot.target], found)
        elif checked and not torch.equal(found.get(slot.target, tensor), tensor):
            raise refused(slot.layer, f"no longer has the values of '{slot.target}' that it shares")
        found[slot.target] = tensor
    return found


def _check_same(network: Network, other: Network) -> None:
    for layer in network:
        mine, own = _arrays(layer), _arrays(other[layer.name])
        pairs = [(mine[key], own[key]) for key in mine]
        if not all(a.shape == b.shape and torch.allclose(a, b, rtol=1e-5, atol=1e-7) for a, b in pairs):
            raise refused(layer.name, "has numbers that no tensor of the model holds")


@torch.no_grad()
def _arrays(layer: Layer) -> dict[str, Tensor]:
    return acting_arrays(layer) or dict(layer.state_dict())


def _equal(mine: dict[str, Tensor], own: dict[str, Tensor]) -> bool:
    return mine.keys() == own.keys() and all(torch.equal(mine[key], own[key]) for key in mine)


def _packed(slot: Slot, part: Tensor, parts: Sequence[Rows | None], found: Mapping[str, Tensor]) -> Tensor:
    """Return a tensor with the rows that are a layer's, beside those `found` so far; `parts` are of all its layers.

    Several layers have rows of such tensors as the `in_proj_weight` of an attention. Where they have all rows, as many
    each, they may all have as many others.
    """
    rows = slot.rows
    if rows is None:
        return part
    sizes = {0 if other is None else len(other.numbers) for other in parts}
    n_rows, numbers = len(rows.whole), rows.numbers
    complete = len({number for other in parts if other for number in other.numbers.tolist()}) == n_rows
    if complete and len(sizes) == 1 and len(part) != len(numbers):
        numbers = int(numbers[0]) // len(numbers) * len(part) + torch.arange(len(part))
        n_rows = len(parts) * len(part)
    blank = torch.zeros(n_rows, *part.shape[1:]) if complete else rows.whole.detach().float().clone()
    whole = found.get(slot.target, blank)
    if part.shape[1:] != whole.shape[1:] or len(part) != len(numbers) or len(whole) != n_rows:
        raise refused(slot.layer, f"is part of '{slot.target}', all parts of one size; give a path that ends in .npz")
    whole[numbers] = part
    return whole
