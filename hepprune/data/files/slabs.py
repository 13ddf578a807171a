"""Columns of arrays that are read slice by slice: datasets of HDF5 files, .npy files, arrays in memory."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.data import awkward as ak
from hepprune.data import expressions
from hepprune.data.files import branches, trees
from hepprune.errors import DataError

CHUNK_BYTES = 50_000_000
_NUMBERS = "biuf"
# Which dataset names the features of which, in the LHC jet samples; elsewhere `x` may be named by `xNames`.
_NAMES = {"jets": "jetFeatureNames", "jetConstituentList": "particleFeatureNames"}


@dataclass(frozen=True, eq=False)
class Slab:
    """A column of an array of rows: all of it, one feature along its last axis, or one field of its records."""

    array: Any
    feature: int | str | None = None

    @property
    def kind(self) -> str:
        """What it holds in each row, as awkward would write it."""
        if (listed := _listed(self.array.dtype)) is not None:
            return f"var * {listed}"
        kind = self.array.dtype if not isinstance(self.feature, str) else self.array.dtype[self.feature]
        lists = self.array.shape[1:-1] if isinstance(self.feature, int) else self.array.shape[1:]
        return f"{' * '.join(['var'] * len(lists))}{' * ' if lists else ''}{kind}"

    def of(self, rows: Any) -> Any:
        """Return what it is of some rows of its array, as awkward lists where there are several values in each."""
        place = (..., self.feature) if isinstance(self.feature, int) else self.feature
        part = rows if place is None else rows[place]
        if (listed := _listed(self.array.dtype)) is not None:
            lengths = [len(each) for each in part]
            return ak.unflatten(np.concatenate([*part, np.zeros(0, listed)]).astype(listed), lengths)
        if part.dtype.kind in "SUO":
            return ak.from_iter([each.decode() if isinstance(each, bytes) else str(each) for each in part])
        native = np.ascontiguousarray(part, part.dtype.newbyteorder("="))
        return ak.from_regular(ak.from_numpy(native), axis=None) if native.ndim > 1 else ak.from_numpy(native)


def _listed(dtype: Any) -> Any:
    """Return the type of the numbers of HDF5's lists of any length, None of all else."""
    listed = (dtype.metadata or {}).get("vlen")
    return listed if isinstance(listed, np.dtype) and listed.kind in _NUMBERS else None


def slabs(name: str, array: Any, names: Sequence[str] = ()) -> dict[str, Slab]:
    """Return the columns of an array (n_rows, ...), those of its last axis by their names or numbers.

    Fields of records are `name.field`; the last of three axes `name_0`, `name_1`, ... without names.
    """
    if array.dtype.names:
        fields = {f"{name}.{field}": Slab(array, field) for field in array.dtype.names}
        return {each: slab for each, slab in fields.items() if array.dtype[slab.feature].kind in _NUMBERS}
    if not array.shape or array.dtype.kind not in _NUMBERS + "SUO" or len(array.shape) > 3:
        return {}
    listed = _listed(array.dtype)
    # Tables of lists are not columns of jets, and h5py reads lists of the other byte order wrong.
    if listed is not None and (len(array.shape) > 1 or not listed.isnative):
        return {}
    if len(array.shape) > 1 and array.shape[-1] <= len(names):
        own = names[: array.shape[-1]]
        if again := next((each for each in own if own.count(each) > 1), None):
            raise DataError(f"dataset '{name}' names two of its columns '{again}'")
        return {each: Slab(array, index) for index, each in enumerate(own)}
    if len(array.shape) == 3:
        return {f"{name}_{index}": Slab(array, index) for index in range(array.shape[-1])}
    return {name: Slab(array)}


@dataclass(frozen=True)
class SlabFormat:
    """A format of files whose columns are slabs; `opened` opens one, and raises a DataError where it cannot."""

    opened: Callable[[str], AbstractContextManager[Mapping[str, Slab]]]

    def columns(self, spec: str) -> dict[str, str]:
        """Return the columns of a file with what they hold."""
        with self.opened(spec) as found:
            return {name: slab.kind for name, slab in found.items()}

    def entries(self, spec: str) -> int:
        """Return the number of rows of the longest column of a file."""
        with self.opened(spec) as found:
            return max((len(slab.array) for slab in found.values()), default=0)

    def iterate(self, spec: str, wanted: Sequence[str], *, n_rows: int | None = None) -> Iterator[Any]:
        """Yield the named columns of a file, as of `iterate`."""
        with self.opened(spec) as found:
            yield from iterate(found, wanted, spec=spec, n_rows=n_rows)


