"""Networks of images: convolutions with pooling between them."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ConfigDict, PositiveInt

from hepprune.architectures.base import STRICT, Sketch
from hepprune.errors import NetworkError
from hepprune.network import Pool, Reshape


@dataclass(frozen=True, kw_only=True)
class Convolutional:
    """Convolutions of `filters` each, every one with a ReLU and a pooling of 2 x 2 behind it, and layers `rho`.

    With a `stride` convolutions move by so many pixels; with the pooling "none" they stand alone.
    """

    rank: ClassVar[int] = 3
    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    kind: Literal["convolutional"] = "convolutional"
    filters: tuple[PositiveInt, ...] = (4, 8)
    kernel: PositiveInt = 3
    rho: tuple[PositiveInt, ...] = (16,)
    stride: PositiveInt = 1
    pool: Literal["average", "max", "none"] = "max"

    def body(self, sketch: Sketch, name: str) -> str:
        """Add the convolutions, one axis of all that is left, and the layers `rho`."""
        for index, n_filters in enumerate(self.filters, start=1):
            if min(sketch.shapes[name][:2]) < self.kernel + (0 if self.pool == "none" else self.stride):
                raise NetworkError(
                    f"an image of {sketch.shapes[name][:2]} is too small for convolution {index}; take fewer filters"
                )
            kernel, strides = (self.kernel, self.kernel), (self.stride, self.stride)
            name = sketch.relu(sketch.conv(f"conv_{index}", name, n_filters, kernel, strides=strides))
            if self.pool != "none":
                name = sketch.add(Pool(f"pool_{index}", self.pool, (2, 2)), name)
        flat = sketch.add(Reshape("flat", (math.prod(sketch.shapes[name]),)), name)
        return sketch.hidden("rho", flat, self.rho)
