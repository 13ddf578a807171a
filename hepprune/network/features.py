"""What a network is given: one array or tensor for each of its inputs."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

Features = Tensor | Sequence[Tensor]  # one tensor (n_jets, *shape) for each input, in order; alone where there is one


def as_tuple(features: Any) -> tuple[Any, ...]:
    """Return features as one array or tensor for each input; a list of numbers is an array."""
    several = isinstance(features, tuple) or (isinstance(features, list) and any(hasattr(f, "shape") for f in features))
    return tuple(features) if several else (features,)
