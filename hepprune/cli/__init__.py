"""The command line: parse, call one function, print. Each file here holds the commands of one subject."""

import logging
import signal
from typing import Annotated

import typer
from rich.logging import RichHandler

import hepprune
from hepprune.cli import (
    compare,
    data,
    doctor,
    dynamic,
    estimate,
    job,
    latency,
    ledger,
    lottery,
    models,
    prune,
    screen,
    search,
    study,
    synthesis,
)

app = typer.Typer(
    help="Make jet-tagging and trigger networks fit the FPGAs of a particle-physics trigger.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        screen.output().print(f"hepprune {hepprune.__version__}")
        raise typer.Exit


@app.callback()
def main(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what is done and why.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Log to the screen, and end on SIGTERM as on Ctrl-C, so that no vendor tool is left running."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    level = logging.INFO if verbose else logging.WARNING
    handler = RichHandler(console=screen.errors, show_path=False)
    logging.basicConfig(level=level, format="%(message)s", handlers=[handler])


for command in (
    *(
        job.init,
        job.run,
        job.plot,
        models.inspect,
        models.shrink,
        estimate.estimate,
        estimate.targets,
        prune.prune,
        search.search,
    ),
    *(lottery.lottery, compare.compare, dynamic.dynamic, latency.latency),
    study.study,
    *(synthesis.synth, synthesis.ingest, job.prepare, doctor.doctor),
):
    app.command()(command)
for name, group in {"data": data.app, "ledger": ledger.app}.items():
    app.add_typer(group, name=name)
