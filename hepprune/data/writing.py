"""Jets written to a ROOT file that any uproot or ROOT reads, small enough to keep beside the code."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.files import replacing

TREE = "Jets"
MANTISSA_BITS = 11


def write(path: Path, columns: dict[str, NDArray[Any]], *, order: NDArray[np.intp], metadata: dict[str, Any]) -> None:
    """Write columns to the tree `Jets` of a ROOT file, rows in `order`, and `metadata` as JSON in the key `metadata`.

    `constituent_*` columns hold `n_constituents` values of each row, one row after the other, and become jagged
    branches. 32-bit floats are rounded to `MANTISSA_BITS` (a relative 2**-12), which halves the file.
    """
    import awkward as ak
    import uproot

    jagged = {name: column for name, column in columns.items() if name.startswith("constituent_")}
    counts = columns.get("n_constituents")
    branches: dict[str, Any] = {}
    for name, column in columns.items():
        if name not in jagged and name != "n_constituents":
            branches[name] = round_mantissa(column)[order]
    if counts is not None:
        fields = {name.removeprefix("constituent_"): round_mantissa(column) for name, column in jagged.items()}
        branches["constituent"] = ak.unflatten(ak.zip(fields), counts)[order]
    with replacing(path) as temporary, uproot.recreate(temporary, compression=uproot.LZMA(9)) as file:
        tree = file.mktree(TREE, {name: ak.type(branch).content for name, branch in branches.items()})
        tree.extend(branches)
        file["metadata"] = json.dumps(metadata)


def round_mantissa(values: NDArray[Any]) -> NDArray[Any]:
    """Return 32-bit floats rounded to the nearest with `MANTISSA_BITS` bits of mantissa; other types as they are."""
    if values.dtype != np.float32:
        return values
    dropped = 23 - MANTISSA_BITS
    bits = values.view(np.uint32) + np.uint32(1 << (dropped - 1))
    return (bits & ~np.uint32((1 << dropped) - 1)).view(np.float32)
