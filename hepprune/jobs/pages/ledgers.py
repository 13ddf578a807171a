"""The page of a ledger: every design, and every value recorded of it."""

from pathlib import Path

from hepprune.report.page import Cell, Page, PageSection, Table
from hepprune.synthesis import exchange
from hepprune.synthesis.ledger import Ledger

_SHOWN = ("recorded", "design", "kind", "stage", "strategy", "tool", "part", "clock_ns", "lut", "ff", "dsp", "bram18")
_COLUMNS = (*_SHOWN, "latency_cycles", "interval_cycles", "failure")


def page(path: Path) -> Page:
    """Return the page of a ledger.

    Raises:
        ReportError: there is none, or it is damaged.
    """
    designs = exchange.designs(path)
    with Ledger(path) as book:
        values = list(exchange.rows(book.records()))
    measured = sum(design.measurements for design in designs)
    known: list[list[Cell]] = [
        [d.description, d.key, d.recorded, d.estimates, d.measurements, d.failures] for d in designs
    ]
    columns = ("design", "key", "recorded (UTC)", "estimates", "measurements", "failures")
    return Page(
        title=f"Ledger {path.name}",
        verdict=f"{len(designs):,} designs, {measured:,} measurements",
        sections=(
            PageSection(title="Designs", tables=[Table(caption="Oldest first", columns=columns, rows=known)]),
            PageSection(title="Values", tables=[_values(values)]),
        ),
    )


def _values(values: list[exchange.Row]) -> Table:
    rows: list[list[Cell]] = [[_cell(value[name]) for name in _COLUMNS] for value in values]
    return Table(caption="Estimates, measurements and failures", columns=_COLUMNS, rows=rows)


def _cell(value: object) -> Cell:
    return None if value is None else float(value) if isinstance(value, int | float) else str(value)
