"""What every command shares: progress lines, and errors that end in one sentence with their exit code."""

import dataclasses
import json
import logging
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich import progress
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer import Option

from hepprune.errors import (
    ExecutorError,
    HeppruneError,
    MeasurementAwaitedError,
    PrerequisiteError,
    RecipeError,
    ToolMissingError,
    explained,
)

T = TypeVar("T")
AsJson = Annotated[bool, Option("--json", help="Print as JSON on standard output.")]
IoType = Annotated[str, Option(help="io_parallel or io_stream.")]
BudgetOption = Annotated[list[str] | None, Option("--budget", "-b", help="A limit: lut=10%, dsp=120, latency=100ns.")]
Strategy = Annotated[str, Option(help="latency, resource, resource_unrolled, distributed_arithmetic.")]
Workers = Annotated[str | None, Option(help="Where work runs: serial, threads:N, processes:N or dask:tcp://host:8786.")]

NARROW: dict[str, Any] = {"title_justify": "left", "box": SIMPLE_HEAD, "padding": (0, 1, 0, 0), "pad_edge": False}
_INTERRUPTED = 130
log = logging.getLogger(__name__)
log.addHandler(logging.NullHandler())  # before --log has a file, it would go to standard error
errors, steps = Console(stderr=True), Console(stderr=True)  # the second one is silenced by --quiet


@contextmanager
def errors_in_one_sentence() -> Iterator[None]:
    """End on an error the user can act on with its sentence and exit code, and on Ctrl-C with how to go on.

    Every command is decorated with it.
    """
    try:
        yield
    except HeppruneError as error:
        if isinstance(error, MeasurementAwaitedError):
            log.info("to be continued: %s", error)
        else:
            log.exception("not done")
        label = "[yellow]to be continued:[/]" if isinstance(error, MeasurementAwaitedError) else "[bold red]error:[/]"
        errors.print(label, escape(str(error)), soft_wrap=True, highlight=False, emoji=False)
        raise typer.Exit(error.exit_code) from None
    except (FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        what = f"'{error.filename}': {error.strerror}"
        log.exception("not done: %s", what)
        errors.print("[bold red]error:[/]", escape(what), soft_wrap=True, highlight=False, emoji=False)
        raise typer.Exit(HeppruneError.exit_code) from None
    except KeyboardInterrupt:
        log.info("interrupted")
        errors.print("interrupted;", escape(_again()), soft_wrap=True, highlight=False, emoji=False)
        raise typer.Exit(_INTERRUPTED) from None
    except typer.Exit:
        raise
    except Exception:  # a fault of ours: it ends as it is, and the log has it too
        log.exception("failed")
        raise


def command(app: typer.Typer, name: str | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return what makes a function a command of an app, by a name or by its own."""
    return lambda function: app.command(name)(errors_in_one_sentence()(function))


@contextmanager
def kept(state: Path) -> Iterator[None]:
    """Say, where a tool or a machine failed, that something was finished before and how to go on; pass the error on."""
    try:
        yield
    except (ExecutorError, PrerequisiteError, ToolMissingError):
        if state.is_dir():
            errors.print(escape(_again()), soft_wrap=True, highlight=False, emoji=False)
        raise


def _again() -> str:
    return f"what was finished is kept, and this goes on from there: {shlex.join(['hepprune', *sys.argv[1:]])}"


def workers(executor: str | None) -> AbstractContextManager[Executor | None]:
    """Open the executor that an option names, None where it was not given: the work is then done step by step here."""
    from hepprune import executors

    return nullcontext() if executor is None else executors.open(executor)


def output() -> Console:
    """Return standard output for text that may quote files of strangers: brackets and colons are not markup in it."""
    return Console(markup=False, emoji=False, highlight=False)


def columns(table: Table, names: Iterable[str], **style: Any) -> Table:
    """Add columns to a table, those of numbers if nothing is said of their style, and return it."""
    for name in names:
        table.add_column(name, **(style or {"justify": "right", "no_wrap": True}))
    return table


def words(text: str) -> tuple[str, ...]:
    """Return the words of a list with commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def numbers(option: str, text: str, kind: Callable[[str], T]) -> tuple[T, ...]:
    """Return the numbers of a list with commas.

    Raises:
        RecipeError: it is none, or has nothing before, between or behind them.
    """
    with explained(RecipeError, f"--{option} takes numbers separated by commas, not '{text}'", ValueError):
        return tuple(map(kind, text.split(","))) if text else ()


def show(value: Any, parts: Callable[[], Iterable[Any]], *, as_json: bool, plain: bool = False) -> None:
    """Print a value as JSON, dataclasses as objects, or the tables and the unbroken lines that `parts` makes of it.

    In `plain` text brackets and colons mean nothing.
    """
    if as_json:
        sys.stdout.write(json.dumps(value, default=_plain, indent=2) + "\n")
        return
    console = output() if plain else Console()
    for part in parts():
        console.print(part, soft_wrap=isinstance(part, str), highlight=False)


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else str(value)


class Screen(progress.Progress):
    """Shows each step of a run as one progress line; the pipeline's `Track`.

    Where standard error is not a terminal, a step is one line as it starts and one as it ends, each written at
    once. Both go into the log too, and nothing to the screen where the command line asks for quiet.
    """

    def __init__(self) -> None:
        self._plain = not steps.is_terminal
        super().__init__(
            progress.SpinnerColumn(finished_text="[green]✓"),
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=24),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(elapsed_when_finished=False),
            progress.TextColumn("[dim]{task.fields[note]}"),
            console=steps,
            disable=self._plain or steps.quiet,
        )

    @contextmanager
    def __call__(self, name: str, total: int | None = None) -> Iterator[Callable[..., None]]:
        """Yield `advance(n, note="")` for one step of `total` units; None where it cannot be known."""
        task = self.add_task(name, total=total, note="")
        started = time.perf_counter()
        self.tell(f"{name} ...", shown=self._plain)

        def advance(n: int = 1, note: str = "") -> None:
            self.update(task, advance=n, note=note)

        yield advance
        done = self.tasks[self.task_ids.index(task)]
        self.update(task, total=max(done.completed, 1), completed=max(done.completed, 1))
        note = f" ({done.fields['note']})" if done.fields["note"] else ""
        self.tell(f"{name}: done in {time.perf_counter() - started:.1f} s{note}", shown=self._plain)

    def tell(self, line: str, *, shown: bool = True) -> None:
        """Log a line, such as one about the whole command, and show it."""
        log.info("%s", line)
        if shown:
            steps.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)
