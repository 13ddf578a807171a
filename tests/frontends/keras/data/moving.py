"""Says whether what a model puts out can tell a right reader from a wrong one."""

import numpy as np
from numpy.typing import ArrayLike


def moving(outputs: ArrayLike) -> bool:
    """Return whether every output differs between jets, and most jets have outputs that no other one has."""
    rows = np.asarray(outputs).reshape(len(np.asarray(outputs)), -1)
    return bool(np.ptp(rows, axis=0).all() and len(np.unique(rows, axis=0)) > len(rows) // 2)
