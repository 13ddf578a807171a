"""Branches of a ROOT tree, as awkward arrays, turned into arrays of numbers or refused by name."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.data import awkward as ak
from hepprune.errors import DataError


def matrix(
    columns: Mapping[str, Any], *, n_constituents: int | None, is_filled: bool, spec: str
) -> NDArray[np.float32]:
    """Return features as (n_jets, n_features), or as (n_jets, n_constituents, n_features) with a last one `isfilled`.

    Raises:
        DataError: a feature is of the wrong kind, or the features differ in their numbers of constituents.
    """
    with np.errstate(over="ignore"):  # too large for 32 bits becomes infinite, which is refused by name
        if n_constituents is None:
            return np.stack([numbers(columns, name, spec=spec).astype(np.float32) for name in columns], axis=-1)
        filled = np.arange(n_constituents) < counts(columns, spec=spec)[:, None]
        clipped = [ak.pad_none(values, n_constituents, axis=1, clip=True) for values in columns.values()]
        padded = [np.asarray(ak.to_numpy(ak.fill_none(values, 0))).astype(np.float32) for values in clipped]
    return np.stack([*padded, *([filled.astype(np.float32)] if is_filled else [])], axis=-1)


def flattened(columns: Mapping[str, Any], *, spec: str) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
    """Return the number of constituents of each jet, and the values of each column one jet after the other.

    Raises:
        DataError: a column holds no lists of numbers, or the columns differ in their numbers of constituents.
    """
    n_each = counts(columns, spec=spec)
    return n_each, {name: np.asarray(ak.to_numpy(ak.flatten(values))) for name, values in columns.items()}


def numbers(columns: Mapping[str, Any], name: str, *, spec: str) -> NDArray[Any]:
    """Return a column with one number per row.

    Raises:
        DataError: it holds lists, records or text.
    """
    kind = ak.type(columns[name]).content
    if not _is_number(kind):
        hint = "; jagged columns are read with n_constituents" if _is_jagged(kind) else ""
        raise DataError(f"column '{name}' of '{spec}' is '{kind}' and not one number per row{hint}")
    return np.asarray(ak.to_numpy(columns[name]))


def _is_jagged(kind: Any) -> bool:
    lists = isinstance(kind, ak.types.ListType | ak.types.RegularType) and "__array__" not in kind.parameters
    return lists and _is_number(kind.content)


def _is_number(kind: Any) -> bool:
    """Return whether values are numbers or yes and no: times are none."""
    return isinstance(kind, ak.types.NumpyType) and str(kind.primitive).startswith(("bool", "int", "uint", "float"))


def leaf(values: Any) -> str | None:
    """Return the type of the numbers in an array, or in its lists, or "string"; None where it holds anything else."""
    kind = ak.type(values)
    while isinstance(kind, ak.types.ArrayType | ak.types.ListType | ak.types.RegularType):
        if isinstance(kind, ak.types.ListType) and kind.parameters.get("__array__") == "string":
            return "string"
        kind = kind.content
    return str(kind.primitive) if _is_number(kind) else None


def counts(columns: Mapping[str, Any], *, spec: str, nested: bool = False) -> NDArray[np.int64]:
    """Return the number of constituents of each row, the same in all columns; `nested` ones may be lists or texts.

    Raises:
        DataError: a column holds no lists of numbers, or two differ in their numbers.
    """
    found: dict[str, NDArray[np.int64]] = {}
    for name, values in columns.items():
        kind = ak.type(values).content
        if not (_is_jagged(kind) or (nested and (values.ndim > 2 or str(kind) == "var * string"))):
            raise DataError(f"column '{name}' of '{spec}' is '{kind}' and not a list of numbers per row")
        found[name] = np.asarray(ak.to_numpy(ak.num(values)))
        first = next(iter(found))
        if (found[name] != found[first]).any():
            raise DataError(f"columns '{first}' and '{name}' of '{spec}' differ in their numbers of constituents")
    return found[next(iter(found))]


def check_finite(values: NDArray[Any], *, where: str, rows: NDArray[Any] | None = None) -> None:
    """Refuse NaN and infinity.

    Raises:
        DataError: names the place, how many values, and the first row, numbered by `rows`.
    """
    bad = ~np.isfinite(values)
    if bad.any():
        first = int(bad.reshape(len(bad), -1).any(axis=1).argmax())
        raise DataError(f"{where} has {bad.sum()} values that are not finite, the first in row {_row(first, rows)}")


def _row(index: int, rows: NDArray[Any] | None) -> int:
    return index if rows is None else int(rows[index])


def integers(values: NDArray[Any], *, where: str) -> NDArray[np.int64]:
    """Return integers of any width as 64 bits.

    Raises:
        DataError: the values are not integers.
    """
    if values.dtype.kind not in "iub":
        raise DataError(f"{where} is '{values.dtype}' and must be an integer")
    if values.dtype == np.uint64 and (values >= 2**63).any():
        raise DataError(f"{where} has {values.max()}, beyond the 63 bits that whole numbers have here")
    return values.astype(np.int64)


def label_values(columns: Mapping[str, Any], name: str, *, spec: str) -> NDArray[Any]:
    """Return what says which class a row is of: a number, text, or a list as long as that of every other row.

    Raises:
        DataError: it is none of these.
    """
    values = columns[name]
    if leaf(values) == "string" and values.ndim == 1:
        return np.asarray(ak.to_numpy(values))
    if _is_jagged(ak.type(values).content) and len(set(ak.to_numpy(ak.num(values)).tolist())) == 1:
        return np.asarray(ak.to_numpy(ak.to_regular(values)))
    return numbers(columns, name, spec=spec)


def labels(
    values: NDArray[Any], classes: Sequence[str], *, where: str, rows: NDArray[Any] | None = None
) -> NDArray[np.int64]:
    """Return class indices, of numbers, of the classes' names, or of one-hot rows (n_jets, n_classes).

    Raises:
        DataError: a value is beyond the classes, or none of them.
    """
    if values.ndim == 2:
        return _one_hot(values, len(classes), where=where, rows=rows)
    if values.dtype.kind == "U":
        return _named(values, classes, where=where, rows=rows)
    whole = values.dtype.kind == "f" and bool((values == np.floor(values)).all())
    indices = integers(values.astype(np.int64) if whole else values, where=where)
    bad = (indices < 0) | (indices >= len(classes))
    if bad.any():
        first = int(bad.argmax())
        known = f"the {len(classes)} classes (0 to {len(classes) - 1})"
        raise DataError(f"{where} is {indices[first]} in row {_row(first, rows)}, beyond {known}")
    return indices


def _named(values: NDArray[Any], classes: Sequence[str], *, where: str, rows: NDArray[Any] | None) -> NDArray[np.int64]:
    found, places = np.unique(values, return_inverse=True)
    for name in found:
        if name not in classes:
            first = int((values == name).argmax())
            raise DataError(f"{where} is '{name}' in row {_row(first, rows)}, none of the classes {', '.join(classes)}")
    return np.array([list(classes).index(name) for name in found], np.int64)[places]


def _one_hot(values: NDArray[Any], n_classes: int, *, where: str, rows: NDArray[Any] | None) -> NDArray[np.int64]:
    if values.shape[1] != n_classes:
        raise DataError(f"{where} has {values.shape[1]} values for each jet, and there are {n_classes} classes")
    bad = ~(((values == 0) | (values == 1)).all(axis=1) & (values.sum(axis=1) == 1))
    if bad.any():
        first = int(bad.argmax())
        listed = ", ".join(f"{value:g}" for value in values[first].astype(float))
        raise DataError(f"{where} is {listed} in row {_row(first, rows)}, and not 1 for one class and 0 for all others")
    return np.asarray(values.argmax(axis=1), np.int64)
