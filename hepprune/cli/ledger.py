"""Commands on a ledger: what is in it, one design, a table for other programs, another ledger taken over."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from typer import Argument, Option

from hepprune.cli.screen import AsJson, columns, command, show

if TYPE_CHECKING:
    from hepprune.jobs.estimation import Learned

app = typer.Typer(help="Look into a ledger of designs, estimates, measurements and failures.", no_args_is_help=True)

LedgerArgument = Annotated[Path, Argument(help="The ledger (SQLite).")]


@command(app, "list")
def show_all(ledger: LedgerArgument, as_json: AsJson = False) -> None:
    """List the designs, with how many values there are of each."""
    from hepprune.synthesis.ledger import existing

    with existing(ledger) as book:
        designs = book.designs()
    table = Table("design", "description", "recorded (UTC)", "estimates", "measurements", "failures")
    for each in designs:
        counts = (str(n) for n in (each.estimates, each.measurements, each.failures))
        table.add_row(each.key, each.description, each.recorded, *counts)
    show(designs, lambda: [table], as_json=as_json, plain=True)


@command(app, "show")
def show_one(
    ledger: LedgerArgument,
    design: Annotated[str, Argument(help="The design's key, or its beginning.")],
    as_json: AsJson = False,
) -> None:
    """Show every value of one design."""
    from hepprune.synthesis import exchange
    from hepprune.synthesis.ledger import existing

    with existing(ledger) as book:
        found = book.design(design)
        records = list(book.records(found.key))
    table = Table("recorded (UTC)", "kind", "stage", "tool", "LUT", "FF", "DSP", "BRAM18", "cycles", "interval", "note")
    for row in exchange.rows(records):
        names = ("recorded", "kind", "stage", "tool", "lut", "ff", "dsp", "bram18", "latency_cycles")
        cells = [_cell(row[name]) for name in (*names, "interval_cycles")]
        table.add_row(*cells, _cell(row["failure"]) or _cell(row["strategy"]))
    lines = f"{found.key}  {found.description}", table
    show({"design": found, "records": records}, lambda: lines, as_json=as_json, plain=True)


def _cell(value: object) -> str:
    return "" if value is None else f"{value:,.10g}" if isinstance(value, int | float) else str(value)


@command(app)
def export(
    ledger: LedgerArgument,
    out: Annotated[Path, Option("--out", "-o", help="A .csv or .parquet file.")],
    as_json: AsJson = False,
) -> None:
    """Write one row for each value: design, kind, stage, tool, part, clock, resources, cycles, failure."""
    from hepprune.synthesis import exchange

    written = exchange.export(ledger, out)
    show(written, lambda: [f"{written.rows:,} rows in {written.path}"], as_json=as_json, plain=True)


@command(app)
def merge(
    ledger: LedgerArgument,
    others: Annotated[list[Path], Argument(help="Ledgers to take over; they stay as they are.")],
    as_json: AsJson = False,
) -> None:
    """Take over all that other ledgers hold; nothing is counted twice."""
    from hepprune.synthesis.ledger import Ledger

    with Ledger(ledger) as book:
        taken = {str(other): book.merge(other) for other in others}
    lines = (f"{count:,} new values from {other}" for other, count in taken.items())
    show(taken, lambda: lines, as_json=as_json, plain=True)


@command(app)
def calibrate(
    ledger: LedgerArgument,
    plot: Annotated[Path | None, Option(help="Where to draw predicted against measured (png and pdf).")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what measurements have taught the cost model, and how much better it predicts designs left out of that."""
    from hepprune.jobs import estimation

    found = estimation.from_ledger(ledger, plot=plot)
    title, left = "measured / estimated, in force", ("stage", "strategy", "tool", "resource", "layers")
    table = columns(Table(*left, title=title, title_justify="left"), ("factor", "of the next design", "designs"))
    for each in found.calibrations:
        origin = each.stage, each.strategy, f"{each.tool} {each.version}"
        for resource, whole in each.corrections.items():
            kinds = each.kinds.get(resource, {})
            rows = {"all": whole} | (kinds if len(kinds) > 1 else {})
            for kind, correction in rows.items():
                error = f"± {100 * correction.relative_error:.0f} %"
                factor = f"{correction.factor:.3f} ± {correction.factor * correction.uncertainty:.3f}"
                table.add_row(*origin, resource.upper(), kind, factor, error, str(correction.n))
    parts = table, _scores(found), *map(str, found.files)
    show(found, lambda: parts, as_json=as_json, plain=True)


def _scores(found: "Learned") -> Table:
    title = "error on designs left out, mean (median)"
    table = Table("stage", "strategy", "resource", title=title, title_justify="left")
    columns(table, ("designs", "cost model", "calibrated", "pull"))
    for score in found.scores:
        before, after = (
            f"{100 * mean:.1f} % ({100 * middle:.1f} %)"
            for mean, middle in ((score.before, score.before_median), (score.after, score.after_median))
        )
        origin = score.stage, score.strategy, score.resource.upper()
        table.add_row(*origin, str(score.n), before, after, f"{score.pull:.2f}")
    table.caption = "errors are of the natural logarithm; a pull of 1: the claimed uncertainty is right"
    return table
