"""The command line: parse, call one function, print."""

import json
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from hepprune.errors import HeppruneError

app = typer.Typer(
    help="Make jet-tagging and trigger networks fit the FPGAs of a particle-physics trigger.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
data_app = typer.Typer(help="Make and look at jets.", no_args_is_help=True)
app.add_typer(data_app, name="data")

_INTERRUPTED = 130
_screen = Console(stderr=True)


@contextmanager
def _errors_in_one_sentence() -> Iterator[None]:
    """End on an error the user can act on with its sentence and exit code, and on Ctrl-C with how to go on."""
    try:
        yield
    except HeppruneError as error:
        _screen.print(f"[bold red]error:[/] {error}", soft_wrap=True, highlight=False)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        _screen.print("interrupted; what was finished is kept, run the same command again to go on from there")
        raise typer.Exit(_INTERRUPTED) from None


class Screen:
    """Shows each step of a run as one progress line; the pipeline's `Track`."""

    def __init__(self, console: Console) -> None:
        self.progress = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[note]}"),
            console=console,
        )

    @contextmanager
    def __call__(self, name: str, total: int | None = None) -> Iterator[Callable[..., None]]:
        """Yield `advance(n, note="")` for one step of `total` units; None where it cannot be known."""
        task = self.progress.add_task(name, total=total, note="")

        def advance(n: int = 1, note: str = "") -> None:
            self.progress.update(task, advance=n, note=note)

        yield advance
        done = self.progress.tasks[self.progress.task_ids.index(task)]
        self.progress.update(task, total=max(done.completed, 1), completed=max(done.completed, 1))


@app.callback()
def main(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what is done and why.")] = False,
) -> None:
    """Log to the screen, and end on SIGTERM as on Ctrl-C, so that no vendor tool is left running."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", handlers=[RichHandler(console=_screen, show_path=False)])


@app.command()
def run(
    recipe: Annotated[Path, typer.Argument(help="The recipe (YAML).")] = Path("hls_projects/jet_tagger/recipe.yaml"),
    build: Annotated[Path | None, typer.Option(help="Where results go; default: build/ beside the recipe.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON on standard output.")] = False,
) -> None:
    """Run the main job of a recipe: jets to smaller network, firmware, synthesis, measured figures."""
    with _errors_in_one_sentence():
        from hepprune import pipeline
        from hepprune import recipe as recipes
        from hepprune.report import summary as summaries
        from hepprune.report import table

        screen = Screen(_screen)
        with screen.progress:
            summary = pipeline.run(recipes.load(recipe), build=build or recipe.parent / "build", track=screen)
        if as_json:
            sys.stdout.write(summaries.to_json(summary) + "\n")
        else:
            console = Console()
            console.print(table.render(summary))
            for name, path in summary.files.items():
                console.print(f"{name}: {path}", soft_wrap=True, highlight=False)


@app.command()
def inspect(
    model: Annotated[str, typer.Argument(help="A model file (.h5, .keras, model.json, .pt2, .npz) or module:factory.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show a model's layers: shapes, parameters, non-zero weights, bits, dead neurons."""
    with _errors_in_one_sentence():
        from hepprune import frontends
        from hepprune.pipeline import inspection
        from hepprune.report import layers as layer_table

        layers = inspection.describe(frontends.read(model))
        if as_json:
            sys.stdout.write(json.dumps([asdict(layer) for layer in layers], indent=2) + "\n")
        else:
            Console().print(layer_table.render(layers))


@app.command()
def shrink(
    model: Annotated[str, typer.Argument(help="A model file, or module:factory.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The smaller model, of the same kind.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Remove dead structure only: no data, no retraining, the same outputs."""
    with _errors_in_one_sentence():
        from hepprune.pipeline import models

        done = models.shrink(model, out)
        if as_json:
            sys.stdout.write(json.dumps(asdict(done), default=str, indent=2) + "\n")
        else:
            agree = "bit for bit" if done.exact else f"to {done.difference:.1e} (the model computes in float)"
            removed = ", ".join(f"{count} of {name}" for name, count in done.removed.items()) or "nothing was dead"
            Console().print(
                f"{done.path}: {done.parameters_before:,} -> {done.parameters:,} parameters; removed: {removed}\n"
                f"outputs agree {agree} on {done.vectors:,} random inputs",
                soft_wrap=True,
                highlight=False,
            )


@app.command()
def prepare() -> None:
    """Compile what compiles itself at its first use (da4ml's solver, Yosys); `run` does it beside the training."""
    with _errors_in_one_sentence():
        from hepprune.pipeline import firmware

        screen = Screen(_screen)
        step = screen("compiling the solver and Yosys, once per environment")
        with screen.progress, step, firmware.tools_compiling() as compiled:
            compiled()


@data_app.command("make")
def data_make(
    jets: Annotated[int, typer.Option(min=1, help="How many jets.")],
    out: Annotated[Path, typer.Option(help="The ROOT file to write.")],
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same jets, whatever the workers.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    constituents: Annotated[bool, typer.Option(help="Keep the leading 32 constituents too.")] = True,
) -> None:
    """Make g, q, W, Z, t jets with Pythia 8 and fastjet; resumes after an interruption."""
    with _errors_in_one_sentence():
        from hepprune.data import production

        screen = Screen(_screen)
        with screen.progress, screen(f"making {out.name}", jets) as advance:
            path = production.generate(
                jets, out, seed=seed, workers=workers, constituents=constituents, advance=advance
            )
        Console().print(f"{jets:,} jets in {path}", highlight=False)


@data_app.command("show")
def data_show(
    file: Annotated[str, typer.Argument(help="file.root:tree")],
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List the columns of a ROOT tree."""
    with _errors_in_one_sentence():
        from hepprune.data import root

        columns = root.columns(file)
        if as_json:
            sys.stdout.write(json.dumps(columns) + "\n")
        else:
            for name, kind in columns.items():
                Console().print(f"{name}: {kind}", highlight=False)
