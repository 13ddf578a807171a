"""Softmax of HGQ2: two tables, of the exponential and of the reciprocal, between quantisers of their own."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hepprune.frontends.keras.hgq.values import Values, ends, value_bits, value_quantiser, value_type
from hepprune.frontends.keras.layers.operations import axes_of
from hepprune.frontends.keras.layers.parts import reduced
from hepprune.frontends.keras.registry import Native, Part, Parts, after, only
from hepprune.network import Activation, Layer, Merge, Shape

_EPSILON = 1e-7  # that Keras adds before it divides
_TABLE = {"overflow_mode": "SAT", "round_mode": "RND_CONV"}  # of what a table puts out, whatever its config says


def _quantisers(native: Native) -> dict[str, Values]:
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
    incoming, outgoing = (value_quantiser(native, values) for values in ends(native))
    parts: Parts = after([], incoming)
    if stable:
        given = parts[-1].layer.name if parts else 0
        largest = _named(native, "largest")
        parts += _reading(reduced(largest, shape, over, "max", keep=True), given)
        parts.append(Part(Merge(native.part("distance"), "subtract"), (largest.name, given)))
    parts, exponentials = _looked_up(native, parts, "exp")
    parts += _reading(reduced(_named(native, "total"), shape, over, "sum", keep=True), exponentials)
    parts, reciprocals = _looked_up(native, parts, "inv")
    parts.append(Part(Merge(native.name, "multiply"), (exponentials, reciprocals)))
    return after(parts, outgoing)


def _named(native: Native, suffix: str) -> Native:
    return replace(native, name=native.part(suffix))


def _reading(parts: Parts, source: int | str) -> Parts:
    return [replace(part, sources=(source,)) if part.sources == (0,) else part for part in parts]


def _looked_up(native: Native, parts: Parts, table: str) -> tuple[Parts, str]:
    """Return the parts with a table after the last of them, and the table's name."""
    quantisers = _quantisers(native)
    parts = after(parts, value_quantiser(native, quantisers[f"{table}_iq_conf"]))
    sign = 1.0 if native.config.get("stable", True) else -1.0
    function, parameters = {
        "exp": ("decay", {"rate": sign * native.number("input_scaler", 1.0)}),
        "inv": ("reciprocal", {"epsilon": _EPSILON}),
    }[table]
    result = value_type(native, quantisers[f"{table}_oq_conf"])
    layer = Activation(native.part(table), function, parameters, result=result)
    return after(parts, layer), layer.name


def fill_softmax(native: Native, layers: Mapping[str, Layer]) -> Native:
    """Return the native softmax with the quantisers that the network has now."""
    found: dict[str, Any] = {}
    for values in (*ends(native), *_quantisers(native).values()):
        found |= value_bits(native, layers, values)
    return replace(native, stored={**native.stored, **found})
