"""Layers inside another that keeps their arrays below a place of its own."""

from dataclasses import dataclass, replace
from typing import Any

from hepprune.frontends.keras.registry import Floats, Native


@dataclass(frozen=True)
class Inside:
    """A layer inside another: how it is lowered and filled, and where in the file its arrays are."""

    native: Native
    place: str

    def stored(self, filled: Native) -> dict[str, Floats]:
        """Return the arrays of the filled layer at their places in the outer one."""
        numbers = sorted((key for key in filled.stored if key.startswith("vars/")), key=lambda key: int(key[5:]))
        arrays = {**filled.stored, **dict(zip(numbers, filled.weights, strict=True))}
        return {f"{self.place}/{key}": array for key, array in arrays.items()}


def inside(native: Native, place: str, **changes: Any) -> Inside:
    """Return the layer that keeps its arrays below a place; only quantisers that the file has arrays for act."""
    spelt = next((p for p in (place, f"_{place}") if any(k.startswith(f"{p}/") for k in native.stored)), place)
    stored = {k.removeprefix(f"{spelt}/"): a for k, a in native.stored.items() if k.startswith(f"{spelt}/")}
    numbers = sorted((key for key in stored if key.startswith("vars/")), key=lambda key: int(key[5:]))
    weights = tuple(stored[key] for key in numbers)
    return Inside(replace(native, stored=stored, weights=weights, **changes), spelt)
