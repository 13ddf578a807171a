"""The command line: parse, call one function, print. Each file here holds the commands of one subject."""

import logging
import shlex
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.logging import RichHandler
from typer import Option

import hepprune
from hepprune.cli import data, estimate, job, ledger, models, screen, search, study, synthesis, trainings
from hepprune.errors import HeppruneError, explained

# Mistyped lines end with 1, as any other error does: 2 says that a budget is missed. For the whole process, which is
# this program's.
_UsageError: Any = typer.BadParameter.__base__  # of the click that typer has within it
_UsageError.exit_code = HeppruneError.exit_code

app = typer.Typer(
    help="Make jet-tagging and trigger networks fit the FPGAs of a particle-physics trigger.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        screen.output().print(f"hepprune {hepprune.__version__}")
        raise typer.Exit


@app.callback()
@screen.errors_in_one_sentence()
def main(
    context: typer.Context,
    *,
    verbose: Annotated[bool, Option("--verbose", "-v", help="Log what is done and why.")] = False,
    quiet: Annotated[bool, Option("--quiet", "-q", help="Show results and errors, no progress.")] = False,
    log: Annotated[Path | None, Option("--log", help="A file to add what is done, and when, to.")] = None,
    device: Annotated[str | None, Option(help="Where networks train and are scored: auto, cpu or cuda.")] = None,
    _version: Annotated[
        bool, Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Log to the screen, and end on SIGTERM as on Ctrl-C, so that no vendor tool is left running."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    screen.steps.quiet = quiet
    level = logging.INFO if verbose else logging.ERROR if quiet else logging.WARNING
    console = screen.errors if quiet else screen.steps  # the one that draws progress, so that lines go above it
    shown = RichHandler(level, console=console, show_path=False)
    shown.addFilter(lambda record: record.name != screen.log.name)  # it shows its steps itself
    shown.setFormatter(logging.Formatter("%(message)s"))
    handlers: list[logging.Handler] = [shown]
    if log is not None:
        unwritten = f"'{log}' cannot be written: there is no folder '{log.parent}'"
        with explained(HeppruneError, unwritten, FileNotFoundError):
            handler = logging.FileHandler(log, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        handlers.append(handler)
    logging.basicConfig(level=level if log is None else logging.INFO, handlers=handlers)
    screen.log.info("hepprune %s: %s", hepprune.__version__, shlex.join(["hepprune", *sys.argv[1:]]))
    context.call_on_close(lambda: screen.log.info("ended"))
    if device is not None:
        from hepprune.training import devices

        context.with_resource(devices.on(device))


for each in (
    *(job.init, job.run, job.plot, models.inspect, models.shrink, estimate.estimate, estimate.targets),
    *(models.prune, search.search, trainings.lottery, trainings.compare, trainings.dynamic, trainings.latency),
    *(study.study, job.report, job.export, synthesis.synth, synthesis.ingest, job.prepare, job.doctor),
):
    screen.command(app)(each)
for name, group in {"data": data.app, "ledger": ledger.app}.items():
    app.add_typer(group, name=name)
