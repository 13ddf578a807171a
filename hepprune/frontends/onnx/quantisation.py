"""Quantisers as QONNX describes them: a scale, a number of bits, and how to round (arXiv:2206.07527)."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hepprune.errors import NetworkError, unknown
from hepprune.fixed import FixedPoint, Quantiser
from hepprune.fixed.quantisers import Binary, FixedPoints, Scaled

Floats = NDArray[np.float64]

# QONNX' names and those of ap_fixed; HALF_UP and HALF_DOWN are away from and towards zero there.
ROUNDING = {
    "ROUND": "RND_CONV",
    "HALF_EVEN": "RND_CONV",
    "FLOOR": "TRN",
    "DOWN": "TRN_ZERO",
    "HALF_UP": "RND_INF",
    "HALF_DOWN": "RND_ZERO",
}
_MODES = {ap: mode for mode, ap in reversed(ROUNDING.items())}
_MAX_EXPONENT = 64


@dataclass(frozen=True, eq=False, kw_only=True)
class Quantisation:
    """What a node with the output `node` does; `scale` broadcasts to the values it quantises.

    The node's own scale has the shape `shape`, also where values, and their scales with them, have been moved since.
    """

    node: str
    scale: Tensor
    bits: int
    signed: bool = True
    narrow: bool = False
    rounding: str = "ROUND"
    shape: tuple[int, ...] = ()

    def of(self, scale: Floats) -> Quantiser:
        """Return the quantiser, its scale in the order of the values that it gets.

        Raises:
            NetworkError: no type has this rounding or this range.
        """
        scale = np.asarray(scale, np.float64)
        if self.bits == 1 and self.signed:
            return Binary(scale.item() if scale.size == 1 else scale)
        if self.rounding not in ROUNDING:
            raise NetworkError(f"quantiser '{self.node}': " + unknown("rounding mode", self.rounding, ROUNDING))
        if self.narrow and not self.signed:
            raise NetworkError(f"quantiser '{self.node}' is unsigned and narrow, which no fixed-point type is")
        modes = (ROUNDING[self.rounding], "SAT_SYM" if self.narrow else "SAT")
        mantissa, exponent = np.frexp(scale)
        if (mantissa != 0.5).any() or np.abs(self.bits + exponent).max() >= _MAX_EXPONENT:
            base = FixedPoint(self.bits, self.bits, self.signed, *modes)
            return Scaled(base, scale.item() if scale.size == 1 else scale)
        integer = self.bits + exponent - 1
        if scale.size == 1:
            return FixedPoint(self.bits, int(integer.item()), self.signed, *modes)
        width, signed = np.full(scale.shape, self.bits), np.full(scale.shape, self.signed)
        whole, (rounding, overflow) = integer.astype(np.int64), modes
        return FixedPoints(width=width, integer=whole, signed=signed, rounding=rounding, overflow=overflow)


class QuantiserAttributes(NamedTuple):
    """What a quantiser is in a file: its scale in the order of its layer's values, and the rest."""

    scale: Floats
    bits: int
    signed: bool
    narrow: bool
    rounding: str


def settings(quantiser: Quantiser | None, title: str) -> QuantiserAttributes:
    """Return what a file says of a quantiser.

    Raises:
        NetworkError: QONNX has no such quantiser.
    """
    scale: Any = 1.0
    if isinstance(quantiser, Binary):
        steps = np.asarray(quantiser.scale, np.float64)
        return QuantiserAttributes(scale=steps, bits=1, signed=True, narrow=True, rounding="ROUND")
    if isinstance(quantiser, Scaled):
        scale, quantiser = np.asarray(quantiser.scale, np.float64), quantiser.base
    if not isinstance(quantiser, FixedPoint | FixedPoints):
        raise NetworkError(f"{title} has a {type(quantiser).__name__}, which QONNX has no node for")
    if quantiser.overflow == "WRAP":
        raise NetworkError(f"{title} wraps around, where a quantiser of QONNX saturates")
    if quantiser.rounding not in _MODES:
        raise NetworkError(f"{title} rounds by {quantiser.rounding}, which QONNX has no mode for")
    bits, signed = np.unique(quantiser.width), np.unique(quantiser.signed)
    if len(bits) != 1 or len(signed) != 1 or bits[0] < 1:
        raise NetworkError(f"{title} has several widths, where a quantiser of QONNX has one")
    steps, narrow = np.asarray(scale) * quantiser.step, quantiser.overflow == "SAT_SYM"
    return QuantiserAttributes(
        scale=steps, bits=int(bits[0]), signed=bool(signed[0]), narrow=narrow, rounding=_MODES[quantiser.rounding]
    )
