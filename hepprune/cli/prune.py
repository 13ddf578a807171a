"""The command that prunes a trained model in one shot."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hepprune.cli.models import Model
from hepprune.cli.screen import AsJson, errors_in_one_sentence, print_json


def prune(
    model: Model,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The pruned model, of the same kind.")],
    method: Annotated[str, typer.Option(help="What ranks the units: magnitude, fisher, obd, obs, ...")] = "magnitude",
    sparsity: Annotated[
        float | None, typer.Option(help="The fraction to cut; without it, only what scores nothing.")
    ] = None,
    granularity: Annotated[str, typer.Option(help="weight, dsp_row, bram_row, N:M or neuron.")] = "weight",
    scope: Annotated[str, typer.Option(help="Rank all layers together (global) or each alone (local).")] = "global",
    normalisation: Annotated[str, typer.Option(help="none, mean, max, sum, l2 or lamp, before layers meet.")] = "none",
    keep: Annotated[int, typer.Option(min=0, help="Units that every layer keeps whatever their scores.")] = 0,
    data: Annotated[
        Path | None, typer.Option(help="Jets: a recipe.yaml, whose data section is read, or an .npz with x and y.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the method `random`.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Prune a trained model once, without training: least important weights, rows, patterns or neurons first."""
    with errors_in_one_sentence():
        from hepprune.pipeline import pruning

        done = pruning.prune(
            model,
            out,
            data=data,
            method=method,
            sparsity=sparsity,
            granularity=granularity,
            scope=scope,
            normalisation=normalisation,
            keep=keep,
            seed=seed,
        )
        if as_json:
            print_json(done)
            return
        console = Console()
        zeros = f"{done.sparsity:.1%} of the weights are zero ({done.sparsity_before:.1%} before)"
        console.print(f"{done.path}: {zeros}", soft_wrap=True, highlight=False)
        for name, layer in done.layers.items():
            gone = f", {done.removed[name]} removed" if name in done.removed else ""
            console.print(f"  {name}: {layer:.1%}{gone}", highlight=False)
        if done.before and done.after:
            console.print(
                f"accuracy {done.before.accuracy:.4f} -> {done.after.accuracy:.4f} ± {done.after.accuracy_error:.4f}, "
                f"loss {done.before.loss:.4f} -> {done.after.loss:.4f}",
                soft_wrap=True,
                highlight=False,
            )
