"""What a file of jets holds: rows, columns, their ranges, what is missing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hepprune.data import awkward as ak
from hepprune.data import sources
from hepprune.data.files import branches, root, trees
from hepprune.errors import DataError

ROWS = 100_000  # that ranges are taken from


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
        columns = []
        for name, kind in kinds.items():
            try:
                columns += _columns(spec, {name: kind}, n_rows)
            except DataError as problem:
                columns.append(Column(name=name, kind=kind, trouble=str(problem)))
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


def _with(column: Column, array: Any) -> Column:
    if branches.leaf(array) in {None, "string"}:
        return column
    longest = int(ak.max(ak.num(array), initial=0)) if array.ndim > 1 else None
    values = np.asarray(ak.to_numpy(ak.flatten(array, axis=None)))
    finite = values[np.isfinite(values)]
    ends = [end for end in (column.low, column.high) if end is not None]
    ends += [float(finite.min()), float(finite.max())] if len(finite) else []
    low, high, missing = min(ends, default=None), max(ends, default=None), column.missing + len(values) - len(finite)
    most = longest if longest is None else max(longest, column.longest or 0)
    return replace(column, low=low, high=high, missing=missing, longest=most)
