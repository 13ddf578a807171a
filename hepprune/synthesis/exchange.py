"""A ledger's contents as flat tables: for people, for CSV, and for Parquet where pandas and pyarrow are installed."""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from hepprune.errors import ReportError
from hepprune.files import replacing, write_text
from hepprune.hardware.resources import RESOURCES, Estimate
from hepprune.synthesis.failures import Failure
from hepprune.synthesis.ledger import Design, Ledger, Record

_VALUES = ("stage", "strategy", "tool", "version", "part", "clock_ns", "latency_cycles", "interval_cycles", "clock_met")
COLUMNS = ("design", "recorded", "kind", *_VALUES, *RESOURCES, "failure", "message", "exit_code")

Row = dict[str, object]


@dataclass(frozen=True)
class Written:
    """What was exported: the file, its rows, and why it is not what was asked for, if so."""

    path: Path
    rows: int
    note: str | None = None


def designs(path: Path) -> list[Design]:
    """Return the designs of a ledger, oldest first.

    Raises:
        ReportError: there is no ledger, or it is damaged.
    """
    with _opened(path) as book:
        return book.designs()


def design(path: Path, beginning: str) -> tuple[Design, list[Record]]:
    """Return the design whose key begins so, with all its values.

    Raises:
        ReportError: there is no ledger, or no or more than one such design in it.
    """
    with _opened(path) as book:
        found = book.design(beginning)
        return found, list(book.records(found.key))


def export(path: Path, out: Path) -> Written:
    """Write a ledger as a table, one row for each value; Parquet needs pandas and pyarrow, without them it is CSV.

    Raises:
        ReportError: there is no ledger, it is damaged, or `out` is neither .csv nor .parquet.
    """
    if out.suffix not in {".csv", ".parquet"}:
        raise ReportError(f"'{out}' is neither a .csv nor a .parquet file")
    with _opened(path) as book:
        table = list(rows(book.records()))
    if out.suffix == ".csv":
        return _csv(table, out)
    if lacking := [name for name in ("pandas", "pyarrow") if find_spec(name) is None]:
        note = f"{' and '.join(lacking)} not installed, so '{out.name}' was written as CSV"
        return _csv(table, out.with_suffix(".csv"), note)
    return _parquet(table, out)


def rows(records: Iterable[Record]) -> Iterator[Row]:
    """Yield each value as one flat row with all columns, None where they do not apply."""
    for record in records:
        row: Row = dict.fromkeys(COLUMNS)
        row |= {"design": record.design, "recorded": record.recorded, "kind": type(record.value).__name__.lower()}
        row |= {name: getattr(record.value, name, None) for name in _VALUES}
        if isinstance(record.value, Failure):
            row |= {"failure": record.value.kind, "message": record.value.message, "exit_code": record.value.exit_code}
        else:
            row |= record.value.resources.known()
        if isinstance(record.value, Estimate):
            row["tool"] = "hepprune"
        yield row


def _opened(path: Path) -> Ledger:
    if not path.is_file():
        raise ReportError(f"there is no ledger '{path}'")
    return Ledger(path)


def _csv(table: list[Row], out: Path, note: str | None = None) -> Written:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return Written(write_text(out, text.getvalue()), len(table), note)


def _parquet(table: list[Row], out: Path) -> Written:
    pandas = import_module("pandas")  # no dependency of hepprune
    with replacing(out) as temporary:
        pandas.DataFrame(table, columns=list(COLUMNS)).to_parquet(temporary, index=False)
    return Written(out, len(table))
