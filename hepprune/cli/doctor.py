"""What is installed, what is missing for what, and a self-test."""

from typing import Annotated

import typer
from rich.table import Table
from typer import Option

from hepprune.cli.screen import AsJson, Screen, columns, show


def doctor(
    test: Annotated[bool, Option(help="Take a small network through every route, in under a minute.")] = True,
    as_json: AsJson = False,
) -> None:
    """Say what is installed, what is missing for what and how to get it, and try the main street once."""
    from hepprune.jobs.doctor import diagnose

    screen = Screen()
    with screen.progress:
        found = diagnose(test=test, track=screen)
    table = Table(title=f"Python {found.python}", title_justify="left")
    columns(table, ("", "for", "here", "what helps"), overflow="fold")
    for part in found.parts:
        here = part.version or "-"
        wrong = part.fix is not None and part.version is not None
        table.add_row(part.name, part.purpose, f"{here}, not {part.wanted}" if wrong else here, part.fix or "")
    lines = []
    for trial in found.trials:
        said = f"left out, {trial.left_out}" if trial.left_out else trial.problem or "works"
        lines.append(f"{trial.name}: {said} ({trial.seconds:.1f} s)")
    show(found, lambda: (table, *lines), as_json=as_json, plain=True)
    if not found.healthy:
        raise typer.Exit(1)
