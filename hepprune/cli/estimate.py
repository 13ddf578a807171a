"""Commands on hardware before any firmware: what a model would cost, and the targets that are known."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from hepprune.cli.models import Model
from hepprune.cli.screen import AsJson, errors_in_one_sentence, print_json

_CELLS = ("lut", "ff", "dsp", "bram18")


def estimate(
    model: Model,
    target: Annotated[str, typer.Option("--target", "-t", help="A preset (see `hepprune targets`) or a YAML file.")],
    *,
    strategy: Annotated[str, typer.Option(help="latency, resource, resource_unrolled, distributed_arithmetic.")] = (
        "latency"
    ),
    reuse_factor: Annotated[
        int | None, typer.Option("--reuse-factor", "-r", min=1, help="For every layer; without it each layer's own.")
    ] = None,
    io_type: Annotated[str, typer.Option(help="io_parallel or io_stream.")] = "io_parallel",
    stage: Annotated[str | None, typer.Option(help="csynth, vsynth, route, da4ml or yosys.")] = None,
    ledger: Annotated[Path | None, typer.Option(help="A ledger whose measurements at that stage calibrate it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Predict LUT, FF, DSP, BRAM and latency of a model, layer by layer, and warn of what would fail."""
    with errors_in_one_sentence():
        from dataclasses import asdict

        from hepprune.pipeline import estimation

        found = estimation.estimate(
            model,
            target,
            strategy=strategy,
            reuse_factor=reuse_factor,
            io_type=io_type,
            stage=stage,
            ledger=ledger,
        )
        if as_json:
            print_json(asdict(found) | {"latency_ns": found.estimate.latency_ns, "fits": found.fits})
            return
        console = Console()
        console.print(_table(found))
        for caution in found.cautions:
            console.print(f"[yellow]warning:[/] {caution.message}", soft_wrap=True, highlight=False)


def targets(
    files: Annotated[
        list[str] | None, typer.Argument(help="YAML targets of your own, shown beside the presets.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the targets: part, clock, budget, source and how far it can be trusted."""
    with errors_in_one_sentence():
        from hepprune.hardware import targets as known

        listed = [*known.TARGETS.values(), *(known.load(file) for file in files or ())]
        if as_json:
            print_json(listed)
            return
        table = Table("target", "part", "clock", "latency", "II", "LUT", "DSP", "confidence", "source")
        for target in listed:
            budget, cells = target.budget, target.budget.resources
            table.add_row(
                target.name,
                target.part or "-",
                _with_unit(target.clock_ns),
                _with_unit(budget.latency_ns),
                _count(budget.interval_cycles),
                _count(cells.lut),
                _count(cells.dsp),
                target.confidence,
                target.source,
            )
        Console().print(table)


def _table(found: Any) -> Table:
    figures = found.estimate
    table = Table(title=f"{found.target}, {found.strategy}, {found.io_type}, stage {found.stage}")
    for head in ("layer", "LUT", "FF", "DSP", "BRAM18", "depth", "II"):
        table.add_column(head, justify="left" if head == "layer" else "right", no_wrap=True)
    for layer in figures.layers:
        cells = _cells(layer.resources, layer.uncertainty)
        table.add_row(layer.layer, *cells, f"{layer.depth:.0f}", str(layer.interval_cycles))
    table.add_section()
    latency = f"{figures.latency_cycles} ± {figures.latency_error_cycles:.0f}"
    table.add_row("total", *_cells(figures.resources, figures.uncertainty), latency, str(figures.interval_cycles))
    limits = found.budget.limits()
    table.add_row("budget", *(_count(limits.get(cell)) for cell in _CELLS), "", _count(limits.get("interval_cycles")))
    table.add_row(
        "used", *(_percent(found.used.get(cell)) for cell in _CELLS), "", _percent(found.used.get("interval_cycles"))
    )
    limit = f" of {limits['latency_ns']:g} ns" if "latency_ns" in limits else ""
    verdict = "within the budget" if found.fits else "over the budget"
    table.caption = f"{figures.latency_ns:g} ns{limit} at {figures.clock_ns:g} ns a cycle (clock assumed); {verdict}"
    return table


def _cells(resources: Any, uncertainty: Any) -> list[str]:
    shown = ((getattr(resources, cell), getattr(uncertainty, cell)) for cell in _CELLS)
    return [_count(count) + (f" ±{100 * doubt / count:.0f}%" if count and doubt else "") for count, doubt in shown]


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _percent(fraction: float | None) -> str:
    if fraction is None:
        return "-"
    return f"[{'red' if fraction > 1 else 'green'}]{100 * fraction:.0f} %[/]"


def _with_unit(ns: float | None) -> str:
    return "-" if ns is None else f"{ns:g} ns"
