"""What other groups take of a finished run."""

from pathlib import Path
from typing import Annotated

import typer

from hepprune.cli.screen import AsJson, errors_in_one_sentence, output, print_json
from hepprune.errors import HeppruneError


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
    with errors_in_one_sentence():
        from hepprune.jobs import exports

        if (emulator is None) != verilog:
            raise HeppruneError("say what to export: either --emulator NAME or --verilog")
        if emulator is not None and vhdl_wrapper is not None:
            raise HeppruneError("--vhdl-wrapper goes with --verilog")
        if emulator is not None:
            written, then = exports.emulator(build, out, name=emulator), "make check"
        else:
            written, then = exports.verilog(build, out, vhdl=vhdl_wrapper), "./run_vivado.sh"
        if as_json:
            print_json({"folder": str(written)})
            return
        output().print(f"folder: {written}\nthen, in it: {then}", soft_wrap=True)
