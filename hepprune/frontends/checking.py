"""What was written must compute what the network computes: both run on random features before a word is said."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hepprune.errors import NetworkError, explained
from hepprune.network import BatchNorm, Input, Layer, Network, Recurrent, Weighted
from hepprune.network.ranges import intervals

# From features as a network takes them, one tensor for each Input, to outputs as it puts them out.
RunModel = Callable[[Sequence[Tensor]], Sequence[Tensor]]
_Tensors = tuple[Network, Mapping[str, Tensor]]
# What frameworks raise when a model does not fit what it is given.
_FAILURES = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, NotImplementedError, AssertionError)
_TOLERANCE = 1e-5  # of the largest output
_NOISE = 10.0  # times what the rounding of sums to float32 changes in the network's own outputs


@dataclass(frozen=True)
class Reading:
    """A model that was written, read again: the network that it is, and what runs it by its framework's own rules.

    `run` computes in float, and is not asked where the network has types. `batches` are numbers of jets that it can be
    run on, and `advice` says what to write where this cannot be.
    """

    network: Network
    run: RunModel | None = None
    batches: tuple[int, ...] = (3, 5)
    advice: str = ""


@torch.no_grad()
def check(network: Network, written: Reading) -> None:
    """Compare what was written with the network: bit for bit where both have the same types, to rounding in float.

    Raises:
        NetworkError: an output differs; the sentence names the first layer that does.
    """
    types, wanted_types = (list(map(types_of, net)) for net in (written.network, network))
    exact, typed = wanted_types == types and is_exact(network), any(any(each.values()) for each in types)
    mine, own = ((net if exact else acting(net)).clone().double() for net in (network, written.network))
    for n_jets in written.batches:
        generator = torch.Generator().manual_seed(n_jets)
        given = [features(layer, n_jets, generator) for layer in network.inputs]
        wanted = mine.activations(given, quantised=exact)
        limit = 0.0 if exact else _limit(mine, given, wanted)
        found = _read_again(own, given, exact=exact, written=written)
        read = [found[name] for name in own.outputs]
        if not _agree([wanted[name] for name in mine.outputs], read, limit):
            raise _refusal(_first_difference((mine, wanted), (own, found), exact=exact), written)
        if written.run is not None and not typed:
            _check_run(written, given, [wanted[name] for name in mine.outputs], limit)


def is_exact(network: Network) -> bool:
    """Return whether every value of a network has a fixed-point type, so that outputs can agree bit for bit."""
    try:
        intervals(network)
    except NetworkError:
        return False
    return True


def features(layer: Input, n_jets: int, generator: torch.Generator) -> Tensor:
    """Return random features (n_jets, *shape), float64, that reach a little beyond what the input holds."""
    reach = 4.0 if layer.result is None else 1.1 * float(torch.as_tensor(layer.result.maximum).max())
    return reach * (2 * torch.rand(n_jets, *layer.features_shape, generator=generator, dtype=torch.float64) - 1)


@torch.no_grad()
def acting(network: Network) -> Network:
    """Return a copy whose weights are those that act under their types, as a format without types holds them."""
    copy = network.clone()
    for layer in copy:
        for name, array in acting_arrays(layer).items():
            getattr(layer, name).copy_(array)
    return copy


def acting_arrays(layer: Layer) -> dict[str, Tensor]:
    """Return the arrays of a layer with types of its own as they act under these, by name; of others none."""
    if isinstance(layer, Weighted):
        return {"weight": layer.used_weight(), "bias": layer.used_bias()}
    if isinstance(layer, BatchNorm):
        return {"scale": layer.used_scale(), "shift": layer.used_shift()}
    if isinstance(layer, Recurrent):
        arrays = (layer.used("weight"), layer.used("recurrent_weight"), *layer.used_biases())
        return dict(zip(("weight", "recurrent_weight", "bias", "recurrent_bias"), arrays, strict=True))
    return {}


def types_of(layer: Layer) -> dict[str, Any]:
    """Return the quantisers of a layer by their names."""
    return {key: value for key, value in layer.settings().items() if key == "result" or key.endswith("_type")}


def _limit(network: Network, given: Sequence[Tensor], wanted: Mapping[str, Tensor]) -> float:
    """Return how far outputs may differ in float: a part of the largest, and what sums in float32 lose in this net."""
    rounded = network.clone().float().activations([each.float() for each in given], quantised=False)
    outputs = [(wanted[name], wanted[name] - rounded[name].double()) for name in network.outputs]
    scale, noise = (max(map(_largest, values)) for values in zip(*outputs, strict=True))
    return _TOLERANCE * scale + _NOISE * noise


def _largest(values: Tensor) -> float:
    finite = values[torch.isfinite(values)]
    return float(finite.abs().max()) if finite.numel() else 0.0


def _agree(wanted: Sequence[Tensor], found: Sequence[Tensor], limit: float) -> bool:
    return len(wanted) == len(found) and all(map(partial(_close, limit=limit), wanted, found))


def _close(wanted: Tensor, found: Tensor, *, limit: float) -> bool:
    if wanted.shape != found.shape:
        return False
    return torch.allclose(found.double(), wanted.double(), rtol=0.0, atol=limit, equal_nan=True)


def _read_again(network: Network, given: Sequence[Tensor], *, exact: bool, written: Reading) -> Mapping[str, Tensor]:
    for layer, value in zip(network.inputs, given, strict=False):
        if layer.features_shape != tuple(value.shape[1:]):
            raise _refusal(f"input '{layer.name}' takes {layer.features_shape}, not {tuple(value.shape[1:])}", written)
    if len(network.inputs) != len(given):
        raise _refusal(f"it has {len(network.inputs)} inputs, where the network has {len(given)}", written)
    return network.activations(given, quantised=exact)


def _first_difference(mine: _Tensors, own: _Tensors, *, exact: bool) -> str:
    """Return what the first layer is that computes something else, and what of it is another."""
    (network, wanted), (other, found) = mine, own
    same = {layer.name for layer in network} == {layer.name for layer in other}
    pairs = [(layer.name, layer.name) for layer in network] if same else list(zip(wanted, found, strict=False))
    for name, its in pairs:
        limit = 0.0 if exact else _TOLERANCE * _largest(wanted[name])
        if not _close(wanted[name], found[its], limit=limit):
            here, there = network.runs(network[name]).settings(), other.runs(other[its]).settings()
            plain = [key for key in here if key != "name" and not key.endswith("_type")]
            odd = [key for key in plain if here[key] != there.get(key, here[key])][:1]
            changed = "".join(f": {key} is {there[key]}, not {here[key]}" for key in odd)
            return f"layer '{name}' would compute something else{changed}"
    return "its outputs differ from the network's"


def _check_run(written: Reading, given: Sequence[Tensor], wanted: Sequence[Tensor], limit: float) -> None:
    n_jets = len(given[0])
    with explained(partial(_refusal, written=written), f"it cannot run on {n_jets} jets:", *_FAILURES):
        found = written.run(given) if written.run is not None else wanted
    if not _agree(wanted, found, limit):
        raise _refusal(f"on {n_jets} jets its outputs are others than the network's", written)


def _refusal(reason: str, written: Reading) -> NetworkError:
    return NetworkError(f"what would be written is not the network: {reason}{written.advice and '; '}{written.advice}")
