"""A ledger's contents as flat tables: for people, for CSV, and for Parquet where pyarrow is installed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hepprune.errors import PrerequisiteError, ReportError, explained
from hepprune.files import replacing, write_csv
from hepprune.hardware.resources import RESOURCES, Estimate
from hepprune.synthesis.failures import Failure
from hepprune.synthesis.ledger import Record, existing

_VALUES = ("stage", "strategy", "tool", "version", "part", "clock_ns", "latency_cycles", "interval_cycles", "clock_met")
COLUMNS = ("design", "recorded", "kind", *_VALUES, *RESOURCES, "failure", "message", "exit_code")
_TYPES = (
    dict.fromkeys(COLUMNS, "string")
    | dict.fromkeys(("clock_ns", *RESOURCES), "float64")
    | dict.fromkeys(("latency_cycles", "interval_cycles", "exit_code"), "int64")
    | {"clock_met": "bool"}
)

LedgerRow = dict[str, object]


@dataclass(frozen=True)
class Written:
    """What was exported: the file and how many rows it has."""

    path: Path
    rows: int


def export(path: Path, out: Path) -> Written:
    """Write a ledger as a table, one row for each value.

    Raises:
        ReportError: there is no ledger, it is damaged, or `out` is neither .csv nor .parquet.
        PrerequisiteError: Parquet needs pyarrow, which is not installed.
    """
    writers = {".csv": _csv, ".parquet": _parquet}
    if out.suffix not in writers:
        raise ReportError(f"'{out}' is neither a .csv nor a .parquet file")
    with existing(path) as book:
        table = list(rows(book.records()))
    writers[out.suffix](table, out)
    return Written(out, len(table))


def rows(records: Iterable[Record]) -> Iterator[LedgerRow]:
    """Yield each value as one flat row with all columns, None where they do not apply."""
    for record in records:
        row: LedgerRow = dict.fromkeys(COLUMNS)
        row |= {"design": record.design, "recorded": record.recorded, "kind": type(record.value).__name__.lower()}
        row |= {name: getattr(record.value, name, None) for name in _VALUES}
        if isinstance(record.value, Failure):
            row |= {"failure": record.value.kind, "message": record.value.message, "exit_code": record.value.exit_code}
        else:
            row |= record.value.resources.known()
        if isinstance(record.value, Estimate):
            row["tool"] = "hepprune"
        yield row


def _csv(table: list[LedgerRow], out: Path) -> None:
    write_csv(out, COLUMNS, ({name: _harmless(value) for name, value in row.items()} for row in table))


def _harmless(value: object) -> object:
    """Return a cell that a spreadsheet takes for text; one that begins like a formula, out of a log, would be run."""
    return f"'{value}" if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"} else value


def _parquet(table: list[LedgerRow], out: Path) -> None:
    lacking = "a .parquet file needs pyarrow: pip install 'hepprune[parquet]', or give .csv"
    with explained(PrerequisiteError, lacking, ImportError):
        import pyarrow as pa
        from pyarrow import parquet
    unfit = "a value does not fit its column in Parquet, write .csv:"
    with explained(ReportError, unfit, pa.ArrowException, OverflowError):
        columns = {name: pa.array([row[name] for row in table], kind) for name, kind in _TYPES.items()}
    with replacing(out) as temporary:
        parquet.write_table(pa.table(columns), temporary)
