"""The command that trains networks which compute another part of themselves for each jet."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from hepprune.cli.screen import AsJson, Screen, errors_in_one_sentence, print_json


def dynamic(
    recipe: Annotated[Path, typer.Argument(help="The recipe (YAML).")] = Path("hls_projects/jet_tagger/recipe.yaml"),
    *,
    kind: Annotated[str, typer.Option(help="exits, threshold (gates) or top_k (gates).")] = "exits",
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, 1, 2, ...")] = 3,
    epochs: Annotated[int, typer.Option(min=1, help="Of each training.")] = 15,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where networks, JSON and plots go.")] = Path(
        "build/dynamic"
    ),
    as_json: AsJson = False,
) -> None:
    """Train early exits or gated channels: scores against mean and worst-case cost, which is what firmware pays."""
    with errors_in_one_sentence():
        from hepprune.jobs import dynamic as studies

        screen = Screen()
        with screen.progress:
            result = studies.study(recipe, kind, out, seeds=range(1, seeds + 1), epochs=epochs, track=screen)
        if as_json:
            print_json(result)
            return
        console = Console()
        console.print(_table(result))
        for path in result.files.values():
            console.print(path, soft_wrap=True, highlight=False)


def _table(result: Any) -> Table:
    from hepprune import scores

    metric = next(iter(result.plain.scores))
    heads = {"exits": "confidence", "threshold": "penalty", "top_k": "channels kept"}
    table = Table(title=f"{result.name}: multiplications per jet, {result.kind}", title_justify="left")
    for head in (heads[result.kind], scores.label(metric), "mean", "largest seen", "worst case"):
        table.add_column(head, justify="right")
    for label, point in [("without", result.plain), *((f"{p.setting:g}", p) for p in result.points)]:
        score = f"{point.scores[metric]:{scores.form(metric)}}"
        table.add_row(label, score, *(f"{n:,.0f}" for n in (point.mean, point.largest, point.worst_case)))
    latencies = result.trials[0].latency_ns
    if latencies:
        table.caption = "predicted firmware latency of the exits: " + ", ".join(f"{ns:g} ns" for ns in latencies)
    return table
