"""What one input of a network reads of jets: numbers, constituents, or an image that their constituents make."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.data.files import branches
from hepprune.data.files.slabs import Chunk
from hepprune.data.jets import IS_FILLED
from hepprune.errors import DataError, unknown

LEAST_LSB = 2.0**-64  # smaller ones, and their inverse, are typing errors, and leave no room in float32
# What a pixel can be made of the sum in it.
TRANSFORMS: dict[str, Callable[[Any], Any]] = {"none": lambda sums: sums, "log1p": np.log1p, "sqrt": np.sqrt}


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Columns, or expressions of them, with a number for each jet, or for each of so many constituents.

    Constituents are cut, or padded with zeros; `is_filled` adds a last feature that tells which there are. Features
    with an `lsb` are what hardware has, whole numbers of that, the nearest.
    """

    features: tuple[str, ...]
    n_constituents: int | None = None
    is_filled: bool = True
    lsb: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check what features are worth.

        Raises:
            DataError: no feature has the name, or the worth is not a positive number of a plausible size.
        """
        for feature, worth in self.lsb.items():
            if feature not in self.features:
                raise DataError(f"lsb: {unknown('feature', feature, self.features)}")
            if not LEAST_LSB <= worth <= 1 / LEAST_LSB:
                raise DataError(f"lsb: that of '{feature}' is {worth}, and lies between 2**-64 and 2**64")

    @property
    def names(self) -> tuple[str, ...]:
        """The names along the last axis."""
        marked = self.n_constituents is not None and self.is_filled
        return (*self.features, IS_FILLED) if marked else self.features

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of its features: (n_names,), or (n_constituents, n_names)."""
        n_names = len(self.names)
        return (n_names,) if self.n_constituents is None else (self.n_constituents, n_names)

    @property
    def expressions(self) -> tuple[str, ...]:
        """What it reads."""
        return self.features

    def array(self, chunk: Chunk) -> NDArray[np.float32]:
        """Return its features of a chunk of jets, (n_jets, *shape).

        Raises:
            DataError: a feature is of the wrong kind, or the features differ in their numbers of constituents.
        """
        columns = chunk.evaluate(self.features)
        x = branches.matrix(columns, n_constituents=self.n_constituents, is_filled=self.is_filled, spec=chunk.spec)
        for index, feature in enumerate(self.features):
            if feature in self.lsb:
                x[..., index] = np.rint(x[..., index].astype(np.float64) / self.lsb[feature])
        return x


@dataclass(frozen=True, kw_only=True)
class Image:
    """A picture of each jet: the constituents' `weight`, or their number, summed in pixels of x and y.

    With several weights it has a channel for each, of which None is the number. `bins` are the numbers of pixels along
    x and y, `range` their (low, high), the high end excluded; constituents beyond are left out. A `transform` is
    applied to every pixel.
    """

    x: str
    y: str
    weight: str | tuple[str | None, ...] | None = None
    bins: tuple[int, int]
    range: tuple[tuple[float, float], tuple[float, float]]
    transform: str = "none"

    @property
    def weights(self) -> tuple[str | None, ...]:
        """What is summed in each channel, None for the number of constituents."""
        return self.weight if isinstance(self.weight, tuple) else (self.weight,)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its channels."""
        return tuple(each or "count" for each in self.weights) if len(self.weights) > 1 else ("image",)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of its pixels: (n_x, n_y, n_channels)."""
        return (*self.bins, len(self.weights))

    @property
    def expressions(self) -> tuple[str, ...]:
        """What it reads."""
        return (self.x, self.y, *(each for each in self.weights if each is not None))

    def array(self, chunk: Chunk) -> NDArray[np.float32]:
        """Return the pictures of a chunk of jets, (n_jets, n_x, n_y, n_channels).

        Raises:
            DataError: a column is of the wrong kind, or columns differ in their numbers of constituents.
        """
        counts, flat = branches.flattened(chunk.evaluate(self.expressions), spec=chunk.spec)
        jet = np.repeat(np.arange(len(counts)), counts)
        for text, values in flat.items():  # here, where it is still known what is not finite
            branches.check_finite(values, where=f"column '{text}' of '{chunk.spec}'", rows=chunk.rows[jet])
        places = [self._pixel(flat[text], axis) for axis, text in enumerate((self.x, self.y))]
        inside = (places[0] >= 0) & (places[1] >= 0)
        pixel = np.ravel_multi_index((jet[inside], places[0][inside], places[1][inside]), (len(counts), *self.bins))
        weights = [None if each is None else flat[each][inside] for each in self.weights]
        size = len(counts) * math.prod(self.bins)
        sums = np.stack([np.bincount(pixel, weight, minlength=size) for weight in weights], axis=-1)
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused by name
            pixels: NDArray[np.float32] = TRANSFORMS[self.transform](sums).astype(np.float32)
        return pixels.reshape(len(counts), *self.shape)

    def _pixel(self, values: NDArray[Any], axis: int) -> NDArray[np.intp]:
        """Return which pixel along an axis each value falls into, -1 where into none."""
        edges = np.linspace(*self.range[axis], self.bins[axis] + 1)
        found = np.searchsorted(edges, values, side="right") - 1
        return np.where(found < self.bins[axis], found, -1)


JetInput = Columns | Image


def values(each: JetInput) -> tuple[str, ...]:
    """Return the names of all values of an input, row by row."""
    return value_names(each.names, math.prod(each.shape[:-1]))


def value_names(features: tuple[str, ...], n_rows: int) -> tuple[str, ...]:
    """Return the names of the values of rows: those of the features, of several rows with the row in brackets."""
    return features if n_rows == 1 else tuple(f"{name}[{row}]" for row in range(n_rows) for name in features)
