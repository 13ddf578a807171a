"""Commands on jets: make them, look at a tree."""

from pathlib import Path
from typing import Annotated

import typer

from hepprune.cli.screen import AsJson, Screen, Workers, errors_in_one_sentence, output, print_json

app = typer.Typer(help="Make and look at jets.", no_args_is_help=True)


@app.command()
def make(
    jets: Annotated[int, typer.Option(min=1, help="How many jets.")],
    out: Annotated[Path, typer.Option(help="The ROOT file to write.")],
    *,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same jets, whatever the workers.")] = 1,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes on this machine; default: its cores.")] = None,
    executor: Workers = None,
    constituents: Annotated[bool, typer.Option(help="Keep the leading 32 constituents too.")] = True,
) -> None:
    """Make g, q, W, Z, t jets with Pythia 8 and fastjet; resumes after an interruption."""
    with errors_in_one_sentence():
        from hepprune import executors
        from hepprune.data import production

        screen, place = Screen(), executor or (f"processes:{workers}" if workers else "processes")
        with executors.open(place) as pool, screen.progress, screen(f"making {out.name}", jets) as advance:
            path = production.generate(jets, out, executor=pool, seed=seed, constituents=constituents, advance=advance)
        output().print(f"{jets:,} jets in {path}")


@app.command()
def show(file: Annotated[str, typer.Argument(help="file.root:tree")], as_json: AsJson = False) -> None:
    """List the columns of a ROOT tree."""
    with errors_in_one_sentence():
        from hepprune.data import root

        columns = root.columns(file)
        if as_json:
            print_json(columns)
            return
        for name, kind in columns.items():
            output().print(f"{name}: {kind}")
