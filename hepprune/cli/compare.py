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
    """Compare pruning methods x sparsities x seeds: accuracy and AUC against sparsity and LUT, with errors."""
    with errors_in_one_sentence():
        from hepprune.pipeline import comparison

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
    title = f"{result.name}, {len(result.seeds)} seeds, {result.n_test:,} test jets"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for head in ("method", "cut", "left", "accuracy %", "AUC", "LUT", "gap %"):
        table.add_column(head, justify="left" if head == "method" else "right", no_wrap=True)
    first = next((point.method for point in result.points if point.sparsity), None)
    for point in result.points:
        gap = _percent(point.gap, point.gap_error, "+.2f")
        table.add_row(
            point.method,
            f"{point.sparsity:.0%}",
            f"{1 - point.zeros:.1%}",
            _percent(point.accuracy, point.accuracy_error, ".2f"),
            f"{point.auc:.4f}" + ("" if point.auc_error is None else f"±{point.auc_error:.4f}"),
            "-" if point.lut is None else f"{point.lut:,.0f}",
            "" if point.method == first or not point.sparsity else gap if point.significant else f"({gap})",
        )
    table.caption = (
        f"left: weights that act; gap: accuracy less that of {first} on the same seeds, in brackets within twice its "
        "error; ±: error of the mean over seeds"
    )
    return table


def _percent(value: float, error: float | None, form: str) -> str:
    return f"{100 * value:{form}}" + ("" if error is None else f"±{100 * error:.2f}")
