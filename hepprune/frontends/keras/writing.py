"""A Network written back as the file of Keras it came from, with the sizes and weights it has now."""

import logging
from collections.abc import Container, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from hepprune.errors import NetworkError, explained, refused
from hepprune.fixed import FixedPoint, Quantiser, digits
from hepprune.fixed.quantisers import FixedPoints
from hepprune.frontends.checking import acting, acting_arrays, types_of
from hepprune.frontends.keras.files import KerasModel, Stored
from hepprune.frontends.keras.graph import lower
from hepprune.frontends.keras.layers.recurrent import has_two_biases
from hepprune.frontends.keras.registry import LAYERS, Floats, Native
from hepprune.frontends.keras.storing import resized, with_layers
from hepprune.network import Layer, Lookup, Network, Recurrent, Weighted

logger = logging.getLogger(__name__)

# Settings that say how a layer is quantised or built as hardware, which no plain layer of Keras holds.
_HARDWARE = ("strategy", "reuse_factor", "parallelization_factor")
_TOLERANCE = 1e-5
_BESIDES = ("digit_limit", "numbers")  # arrays that say what may change, or where in the file a value is


def filled(network: Network, model: KerasModel) -> KerasModel:
    """Return the model with the sizes and weights of a Network that was read from one like it.

    Raises:
        NetworkError: the network has another graph, or something that the model's layers cannot hold.
    """
    before = lower(model)
    same_graph(network, before.network)
    wanted = settled(network, before.network)
    changed = {
        path: _fill(native, wanted, before.parts[path])
        for path, native in before.natives.items()
        if _changed(native, before.parts[path], wanted, before.network)
    }
    described = with_layers(model.config, {path: native.config for path, native in changed.items()})
    layers = {path: _stored(each, changed[path]) if path in changed else each for path, each in model.layers.items()}
    after = replace(model, config=described, layers=layers)
    with explained(NetworkError, "the model cannot take the network's sizes:", NetworkError):
        lowered = lower(after)
    pads = [path for path, native in changed.items() if native.kind in LAYERS and LAYERS[native.kind].pads]
    other = [names for path in pads if _differs(names := before.parts[path], wanted, lowered.network)]
    _check(wanted, lowered.network, {name for names in other for name in names})
    if lowered.arriving != before.arriving or lowered.values != before.values:
        after = replace(after, config=resized(described, lowered))
    return after


def _differs(names: Iterable[str], network: Network, written: Network) -> bool:
    """Return whether layers have other sizes than in the file, or tables of nothing, which are constants there."""
    tables = [network[network.sources[name][0]] for name in names if isinstance(network[name], Lookup)]
    shut = (not bool(each.used_weight().flatten(1).any(dim=1).all()) for each in tables if isinstance(each, Weighted))
    return any(shut) or any(network.shapes[name] != written.shapes[name] for name in names)


def same_graph(network: Network, like: Network) -> None:
    """Refuse a network whose layers or edges are others than those of the model it is to be written as."""
    names, known = [layer.name for layer in network], [layer.name for layer in like]
    if set(names) != set(known):
        odd = next(iter(set(names) ^ set(known)))
        where = "the network" if odd in names else "the model it is written as"
        raise NetworkError(f"layer '{odd}' is only in {where}; both need the same graph")
    if network.outputs != like.outputs:
        raise NetworkError(f"the network puts out {network.outputs} and the model it is written as {like.outputs}")
    for layer in network:
        other = like[layer.name]
        if type(layer) is not type(other) or network.sources.get(layer.name) != like.sources.get(layer.name):
            raise refused(layer.name, "is another kind, or reads others, than in the model it is written as")


@torch.no_grad()
def settled(network: Network, like: Network) -> Network:
    """Return a copy in which weights are as a file holds them.

    Pruned ones are zero; where the model has another quantiser than the network, the weights are those that act. A cell
    whose file has one bias has the sum of both, in a type of one more bit where its own does not hold that.
    """
    copy = network.clone()
    for layer in copy:
        for name, used in acting_arrays(layer).items():
            latent, key = getattr(layer, name), f"{'bias' if name == 'recurrent_bias' else name}_type"
            if getattr(layer, key) != getattr(like[layer.name], key, None):
                latent.copy_(used)
            elif name.endswith("weight"):  # the file keeps their quantiser, but no limits of digits
                limit = getattr(layer, name.replace("weight", "digit_limit"))
                latent.copy_(torch.where(limit >= digits.UNLIMITED, latent, used))
            elif name.endswith("bias"):  # a layer has none where training moved one that acts as zero
                latent.copy_(torch.where(used == 0, used, latent))
        if isinstance(layer, Recurrent) and not has_two_biases(layer):
            _add_biases(layer)
    return copy


