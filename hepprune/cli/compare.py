"""The command that compares pruning methods on one model and data set."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from hepprune.cli.screen import AsJson, Screen, Workers, errors_in_one_sentence, print_json, workers

Source = Annotated[str, typer.Argument(help="A recipe.yaml, or a model file or module:factory with --data.")]
Jets = Annotated[Path | None, typer.Option(help="Jets of a model: a recipe.yaml or an .npz with x and y.")]

_SHOWN = 2  # metrics in the table; comparison.json has all


def compare(
    source: Source = "hls_projects/jet_tagger/recipe.yaml",
    *,
    data: Jets = None,
    methods: Annotated[
        str, typer.Option(help="criterion[:granularity][@local], by commas; gaps are to the first.")
    ] = "magnitude,magnitude@local,random,taylor_per_sample,fisher,obd,obs,fisher:neuron",
    sparsities: Annotated[str, typer.Option(help="Fractions to cut, rising, by commas.")] = "0.5,0.7,0.8,0.9,0.95",
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, 1, 2, ...; each trains its own baseline.")] = 5,
    epochs: Annotated[int, typer.Option(min=1, help="Of fine-tuning at each sparsity.")] = 10,
    patience: Annotated[int | None, typer.Option(min=1, help="Stop early after so many epochs without gain.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where networks, JSON and plots go.")] = Path(
        "build/comparison"
    ),
    executor: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Compare pruning methods x sparsities x seeds: scores against sparsity and LUT, with errors."""
    with errors_in_one_sentence():
        from hepprune.jobs import comparison

        screen = Screen()
        with workers(executor) as pool, screen.progress:
            result = comparison.compare(
                source,
                out,
                data=data,
                methods=[method for method in methods.split(",") if method.strip()],
                sparsities=_numbers(sparsities),
                seeds=range(1, seeds + 1),
                epochs=epochs,
                patience=patience,
                executor=pool,
                track=screen,
            )
        if as_json:
            print_json(result)
            return
        console = Console()
        console.print(_table(result))
        for path in result.files.values():
            console.print(path, soft_wrap=True, highlight=False)


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise typer.BadParameter(f"'{text}' is no list of numbers such as 0.5,0.9") from None


def _table(result: Any) -> Table:
    from hepprune import scores

    metrics = list(result.points[0].scores)[:_SHOWN]
    heads = [f"{scores.label(name)}{' %' * (scores.scale(name) != 1)}" for name in metrics]
    title = f"{result.name}, {len(result.seeds)} seeds, {result.n_test:,} test jets"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for head in ("method", "cut", "left", *heads, "LUT", f"gap{' %' * (scores.scale(metrics[0]) != 1)}"):
        table.add_column(head, justify="left" if head == "method" else "right", no_wrap=True)
    first = next((point.method for point in result.points if point.sparsity), None)
    for point in result.points:
        gap = _cell(metrics[0], point.gap, sign=True)
        table.add_row(
            point.method,
            f"{point.sparsity:.0%}",
            f"{1 - point.zeros:.1%}",
            *(_cell(name, point.scores[name]) for name in metrics),
            "-" if point.lut is None else f"{point.lut:,.0f}",
            "" if point.method == first or not point.sparsity else gap if point.significant else f"({gap})",
        )
    table.caption = (
        f"left: weights that act; gap: {scores.label(metrics[0])} less that of {first} on the same seeds, in brackets "
        "within twice its error; ±: error of the mean over seeds"
    )
    return table


def _cell(name: str, score: Any, *, sign: bool = False) -> str:
    from hepprune import scores

    scale = scores.scale(name)
    form = scores.form(name, sign=sign) if scale == 1 else "+.2f" if sign else ".2f"
    return f"{score.times(scale):{form}}".replace(" ", "")
