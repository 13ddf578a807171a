"""IDX files, the format of MNIST: a few bytes of header, then plain big-endian numbers; nothing that could run."""

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.errors import DataError

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_BYTES = 2**30
_MAX_AXES = 4


def read(path: Path) -> NDArray[Any]:
    """Return the array of an IDX file, gzipped or not, in its own type and shape.

    Raises:
        DataError: the file is missing, is no IDX file, is cut short or runs on, or unpacks to more than 2**30 bytes.
    """
    try:
        with path.open("rb") as plain:
            zipped = plain.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as problem:
        raise DataError(f"'{path}' cannot be read: {problem}") from problem
    if len(content) > _MAX_BYTES:
        raise DataError(f"'{path}' holds more than {_MAX_BYTES} bytes")
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _TYPES or not 1 <= content[3] <= _MAX_AXES:
        raise DataError(f"'{path}' is no IDX file: it starts with {content[:4].hex() or 'nothing'}")
    kind, n_axes = np.dtype(_TYPES[content[2]]), content[3]
    start = 4 + 4 * n_axes
    if len(content) < start:
        raise DataError(f"'{path}' is cut short in its header")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", n_axes, 4))
    expected = math.prod(shape) * kind.itemsize
    if len(content) - start != expected:
        raise DataError(f"'{path}' promises {expected} bytes of shape {shape} and holds {len(content) - start}")
    return np.frombuffer(content, kind, offset=start).reshape(shape).astype(kind.newbyteorder("="))
