"""Hand-written figures, on which lottery tickets were first drawn: 8x8 from scikit-learn, 28x28 from MNIST's files."""

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.errors import DataError, PrerequisiteError, explained

# (x, y) pairs: pixels between 0 and 1 (n_images, n_pixels) and figures 0 to 9 (n_images,)
Images = tuple[NDArray[Any], NDArray[Any]]
_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_BYTES = 2**30
_MAX_AXES = 4


def digits() -> tuple[Images, Images]:
    """Return 1,257 of scikit-learn's digits to train on and the 540 others to test on, always the same.

    Raises:
        PrerequisiteError: scikit-learn is not installed.
    """
    with explained(PrerequisiteError, "the digits need scikit-learn: pip install 'hepprune[digits]'", ImportError):
        from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    train, test = order[:1257], order[1257:]
    return (x[train] / 16, y[train]), (x[test] / 16, y[test])


def mnist(folder: Path) -> tuple[Images, Images]:
    """Return MNIST's 60,000 training and 10,000 test images from its four IDX files, gzipped or not.

    Raises:
        DataError: a file is missing, damaged, or holds no images or not as many labels.
    """
    return _pair(folder, "train"), _pair(folder, "t10k")


def _pair(folder: Path, part: str) -> Images:
    x, y = (idx_array(_find(folder, f"{part}-{name}")) for name in ("images-idx3", "labels-idx1"))
    if x.ndim != 3 or y.ndim != 1 or len(x) != len(y) or not len(x):
        raise DataError(f"'{folder}': images of shape {x.shape} do not go with labels of shape {y.shape}")
    if x.dtype != np.uint8 or int(y.min()) < 0 or int(y.max()) > 9:
        raise DataError(f"'{folder}': images are bytes and labels lie between 0 and 9; these do not")
    return x.reshape(len(x), -1) / np.float32(255), y.astype(np.int64)


def _find(folder: Path, name: str) -> Path:
    """Return the file of that name, under either of the spellings in which it is handed around."""
    stem, _, kind = name.rpartition("-")
    tried = [folder / f"{stem}{dot}{kind}-ubyte{end}" for dot in ("-", ".") for end in ("", ".gz")]
    for path in tried:
        if path.is_file():
            return path
    raise DataError(f"no MNIST file '{tried[0].name}' (or .gz) in '{folder}'")


def idx_array(path: Path) -> NDArray[Any]:
    """Return the array of an IDX file, gzipped or not, in its own type and shape.

    Raises:
        DataError: the file is missing, is not an IDX file, is cut short or runs on, or unpacks to more than 1 GiB.
    """
    with explained(DataError, f"'{path}' cannot be read:", OSError, EOFError, zlib.error):
        with path.open("rb") as plain:
            zipped = plain.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise DataError(f"'{path}' holds more than {_MAX_BYTES} bytes")
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _TYPES or not 1 <= content[3] <= _MAX_AXES:
        raise DataError(f"'{path}' is not an IDX file: it starts with {content[:4].hex() or 'nothing'}")
    kind, n_axes = np.dtype(_TYPES[content[2]]), content[3]
    start = 4 + 4 * n_axes
    if len(content) < start:
        raise DataError(f"'{path}' is cut short in its header")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", n_axes, 4))
    expected = math.prod(shape) * kind.itemsize
    if len(content) - start != expected:
        raise DataError(f"'{path}' promises {expected} bytes of shape {shape} and holds {len(content) - start}")
    return np.frombuffer(content, kind, offset=start).reshape(shape).astype(kind.newbyteorder("="))
