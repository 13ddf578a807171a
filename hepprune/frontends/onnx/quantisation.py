"""Quantisers as QONNX describes them: a scale, a number of bits, and how to round (arXiv:2206.07527)."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
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


@dataclass(frozen=True, kw_only=True)
class Quantisation:
    """What a node with the output `node` does; `scale` broadcasts to the values it quantises.

    The node's own scale has the shape `shape`, also where values, and their scales with them, have been moved since.
    """

    node: str
    scale: Tensor = field(compare=False)  # tensors are not equal as a whole
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
        whole, (rounding, overflow) = integer.astype(np.int64), modes
        width, signed = np.array(self.bits), np.array(self.signed)
        return FixedPoints(width=width, integer=whole, signed=signed, rounding=rounding, overflow=overflow)


def settings(quantiser: Quantiser | None, title: str) -> Quantisation:
    """Return what a file says of a quantiser, called `title`, its scale in the order of its layer's values.

    Raises:
        NetworkError: QONNX has no such quantiser.
    """
    scale: Any = 1.0
    if isinstance(quantiser, Binary):
        steps = torch.as_tensor(quantiser.scale, dtype=torch.float64)
        return Quantisation(node=title, scale=steps, bits=1, narrow=True)
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
    steps, narrow = torch.as_tensor(np.asarray(scale) * quantiser.step), quantiser.overflow == "SAT_SYM"
    known: dict[str, Any] = {"signed": bool(signed[0]), "narrow": narrow, "rounding": _MODES[quantiser.rounding]}
    return Quantisation(node=title, scale=steps, bits=int(bits[0]), **known)
