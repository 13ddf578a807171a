"""Branches of a ROOT tree, as awkward arrays, turned into arrays of numbers or refused by name."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.errors import DataError


def matrix(chunk: Any, features: Sequence[str], *, n_constituents: int | None, spec: str) -> NDArray[np.float32]:
    """Return features as (n_jets, n_features), or (n_jets, n_constituents, n_features + 1) with a last one `isfilled`.

    Raises:
        DataError: a feature is of the wrong kind, or the features differ in their numbers of constituents.
    """
    with np.errstate(over="ignore"):  # too large for 32 bits becomes infinite, which is refused by name
        if n_constituents is None:
            return np.stack([numbers(chunk, name, spec=spec).astype(np.float32) for name in features], axis=-1)
        padded = [_padded(chunk, name, n_constituents, spec=spec).astype(np.float32) for name in features]
    return np.stack([*padded, _is_filled(chunk, features, n_constituents, spec=spec)], axis=-1)


def numbers(chunk: Any, name: str, *, spec: str) -> NDArray[Any]:
    """Return a column with one number per row.

    Raises:
        DataError: it holds lists, records or text.
    """
    import awkward as ak

    kind = ak.type(chunk[name]).content
    if not isinstance(kind, ak.types.NumpyType):
        hint = "; jagged columns are read with n_constituents" if _is_jagged(kind) else ""
        raise DataError(f"column '{name}' of '{spec}' is '{kind}' and not one number per row{hint}")
    return np.asarray(ak.to_numpy(chunk[name]))


def _padded(chunk: Any, name: str, n_constituents: int, *, spec: str) -> NDArray[Any]:
    import awkward as ak

    kind = ak.type(chunk[name]).content
    if not _is_jagged(kind):
        raise DataError(
            f"column '{name}' of '{spec}' is '{kind}' and not a list of numbers per row, as constituents are"
        )
    padded = ak.pad_none(chunk[name], n_constituents, axis=1, clip=True)
    return np.asarray(ak.to_numpy(ak.fill_none(padded, 0)))


def _is_jagged(kind: Any) -> bool:
    import awkward as ak

    return isinstance(kind, ak.types.ListType | ak.types.RegularType) and isinstance(kind.content, ak.types.NumpyType)


def _is_filled(chunk: Any, features: Sequence[str], n_constituents: int, *, spec: str) -> NDArray[np.float32]:
    import awkward as ak

    counts = ak.to_numpy(ak.num(chunk[features[0]]))
    for name in features[1:]:
        if (ak.to_numpy(ak.num(chunk[name])) != counts).any():
            raise DataError(f"columns '{features[0]}' and '{name}' of '{spec}' differ in their numbers of constituents")
    filled: NDArray[np.bool_] = np.arange(n_constituents) < counts[:, None]
    return filled.astype(np.float32)


def check_finite(values: NDArray[Any], *, where: str) -> None:
    """Refuse NaN and infinity.

    Raises:
        DataError: names the place, how many values, and the first row.
    """
    bad = ~np.isfinite(values)
    if bad.any():
        first = int(bad.reshape(len(bad), -1).any(axis=1).argmax())
        raise DataError(f"{where} has {int(bad.sum())} values that are not finite, the first in row {first}")


def integers(values: NDArray[Any], *, where: str) -> NDArray[np.int64]:
    """Return integers of any width as 64 bits.

    Raises:
        DataError: the values are not integers.
    """
    if values.dtype.kind not in "iub":
        raise DataError(f"{where} is '{values.dtype}' and must be an integer")
    return values.astype(np.int64)


def labels(values: NDArray[Any], n_classes: int, *, where: str) -> NDArray[np.int64]:
    """Return class indices.

    Raises:
        DataError: a value is no integer or beyond the classes.
    """
    indices = integers(values, where=where)
    bad = (indices < 0) | (indices >= n_classes)
    if bad.any():
        row = int(bad.argmax())
        raise DataError(
            f"{where} is {indices[row]} in row {row}, beyond the {n_classes} classes (0 to {n_classes - 1})"
        )
    return indices
