"""scales.h: a scaler.json as a C header, which gives the same input words bit for bit, in integers where those do."""

import re
from collections.abc import Iterable
from functools import partial
from typing import Any

from hepprune.firmware import texts
from hepprune.fixed.interface import InputPort, Interface, OutputPort

_PLAIN = re.compile(rb"[A-Za-z0-9_ .:+\[\]-]")

# In texts `@` stands for the design's name and `@port` for that of a port; names from files hold no `@` (see `_text`).
# With q the whole part, r what is left of a.m, and half a step.
_ROUND = {
    "TRN": "0",
    "TRN_ZERO": "a.m < 0 && r",
    "RND": "r >= half",
    "RND_ZERO": "a.m < 0 ? r >= half : r > half",
    "RND_INF": "a.m < 0 ? r > half : r >= half",
    "RND_MIN_INF": "r > half",
    "RND_CONV": "r > half || (r == half && (q & 1))",
}
_SATURATE = (
    "if (@_length(a.m) - s > 62) return a.m < 0 ? lowest : highest;\n    q = a.m * (INT64_C(1) << -s);",
    "return q < lowest ? lowest : q > highest ? highest : q;",
)
_WRAP = (
    "q = s > -64 ? (int64_t)((uint64_t)a.m << -s) : 0;",
    "q &= (int64_t)((uint64_t)highest - (uint64_t)lowest);\n  return q > highest ? q - (highest - lowest + 1) : q;",
)


def header(interface: Interface) -> str:
    """Return the C header (C99 and C++11): tables of every port, and functions that turn raw features into words."""
    integer = [port.is_integer for port in interface.inputs]
    text = texts.filled(
        "scales.h",
        float="" if all(integer) else texts.read("scales_float.h"),
        integer=texts.read("scales_integer.h") if any(integer) else "",
        ports="".join([*map(_input, interface.inputs), *map(_table, interface.outputs)]),
    )
    return text.replace("@", interface.name)


def _input(port: InputPort) -> str:
    kinds = [word.kind for word in port.words]
    rounding, overflow = next(((kind.rounding, kind.overflow) for kind in kinds if kind), ("TRN", "SAT"))
    inner, fit = _WRAP if overflow == "WRAP" else _SATURATE
    code = texts.filled("scales_port.h", round=_ROUND[rounding], overflow=inner, fit=fit)
    for function, kind in (("_words", "float"), ("_words_of_integers", "int64_t")):
        code += texts.filled("scales_words.h", function=function, type=kind, scale=_scaled(port, kind))
    return _named(port, _table(port) + _features(port) + code)


def _scaled(port: InputPort, kind: str) -> str:
    """Return the C line that scales value v, feature f of its constituent."""
    if port.is_integer:
        number = "@_of_float" if kind == "float" else "@_of_integer"
        value = f"@_less({number}(x[v]), @port_offset[f], @port_shift[f])"
    else:
        value = "@_of_float((float)(((double)(float)x[v] - @port_offset[f]) / @port_scale[f]))"
    if port.mark is None:
        return f"scaled[v] = {value};"
    mark = [feature.name for feature in port.features].index(port.mark)
    padded = "@_of_integer(0)"
    return f"scaled[v] = x[v - f + {mark}] != 0 ? {value} : {padded}; /* 0 where there is no constituent */"


def _features(port: InputPort) -> str:
    rows, array = port.features, partial(_array, size="FEATURES")
    lines = [array("const char *const", "feature", [_text(row.name) for row in rows])]
    if any(row.lsb is not None for row in rows):
        lines.append("/* x is a whole number where this is not 0, and each worth so much */\n")
        lines.append(array("double", "lsb", [repr(row.lsb or 0.0) for row in rows]))
    if port.is_integer:
        lines.append("/* x -> (x - offset * 2^shift) >> shift */\n")
        lines.append(array("int64_t", "offset", [row.units for row in rows]))
        lines.append(array("int", "shift", [row.shift for row in rows]))
    else:
        lines.append("/* x -> (x - offset) / scale */\n")
        lines.append(array("double", "offset", [repr(row.offset) for row in rows]))
        lines.append(array("double", "scale", [repr(row.scale) for row in rows]))
    return "".join(lines)


def _table(port: InputPort | OutputPort) -> str:
    """Return the C arrays that say what each word of a port is."""
    words = port.words
    ranges = [word.kind.integer_range if word.kind else (0, 0) for word in words]
    sizes = [f"@port_VALUES = {len(words)}", f"@port_BITS = {sum(word.width for word in words)}"]
    if isinstance(port, InputPort):
        sizes.append(f"@port_FEATURES = {len(port.features)}")
    lines = [
        f"\nenum {{ {', '.join(sizes)} }};\n",
        _array("const char *const", "name", [_text(word.name) for word in words]),
        _array("int", "low_bit", [word.low for word in words]),
        _array("int", "width", [word.width for word in words]),
        _array("int", "fraction", [word.kind.fraction if word.kind else 0 for word in words]),
        _array("int64_t", "lowest", [f"INT64_C({low})" for low, _ in ranges]),
        _array("int64_t", "highest", [f"INT64_C({high})" for _, high in ranges]),
    ]
    return _named(port, "".join(lines))


def _array(kind: str, name: str, values: Iterable[Any], size: str = "VALUES") -> str:
    const = "" if kind.startswith("const") else "const "
    return f"static {const}{kind} @port_{name}[@port_{size}] = {{{', '.join(str(value) for value in values)}}};\n"


def _named(port: InputPort | OutputPort, code: str) -> str:
    return code.replace("@port", f"@_{port.name}")


def _text(name: str) -> str:
    """Return a C string literal; what is not plainly harmless is written in octal, so no name can be code."""
    plain = (chr(byte) if _PLAIN.fullmatch(bytes([byte])) else f"\\{byte:03o}" for byte in name.encode())
    return f'"{"".join(plain)}"'
