"""Bits of a network: those of the values that its layers put out, and those that its weights need."""

import numpy as np
import torch
from numpy.typing import NDArray

from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import FixedPoints
from hepprune.network.graph import Network

_MANTISSA = 53  # bits of a float64


def of_values(network: Network) -> dict[str, NDArray[np.int64]]:
    """Return the bits of each value of one jet, (n_values,), by the layer that puts it out; of fixed-point types."""
    typed = {la.name: la.result for la in network if isinstance(la.result, FixedPoint | FixedPoints)}
    return {name: np.broadcast_to(kind.width, network.shapes[name]).ravel() for name, kind in typed.items()}


def of_inputs(network: Network) -> int | None:
    """Return the bits of all features of a jet, None where some are not fixed-point numbers."""
    return _summed(network, [layer.name for layer in network.inputs])


def of_activations(network: Network) -> int | None:
    """Return the bits of all other values with a fixed-point type of their own, None where there are none."""
    inputs = {layer.name for layer in network.inputs}
    return _summed(network, [name for name in of_values(network) if name not in inputs])


def _summed(network: Network, names: list[str]) -> int | None:
    found = of_values(network)
    return int(sum(found[name].sum() for name in names)) if names and set(names) <= found.keys() else None


@torch.no_grad()
def per_weight(network: Network) -> float | None:
    """Return the bits that a weight which acts needs, its sign among them, in the mean.

    They end with the last that is set: a power of two needs two. None where no weight acts, or some are not fixed-point
    numbers.
    """
    kernels = network.kernels
    if not all(isinstance(kernel.type, FixedPoint | FixedPoints) for kernel in kernels):
        return None
    weights = np.concatenate([np.zeros(0), *(kernel.used().double().numpy().ravel() for kernel in kernels)])
    whole = np.ldexp(np.frexp(np.abs(weights[weights != 0]))[0], _MANTISSA).astype(np.int64)
    ends = np.frexp((whole & -whole).astype(np.float64))[1]  # the place of the last bit, from 1
    return float(np.mean(_MANTISSA + 1 - ends + 1)) if len(whole) else None
