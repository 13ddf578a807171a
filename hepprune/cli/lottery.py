"""The command that draws lottery tickets against their three controls."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from hepprune.cli.screen import AsJson, Screen, Workers, errors_in_one_sentence, print_json, workers


def lottery(
    source: Annotated[
        str, typer.Argument(help="digits (8x8, offline), a folder with MNIST's four IDX files, or a recipe.yaml.")
    ] = "digits",
    *,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, 1, 2, ...; each has its own dense network.")] = 5,
    sparsity: Annotated[float, typer.Option(help="The fraction cut in the end, of all layers but the last.")] = 0.985,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of training, cutting and rewinding.")] = 12,
    rewind_epochs: Annotated[int, typer.Option(min=0, help="Rewind to this epoch in place of the start.")] = 0,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of one training; without it, what suits the data.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where trainings, JSON and plots go.")] = Path(
        "build/lottery"
    ),
    executor: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Find lottery tickets (arXiv:1803.03635) and compare them with the dense network, new weights, a random mask."""
    with errors_in_one_sentence():
        from hepprune.jobs import lottery as game

        screen = Screen()
        with workers(executor) as pool, screen.progress:
            result = game.play(
                source,
                out,
                seeds=range(1, seeds + 1),
                epochs=epochs,
                sparsity=sparsity,
                rounds=rounds,
                rewind_epochs=rewind_epochs,
                executor=pool,
                track=screen,
            )
        if as_json:
            print_json(result)
            return
        console = Console()
        console.print(_table(result))
        for kind, reached in result.sparsest.items():
            console.print(
                f"{kind}: within {result.within:.1%} of the dense network down to {1 - reached:.1%} of the weights"
            )
        for path in result.files.values():
            console.print(path, soft_wrap=True, highlight=False)


def _table(result: Any) -> Table:
    from hepprune import scores

    dense = next(point for point in result.points if point.kind == "dense")
    metric, score = next(iter(dense.scores.items()))
    title = f"{scores.label(metric)} lost on the dense {score:{scores.form(metric)}}, {result.name}"
    table = Table("weights left", *result.sparsest, title=title)
    for sparsity in sorted({point.sparsity for point in result.points} - {0.0}):
        cells = {p.kind: _lost(p.lost, scores.form(metric, sign=True)) for p in result.points if p.sparsity == sparsity}
        table.add_row(f"{1 - sparsity:.1%}", *(cells.get(kind, "") for kind in result.sparsest))
    return table


def _lost(lost: Any, form: str) -> str:
    """Return the loss and its error; in brackets where it is not larger than the error."""
    return f"{lost:{form}}" if lost.error is None or abs(lost.value) > lost.error else f"({lost:{form}})"
