"""Commands on synthesis: read what a tool left behind, run a tool."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.table import Table
from typer import Argument, Option

from hepprune.cli.screen import AsJson, Screen, Workers, columns, show

if TYPE_CHECKING:
    from hepprune.hardware.resources import Measurement, Resources
    from hepprune.jobs.ingestion import IngestedDesign

LedgerOption = Annotated[Path | None, Option(help="The ledger (SQLite) that keeps what was found.")]

_RELATIVE = "a relative check on a Lattice part, to compare designs by, no figure of the target's part"
_COUNTS = ("lut", "ff", "dsp", "bram18", "uram")


def ingest(
    path: Annotated[Path, Argument(help="A project folder, a report, a log, or a tar or zip of a CI job.")],
    ledger: LedgerOption = None,
    clock_ns: Annotated[float | None, Option(min=0.01, help="Where nothing beside a report says it.")] = None,
    design: Annotated[str | None, Option(help="Key (or its beginning) of the design that this is.")] = None,
    as_json: AsJson = False,
) -> None:
    """Read all reports and logs of synthesis in a folder, archive or file, and record them."""
    from hepprune.errors import ReportError
    from hepprune.jobs import ingestion

    found = ingestion.ingest(path, ledger=ledger, clock_ns=clock_ns, design=design)
    refused = (f"not read: {name}: {why}" for name, why in found.refused)
    show(
        found,
        lambda: (*chain.from_iterable(map(_described, found.designs)), *refused),
        as_json=as_json,
        plain=True,
    )
    if not found.designs:
        raise ReportError(f"no report or log of a failed run was found in '{path}'")


def _described(found: "IngestedDesign") -> "Iterator[str | Table]":
    yield f"\n{found.top} in {found.project} (design {found.key})"
    yield from map(_origin, found.measurements)
    if found.measurements:
        yield totals(found.measurements)
    for measured, rest in zip(found.measurements, found.unexplained, strict=True):
        if measured.layers:
            yield _layers(measured, rest)
    yield from (failure.sentence for failure in found.failures)


def _origin(measured: "Measurement") -> str:
    origin = f"{measured.stage}: {measured.tool} {measured.version}, {measured.part}, {measured.clock_ns:g} ns"
    if measured.frequency_mhz is None:
        return origin
    timed = f"{origin}, longest path {measured.critical_path_ns:.2f} ns, {measured.frequency_mhz:.1f} MHz"
    return f"{timed}: {_RELATIVE}" if measured.stage == "nextpnr-ecp5" else timed


def totals(measured: "tuple[Measurement, ...]") -> Table:
    """Return the table of what each stage says of a design."""
    table = columns(Table("stage"), (*(name.upper() for name in _COUNTS), "cycles", "interval", "clock"))
    for each in measured:
        cycles = _number(each.latency_cycles), _number(each.interval_cycles)
        table.add_row(each.stage, *_counts(each.resources), *cycles, each.clock)
    return table


def _layers(measured: "Measurement", rest: "Resources") -> Table:
    from hepprune.synthesis.reports import modules

    table = columns(Table(f"{measured.stage} by layer"), (*(name.upper() for name in _COUNTS), "cycles", "interval"))
    for each in measured.layers:
        counts = _counts(each.resources)
        cycles = _number(each.latency_cycles), _number(each.interval_cycles)
        table.add_row(f"{each.layer or ''} {modules.short(each.module)}".strip()[:40], *counts, *cycles)
    table.add_section()
    table.add_row("total less modules", *_counts(rest), "", "")
    return table


def _counts(resources: "Resources") -> list[str]:
    return [_number(getattr(resources, name)) for name in _COUNTS]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.10g}"


def synth(
    projects: Annotated[list[Path], Argument(help="HLS projects, or folders of Verilog that hepprune wrote.")],
    *,
    tool: Annotated[str, Option(help="auto, vitis, vitis_vivado, vivado, yosys or nextpnr.")] = "auto",
    jobs: Annotated[int, Option(min=1, help="How many projects at once on this machine.")] = 1,
    executor: Workers = None,
    hours: Annotated[float, Option(min=0.0001, help="The longest that one program may run.")] = 4.0,
    memory_gb: Annotated[float | None, Option(min=0.01, help="The most memory for one project.")] = None,
    ledger: LedgerOption = None,
    as_json: AsJson = False,
) -> None:
    """Run synthesis of projects: C synthesis, then logic synthesis; what was done already is not done again."""
    from hepprune import executors
    from hepprune.errors import ReportError
    from hepprune.jobs import farm

    limits = farm.ToolLimits(hours * 3600.0, None if memory_gb is None else memory_gb * 1e9)
    with executors.open(executor or f"threads:{jobs}") as pool, Screen() as screen:
        runs = farm.synthesise(projects, tool=tool, executor=pool, limits=limits, ledger=ledger, track=screen)
    parts: list[str | Table] = []
    for run in runs:
        parts.append(str(run.project))
        parts += [] if run.measurement is None else [_origin(run.measurement), totals((run.measurement,))]
    show(runs, lambda: parts, as_json=as_json, plain=True)
    failed = [run for run in runs if run.failure is not None]
    if failed:
        raise ReportError("; ".join(f"{run.project}: {run.failure.sentence}" for run in failed if run.failure))
