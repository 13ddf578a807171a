"""A `data` section to begin with, from what a file of jets holds: what is a feature only its owner knows."""

import re
from collections.abc import Sequence
from typing import Any

from hepprune.data.sources import Column, Survey

_MOST_CLASSES, _MOST_FEATURES, _CONSTITUENTS, _FEW_OBJECTS = 32, 64, 16, 16
_MOST_PIXELS, _LONGEST_NAME = 2**14, 64
_LABELS = re.compile(r"(label|is|j)_(?!pt|eta|phi|mass)\w+")
_KINEMATICS = ("pt", "eta", "phi", "mass")


def proposed(found: Survey) -> dict[str, Any]:
    """Return a `data` section for such a file, to be looked over."""
    sound = [column for column in found.columns if column.low is not None and not column.missing]
    names, flat = {column.name for column in found.columns}, [column for column in sound if column.longest is None]
    label = _label(flat, found.classes)
    taken = {"event", "weight", "label", *(label.get("label", ()) if isinstance(label.get("label"), list) else ())}
    lists = [column for column in sound if column.longest is not None]
    jagged = [column.name for column in lists]
    features = [c.name for c in flat if c.name not in taken and not _counts(c.name, jagged)]
    section = {"file": found.file} | ((not features and _image(lists)) or _features(features, lists)) | label
    return section | ({"weight": "weight"} if "weight" in names else {})


def _counts(name: str, jagged: Sequence[str]) -> bool:
    """Return whether a column is the length of lists that uproot writes beside them: `nJet` of `Jet_pt`."""
    return name.startswith("n") and any(each == name[1:] or each.startswith(f"{name[1:]}_") for each in jagged)


def _image(lists: Sequence[Column]) -> dict[str, Any]:
    """Return the keys of an image where there is a list of cells alone, counted in phi and eta: calorimeter regions."""
    by_end = {column.name.rpartition("_")[2]: column for column in lists}
    energies = by_end.keys() & {"hwEt", "et"}
    if len(by_end) != len(lists) or len(energies) != 1 or by_end.keys() - energies != {"iphi", "ieta"}:
        return {}
    places, energy = [by_end["iphi"], by_end["ieta"]], by_end[energies.pop()]
    ends = [(int(each.low or 0), int(each.high or 0)) for each in places]
    bins = [high - low + 1 for low, high in ends]
    counted = all("int" in each.kind for each in places) and bins[0] * bins[1] <= _MOST_PIXELS
    if not counted or len({column.name.rpartition("_")[0] for column in lists}) > 1:
        return {}
    ranges = [[low - 0.5, high + 0.5] for low, high in ends]
    drawn = {"x": places[0].name, "y": places[1].name, "weight": energy.name}
    return {"image": drawn | {"bins": bins, "range": ranges}}


def _features(flat: list[str], jagged: Sequence[Column]) -> dict[str, Any]:
    """Return the keys that say what is read: numbers of jets, or objects of events, or constituents."""
    lists = _largest_collection([column.name for column in jagged])
    if 0 < len(flat) <= _MOST_FEATURES:
        return {"features": flat + _leading(jagged, _MOST_FEATURES - len(flat))}
    collection = lists[0].rpartition("_")[0] if lists else ""
    known = [f"{collection}_{name}" for name in _KINEMATICS if f"{collection}_{name}" in lists]
    if known:
        return {"explode": collection, "features": known}
    return {"features": lists, "n_constituents": _CONSTITUENTS} if lists else {"features": flat[:_MOST_FEATURES]}


def _leading(jagged: Sequence[Column], most: int) -> list[str]:
    """Return the leading objects of events that have a few of several kinds, as a first-level trigger sees them."""
    collections = {column.name.partition("_")[0] for column in jagged}
    few = {column.name: column.longest or 0 for column in jagged if 0 < (column.longest or 0) <= _FEW_OBJECTS}
    offered = len(collections) > 1 and sum(few.values()) <= most
    return [f"leading({name}, {longest})" for name, longest in few.items()] if offered else []


def _label(flat: Sequence[Column], classes: Sequence[str]) -> dict[str, Any]:
    """Return the keys that say which class a jet is of, where it can be seen."""
    several = [column.name for column in flat if _LABELS.fullmatch(column.name) and (column.low, column.high) == (0, 1)]
    if len(several) > 1:
        return {"label": several, "classes": [name.partition("_")[2] for name in several]}
    known = {column.name: column for column in flat}
    if (label := known.get("label")) is not None and label.low == 0 and 0 < (label.high or 0) < _MOST_CLASSES:
        seen = int(label.high or 0) + 1
        named = list(classes) if _are_names(classes, seen) else [f"class_{index}" for index in range(seen)]
        return {"label": "label", "classes": named}
    return {}


def _are_names(classes: Sequence[str], seen: int) -> bool:
    """Return whether what a file calls its classes names each of those seen, and nothing that a recipe refuses."""
    sound = all(name.strip() and name.isprintable() and len(name) <= _LONGEST_NAME for name in classes)
    return sound and seen <= len(classes) <= _MOST_CLASSES and len(set(classes)) == len(classes)


def _largest_collection(names: Sequence[str]) -> list[str]:
    """Return the names of most lists that begin alike, jets first, then those with a pT."""
    collections: dict[str, list[str]] = {}
    for name in names:
        collections.setdefault(name.rpartition("_")[0], []).append(name)
    ranked = sorted(collections.items(), key=lambda each: (each[0] == "Jet", f"{each[0]}_pt" in each[1], len(each[1])))
    return ranked[-1][1] if ranked else []
