"""Ranges: what every value can be by the types alone, the accumulators that hold it, and exact values in those."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hepprune.errors import NetworkError, refused
from hepprune.fixed import FixedPoint
from hepprune.network.graph import Network
from hepprune.network.layers import Weighted
from hepprune.network.node import Node, as_tuple
from hepprune.network.ranges.interval import ANYTHING, Interval, quantise
from hepprune.network.ranges.rules import RANGES, port

__all__ = ["RANGES", "Interval", "accumulators", "intervals", "port", "quantise"]


@torch.no_grad()
def intervals(
    network: Network, *, given: Mapping[str, FixedPoint] | None = None, open_ended: bool = False
) -> dict[str, tuple[Interval, Interval]]:
    """Return, for each layer but the heads, the ranges of its value before and after its result quantiser.

    A node that a type is `given` for can be all that the type holds, whatever comes in. With `open_ended` a layer that
    computes in float can be anything, and ranges begin at the first quantiser after it.

    Raises:
        NetworkError: a layer lacks a fixed-point type or cannot run in fixed point.
    """
    double = network.clone().double()
    body, types = {layer.name for layer in double.body}, given or {}

    def rule(node: Node, *arriving: tuple[Interval, Interval]) -> tuple[Interval, Interval]:
        if node.name in types:
            return (held := Interval.of(types[node.name], node.shape)), held
        own = [after for _, after in arriving]
        try:
            before = RANGES.find(node.layer)(node.layer, *own) if node.name in body else _anything(node)
        except NetworkError:
            if not open_ended:
                raise
            before = _anything(node)
        return before, functools.reduce(quantise, node.results, before)

    return {name: pair for name, pair in double.interpret(rule).items() if name in body}


def accumulators(network: Network, given: Mapping[str, FixedPoint] | None = None) -> dict[str, FixedPoint]:
    """Return, for each layer but the heads, the type that holds its value before the result quantiser.

    That of a node may be `given`: then it can be all that the type holds.

    Raises:
        NetworkError: a layer lacks a fixed-point type, or accumulates more bits than are computed exactly.
    """
    return {name: before.held(name) for name, (before, _) in intervals(network, given=given).items()}


def _anything(node: Node) -> Interval:
    """Return the range of a layer in float: anything, but for outputs without a weight, which are their bias."""
    layer, low, high = node.layer, np.full(node.shape, -ANYTHING), np.full(node.shape, ANYTHING)
    if isinstance(layer, Weighted):
        silent = (layer.used_weight() == 0).flatten(1).all(dim=1).numpy()
        bias = layer.used_bias().numpy()
        low, high = np.where(silent, bias, low), np.where(silent, bias, high)
    return Interval(low, high, 0)


@torch.no_grad()
def exact_activations(network: Network, features: Any) -> dict[str, NDArray[np.float64]]:
    """Return every layer's value before any head, bit for bit as the firmware computes it.

    Float64 sums of fixed-point values are exact while every partial sum fits in 53 bits; that is checked, not hoped.
    Features have shape (n_jets, *shape), or are one such array for each input.

    Raises:
        NetworkError: a layer has no quantiser, or its accumulator is too wide.
    """
    for layer in network.inputs:
        if layer.result is None:
            raise refused(layer.name, "has no fixed-point type, so it has no exact value")
    accumulators(network)
    double = network.clone().double()
    inputs = [torch.as_tensor(np.asarray(each, dtype=np.float64)) for each in as_tuple(features)]
    return {name: v.numpy() for name, v in double.activations(inputs, until=network.raw_outputs).items()}


def exact_logits(network: Network, features: Any) -> NDArray[np.float64]:
    """Return the logits of the only output (n_jets, n_classes) bit for bit as the firmware computes them."""
    return exact_activations(network, features)[network.raw_output]


def exact_raw(network: Network, features: Any) -> tuple[NDArray[np.float64], ...]:
    """Return every output before its head bit for bit as the firmware computes it, each (n_jets, *shape)."""
    values = exact_activations(network, features)
    return tuple(values[name] for name in network.raw_outputs)
