"""Names in firmware: for each of the user's one that every tool can bear, and the table that leads back."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from pydantic import TypeAdapter

from hepprune.files import write_text
from hepprune.firmware import texts

FILE = "hepprune_names.json"
_MAX_LENGTH = 48  # the tools add to names, and cut those that become too long
_ODD = re.compile(r"[\W_]+", re.ASCII)
PART = "."  # between a layer's name and that of a node it takes in firmware; no layer has one in its name
# What languages, their libraries and the tools keep to themselves.
WORDS = frozenset(re.sub("^#.*", "", texts.read("words.txt"), flags=re.MULTILINE).split())
# Arrays of constants (w2, br3), and what hls4ml makes of another name with an ending: the types of a softmax's tables,
# of a recurrent layer's weights, a type or the bridge's copy of an input.
_LIKE_THEIRS = re.compile(
    r"([abdepstwz]|br|th|tl|wr)\d+|.*_(t|ap|exp|inv|inp|recurrent|dw|depthwise|pointwise|threshold)"
)
_BEGINNINGS = re.compile(  # of names that the tools make, whatever follows
    r"(?-i:[A-Z]_)"  # macros of which only the beginning is in capitals, as M_PIl
    r"|(layer|config|input|output|result|stage|be|le)\d|(w|b|br)_[a-z]_"
    r"|(ap|hls|nnet|std|si|sa|pthread|weights|dense_da|output_transform)_"
    r"|(clone|repack|zp1d|zp2d|bnbt|bn|broadcast|brdcst)_",  # layers that hls4ml adds beside another
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Names:
    """The names that firmware has for its top and for each node, by the user's."""

    top: Mapping[str, str]
    layers: Mapping[str, str]

    def layer(self, firmware: str) -> str:
        """Return the layer that a name in firmware is of, the name itself where it is none of the table."""
        return owner(self.node(firmware))

    def node(self, firmware: str) -> str:
        """Return the node that a name in firmware is of, the name itself where it is none of the table."""
        return next((name for name, there in self.layers.items() if there == firmware), firmware)

    def shown_top(self, firmware: str) -> str:
        """Return what the user calls the top."""
        return next((name for name, there in self.top.items() if there == firmware), firmware)

    def write(self, folder: Path) -> None:
        """Keep the table beside a project."""
        write_text(folder / FILE, TABLE.dump_json(self, indent=2).decode() + "\n")


TABLE = TypeAdapter(Names)


def owner(node: str) -> str:
    """Return the layer that a node is of."""
    return node.partition(PART)[0]


def safe(names: Iterable[str], *, taken: Iterable[str] = ()) -> dict[str, str]:
    """Return a name in firmware for each name: the name itself where it can be, each unlike all others in any case.

    `taken` are names that others have already.
    """
    words = {name: _word(name) for name in names}
    used = {name.lower() for name in taken}
    found: dict[str, str] = {}
    for name in sorted(words, key=lambda name: words[name] != name):  # what can stay as it is comes first
        numbered = (f"{words[name]}_{number}" for number in count(1))
        candidates = chain([] if is_reserved(words[name]) else [words[name]], numbered)
        found[name] = next(word for word in candidates if word.lower() not in used)
        used.add(found[name].lower())
    return {name: found[name] for name in words}


def _word(name: str) -> str:
    """Return a word of letters, digits and single underscores; capitals alone are what macros are called."""
    word = _ODD.sub("_", name).strip("_")[:_MAX_LENGTH].strip("_")
    word = word if re.search("[a-z]", word) else word.lower()
    return word if word[:1].isalpha() and not _BEGINNINGS.match(word) else f"layer_{word}".strip("_")


def is_reserved(word: str) -> bool:
    """Return whether a word belongs to a language, its library or the tools, or is like a name that they make."""
    return word.lower() in WORDS or bool(_LIKE_THEIRS.fullmatch(word.lower()))
