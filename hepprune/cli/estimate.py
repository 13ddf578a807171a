"""Commands on hardware before any firmware: what a model would cost, and the targets that are known."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.markup import escape
from rich.table import Table
from typer import Argument, Option

from hepprune.cli.models import ModelArgument
from hepprune.cli.screen import AsJson, IoType, Strategy, columns, log, show
from hepprune.errors import BudgetMissedError

_CELLS = ("lut", "ff", "dsp", "bram18", "uram")


def estimate(
    model: ModelArgument,
    target: Annotated[str, Option("--target", "-t", help="A preset (see `hepprune targets`) or a YAML file.")],
    *,
    strategy: Strategy = "latency",
    reuse_factor: Annotated[
        int | None, Option("--reuse-factor", "-r", help="For every layer; else each layer's own.")
    ] = None,
    io_type: IoType = "io_parallel",
    stage: Annotated[str | None, Option(help="csynth, vsynth, route, da4ml or yosys.")] = None,
    ledger: Annotated[Path | None, Option(help="A ledger whose measurements at that stage calibrate it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Predict LUT, FF, DSP, BRAM and latency of a model, layer by layer, and warn of what would fail.

    Ends with exit code 2 where the budget would be missed.
    """
    from hepprune.jobs import estimation

    found = estimation.estimate(
        model, target, strategy=strategy, reuse_factor=reuse_factor, io_type=io_type, stage=stage, ledger=ledger
    )
    for warning in found.warnings:
        log.warning("%s", warning.message)
    verdict = {"latency_ns": found.estimate.latency_ns, "fits": found.fits, "doubtful": found.doubtful}
    warnings = (f"[yellow]warning:[/] {escape(warning.message)}" for warning in found.warnings)
    show(asdict(found) | verdict, lambda: (_table(found), *warnings), as_json=as_json)
    if not found.fits:
        raise typer.Exit(BudgetMissedError.exit_code)


def targets(
    files: Annotated[list[str] | None, Argument(help="YAML targets of your own, beside the presets.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the targets: part, clock, budget, source and how far it can be trusted."""
    from hepprune.hardware import targets as known

    listed = [*known.TARGETS.values(), *(known.load(file) for file in files or ())]
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    for head in ("target", "part", "clock", "latency", "II", "LUT", "DSP", "confidence"):
        table.add_column(head, overflow="ellipsis", no_wrap=head != "part")
    for target in listed:
        budget, cells = target.budget, target.budget.resources
        clock, latency = _with_unit(target.clock_ns), _with_unit(budget.latency_ns)
        counts = _count(budget.interval_cycles), _count(cells.lut), _count(cells.dsp)
        table.add_row(target.name, target.part or "-", clock, latency, *counts, target.confidence)
    lines = []
    for target in listed:
        notes = [text for text in (target.source or "no source given", target.note) if text]
        lines.append(f"[bold]{target.name}[/]: {escape('; '.join(notes))}")
    show(listed, lambda: (table, *lines), as_json=as_json)


def _table(found: Any) -> Table:
    figures = found.estimate
    title = f"{found.target}, {found.strategy}, {found.io_type}, stage {found.stage}"
    table = Table(title=title, box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("layer", overflow="ellipsis", min_width=8)
    columns(table, ("LUT", "FF", "DSP", "BRAM18", "URAM", "levels" if found.stage == "da4ml" else "cycles", "II"))
    for layer in figures.layers:
        cells = _cells(layer.resources, layer.uncertainty)
        table.add_row(escape(layer.layer), *cells, f"{layer.depth:.0f}", str(layer.interval_cycles))
    table.add_section()
    latency = f"{figures.latency_cycles} ±{figures.latency_error_cycles:.0f}"
    table.add_row("total", *_cells(figures.resources, figures.uncertainty), latency, str(figures.interval_cycles))
    limits, used = found.budget.limits(), found.used
    table.add_row("budget", *(_count(limits.get(cell)) for cell in _CELLS), "", _count(limits.get("interval_cycles")))
    table.add_row("used", *(_percent(used.get(cell)) for cell in _CELLS), "", _percent(used.get("interval_cycles")))
    table.caption = _verdict(found)
    return table


def _verdict(found: Any) -> str:
    """Return latency, its limit, and whether the budget holds: surely, within one standard deviation, or not."""
    figures = found.estimate
    limit = found.budget.latency_ns
    asked = f" of {limit:g} ns" if limit is not None else ""
    latency = f"{figures.latency_ns:g} ±{figures.latency_error_cycles * figures.clock_ns:.2g} ns{asked}"
    if not found.budget.limits():
        verdict = "the target sets no budget"
    elif not found.fits:
        verdict = "over the budget: " + ", ".join(found.exceeded)
    elif found.doubtful:
        verdict = "within the budget, though less than one standard deviation: " + ", ".join(found.doubtful)
    else:
        verdict = "within the budget"
    return f"{latency} at {figures.clock_ns:g} ns a cycle (clock assumed); {verdict}"


def _cells(resources: Any, uncertainty: Any) -> list[str]:
    shown = ((getattr(resources, cell), getattr(uncertainty, cell)) for cell in _CELLS)
    return [_count(count) + (f" ±{100 * doubt / count:.0f}%" if count and doubt else "") for count, doubt in shown]


def _count(value: float | None) -> str:
    """Return a count, from 100,000 up in thousands or millions, three digits of it."""
    if value is None:
        return "-"
    if value >= 999_500:
        return f"{value / 1e6:.3g}M"
    return f"{value / 1e3:.0f}k" if value >= 99_950 else f"{value:,.0f}"


def _percent(fraction: float | None) -> str:
    if fraction is None:
        return "-"
    return f"[{'red' if fraction > 1 else 'green'}]{100 * fraction:.0f} %[/]"


def _with_unit(ns: float | None) -> str:
    return "-" if ns is None else f"{ns:g} ns"