def _add_biases(cell: Recurrent) -> None:
    one, other = cell.used_biases()
    if not bool(other.any()):
        return
    kind, total = cell.bias_type, one + other
    if isinstance(kind, FixedPoint) and not torch.equal(kind(total), total):
        cell.bias_type = replace(kind, width=kind.width + 1, integer=kind.integer + 1)
    cell.bias.copy_(total)
    cell.recurrent_bias.zero_()


def _changed(native: Native, names: Iterable[str], now: Network, before: Network) -> bool:
    """Return whether what a native layer holds is another: arrays, settings, types and sizes where it has those."""
    typed = native.kind in LAYERS and LAYERS[native.kind].typed
    return any(
        not _equal(now[name], before[name], 0.0)
        or (typed and (types_of(now[name]) != types_of(before[name]) or now.shapes[name] != before.shapes[name]))
        for name in names
    )


def _fill(native: Native, network: Network, names: Iterable[str]) -> Native:
    layers = {name: network[name] for name in names}
    if native.kind != "InputLayer":
        shapes = {name: network.shapes[name] for name in layers}
        return LAYERS[native.kind].fill(replace(native, shapes=shapes), layers)
    key = "batch_shape" if "batch_shape" in native.config else "batch_input_shape"
    return native.filled(**{key: [None, *layers[native.name].settings()["n_features"]]})


def _equal(first: Layer, second: Layer, tolerance: float) -> bool:
    """Return whether two layers compute the same but for quantisers."""
    arrays = zip(_arrays(first).values(), _arrays(second).values(), strict=True)
    return _plain(first) == _plain(second) and all(_close(one, other, tolerance) for one, other in arrays)


def _plain(layer: Layer) -> dict[str, Any]:
    return {key: value for key, value in layer.settings().items() if key not in (*_HARDWARE, *types_of(layer))}


def _arrays(layer: Layer) -> dict[str, Floats]:
    state = layer.state_dict()
    return {key: value.double().numpy() for key, value in state.items() if not key.endswith(_BESIDES)}


def _close(first: Floats, second: Floats, tolerance: float) -> bool:
    if first.shape != second.shape:
        return False
    return bool(np.allclose(first, second, rtol=tolerance, atol=tolerance * float(np.abs(first).max(initial=0.0))))


def _check(wanted: Network, written: Network, padded: Container[str]) -> None:
    """Refuse to write what would be read as another network, and say which types of results are lost.

    Weights are those of the network, or those that act where a file keeps no range for what is beyond it. Those that
    were padded are left to the run of the whole file.
    """
    acts, writes = acting(wanted), acting(written)
    for layer in (layer for layer in wanted if layer.name not in padded):
        found = written[layer.name]
        if not (_equal(layer, found, _TOLERANCE) or _equal(acts[layer.name], writes[layer.name], _TOLERANCE)):
            raise NetworkError(f"layer '{layer.name}' has settings or weights that a file of Keras cannot hold")
        if _one_type(layer.result) != _one_type(found.result):
            logger.warning("layer '%s': the file keeps the result %s, not %s", layer.name, found.result, layer.result)


def _one_type(quantiser: Quantiser | None) -> Quantiser | None:
    return quantiser.shared if isinstance(quantiser, FixedPoints) else quantiser


def _stored(stored: Stored, native: Native) -> Stored:
    """Return a layer's arrays with those of a filled native layer in their places."""
    order = list(stored.order)
    while len(order) < len(native.weights):
        if len(LAYERS[native.kind].groups) > 1:
            raise native.refuse("has no place for another weight")
        folder, _, last = order[-1].rpartition("/")  # a number in a Keras 3 file, a name in the older ones
        order.append(f"{folder}/{int(last) + 1 if last.isdecimal() else f'added_{len(order)}'}")
    order = order[: len(native.weights)]
    arrays = {**native.stored, **dict(zip(order, native.weights, strict=True))}
    return replace(stored, order=tuple(order), arrays=arrays)
