"""What a network computes bit for bit as its firmware does."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hepprune.errors import NetworkError
from hepprune.network.graph import Network
from hepprune.network.node import as_tuple
from hepprune.network.ranges import accumulators


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
            raise NetworkError(f"layer '{layer.name}' has no fixed-point type, so it has no exact value")
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
