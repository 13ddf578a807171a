"""Folders of .npy files and .npz files: an array with one row per jet is a column, or one for each of its features."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hepprune.data.files import slabs, trees
from hepprune.data.files.slabs import Slab
from hepprune.errors import DataError
from hepprune.files import arrays


@contextmanager
def opened(spec: str) -> Iterator[dict[str, Slab]]:
    """Yield the columns of a folder of .npy files, or of an .npz file.

    Raises:
        DataError: it is missing or damaged.
    """
    found = _mapped(Path(spec)) if Path(spec).is_dir() else _unpacked(Path(spec))
    yield {each: slab for name, array in found.items() for each, slab in slabs.slabs(name, array).items()}


def _mapped(folder: Path) -> dict[str, Any]:
    """Return the arrays of a folder, which stay on disk until rows of them are asked for."""
    files = sorted(folder.glob("*.npy"))
    if not files:
        raise DataError(f"the folder '{folder}' has no .npy files")
    found = {}
    for path in files:
        with trees.sound(f"'{path}' is not a .npy file, or a damaged one"):
            found[path.stem] = np.load(path, mmap_mode="r", allow_pickle=False)
    return found


def _unpacked(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"there is no file '{path}'")
    with trees.sound(f"'{path}' is not an .npz file, or a damaged one"):
        return dict(arrays.read(path, max_bytes=max(2**30, 20 * path.stat().st_size)))
