"""Jets in `.npz` files: features x and classes y, or, as in folders of .npy files, one row per jet of each array."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.data.files import branches, slabs, trees
from hepprune.data.files.slabs import Slab
from hepprune.errors import DataError
from hepprune.files import arrays

_MAX_BYTES, _MAX_RATIO = 2**30, 20  # small files that unpack to more hold no jets
_MAX_CLASSES = 2**31


def read(path: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return features (n_jets, ...) and classes (n_jets,), as `classes` takes them.

    Raises:
        DataError: the file is missing, damaged or no .npz with x and y, there are no jets, or they are no numbers.
    """
    found = _unpacked(path, "an .npz with jets x and classes y")
    for name in ("x", "y"):
        if name not in found:
            names = ", ".join(sorted(found)) or "none"
            raise DataError(f"'{path}' is not an .npz with jets x and classes y: it lacks {name}, and has: {names}")
    x, y = features(found["x"], where=f"x of '{path}'"), classes(found["y"], where=f"y of '{path}'")
    if len(x) != len(y):
        raise DataError(f"x and y of '{path}' differ in their numbers of jets: {len(x)} and {len(y)}")
    return x, y


def features(values: NDArray[Any], *, where: str) -> NDArray[np.float32]:
    """Return features in 32 bits.

    Raises:
        DataError: they are not real, finite numbers, or not of one row for each jet.
    """
    if values.dtype.kind not in "biuf":
        raise DataError(f"{where} is '{values.dtype}' and must be real numbers")
    if values.ndim < 2 or not values.size:
        raise DataError(f"{where} has the shape {values.shape}; it needs one row of features for each jet")
    with np.errstate(over="ignore"):
        small = values.astype(np.float32)
    branches.check_finite(small, where=where)
    return small


def classes(values: NDArray[Any], *, where: str) -> NDArray[np.int64]:
    """Return one class index for each jet, from whole numbers of any type, a column of them, or one-hot rows.

    Raises:
        DataError: they are text, negative, fractions, or of another shape.
    """
    flat = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if values.dtype.kind not in "biuf":
        first = f", such as {values.ravel()[0]!s:.40}" if values.dtype.kind in "SU" and values.size else ""
        raise DataError(f"{where} is '{values.dtype}'{first}; number the classes from 0")
    if flat.ndim == 2 and ((flat == 0) | (flat == 1)).all() and (flat.sum(axis=1) == 1).all():
        return np.asarray(flat.argmax(axis=1), np.int64)
    if flat.ndim != 1:
        raise DataError(f"{where} has the shape {values.shape} and is neither one class for each jet nor one-hot")
    numbers = flat.astype(np.float64)  # whole ones are exact up to 2**53, and there are no more classes
    wrong = ~((numbers >= 0) & (numbers < _MAX_CLASSES) & (numbers == np.floor(numbers)))
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"{where} is {flat[row]} in row {row}; classes are whole numbers from 0")
    return flat.astype(np.int64)


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


def _unpacked(path: Path, what: str = "an .npz file, or a damaged one") -> dict[str, NDArray[Any]]:
    def unpack() -> dict[str, NDArray[Any]]:
        return arrays.read(path, max_bytes=max(_MAX_BYTES, _MAX_RATIO * path.stat().st_size))

    return dict(trees.opened(path, what, unpack))
