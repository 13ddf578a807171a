"""Jets as arrays, their split into training, validation and test samples without a leak, and flattening weights."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.errors import DataError

# The last feature of padded constituents: 1 where there is one, 0 where there is none.
IS_FILLED = "isfilled"
_ARRAYS = {"x": np.float32, "y": np.int64, "weight": np.float32, "event": np.int64, "targets": np.float32}


@dataclass(frozen=True, eq=False, kw_only=True)
class Jets:
    """Jets with what is known of them, one per row; all arrays are read-only.

    x is float32 (n_jets, n_features), (n_jets, n_constituents, n_features) or, of images, (n_jets, n_x, n_y,
    n_channels); y int64 (n_jets,), an index into `class_names`, 0 where there are none; weight float32 (n_jets,); event
    int64 (n_jets,), equal for jets of one collision; targets float32 (n_jets, n_targets), numbers that are to be met.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    weight: NDArray[np.float32]
    event: NDArray[np.int64]
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...]
    targets: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def __post_init__(self) -> None:
        if not self.targets.size:
            object.__setattr__(self, "targets", np.zeros((len(self.y), 0), np.float32))
        for name, dtype in _ARRAYS.items():
            array = np.ascontiguousarray(getattr(self, name), dtype=dtype).view()
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        rows = {name: len(getattr(self, name)) for name in _ARRAYS}
        if len(set(rows.values())) != 1:
            raise DataError(f"the arrays of a jet sample differ in length: {rows}")
        if self.x.ndim not in {2, 3, 4} or self.x.shape[-1] != len(self.feature_names):
            raise DataError(f"x of shape {self.x.shape} does not hold the {len(self.feature_names)} features named")

    def __len__(self) -> int:
        """Return n_jets."""
        return len(self.y)

    def take(self, rows: NDArray[Any]) -> "Jets":
        """Return the jets that an index array or a mask chooses."""
        return replace(self, **{name: getattr(self, name)[rows] for name in _ARRAYS})


def split(jets: Jets, fractions: Sequence[float], *, seed: int) -> tuple[Jets, ...]:
    """Share the jets out in samples of about these fractions; jets of one event stay together.

    A hash of seed and event number decides, so an event falls into the same sample whatever else the file holds.

    Raises:
        DataError: fractions that are not positive or do not add up to 1, or a sample left without jets.
    """
    if min(fractions, default=0) <= 0 or abs(sum(fractions) - 1) > 1e-9:
        raise DataError(f"the fractions of a split must be positive and add up to 1, not {list(fractions)}")
    upper = np.cumsum(fractions)[:-1]
    start = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    mixed = _splitmix(jets.event.view(np.uint64) ^ start)
    sample = np.searchsorted(upper, (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53, side="right")
    parts = tuple(jets.take(sample == index) for index in range(len(fractions)))
    for part, fraction in zip(parts, fractions, strict=True):
        if not len(part):
            raise DataError(f"{len(jets)} jets are too few to split: the fraction {fraction:g} is left with none")
    return parts


def hashes(arrays: Iterable[NDArray[np.float32]]) -> NDArray[np.int64]:
    """Return a number for each row (n_jets,) that all its values in arrays (n_jets, ...) decide, and nothing else."""
    found: NDArray[np.uint64] = np.zeros(1, np.uint64)
    for array in arrays:
        for column in array.reshape(len(array), -1).T:
            found = _splitmix(found ^ np.ascontiguousarray(column + np.float32(0)).view(np.uint32))  # no -0
    return found.view(np.int64)


def _splitmix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    # SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): neighbouring event numbers give unrelated results.
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


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
