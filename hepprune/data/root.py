"""ROOT trees read through uproot, in chunks, into jets; whatever cannot be used is refused by name."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.data import branches
from hepprune.data.jets import IS_FILLED, Jets
from hepprune.errors import DataError

_TREES = ("TTree", "ROOT::RNTuple")


def columns(spec: str) -> dict[str, str]:
    """Return the columns of the tree `file.root:path/to/tree` with their C++ types.

    Raises:
        DataError: the file or the tree cannot be read.
    """
    with _opened(spec) as tree:
        return {name: str(tree[name].typename) for name in tree.keys()}  # noqa: SIM118 (a tree is no dict)


def metadata(path: Path) -> dict[str, Any]:
    """Return what a production wrote beside its jets: versions, processes, cuts, seed.

    Raises:
        DataError: the file cannot be read or holds no metadata.
    """
    with _file(str(path)) as file:
        if "metadata" not in file:
            raise DataError(f"'{path}' holds no metadata: it was not made by `hepprune data make`")
        value: dict[str, Any] = json.loads(str(file["metadata"]))
        return value


def iterate(
    spec: str, columns: Sequence[str], *, step_size: str | int = "100 MB", n_rows: int | None = None
) -> Iterator[Any]:
    """Yield the named columns of the tree `file.root:path/to/tree` as awkward arrays of at most `step_size`.

    A spec without a tree names the only one of the file. With `n_rows` only the first rows are read.

    Raises:
        DataError: the file, the tree or a column is missing, or the tree is empty.
    """
    with _opened(spec) as tree:
        known = tree.keys()
        for name in columns:
            if name not in known:
                near = get_close_matches(name, known, n=3, cutoff=0.4) or sorted(known)[:8]
                raise DataError(f"'{spec}' has no column '{name}'; the nearest are: {', '.join(near)}")
        if tree.num_entries == 0:
            raise DataError(f"the tree of '{spec}' is empty")
        yield from tree.iterate(list(dict.fromkeys(columns)), step_size=step_size, entry_stop=n_rows, library="ak")


def read(
    spec: str,
    *,
    features: Sequence[str],
    classes: Sequence[str],
    label: str = "label",
    event: str | None = "event",
    weight: str | None = None,
    n_constituents: int | None = None,
    max_jets: int | None = None,
) -> Jets:
    """Read the jets of a tree with one row per jet.

    With `n_constituents` the features are jagged columns, cut or padded with zeros to (n_jets, n_constituents,
    n_features + 1); the last feature, `isfilled`, is 1 where a constituent is. Without an `event` column each jet
    is its own event; without a `weight` column each weighs 1. Only the first `max_jets` rows are read.

    Raises:
        DataError: anything is missing, empty, not finite, of the wrong kind, or labelled beyond `classes`.
    """
    scalars = [label, *(name for name in (event, weight) if name is not None)]
    blocks: dict[str, list[NDArray[Any]]] = {}
    for chunk in iterate(spec, [*features, *scalars], n_rows=max_jets):
        for name in scalars:
            blocks.setdefault(name, []).append(branches.numbers(chunk, name, spec=spec))
        blocks.setdefault("", []).append(branches.matrix(chunk, features, n_constituents=n_constituents, spec=spec))
    arrays = {name: np.concatenate(parts) for name, parts in blocks.items()}
    x, y = arrays[""], branches.labels(arrays[label], len(classes), where=f"column '{label}' of '{spec}'")
    names = tuple(features) if n_constituents is None else (*features, IS_FILLED)
    for index, name in enumerate(names):
        branches.check_finite(x[..., index], where=f"column '{name}' of '{spec}'")
    if weight is not None:
        branches.check_finite(arrays[weight], where=f"column '{weight}' of '{spec}'")
    return Jets(
        x=x,
        y=y,
        weight=np.ones(len(y), np.float32) if weight is None else arrays[weight].astype(np.float32),
        event=np.arange(len(y))
        if event is None
        else branches.integers(arrays[event], where=f"column '{event}' of '{spec}'"),
        feature_names=names,
        class_names=tuple(classes),
    )


@contextmanager
def _file(name: str) -> Iterator[Any]:
    import uproot

    if not Path(name).is_file():
        raise DataError(f"there is no file '{name}'")
    try:
        with uproot.open(name) as file:
            yield file
    except _damage() as problem:
        raise DataError(
            f"'{name}' is no ROOT file, or a damaged one: {str(problem).strip().splitlines()[0]}"
        ) from problem


def _damage() -> tuple[type[Exception], ...]:
    """Return what uproot and the decompressors raise when they meet bytes that make no sense."""
    import struct
    import zlib
    from lzma import LZMAError

    from uproot.deserialization import DeserializationError

    of_python = (OSError, ValueError, EOFError, LookupError, NotImplementedError, RecursionError)
    return (*of_python, struct.error, zlib.error, LZMAError, DeserializationError)


@contextmanager
def _opened(spec: str) -> Iterator[Any]:
    name, separator, path = spec.rpartition(":")
    if not separator:
        name, path = spec, ""
    with _file(name) as file:
        trees = file.keys(cycle=False, filter_classname=_TREES)
        if not path and len(trees) == 1:
            path = trees[0]
        if path not in trees:
            raise DataError(f"'{name}' has no tree '{path}'; it has: {', '.join(trees) or 'none'}")
        yield file[path]
