"""Arrays in one `.npz` file, of bounded size; whatever is raised on a damaged one is one sentence."""

import tokenize
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.errors import HeppruneError

DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError, ArithmeticError, AttributeError, EOFError, LookupError),
    *(MemoryError, OSError, RuntimeError, SyntaxError, SystemError, TypeError, ValueError),
)


def read(path: Path, *, max_bytes: int) -> dict[str, NDArray[Any]]:
    """Return the arrays of an `.npz` file by their names.

    Raises:
        HeppruneError: it is no such file, is damaged, unpacks to more than `max_bytes`, or holds Python objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > max_bytes:
                raise HeppruneError(f"it unpacks to more than {max_bytes} bytes")
        with warnings.catch_warnings(), np.load(path, allow_pickle=False) as found:
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            return {name: np.asarray(found[name]) for name in found.files}
    except DAMAGE as problem:
        raise HeppruneError(str(problem) or type(problem).__name__) from problem
