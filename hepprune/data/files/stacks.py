"""Folders of .npy files and .npz files: an array with one row per jet is a column, or one for each of its features."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hepprune import arrays
from hepprune.data.files import slabs, trees
from hepprune.data.files.slabs import Slab
from hepprune.errors import DataError


def columns(spec: str) -> dict[str, str]:
    """Return the columns of a folder of .npy files, or of an .npz file, with what they hold.

    Raises:
        DataError: it cannot be read.
    """
    return {name: slab.kind for name, slab in _slabs(Path(spec)).items()}


def entries(spec: str) -> int:
    """Return the number of rows of the longest array.

    Raises:
        DataError: it cannot be read.
    """
    return slabs.entries(_slabs(Path(spec)))


def iterate(spec: str, wanted: Sequence[str], *, n_rows: int | None = None) -> Iterator[Any]:
    """Yield the named columns as awkward arrays.

    Raises:
        DataError: it cannot be read, a column is missing, they differ in length, or there are no rows.
    """
    return slabs.iterate(_slabs(Path(spec)), wanted, spec=spec, n_rows=n_rows)


def _slabs(path: Path) -> dict[str, Slab]:
    found = _mapped(path) if path.is_dir() else _unpacked(path)
    return {each: slab for name, array in found.items() for each, slab in slabs.slabs(name, array).items()}


def _mapped(folder: Path) -> dict[str, Any]:
    """Return the arrays of a folder, which stay on disk until rows of them are asked for."""
    files = sorted(folder.glob("*.npy"))
    if not files:
        raise DataError(f"the folder '{folder}' has no .npy files")
    found = {}
    for path in files:
        with trees.sound(f"'{path}' is no .npy file, or a damaged one"):
            found[path.stem] = np.load(path, mmap_mode="r", allow_pickle=False)
    return found


def _unpacked(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"there is no file '{path}'")
    with trees.sound(f"'{path}' is no .npz file, or a damaged one"):
        return dict(arrays.read(path, max_bytes=max(2**30, 20 * path.stat().st_size)))
