"""ROOT trees read through uproot, in chunks, into jets; whatever cannot be used is refused by name."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.data import branches, trees
from hepprune.data.jets import IS_FILLED, Jets
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


def metadata(path: Path) -> dict[str, Any]:
    """Return what a production wrote beside its jets: versions, processes, cuts, seed.

    Raises:
        DataError: the file cannot be read or holds no metadata.
    """
    with trees.file(str(path)) as file, trees.sound(f"the metadata of '{path}' cannot be read"):
        if "metadata" not in file:
            raise DataError(f"'{path}' holds no metadata: it was not made by `hepprune data make`")
        value: dict[str, Any] = json.loads(str(file["metadata"]))
        return value


def iterate(
    spec: str, columns: Sequence[str], *, step_size: str | int = "100 MB", n_rows: int | None = None
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
    """Return how many rows of these columns take that size."""
    number, unit = size.split()
    taken = _chunk(columns, 0, n_probed, spec).nbytes
    return max(1, int(float(number) * _UNITS[unit] * n_probed / max(taken, 1)))


def _chunk(columns: Mapping[str, Any], start: int, stop: int, spec: str) -> Any:
    """Return rows of columns, each read as it is: uproot looks names up again, and not all are found."""
    import awkward as ak

    arrays = {}
    for name, column in columns.items():
        with trees.sound(f"column '{name}' of '{spec}' cannot be read"):
            arrays[name] = column.array(entry_start=start, entry_stop=stop, library="ak")
            if len(arrays[name]) != stop - start:
                raise DataError(f"column '{name}' of '{spec}' has {len(arrays[name])} of {stop - start} rows")
    return ak.zip(arrays, depth_limit=1)


def read(
    spec: str,
    *,
    features: Sequence[str],
    classes: Sequence[str] = (),
    label: str | None = "label",
    targets: Sequence[str] = (),
    event: str | None = "event",
    weight: str | None = None,
    n_constituents: int | None = None,
    max_jets: int | None = None,
) -> Jets:
    """Read the jets of a tree with one row per jet.

    With `n_constituents` the features are jagged columns, cut or padded with zeros to (n_jets, n_constituents,
    n_features + 1); the last feature, `isfilled`, is 1 where a constituent is. Without a `label` column every jet is
    of class 0, without an `event` column its own event; without a `weight` column it weighs 1. `targets` are columns
    of numbers to be met. Only the first `max_jets` rows are read.

    Raises:
        DataError: anything is missing, empty, not finite, of the wrong kind, or labelled beyond `classes`.
    """
    scalars = list(dict.fromkeys(name for name in (label, event, weight, *targets) if name is not None))
    blocks: dict[str, list[NDArray[Any]]] = {}
    for chunk in iterate(spec, [*features, *scalars], n_rows=max_jets):
        for name in scalars:
            blocks.setdefault(name, []).append(branches.numbers(chunk, name, spec=spec))
        blocks.setdefault("", []).append(branches.matrix(chunk, features, n_constituents=n_constituents, spec=spec))
    arrays = {name: np.concatenate(parts) for name, parts in blocks.items()}
    x, y = arrays[""], np.zeros(len(arrays[""]), np.int64)
    if label is not None:
        y = branches.labels(arrays[label], len(classes), where=f"column '{label}' of '{spec}'")
    names = tuple(features) if n_constituents is None else (*features, IS_FILLED)
    for index, name in enumerate(names):
        branches.check_finite(x[..., index], where=f"column '{name}' of '{spec}'")
    for name in (*targets, *(() if weight is None else (weight,))):
        branches.check_finite(_narrowed(arrays[name]), where=f"column '{name}' of '{spec}'")
    return Jets(
        x=x,
        y=y,
        weight=np.ones(len(y), np.float32) if weight is None else _narrowed(arrays[weight]),
        event=np.arange(len(y))
        if event is None
        else branches.integers(arrays[event], where=f"column '{event}' of '{spec}'"),
        feature_names=names,
        class_names=tuple(classes),
        targets=np.stack([_narrowed(arrays[name]) for name in targets], axis=-1)
        if targets
        else np.zeros((0, 0), np.float32),
    )


def _narrowed(values: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # too large for 32 bits becomes infinite, which is refused by name
        return values.astype(np.float32)
