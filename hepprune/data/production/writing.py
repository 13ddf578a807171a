"""Jets written to a ROOT file that any uproot or ROOT reads, small enough to keep beside the code."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.data import awkward as ak
from hepprune.files import replacing

TREE = "Jets"
MANTISSA_BITS = 11
CONSTITUENTS = {"constituent": "n_constituents"}


def write(
    path: Path,
    columns: dict[str, NDArray[Any]],
    *,
    order: NDArray[np.intp],
    metadata: dict[str, Any],
    collections: Mapping[str, str] = CONSTITUENTS,
) -> None:
    """Write columns to the tree `Jets` of a ROOT file, rows in `order`, and `metadata` as JSON in the key `metadata`.

    Columns `<name>_*` of one of the `collections`, which name the columns that count them, hold the values of each row
    one row after the other, and become jagged branches. 32-bit floats are rounded to `MANTISSA_BITS` (a relative
    2**-12), which halves the file.
    """
    import uproot

    found = {name: count for name, count in collections.items() if count in columns}
    branches: dict[str, Any] = {}
    for name, column in columns.items():
        if name not in found.values() and name.partition("_")[0] not in found:
            branches[name] = round_mantissa(column)[order]
    for name, count in found.items():
        own = {each: column for each, column in columns.items() if each.startswith(f"{name}_")}
        fields = {each.removeprefix(f"{name}_"): round_mantissa(column) for each, column in own.items()}
        branches[name] = ak.unflatten(ak.zip(fields), columns[count])[order]
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
