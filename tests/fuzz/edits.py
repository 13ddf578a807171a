"""Edits of whole files that keep most of their structure: words and marks replaced, cut, repeated, taken from elsewhere."""

import re
from collections.abc import Sequence

from hypothesis import strategies as st

_PIECE = re.compile(rb"[A-Za-z_]+|\d+(?:\.\d+)?|\s+|.", re.DOTALL)
# What parsers trip over: no numbers, huge numbers, wrong kinds, marks of the formats, bytes that are not text.
_WORDS = (
    b"-1 0 1e999 -0.0 nan inf undef ~0 ? N/A 99999999999999999999 0.1 true null [] {} [[[[ | \" ' \\ / .. : < > &lt;"
)
TOKENS = (
    *_WORDS.split(),
    b"",
    b"\n",
    b"\x00",
    b"\xff",
    b"\xc3\xa9",
    b"\xe2\x80\xa8",
    b"9" * 5000,
    b"[" * 3000,
    b"&a ",
    b"*a",
)


@st.composite
def edited(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """Return one of the seeds with up to six edits."""
    pieces = _PIECE.findall(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 6))):
        if pieces:
            _edit(draw, pieces)
    return b"".join(pieces)


def _edit(draw: st.DrawFn, pieces: list[bytes]) -> None:
    """Replace some pieces by a token, nothing, themselves twice, others from elsewhere, or any bytes."""
    place, other = (draw(st.integers(0, len(pieces) - 1)) for _ in range(2))
    length = draw(st.sampled_from((0, 1, 1, 1, 3, 30)))
    match draw(st.sampled_from(("token", "token", "cut", "repeat", "elsewhere", "bytes"))):
        case "token":
            new = [draw(st.sampled_from(TOKENS))]
        case "cut":
            new = []
        case "repeat":
            new = pieces[place : place + length] * 2
        case "elsewhere":
            new = pieces[other : other + length]
        case _:
            new = [draw(st.binary(max_size=8))]
    pieces[place : place + length] = new