def iterate(found: Mapping[str, Slab], wanted: Sequence[str], *, spec: str, n_rows: int | None = None) -> Iterator[Any]:
    """Yield the named columns as awkward arrays of records, chunk by chunk.

    Raises:
        DataError: a column is missing, they differ in their numbers of rows, or there are none.
    """
    names = list(dict.fromkeys(wanted))
    trees.check_known(names, list(found), spec)
    arrays = {id(found[name].array): found[name].array for name in names}
    lengths = {name: len(found[name].array) for name in names}
    if len(set(lengths.values())) != 1:
        listed = ", ".join(f"'{name}' {length}" for name, length in lengths.items())
        raise DataError(f"columns of '{spec}' differ in their numbers of rows: {listed}")
    n_entries = next(iter(lengths.values()))
    if n_entries == 0:
        raise DataError(f"'{spec}' has no rows")
    stop = n_entries if n_rows is None else min(n_rows, n_entries)
    row_bytes = sum(math.prod(array.shape[1:]) * array.dtype.itemsize for array in arrays.values())
    step = max(1, int(CHUNK_BYTES // max(1, row_bytes)))
    for start in range(0, stop, step):
        with trees.sound(f"'{spec}' cannot be read"):
            parts = {key: array[start : min(start + step, stop)] for key, array in arrays.items()}
            columns = {name: found[name].of(parts[id(found[name].array)]) for name in names}
        yield ak.zip(columns, depth_limit=1)


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Some rows of the columns of `spec`: an awkward array of records, and their numbers in the file (n_jets,)."""

    columns: Any
    rows: NDArray[np.int64]
    spec: str

    def evaluate(self, texts: Iterable[str]) -> dict[str, Any]:
        """Return the values of columns and expressions, by their text."""
        return {text: expressions.evaluate(text, self.columns) for text in texts}

    def exploded(self, collection: str) -> "Chunk":
        """Return a row for each object of a collection: each entry of the lists `collection_*`, all else repeated.

        Raises:
            DataError: there are no such lists, or they differ in length.
        """
        of_it = [name for name in self.columns.fields if name.startswith(f"{collection}_")]
        lists = {name: self.columns[name] for name in of_it if self.columns[name].ndim > 1}
        if not lists:
            raise DataError(f"'{self.spec}' has no lists '{collection}_*' among the columns that are read")
        counts = branches.counts(lists, spec=self.spec, nested=True)
        rows = np.repeat(np.arange(len(counts)), counts)
        columns = {n: ak.flatten(lists[n]) if n in lists else self.columns[n][rows] for n in self.columns.fields}
        return Chunk(columns=ak.zip(columns, depth_limit=1), rows=self.rows[rows], spec=self.spec)

    def take(self, rows: NDArray[np.bool_] | slice) -> "Chunk":
        """Return the rows that a mask or a slice chooses."""
        return Chunk(columns=self.columns[rows], rows=self.rows[rows], spec=self.spec)


@contextmanager
def hdf5(spec: str) -> Iterator[dict[str, Slab]]:
    """Yield the columns of `file.h5`, or of `file.h5:group`.

    Raises:
        DataError: the file or the group is missing or damaged.
    """
    import h5py  # type: ignore[import-untyped]

    name, group = trees.split(spec)
    with trees.opened(name, "an HDF5 file, or a damaged one", lambda: h5py.File(name, "r")) as file:
        with trees.sound(f"'{spec}' cannot be read"):
            if group and not isinstance(file.get(group), h5py.Group):
                raise DataError(f"'{name}' has no group '{group}'")
            found = _slabs(file[group] if group else file)
        yield found


def _slabs(group: Any) -> dict[str, Slab]:
    import h5py

    found: dict[str, Slab] = {}
    datasets: dict[str, Any] = {}
    group.visititems(lambda name, each: datasets.update({name: each}) if isinstance(each, h5py.Dataset) else None)
    for name, dataset in datasets.items():  # nothing is followed that may lead out of the file, as links do
        if dataset.external or dataset.is_virtual:
            continue
        names = datasets.get(_NAMES.get(name, f"{name}Names"))
        if name not in {*_NAMES.values(), *(f"{each}Names" for each in datasets)}:
            given = [] if names is None else names[:]
            texts = [each.decode() if isinstance(each, bytes) else str(each) for each in given]
            found |= slabs(name, dataset, texts)
    return found
