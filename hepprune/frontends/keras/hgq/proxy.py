"""Proxy models of HGQ 1: plain layers of Keras, and FixedPointQuantizer layers that hold the type of every value.

`to_proxy_model` writes them for hls4ml; their weights are those that act.
"""

from collections.abc import Mapping

import numpy as np

from hepprune.errors import NetworkError, explained
from hepprune.fixed import OVERFLOW, ROUNDING
from hepprune.fixed.quantisers import FixedPoints, Minifloat
from hepprune.frontends.keras.hgq.floats import grouped
from hepprune.frontends.keras.hgq.types import plain, spread
from hepprune.frontends.keras.registry import LAYERS, LayerKind, Native, Part, Parts, only
from hepprune.network import Activation, Layer, Shape


def _modes(native: Native) -> tuple[str, str]:
    rounding, overflow = (str(native.config.get(key))[:40] for key in ("RND", "SAT"))
    if rounding not in ROUNDING or overflow not in OVERFLOW:
        raise native.refuse(f"rounds by {rounding} and overflows by {overflow}, which cannot be taken over")
    return rounding, overflow


def _quantizer(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    shape, held = only(native, arriving), native.weights[0].shape if native.weights else ()
    sign, width, integer = (array.numpy() for array in native.expect(held, held, held))
    rounding, overflow = _modes(native)
    if held and (len(held) != len(shape) + 1 or any(n not in {1, m} for n, m in zip(held, (1, *shape), strict=True))):
        raise native.refuse(f"has types of shape {held} for values of {shape}")
    width = width.astype(np.int64)
    if overflow == "SAT_SYM":  # a sign alone holds nothing but zero
        width = np.where(width > (sign > 0), width, 0)
    first = 0 if held else ...  # the axis of jets, which share their types
    bits = {"width": width[first], "integer": integer.astype(np.int64)[first], "signed": sign[first] > 0}
    with explained(native.refuse, "has types that cannot be taken over:", NetworkError, ValueError):
        kind = FixedPoints(**bits, rounding=rounding, overflow=overflow)
    return [Part(Activation(native.name, "linear", result=plain(kind)))]


def _fill(native: Native, layers: Mapping[str, Layer]) -> Native:
    """Return the native layer with the types that the network has now."""
    old, shape = native.weights[0].shape, (1, *native.shapes[native.name])
    kind = spread(native, layers[native.name].result, shape)
    if isinstance(kind, Minifloat):
        raise native.refuse("would hold floats, and has fixed-point types only")
    if (kind.rounding, kind.overflow) != _modes(native):
        raise native.refuse(f"would round by {kind.rounding} and overflow by {kind.overflow}")
    used = kind.width > 0
    target = tuple(1 if not old or n == 1 else size for n, size in zip(old or shape, shape, strict=True))
    kept = (kind.signed & used, kind.width, np.where(used, kind.integer, 0))
    with explained(native.refuse, "has one type where the network has several", ValueError):
        arrays = [grouped(bits, used, target).reshape(target if old else ()) for bits in kept]
    return native.filled(arrays, shape=list(target if old else ()))


LAYERS["FixedPointQuantizer"] = LayerKind(lower=_quantizer, fill=_fill, typed=True)
