"""Arrays of numpy and torch alike, and what their values need in binary."""

from typing import Any

import numpy as np
import torch

from hepprune.errors import NetworkError

MAX_BITS = 52  # that float64 holds exactly


def like(array: Any, values: Any) -> Any:
    """Return an array in the library, floating type and place of `values`."""
    if isinstance(values, torch.Tensor):
        return torch.as_tensor(array, dtype=values.dtype, device=values.device)
    return np.asarray(array, dtype=values.dtype)


def fraction_bits(values: Any) -> int:
    """Return the bits right of the point that hold the values exactly.

    Raises:
        NetworkError: they need more than 52.
    """
    for bits in range(-64, MAX_BITS + 1):
        scaled = np.ldexp(np.asarray(values, dtype=np.float64), bits)
        if np.array_equal(scaled, np.round(scaled)):
            return bits
    raise NetworkError(f"a scale such as {np.ravel(values)[0]:g} is no whole number of any power of two above 2**-52")


def tuples(value: Any) -> Any:
    """Return nested lists as nested tuples, which compare and hash."""
    return tuple(tuples(entry) for entry in value) if isinstance(value, list) else value
