"""Types of single values in a search: each input and neuron of a chain of dense layers gets bits of its own.

While a network trains its values saturate, and gradients tell where; what is built wraps, which costs no logic, with
integer bits that hold every value seen on data.
"""

from dataclasses import replace
from typing import cast

import numpy as np
import torch
from torch import Tensor

from hepprune.errors import NetworkError
from hepprune.fixed import MAX_WIDTH, FixedPoint, Quantiser
from hepprune.fixed.quantisers import FixedPoints
from hepprune.fixed.quantisers.per_value import fraction_bits
from hepprune.hardware.cost import matrices
from hepprune.network import Dense, Input, Layer, Network, ReLU
from hepprune.network.quantise import TABLED
from hepprune.pruning.statistics import values
from hepprune.pruning.structure import surgery
from hepprune.task.sample import Sample

WEIGHTS = FixedPoint(9, 2, True, "RND", "SAT")  # wide: its digits are paid for one by one; wider for larger weights
FINER = 1  # bits that a value may have beyond those of the type that it comes with
_BIAS_INTEGER = 4  # at least
_MARGIN = 1.05  # on the largest value seen of a neuron
_FEATURES = 0.999  # the share of a feature's values that its integer bits hold; others saturate before they arrive
_WIDE = 8  # integer bits that nothing reaches


def opened(network: Network, train: Sample) -> tuple[Network, dict[str, int]]:
    """Return a copy in which each value has a type of its own, and the last place that each layer's may have, by name.

    Weights and biases are as fine as anything may be, and reach as far as those that there are. Values that have types
    of their own, as those of a network that was built, keep them, and may be finer than the finest of their layer. What
    is fixed stays as it is.

    Raises:
        NetworkError: the network is not a chain of dense layers that read features or ReLUs in fixed point.
    """
    check(network)
    finest: dict[str, int] = {}
    changed: dict[str, Layer] = {}
    for layer in network.body:
        if layer.fixed:
            continue
        if isinstance(layer, Dense):
            # as fine as the tables of digits allow
            kind = _wide(WEIGHTS.fraction, max(_needed(layer.used_weight()), WEIGHTS.integer), TABLED)
            integer = _needed(layer.used_bias())
            finest[layer.name] = kind.fraction + finest[network.source(layer).name]
            changed[layer.name] = layer.rebuilt(weight_type=kind, bias_type=_biases(finest[layer.name], integer))
        elif layer.result is not None:
            finest[layer.name] = layer.result.fraction + FINER
            changed[layer.name] = layer.rebuilt(result=_each(layer.result, network.widths[layer.name]))
    features = network.input
    most = torch.as_tensor(np.quantile(train.features.abs().cpu().numpy(), _FEATURES, axis=0))  # torch has a limit
    read = _holding(cast("FixedPoints", changed[features.name].result), most, signed=True)
    changed[features.name] = features.rebuilt(result=read)
    return network.replacing(changed), finest


def check(network: Network) -> None:
    """Refuse a network whose values cannot have types of their own here.

    Raises:
        NetworkError: it is not a chain of dense layers that read features or ReLUs in fixed point.
    """
    chain = matrices.covers(network) and all(isinstance(layer, Input | Dense | ReLU) for layer in network.body)
    read = [network.source(layer) for layer in network.body if isinstance(layer, Dense)] if chain else []
    if not (read and all(map(_is_typed, read))):
        raise NetworkError(
            "bits of single values are chosen in chains of dense layers that read features or ReLUs in fixed point; "
            "for other networks take the search kind 'stages'"
        )


def trained(network: Network) -> list[Dense]:
    """Return the dense layers that are not constants of the model."""
    return [layer for layer in network if isinstance(layer, Dense) and not layer.fixed]


def _is_typed(layer: Layer) -> bool:
    """Return whether values have one type in common, or each one of its own as those of a network that was built."""
    if isinstance(layer.result, FixedPoints):
        signed = layer.result.signed
        return signed.ndim == 1 and bool(signed.all() if isinstance(layer, Input) else not signed.any())
    return isinstance(layer, Input | ReLU) and isinstance(layer.result, FixedPoint)


def is_opened(network: Network) -> bool:
    """Return whether values have types of their own."""
    return any(isinstance(layer.result, FixedPoints) for layer in network)


def _each(kind: Quantiser, n_values: int) -> FixedPoints:
    """Return a type for each of n values, saturating, and finer where they had one in common."""
    if isinstance(kind, FixedPoints):
        return replace(kind, overflow="SAT")
    kind = cast("FixedPoint", kind)
    types = FixedPoints.of(kind, (n_values,))
    return replace(types, width=types.width + FINER, rounding="RND" if kind.signed else "TRN", overflow="SAT")


def _holding(kind: FixedPoints, largest: Tensor, *, signed: bool) -> FixedPoints:
    """Return types with the integer bits that hold magnitudes up to the largest, and as many fraction bits."""
    integer = np.ceil(np.log2(largest.double().clamp(min=2.0**-6).numpy())).astype(np.int64) + signed
    return replace(kind, integer=integer, width=np.maximum(kind.width - kind.integer + integer, 1))


@torch.no_grad()
def finished(network: Network, *samples: Sample) -> Network:
    """Return the network as it is built: neurons wrap, what is dead is gone, biases end with their last bit."""
    calibrate(network, *samples, overflow="WRAP")
    changed: dict[str, Layer] = {}
    for dense in trained(network):
        # biases, as they are, can take over what dead neurons would add
        read, kinds = network.source(dense).result, dense.fixed_types
        fraction = kinds[0].fraction + (0 if read is None else read.fraction)
        wide = _biases(max(fraction, kinds[1].fraction), kinds[1].integer)
        changed[dense.name] = dense.rebuilt(bias=dense.used_bias(), bias_type=wide)
    found = surgery.shrink(network.replacing(changed))
    for dense in trained(found):
        fraction = max(fraction_bits(dense.bias.detach().numpy()), 0)
        changed[dense.name] = dense.rebuilt(bias_type=_biases(fraction, dense.fixed_types[1].integer))
    return found.replacing(changed)


def _biases(fraction: int, integer: int) -> FixedPoint:
    return _wide(fraction, max(integer, _BIAS_INTEGER), MAX_WIDTH)


def _wide(fraction: int, integer: int, most: int) -> FixedPoint:
    """Return a type that saturates, with no more bits in all than the most."""
    return replace(WEIGHTS, width=min(integer + fraction, most), integer=integer)


def _needed(values: Tensor) -> int:
    """Return the integer bits, the sign's among them, that hold all values."""
    mantissas, exponents = np.frexp(values.detach().double().numpy())
    return int((exponents + (mantissas != -0.5)).max())  # a negative power of two takes one less


@torch.no_grad()
def calibrate(network: Network, *samples: Sample, spare: int = 0, overflow: str = "SAT") -> None:
    """Give neurons, in place, the integer bits that hold what they put out on samples, and some to spare."""
    neurons = [layer for layer in network if isinstance(layer, ReLU)]
    own = {layer.name: layer.result for layer in neurons if isinstance(layer.result, FixedPoints)}
    for name, kind in own.items():
        network[name].result = replace(kind, width=kind.width + _WIDE, integer=kind.integer + _WIDE, overflow="SAT")
    seen = values.largest(network, *samples)
    for name, kind in own.items():
        held = _holding(kind, seen[name] * _MARGIN * 2.0**spare, signed=False)
        network[name].result = replace(held, overflow=overflow)
