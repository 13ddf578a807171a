"""Powers of two, whose products are shifts."""

import math
from dataclasses import dataclass

from hepprune.errors import NetworkError
from hepprune.fixed import Array, library
from hepprune.quantisers.arrays import MAX_BITS, like


@dataclass(frozen=True)
class PowerOfTwo:
    """Signed powers of two between 2**lowest and 2**highest (QKeras' `quantized_po2`).

    Zero becomes the smallest, and so does every magnitude below `zero`.
    """

    lowest: int
    highest: int
    signed: bool = True
    zero: float = 0.0

    def __post_init__(self) -> None:
        """Refuse exponents in the wrong order or out of float64's reach."""
        if not -MAX_BITS <= self.lowest <= self.highest <= MAX_BITS:
            raise NetworkError(f"exponents {self.lowest} to {self.highest} are no range between -52 and 52")

    @property
    def minimum(self) -> float:
        """The most negative value."""
        return -(2.0**self.highest) if self.signed else 0.0

    @property
    def maximum(self) -> float:
        """The largest value."""
        return 2.0**self.highest

    @property
    def fraction(self) -> int:
        """Bits right of the point that hold every value."""
        return -self.lowest

    @property
    def bits(self) -> float:
        """Bits of the exponent, and one for the sign."""
        return math.ceil(math.log2(self.highest - self.lowest + 1)) + self.signed

    def __call__(self, values: Array) -> Array:
        """Return the power of two nearest in the logarithm, with the sign of each value (positive for zero)."""
        xp = library(values)
        smallest = 2.0 ** (self.lowest - 1)
        exponent = xp.round(xp.log2(xp.clip(abs(values), smallest, None)))
        exponent = xp.where(abs(values) < self.zero, like(self.lowest, values), exponent)
        power = 2.0 ** xp.clip(exponent, self.lowest, self.highest)
        negative = (values < 0) if self.signed else values != values  # noqa: PLR0124 -- nowhere
        return xp.where(negative, -power, power)  # type: ignore[no-any-return]
