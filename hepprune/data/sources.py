"""Where jets come from: files by their names and patterns, or arrays in memory; and what a file of them holds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from glob import glob
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hepprune.data import awkward as ak
from hepprune.data.files import branches, npz, parquet, root, slabs, trees
from hepprune.data.files.slabs import SlabFormat
from hepprune.errors import DataError

# Each has `columns`, `entries` and `iterate`; a folder is one of .npy files, and all else ROOT.
_HDF5, _STACKS = SlabFormat(slabs.hdf5), SlabFormat(npz.opened)
FORMATS: dict[str, ModuleType | SlabFormat] = {".h5": _HDF5, ".hdf5": _HDF5, ".parquet": parquet, ".npz": _STACKS}
ARRAYS = "the arrays given"
# A file, several, a pattern of files, or trees by their files as uproot takes them; or arrays of one row per jet by
# their names, or an awkward array of records.
DataSource = str | Path | Sequence[str | Path] | Mapping[str, Any] | Any
ROWS = 100_000  # that ranges are taken from


def files(given: DataSource) -> list[Any]:
    """Return each file of a source, those that a pattern matches in the order of their names; arrays as they are.

    Raises:
        DataError: there are none.
    """
    if isinstance(given, Mapping) and given and all(each is None or isinstance(each, str) for each in given.values()):
        given = trees.specs(given)
    if not isinstance(given, str | Path | list | tuple):
        return [given]
    found = [file for each in (given if isinstance(given, list | tuple) else [given]) for file in _matched(str(each))]
    if not found:
        raise DataError("no file of jets is named")
    return found


def _matched(spec: str) -> list[str]:
    name, tree = trees.split(spec)
    if Path(name).exists() or not any(mark in name for mark in "*?["):
        return [spec]
    found = sorted(glob(name, recursive=True))  # noqa: PTH207 -- the pattern may be absolute
    if not found:
        raise DataError(f"no file matches '{name}'")
    return [f"{each}:{tree}" if tree else each for each in found]


def title(source: DataSource) -> str:
    """Return what a source is called."""
    return source if isinstance(source, str) else ARRAYS


def columns(source: DataSource) -> dict[str, str]:
    """Return the columns of one file or of arrays, with what they hold.

    Raises:
        DataError: the file cannot be read.
        PrerequisiteError: what reads its format is not installed.
    """
    if isinstance(source, str):
        return _format(source).columns(source)
    return {name: str(ak.type(each).content) for name, each in _records(source).items()}


def entries(file: str) -> int:
    """Return the number of rows of one file.

    Raises:
        DataError: it cannot be read.
    """
    return int(_format(file).entries(file))


def iterate(source: DataSource, names: Sequence[str], *, n_rows: int | None = None) -> Iterator[Any]:
    """Yield the named columns of one file or of arrays as awkward arrays of records, chunk by chunk.

    Raises:
        DataError: the file or a column is missing or damaged, columns differ in length, or there are no rows.
    """
    if isinstance(source, str):
        return iter(_format(source).iterate(source, names, n_rows=n_rows))
    return _iterate(_records(source), names, n_rows)


def _iterate(found: Mapping[str, Any], names: Sequence[str], n_rows: int | None) -> Iterator[Any]:
    trees.check_known(names, list(found), ARRAYS)
    lengths = {name: len(found[name]) for name in names}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        said = ", ".join(f"'{name}' {length}" for name, length in lengths.items())
        raise DataError(f"the columns of {ARRAYS} differ in their numbers of rows, or have none: {said}")
    yield ak.zip({name: found[name][:n_rows] for name in dict.fromkeys(names)}, depth_limit=1)


def _records(arrays: Any) -> dict[str, Any]:
    """Return arrays by name as awkward ones; numpy's of more than one axis are split like those of files."""
    if isinstance(arrays, ak.Array):
        return {name: arrays[name] for name in arrays.fields}
    found: dict[str, Any] = {}
    for name, each in arrays.items():
        if isinstance(each, ak.Array):
            found[name] = each
        else:
            array = np.asarray(each)
            found |= {column: slab.of(array) for column, slab in slabs.slabs(name, array).items()}
    return found


def _format(spec: str) -> ModuleType | SlabFormat:
    name, _ = trees.split(spec)
    return _STACKS if Path(name).is_dir() else FORMATS.get(Path(name).suffix, root)


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
    for found in files(file):
        name, tree = trees.split(found)
        several = name.endswith(".root") and not tree
        for spec in [f"{name}:{path}" for path in root.tables(name)] if several else [found]:
            yield survey(spec)


def survey(spec: str, *, n_rows: int = ROWS) -> Survey:
    """Return what a tree or file holds, ranges from its first rows.

    Raises:
        DataError: it cannot be read.
    """
    total, kinds = entries(spec), columns(spec)
    try:
        found = _columns(spec, kinds, n_rows)
    except DataError:  # one is damaged, or of another length: each by itself
        found = []
        for name, kind in kinds.items():
            try:
                found += _columns(spec, {name: kind}, n_rows)
            except DataError as problem:
                found.append(Column(name=name, kind=kind, trouble=str(problem)))
    n_read = min(n_rows, total)
    return Survey(file=spec, n_rows=total, n_read=n_read, columns=tuple(found), classes=_written_classes(spec))


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
    for chunk in iterate(spec, list(kinds), n_rows=n_rows):
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
