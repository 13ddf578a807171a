"""scales.h: a scaler.json as a C header, which gives the same input words bit for bit, in integers where those do."""

import re
from collections.abc import Iterable
from functools import partial
from typing import Any

from hepprune.interface import InputPort, Interface, OutputPort

_PLAIN = re.compile(rb"[A-Za-z0-9_ .:+\[\]-]")

# `@` stands for the design's name and `@port` for that of a port; names out of files hold no `@` (see `_text`).
_CORE = r"""
#include <stdint.h>
#include <string.h>

/* m * 2^e */
typedef struct {
  int64_t m;
  int e;
} @_number;

static inline int @_length(int64_t m) {
  uint64_t rest = m < 0 ? 0 - (uint64_t)m : (uint64_t)m;
  int bits = 0;
  for (; rest; rest >>= 1) ++bits;
  return bits;
}

/* Rounded to float: 24 bits, none below 2^-149, ties to even. */
static inline @_number @_rounded(@_number a) {
  int s = @_length(a.m) - 24;
  if (s < -149 - a.e) s = -149 - a.e;
  if (s <= 0) return a;
  if (s > 62) s = 62;
  const int64_t q = a.m >> s, r = a.m - q * (INT64_C(1) << s), half = INT64_C(1) << (s - 1);
  a.m = q + (r > half || (r == half && (q & 1)));
  a.e += s;
  return a;
}

/* A float, exactly; an e of 9999 says that it is not finite. */
static inline @_number @_of_float(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  const int exponent = (int)(bits >> 23 & 0xff);
  const int64_t m = (int64_t)(bits & 0x7fffff) | (exponent ? 0x800000 : 0);
  @_number a;
  a.m = bits >> 31 ? -m : m;
  a.e = exponent == 0xff ? 9999 : (exponent ? exponent : 1) - 150;
  return a;
}

/* A whole number, as a float has it. */
static inline @_number @_of_integer(int64_t x) {
  @_number a;
  a.m = x;
  a.e = 0;
  return @_rounded(a);
}

static inline int @_is_finite(@_number a) { return !a.m || @_length(a.m) + a.e <= 128; }
"""

# A bit far below those that count is kept as one that says only that there was something.
_INTEGER = r"""
/* v >> s, the last bit set where bits were lost. */
static inline int64_t @_sticky(int64_t v, int s) {
  if (s <= 0) return v;
  if (s > 62) s = 62;
  const int64_t q = v >> s;
  return q | (q * (INT64_C(1) << s) != v);
}

/* (a - n * 2^shift) >> shift, rounded to float as the network was trained on it. */
static inline @_number @_less(@_number a, int64_t n, int shift) {
  @_number d = a;
  if (!a.m) {
    d.m = -n;
    d.e = shift;
  } else if (n && a.e != 9999) {
    const int spare = 24 - @_length(a.m);
    if (spare > 0) {
      a.m *= INT64_C(1) << spare;
      a.e -= spare;
    }
    const int apart = a.e - shift, up = apart < 0 ? -apart : apart, s = up < 37 ? up : 37;
    const int64_t wide = INT64_C(1) << s;
    d.m = apart < 0 ? @_sticky(a.m, up - s) - n * wide : a.m * wide - @_sticky(n, up - s);
    d.e = (apart < 0 ? shift : a.e) - s;
  }
  d.e -= a.e == 9999 ? 0 : shift;
  return @_rounded(d);
}
"""

_FLOAT = r"""
#include <float.h>
#if defined(__FAST_MATH__) || FLT_EVAL_METHOD != 0
#error "this scaler needs IEEE arithmetic: compile without -ffast-math, and on x86 with SSE"
#endif
"""

_PORT = r"""
/* Whole number of steps of the type of value v. */
static inline int64_t @port_word(int v, @_number a) {
  const int64_t lowest = @port_lowest[v], highest = @port_highest[v];
  int s = -@port_fraction[v] - a.e;
  int64_t q = 0;
  if (s > 0) {
    if (s > 62) s = 62;
    q = a.m >> s;
    const int64_t r = a.m - q * (INT64_C(1) << s), half = INT64_C(1) << (s - 1);
    (void)r, (void)half;
    q += ROUND;
  } else if (a.m) {
    OVERFLOW
  }
  FIT
}
"""

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

_WORDS = r"""
/* Words of one jet's raw features, or, without touching them, 1 + the place of a value that is not finite (scaled). */
static inline int @port_wordsOF(const TYPE x[@port_VALUES], int64_t words[@port_VALUES]) {
  @_number scaled[@port_VALUES];
  for (int v = 0; v < @port_VALUES; ++v) {
    const int f = v % @port_FEATURES;
    SCALE
    if (!@_is_finite(scaled[v])) return 1 + v;
  }
  for (int v = 0; v < @port_VALUES; ++v) words[v] = @port_word(v, scaled[v]);
  return 0;
}
"""


_TITLE = """/*
 * From raw features to the input words of @, and what its output words mean; written by hepprune beside scaler.json.
 *
 * A word is a whole number of steps of its type: value = word * 2^-fraction. Word v is in the bits
 * [low_bit[v] + width[v] - 1 : low_bit[v]] of model_inp or model_out.
 * The same arithmetic as in the training, bit for bit: features are rounded to float first, and again when scaled.
 */
"""


def header(interface: Interface) -> str:
    """Return the C header (C99 and C++11): tables of every port, and functions that turn raw features into words."""
    guard, integer = f"{interface.name}_SCALES_H", [port.is_integer for port in interface.inputs]
    parts = [_TITLE, f"#ifndef {guard}\n#define {guard}\n", "" if all(integer) else _FLOAT, _CORE]
    parts += [_INTEGER if any(integer) else "", *map(_input, interface.inputs), *map(_table, interface.outputs)]
    return "".join([*parts, f"\n#endif /* {guard} */\n"]).replace("@", interface.name)


def _input(port: InputPort) -> str:
    kinds = [word.kind for word in port.words]
    rounding, overflow = next(((kind.rounding, kind.overflow) for kind in kinds if kind), ("TRN", "SAT"))
    inner, fit = _WRAP if overflow == "WRAP" else _SATURATE
    code = _PORT.replace("ROUND", _ROUND[rounding]).replace("OVERFLOW", inner).replace("FIT", fit)
    words = "".join(
        _WORDS.replace("_wordsOF", name).replace("TYPE", kind).replace("SCALE", _scaled(port, kind))
        for name, kind in (("_words", "float"), ("_words_of_integers", "int64_t"))
    )
    return _named(port, _table(port) + _features(port) + code + words)


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
