"""Layers of HGQ2 that add and contract values without a kernel: QSum, QMeanPow2, QAveragePow2, QDot and QEinsum."""

import math

from hepprune.frontends.keras.hgqvalues import between
from hepprune.frontends.keras.operations import axes_of
from hepprune.frontends.keras.parts import reduced
from hepprune.frontends.keras.registry import Native, Parts, only
from hepprune.network import Shape


def nearest_power(value: float) -> float:
    """Return the power of two next to a value, as HGQ2 rounds."""
    return 2.0 ** round(math.log2(value))


def summed(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    """Return a sum over axes times a power of two: the one given, or what is next to the mean's."""
    shape, config = only(native, arriving), native.config
    over = axes_of(native, config.get("axes", -1), len(shape))
    scale = native.number("scale", 1.0)
    if native.kind == "QMeanPow2":
        scale = nearest_power(1 / math.prod(shape[axis] for axis in over))
    if scale <= 0 or not -64 <= math.log2(scale) <= 64 or not math.log2(scale).is_integer():
        raise native.refuse(f"has scale = {scale}, which is no power of two")
    return between(native, reduced(native, shape, over, "sum", scale=scale, keep=bool(config.get("keepdims"))))
