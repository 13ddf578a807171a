"""What quantises the values of HGQ2's layers, on their way in and out: layers of their own in a Network."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hepprune.fixed import Quantiser
from hepprune.frontends.keras.hgq.types import each, held, plain, spread, type_of
from hepprune.frontends.keras.registry import Floats, Native, Part, Parts, after, reading
from hepprune.network import Activation, Layer

# What quantises values: the end of its layer's name, its key in the config, its place in the file, and its config.
ValueQuantiser = tuple[str, str, str, Any]


def value_type(native: Native, values: ValueQuantiser) -> Quantiser | None:
    """Return the type of values, None where nothing quantises them."""
    _, key, place, described = values
    found = type_of(native, key, place, described=described)
    if found is None or described is None:
        return None
    return plain(each(found, lambda array: array[0] if array.ndim > 1 else array))  # jets share their widths


def value_quantiser(native: Native, values: ValueQuantiser, name: str | None = None) -> Layer | None:
    """Return the layer that quantises values on their way, None where nothing does."""
    kind = value_type(native, values)
    return None if kind is None else Activation(name or native.part(values[0]), "linear", result=kind)


def ends(native: Native) -> tuple[ValueQuantiser, ValueQuantiser]:
    """Return what quantises the values that come in and those that go out."""
    each = (("input", "iq_conf", "iq"), ("output", "oq_conf", "oq"))
    incoming, outgoing = ((*names, native.config.get(names[1])) for names in each)
    return incoming, outgoing


def between(native: Native, parts: Parts) -> Parts:
    """Return parts that read the arriving value with the quantisers of what comes in and what goes out."""
    incoming, outgoing = (value_quantiser(native, values) for values in ends(native))
    if incoming is not None:
        parts = [Part(incoming), *reading(parts, incoming.name)]
    return after(_looked_up(parts, outgoing), outgoing)


def _looked_up(parts: Parts, outgoing: Layer | None) -> Parts:
    """Return parts whose last function has a table's type already, that of what goes out."""
    last = parts[-1].layer if parts else None
    if outgoing is None or not isinstance(last, Activation) or last.function == "linear":
        return parts
    return [*parts[:-1], replace(parts[-1], layer=last.rebuilt(result=outgoing.result))]


def value_bits(
    native: Native, layers: Mapping[str, Layer], values: ValueQuantiser, name: str | None = None
) -> dict[str, Any]:
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
