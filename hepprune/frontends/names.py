"""Names that firmware can take, made of the names that frameworks allow."""

import re
from collections.abc import Iterable

from torch import nn

_TAKEN = frozenset(dir(nn.ModuleDict()))
_ODD = re.compile(r"\W+", re.ASCII)


def identifiers(names: Iterable[str]) -> dict[str, str]:
    """Return for each name an identifier of its own, the name itself where it is one."""
    found: dict[str, str] = {}
    used: set[str] = set()
    for name in names:
        plain = _ODD.sub("_", name).strip("_") or "layer"
        plain = f"layer_{plain}" if plain[0].isdigit() or plain in _TAKEN else plain
        number, unique = 2, plain
        while unique in used:
            unique, number = f"{plain}_{number}", number + 1
        used.add(unique)
        found[name] = unique
    return found
