"""What quantises the values of HGQ2's layers, on their way in and out: layers of their own in a Network."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hepprune.fixed import Quantiser
from hepprune.frontends.keras.hgq.types import held, plain, spread, type_of
from hepprune.frontends.keras.registry import Floats, Native, Part, Parts, after
from hepprune.network import Activation, Layer
from hepprune.quantisers import FixedPoints

# What quantises values: the end of its layer's name, its key in the config, its place in the file, and its config.
Values = tuple[str, str, str, Any]


def value_type(native: Native, values: Values) -> Quantiser | None:
    """Return the type of values, None where nothing quantises them."""
    _, key, place, described = values
    found = type_of(native, key, place, described=described)
    if found is None or described is None:
        return None
    first: Any = 0 if found.width.ndim > 1 else ...  # the axis of jets, which share their widths
    width, integer, signed = found.width[first], found.integer[first], found.signed[first]
    return plain(
        FixedPoints(width=width, integer=integer, signed=signed, rounding=found.rounding, overflow=found.overflow)
    )


def value_quantiser(native: Native, values: Values, name: str | None = None) -> Layer | None:
    """Return the layer that quantises values on their way, None where nothing does."""
    kind = value_type(native, values)
    return None if kind is None else Activation(name or native.part(values[0]), "linear", result=kind)


def ends(native: Native) -> tuple[Values, Values]:
    """Return what quantises the values that come in and those that go out."""
    each = (("input", "iq_conf", "iq"), ("output", "oq_conf", "oq"))
    incoming, outgoing = ((*names, native.config.get(names[1])) for names in each)
    return incoming, outgoing


def between(native: Native, parts: Parts) -> Parts:
    """Return parts that read the arriving value with the quantisers of what comes in and what goes out."""
    incoming, outgoing = (value_quantiser(native, values) for values in ends(native))
    if incoming is not None:
        read = [replace(part, sources=(incoming.name,)) if part.sources == (0,) else part for part in parts]
        parts = [Part(incoming), *read]
    return after(parts, outgoing)


def value_bits(native: Native, layers: Mapping[str, Layer], values: Values, name: str | None = None) -> dict[str, Any]:
    """Return the arrays of the quantiser of a value, as the network has it now."""
    suffix, key, place, described = values
    name = name or native.part(suffix)
    if described is None or name not in layers:
        return {}
    kind = spread(native, layers[name].result, (1, *native.shapes[name]))
    return held(native, key, place, kind=kind, described=described)


def with_bits(native: Native, layers: Mapping[str, Layer], **more: Floats) -> Native:
    """Return the native layer with the arrays of its quantisers as the network has them now, and `more`."""
    incoming, outgoing = (value_bits(native, layers, values) for values in ends(native))
    return replace(native, stored={**native.stored, **more, **incoming, **outgoing})
