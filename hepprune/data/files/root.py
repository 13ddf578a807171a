"""ROOT trees read through uproot, in chunks; what is missing or damaged is refused by name."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hepprune.data import awkward as ak
from hepprune.data.files import trees
from hepprune.errors import DataError

_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_PROBED = 1000  # rows that tell how large a row is


def columns(spec: str) -> dict[str, str]:
    """Return the columns of the tree `file.root:path/to/tree` with their C++ types.

    Raises:
        DataError: the file or the tree cannot be read.
    """
    with trees.tree(spec) as (full, tree):
        found: dict[str, str] = {}
        for name, column in trees.columns(tree, full):
            with trees.sound(f"column '{name}' of '{full}' cannot be read"):
                found.setdefault(name, str(column.typename))
        return found


def entries(spec: str) -> int:
    """Return the number of rows of a tree.

    Raises:
        DataError: the file or the tree cannot be read.
    """
    with trees.tree(spec) as (full, tree), trees.sound(f"the tree of '{full}' cannot be read"):
        return int(tree.num_entries)


def tables(name: str) -> list[str]:
    """Return the paths of the trees of a file.

    Raises:
        DataError: the file cannot be read.
    """
    with trees.file(name) as opened:
        return trees.paths(opened, name)


def metadata(path: Path) -> dict[str, Any]:
    """Return what a production wrote beside its jets: versions, processes, cuts, seed.

    Raises:
        DataError: the file cannot be read or holds no metadata.
    """
    with trees.file(str(path)) as file, trees.sound(f"the metadata of '{path}' cannot be read"):
        if "metadata" not in file:
            raise DataError(f"'{path}' holds no metadata: it was not made by `hepprune data make`")
        value = json.loads(str(file["metadata"]))
        if not isinstance(value, dict):
            raise DataError(f"the metadata of '{path}' is not a JSON object: it was not made by `hepprune data make`")
        return value


def iterate(
    spec: str, columns: Sequence[str], *, step_size: str | int = "50 MB", n_rows: int | None = None
) -> Iterator[Any]:
    """Yield the named columns of the tree `file.root:path/to/tree` as awkward arrays of about `step_size`.

    A spec without a tree names the only one of the file. `step_size` is in rows, or in B, kB, MB or GB. With `n_rows`
    only the first rows are read.

    Raises:
        DataError: the file, the tree or a column is missing or damaged, or the tree is empty.
    """
    with trees.tree(spec) as (full, tree):
        found = trees.named(tree, list(dict.fromkeys(columns)), spec)
        with trees.sound(f"the tree of '{full}' cannot be read"):
            n_entries = int(tree.num_entries)
        if n_entries == 0:
            raise DataError(f"the tree of '{spec}' is empty")
        stop = n_entries if n_rows is None else min(n_rows, n_entries)
        step = step_size if isinstance(step_size, int) else _rows(found, step_size, min(stop, _PROBED), full)
        for start in range(0, stop, step):
            yield _chunk(found, start, min(start + step, stop), full)


def _rows(columns: Mapping[str, Any], size: str, n_probed: int, spec: str) -> int:
    number, unit = size.split()
    taken = _chunk(columns, 0, n_probed, spec).nbytes
    return max(1, int(float(number) * _UNITS[unit] * n_probed / max(taken, 1)))


def _chunk(columns: Mapping[str, Any], start: int, stop: int, spec: str) -> Any:
    """Return rows of columns, each read as it is: uproot looks names up again, and not all are found."""
    arrays = {}
    for name, column in columns.items():
        with trees.sound(f"column '{name}' of '{spec}' cannot be read"):
            arrays[name] = column.array(entry_start=start, entry_stop=stop, library="ak")
            if len(arrays[name]) != stop - start:
                raise DataError(f"column '{name}' of '{spec}' has {len(arrays[name])} of {stop - start} rows")
    return ak.zip(arrays, depth_limit=1)
