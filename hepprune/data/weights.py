"""Weights that make a column's distribution flat, the same in each class, so that no network learns it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepprune.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Flatten:
    """Which column is made flat, between which edges of bins; jets beyond count to the first or last bin."""

    column: str
    edges: tuple[float, ...]

    def weights(
        self, values: NDArray[np.float64], y: NDArray[np.int64], weight: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return weights (n_jets,) of mean one that add up to the same in every bin of every class that has jets.

        Raises:
            DataError: the jets in a bin of a class weigh nothing.
        """
        place = np.clip(np.searchsorted(self.edges, values, side="right") - 1, 0, len(self.edges) - 2)
        cell = y * (len(self.edges) - 1) + place
        sums = np.bincount(cell, weight)
        if (sums[cell] <= 0).any():
            raise DataError(f"the jets in a bin of '{self.column}' weigh nothing, and cannot be made to count")
        found = weight / sums[cell]
        return np.asarray(found / found.mean(), np.float32)


def checked(edges: Sequence[float]) -> tuple[float, ...]:
    """Return edges of bins.

    Raises:
        DataError: there are fewer than two, or they do not rise.
    """
    if len(edges) < 2 or (np.diff(edges) <= 0).any():
        raise DataError(f"edges of bins rise, and there are two or more; these are {list(edges)}")
    return tuple(edges)
