"""The page of a result: what a trigger review is shown of a build, a study or a ledger."""

from pathlib import Path

from hepprune.errors import ReportError
from hepprune.jobs.pages import builds, studies
from hepprune.report import descent
from hepprune.report.page import Cell, Page, PageSection, Table, cell
from hepprune.synthesis import exchange
from hepprune.synthesis.ledger import existing

_LEDGERS = (".sqlite", ".db")
_SHOWN = ("recorded", "design", "kind", "stage", "strategy", "tool", "part", "clock_ns", "lut", "ff", "dsp", "bram18")
_COLUMNS = (*_SHOWN, "latency_cycles", "interval_cycles", "failure")


def of(path: Path) -> Page:
    """Return the page of a build, a study or a ledger.

    Raises:
        ReportError: there is none of them at that path, or it is damaged.
    """
    if path.suffix in _LEDGERS:
        return _ledger(path)
    for name, page in (("summary.json", builds.page), ("study.json", studies.page)):
        if (path / name).is_file():
            return page(path)
    if descent.is_alone(path):
        raise ReportError(f"'{path}' holds a front, of which there is no page: its table is {descent.FILE} there")
    raise ReportError(
        f"'{path}' holds no result: give the build/ of a run (with summary.json), the folder of a study (with "
        "study.json) or a ledger (.sqlite)"
    )


def _ledger(path: Path) -> Page:
    with existing(path) as book:
        designs, values = book.designs(), list(exchange.rows(book.records()))
    measured = sum(design.measurements for design in designs)
    known: list[list[Cell]] = [
        [d.description, d.key, d.recorded, d.estimates, d.measurements, d.failures] for d in designs
    ]
    columns = ("design", "key", "recorded (UTC)", "estimates", "measurements", "failures")
    rows: list[list[Cell]] = [[cell(value[name]) for name in _COLUMNS] for value in values]
    return Page(
        title=f"Ledger {path.name}",
        verdict=f"{len(designs):,} designs, {measured:,} measurements",
        sections=(
            PageSection(title="Designs", tables=[Table(caption="Oldest first", columns=columns, rows=known)]),
            PageSection(
                title="Values",
                tables=[Table(caption="Estimates, measurements and failures", columns=_COLUMNS, rows=rows)],
            ),
        ),
    )
