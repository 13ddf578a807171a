"""What a file of jets holds: rows, columns, their ranges, what is missing; and a `data` section to begin with."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hepprune.data import sources
from hepprune.data.files import branches, root, trees
from hepprune.errors import DataError

ROWS = 100_000  # that ranges are taken from
_MOST_CLASSES, _MOST_FEATURES, _CONSTITUENTS, _FEW_OBJECTS = 32, 64, 16, 16
_LABELS = re.compile(r"(label|is|j)_(?!pt|eta|phi|mass)\w+")
_KINEMATICS = ("pt", "eta", "phi", "mass")


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column: what it holds, from `low` to `high` where it is numbers, and how many values are not finite.

    `longest` is the number of constituents of the row that has most; `trouble` says why a column cannot be read.
    """

    name: str
    kind: str
    low: float | None = None
    high: float | None = None
    missing: int = 0
    longest: int | None = None
    trouble: str | None = None


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What the first `n_read` of `n_rows` rows of a file or tree hold, and what a production calls its classes."""

    file: str
    n_rows: int
    n_read: int
    columns: tuple[Column, ...]
    classes: tuple[str, ...] = ()


def surveys(file: str) -> Iterator[Survey]:
    """Yield what a file holds: of a ROOT file without a tree named, every tree.

    Raises:
        DataError: the file cannot be read.
    """
    for found in sources.files(file):
        name, tree = trees.split(found)
        several = name.endswith(".root") and not tree
        for spec in [f"{name}:{path}" for path in root.tables(name)] if several else [found]:
            yield survey(spec)


def survey(spec: str, *, n_rows: int = ROWS) -> Survey:
    """Return what a tree or file holds, ranges from its first rows.

    Raises:
        DataError: it cannot be read.
    """
    total, kinds = sources.entries(spec), sources.columns(spec)
    try:
        columns = _columns(spec, kinds, n_rows)
    except DataError:  # one is damaged, or of another length: each by itself
        columns = [column for name, kind in kinds.items() for column in _alone(spec, name, kind, n_rows)]
    n_read = min(n_rows, total)
    return Survey(file=spec, n_rows=total, n_read=n_read, columns=tuple(columns), classes=_written_classes(spec))


def _written_classes(spec: str) -> tuple[str, ...]:
    """Return the names of classes that `hepprune data make` wrote into a file, none of any other."""
    name, _ = trees.split(spec)
    try:
        classes = root.metadata(Path(name)).get("classes", []) if name.endswith(".root") else []
    except DataError:
        return ()
    return tuple(classes) if isinstance(classes, list) and all(isinstance(each, str) for each in classes) else ()


def _columns(spec: str, kinds: Mapping[str, str], n_rows: int) -> list[Column]:
    found = {name: Column(name=name, kind=kind) for name, kind in kinds.items()}
    for chunk in sources.iterate(spec, list(kinds), n_rows=n_rows):
        found = {name: _with(column, chunk[name]) for name, column in found.items()}
    return list(found.values())


def _alone(spec: str, name: str, kind: str, n_rows: int) -> list[Column]:
    try:
        return _columns(spec, {name: kind}, n_rows)
    except DataError as problem:
        return [Column(name=name, kind=kind, trouble=str(problem))]


def _with(column: Column, array: Any) -> Column:
    """Return a column that more rows are of."""
    import awkward as ak

    if branches.leaf(array) in {None, "string"}:
        return column
    longest = int(ak.max(ak.num(array), initial=0)) if array.ndim > 1 else None
    values = np.asarray(ak.to_numpy(ak.flatten(array, axis=None)))
    finite = values[np.isfinite(values)]
    ends = [end for end in (column.low, column.high) if end is not None]
    ends += [float(finite.min()), float(finite.max())] if len(finite) else []
    return replace(
        column,
        low=min(ends, default=None),
        high=max(ends, default=None),
        missing=column.missing + len(values) - len(finite),
        longest=longest if longest is None else max(longest, column.longest or 0),
    )


def proposed(found: Survey) -> dict[str, Any]:
    """Return a `data` section for such a file, to be looked over: what is a feature only its owner knows."""
    sound = [column for column in found.columns if column.low is not None and not column.missing]
    names, flat = {column.name for column in found.columns}, [column for column in sound if column.longest is None]
    label = _label(flat, found.classes)
    taken = {"event", "weight", "label", *(label.get("label", ()) if isinstance(label.get("label"), list) else ())}
    lists = [column for column in sound if column.longest is not None]
    jagged = [column.name for column in lists]
    features = [c.name for c in flat if c.name not in taken and not _counts(c.name, jagged)]
    section = {"file": found.file} | (_image(lists) or _features(features, lists)) | label
    return section | ({"weight": "weight"} if "weight" in names else {})


def _counts(name: str, jagged: Sequence[str]) -> bool:
    """Return whether a column is the length of lists that uproot writes beside them: `nJet` of `Jet_pt`."""
    return name.startswith("n") and any(each == name[1:] or each.startswith(f"{name[1:]}_") for each in jagged)


def _image(lists: Sequence[Column]) -> dict[str, Any]:
    """Return the keys of an image where there are cells alone, counted in phi and eta: the regions of a calorimeter."""
    by_end = {column.name.rpartition("_")[2]: column for column in lists}
    energies = by_end.keys() & {"hwEt", "et"}
    if len(by_end) != len(lists) or len(energies) != 1 or by_end.keys() - energies != {"iphi", "ieta"}:
        return {}
    places, energy = [by_end["iphi"], by_end["ieta"]], by_end[energies.pop()]
    ends = [(int(each.low or 0), int(each.high or 0)) for each in places]
    drawn = {"x": places[0].name, "y": places[1].name, "weight": energy.name}
    return {"image": drawn | {"bins": [b - a + 1 for a, b in ends], "range": [[a - 0.5, b + 0.5] for a, b in ends]}}


def _features(flat: list[str], jagged: Sequence[Column]) -> dict[str, Any]:
    """Return the keys that say what is read: numbers of jets, or objects of events, or constituents."""
    lists = _largest_collection([column.name for column in jagged])
    if 0 < len(flat) <= _MOST_FEATURES:
        return {"features": flat + _leading(jagged)}
    collection = lists[0].rpartition("_")[0] if lists else ""
    known = [f"{collection}_{name}" for name in _KINEMATICS if f"{collection}_{name}" in lists]
    if known:
        return {"explode": collection, "features": known}
    return {"features": lists, "n_constituents": _CONSTITUENTS} if lists else {"features": flat[:_MOST_FEATURES]}


def _leading(jagged: Sequence[Column]) -> list[str]:
    """Return the leading objects of events that have a few of several kinds, as a first-level trigger sees them."""
    collections = {column.name.rpartition("_")[0] for column in jagged}
    few = [column for column in jagged if 0 < (column.longest or 0) <= _FEW_OBJECTS]
    return [f"leading({column.name}, {column.longest})" for column in few] if len(collections) > 1 else []


def _label(flat: Sequence[Column], classes: Sequence[str]) -> dict[str, Any]:
    """Return the keys that say which class a jet is of, where it can be seen."""
    several = [column.name for column in flat if _LABELS.fullmatch(column.name) and (column.low, column.high) == (0, 1)]
    if len(several) > 1:
        return {"label": several, "classes": [name.partition("_")[2] for name in several]}
    known = {column.name: column for column in flat}
    if (label := known.get("label")) is not None and label.low == 0 and 0 < (label.high or 0) < _MOST_CLASSES:
        seen = int(label.high or 0) + 1
        named = list(classes) if len(classes) >= seen else [f"class_{index}" for index in range(seen)]
        return {"label": "label", "classes": named}
    return {}


def _largest_collection(names: Sequence[str]) -> list[str]:
    """Return the names of most lists that begin alike, jets first, then those with a pT."""
    collections: dict[str, list[str]] = {}
    for name in names:
        collections.setdefault(name.rpartition("_")[0], []).append(name)
    ranked = sorted(collections.items(), key=lambda each: (each[0] == "Jet", f"{each[0]}_pt" in each[1], len(each[1])))
    return ranked[-1][1] if ranked else []
