"""Layers of HGQ2 that add, combine and contract values without a kernel."""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from hepprune.frontends.keras.hgq import values
from hepprune.frontends.keras.layers.operations import axes_of, contracted
from hepprune.frontends.keras.layers.parts import power_of_two, reduced
from hepprune.frontends.keras.registry import LAYERS, Lower, Native, Part, Parts, after, only, reading
from hepprune.network import Activation, Layer, Merge, Shape

_EPSILON = 1e-7  # that Keras adds before it divides
_TABLE = {"overflow_mode": "SAT", "round_mode": "RND_CONV"}  # of what a table puts out, whatever its config says


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
        raise native.refuse(f"has scale = {scale}, which is not a power of two")
    return values.between(native, reduced(native, shape, over, "sum", scale=scale, keep=bool(config.get("keepdims"))))


def _each(native: Native, n_values: int) -> list[values.ValueQuantiser]:
    """Return what quantises each of the values that a merge is called on."""
    described = native.config.get("iq_confs") or [None] * n_values
    described = [described] * n_values if isinstance(described, dict) else described
    if len(described) != n_values:
        raise native.refuse(f"has {len(described)} quantisers for {n_values} values")
    places = ("iq/quantizers/quantizer" + (f"_{number}" if number else "") for number in range(n_values))
    each = zip(places, described, strict=True)
    return [(f"input_{number}", "iq_confs", place, config) for number, (place, config) in enumerate(each)]


def merged(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    """Return what combines several values, each with a quantiser of its own."""
    parts: Parts = []
    sources: list[int | str] = []
    for number, one in enumerate(_each(native, len(arriving))):
        chain = reading(after([], *(values.value_quantiser(native, one) if one[3] else [])), number)
        parts += chain
        sources.append(chain[-1].layer.name if chain else number)
    for part in MERGED[native.kind](native, arriving):
        read = tuple(sources[source] if isinstance(source, int) else source for source in part.sources)
        parts.append(replace(part, sources=read))
    return after(parts, *values.value_quantiser(native, values.ends(native)[1]))


def fill_merged(native: Native, layers: Mapping[str, Layer]) -> Native:
    """Return the native merge with the quantisers that the network has now."""
    return values.with_bits(native, layers, *_each(native, len(native.arriving)))


def _average(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    """Return a sum times the power of two next to one by the number of values."""
    factor = power_of_two(native.part("scaled"), nearest_power(1 / len(arriving)))
    return after(LAYERS["Add"].lower(replace(native, kind="Add"), arriving), factor)


MERGED: dict[str, Lower] = {
    **{f"Q{name}": LAYERS[name].lower for name in ("Add", "Subtract", "Multiply", "Maximum", "Minimum", "Dot")},
    "QAveragePow2": _average,
    "QEinsum": partial(contracted, key="equation"),
}


def _quantisers(native: Native) -> dict[str, values.ValueQuantiser]:
    """Return what quantises each table's argument and value, by the config's key."""
    config, found = native.config, {}
    for table in ("exp", "inv"):
        for end in ("iq", "oq"):
            key, described = f"{table}_{end}_conf", config.get(f"{table}_{end}_conf")
            if end == "oq" and native.kind == "QSoftmax":
                described = _as_table(described)
            if key == "exp_iq_conf" and not config.get("stable", True):
                described = None
            suffix = f"{table}_input" if end == "iq" else table
            found[key] = (suffix, key, f"{table}_table/{end}", described)
    return found


def _as_table(described: Any) -> Any:
    """Return a description that rounds and overflows as HGQ2's tables do; PQuantML's are as described."""
    config = described.get("config") if isinstance(described, dict) else None
    return {**described, "config": {**config, **_TABLE}} if isinstance(config, dict) else described


def softmax(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    """Return exp(x) times a reciprocal of their sum; `stable` exponentials are of what the largest value is more."""
    shape, stable = only(native, arriving), bool(native.config.get("stable", True))
    over = axes_of(native, native.config.get("axes", [-1]), len(shape))
    incoming, outgoing = (values.value_quantiser(native, end) for end in values.ends(native))
    parts: Parts = after([], *incoming)
    if stable:
        given = parts[-1].layer.name if parts else 0
        largest = _named(native, "largest")
        parts += reading(reduced(largest, shape, over, "max", keep=True), given)
        parts.append(Part(Merge(native.part("distance"), "subtract"), (largest.name, given)))
    parts, exponentials = _looked_up(native, parts, "exp")
    parts += reading(reduced(_named(native, "total"), shape, over, "sum", keep=True), exponentials)
    parts, reciprocals = _looked_up(native, parts, "inv")
    parts.append(Part(Merge(native.name, "multiply"), (exponentials, reciprocals)))
    return after(parts, *outgoing)


def _named(native: Native, suffix: str) -> Native:
    return replace(native, name=native.part(suffix))


def _looked_up(native: Native, parts: Parts, table: str) -> tuple[Parts, str]:
    """Return the parts with a table after the last of them, and the table's name."""
    quantisers = _quantisers(native)
    parts = after(parts, *values.value_quantiser(native, quantisers[f"{table}_iq_conf"]))
    sign = 1.0 if native.config.get("stable", True) else -1.0
    decay = ("decay", {"rate": sign * native.number("input_scaler", 1.0)})
    function, parameters = decay if table == "exp" else ("reciprocal", {"epsilon": _EPSILON})
    result = values.value_type(native, quantisers[f"{table}_oq_conf"])
    layer = Activation(native.part(table), function, parameters, result=result)
    return after(parts, layer), layer.name


def fill_softmax(native: Native, layers: Mapping[str, Layer]) -> Native:
    """Return the native softmax with the quantisers that the network has now."""
    return values.with_bits(native, layers, *_quantisers(native).values())
