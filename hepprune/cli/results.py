"""What others take of a finished run: the page for those who decide, and the export for other groups."""

from pathlib import Path
from typing import Annotated

import typer

from hepprune.cli.screen import AsJson, output, show
from hepprune.errors import HeppruneError


def report(
    result: Annotated[Path, typer.Argument(help="The build/ of a run, the folder of a study, or a ledger.")],
    *,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Default: report.html there.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a result as one HTML page that opens from disk: verdict, proof, tables, plots, every step of the search."""
    from hepprune.jobs import pages
    from hepprune.report import page

    place = out or (result / "report.html" if result.is_dir() else result.with_suffix(".html"))
    written = page.write(pages.of(result), place)
    show({"page": str(written)}, lambda: [f"page: {written}"], as_json=as_json, console=output())


def export(
    build: Annotated[Path, typer.Argument(help="The build/ of a finished run.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write; an earlier export is replaced.")],
    emulator: Annotated[str | None, typer.Option(help="Write the emulator library of this name.")] = None,
    verilog: Annotated[bool, typer.Option("--verilog", help="Write the Verilog with patterns and scripts.")] = False,
    vhdl_wrapper: Annotated[str | None, typer.Option(help="With --verilog: an entity of this name around it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write what others take of a run: an emulator for CMSSW, or Verilog for a firmware group's own project."""
    from hepprune.jobs import exports

    if (emulator is None) != verilog:
        raise HeppruneError("say what to export: either --emulator NAME or --verilog")
    if emulator is not None and vhdl_wrapper is not None:
        raise HeppruneError("--vhdl-wrapper goes with --verilog")
    if emulator is not None:
        written, then = exports.emulator(build, out, name=emulator), "make check"
    else:
        written, then = exports.verilog(build, out, vhdl=vhdl_wrapper), "./run_vivado.sh"
    lines = f"folder: {written}", f"then, in it: {then}"
    show({"folder": str(written)}, lambda: lines, as_json=as_json, console=output())
