"""Parquet files, read in batches; what is missing in a column is refused with its number."""

from collections.abc import Iterator, Sequence
from typing import Any

from hepprune.data import awkward as ak
from hepprune.data.files import slabs, trees
from hepprune.errors import DataError, PrerequisiteError, explained


def columns(spec: str) -> dict[str, str]:
    """Return the columns of a Parquet file with their types.

    Raises:
        DataError: the file cannot be read.
        PrerequisiteError: pyarrow is not installed.
    """
    with _open(spec) as file:
        return {field.name: str(field.type) for field in file.schema_arrow}


def entries(spec: str) -> int:
    """Return the number of rows.

    Raises:
        DataError: the file cannot be read.
        PrerequisiteError: pyarrow is not installed.
    """
    with _open(spec) as file:
        return int(file.metadata.num_rows)


def iterate(spec: str, wanted: Sequence[str], *, n_rows: int | None = None) -> Iterator[Any]:
    """Yield the named columns of a Parquet file as awkward arrays.

    Raises:
        DataError: the file or a column is missing or damaged, lacks values, or there are no rows.
        PrerequisiteError: pyarrow is not installed.
    """
    names = list(dict.fromkeys(wanted))
    with _open(spec) as file:
        trees.check_known(names, file.schema_arrow.names, spec)
        left = file.metadata.num_rows if n_rows is None else min(n_rows, file.metadata.num_rows)
        if not left:
            raise DataError(f"'{spec}' has no rows")
        metadata = file.metadata
        size = sum(int(metadata.row_group(index).total_byte_size) for index in range(metadata.num_row_groups))
        batch_size = max(1, slabs.CHUNK_BYTES * int(metadata.num_rows) // max(size, 1))
        batches = file.iter_batches(batch_size=batch_size, columns=names)
        while left:
            with trees.sound(f"'{spec}' cannot be read"):
                batch = next(batches)[:left]
            left -= len(batch)
            yield _records(batch, names, spec)


def _records(batch: Any, names: Sequence[str], spec: str) -> Any:
    arrays = {}
    for name in names:
        with trees.sound(f"column '{name}' of '{spec}' cannot be read"):
            array = ak.from_arrow(batch[name])
            missing = sum(int(ak.sum(ak.is_none(array, axis=axis), axis=None)) for axis in range(array.ndim))
            if missing:
                raise DataError(f"column '{name}' of '{spec}' lacks {missing} values")
            rows = ak.drop_none(array, axis=0)
            flat = rows.ndim != 2  # of lists, what they hold is made of a type that lacks none too
            arrays[name] = rows if flat else ak.unflatten(ak.drop_none(ak.flatten(rows), axis=0), ak.num(rows))
    return ak.zip(arrays, depth_limit=1)


def _open(spec: str) -> Any:
    with explained(PrerequisiteError, "reading Parquet needs pyarrow: pip install 'hepprune[parquet]'", ImportError):
        import pyarrow.parquet as pq

    return trees.opened(spec, "a Parquet file, or a damaged one", lambda: pq.ParquetFile(spec, memory_map=True))
