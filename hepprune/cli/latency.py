"""The command that makes a network run within a latency measured on a processor or GPU."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hepprune.cli.compare import Jets, Source
from hepprune.cli.screen import AsJson, Screen, errors_in_one_sentence, print_json


def latency(
    source: Source,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The smaller network (.npz for a recipe's tagger).")],
    on: Annotated[str, typer.Option(help="What is measured: torch:cpu or torch:cuda.")] = "torch:cpu",
    batch: Annotated[int, typer.Option(min=1, help="Jets at a time.")] = 1,
    limit_us: Annotated[float | None, typer.Option(help="The latency to reach for one batch, in microseconds.")] = None,
    fraction: Annotated[float, typer.Option(help="Without a limit: the fraction of today's latency to reach.")] = 0.5,
    data: Jets = None,
    epochs: Annotated[int, typer.Option(min=1, help="Of fine-tuning after each stage.")] = 4,
    stages: Annotated[int, typer.Option(min=1, help="Stages of cutting.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Of the baseline and the training.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Remove neurons and filters until a network runs within a latency, as measured on this machine."""
    with errors_in_one_sentence():
        from hepprune import scores
        from hepprune.jobs import latency as search

        screen = Screen()
        with screen.progress:
            result = search.reach(
                source,
                out,
                device=on,
                batch_size=batch,
                limit_us=limit_us,
                fraction=fraction,
                data=data,
                epochs=epochs,
                stages=stages,
                seed=seed,
                track=screen,
            )
        if as_json:
            print_json(result)
            return
        console = Console()
        console.print(f"{result.device}, {result.batch_size} jets at a time, limit {result.limit_ns / 1000:,.1f} us")
        for label, size in (("before", result.before), ("after", result.after)):
            sizes = "-".join(str(width) for width in size.layers)
            time = f"{size.timing.median_ns / 1000:,.1f} ± {size.timing.error_ns / 1000:,.1f} us"
            told = scores.headline(size.scores)
            console.print(f"{label}: {sizes}, {size.parameters:,} parameters, {time}, {told}", soft_wrap=True)
        console.print(str(result.path), soft_wrap=True, highlight=False)
