"""Commands on a model alone: look at it, remove what is dead."""

from pathlib import Path
from typing import Annotated

import typer

from hepprune.cli.screen import AsJson, show

ModelArgument = Annotated[
    str, typer.Argument(help="A model (.h5, .keras, model.json, .onnx, .pt2, .npz) or module:factory.")
]


def inspect(
    model: ModelArgument,
    groups: Annotated[bool, typer.Option("--groups", help="Show what can only be removed together instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a model's layers: shapes, parameters, non-zero weights, bits, dead neurons."""
    from hepprune import frontends
    from hepprune.jobs import models
    from hepprune.pruning.structure import blocks, coupling
    from hepprune.report import layers as layer_table

    if groups:
        network = frontends.read(model)
        coupled = {"groups": coupling.groups(network), "blocks": blocks.blocks(network)}
        show(coupled, lambda: map(str, (*coupled["groups"], *coupled["blocks"])), as_json=as_json)
        return
    layers = models.describe(frontends.read(model))
    show(layers, lambda: [layer_table.render(layers)], as_json=as_json)


def shrink(
    model: ModelArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="The smaller model, of the same kind.")],
    as_json: AsJson = False,
) -> None:
    """Remove dead structure only: no data, no retraining, the same outputs."""
    from hepprune.jobs import models

    done = models.shrink(model, out)
    agree = "bit for bit" if done.exact else f"to {done.difference:.1e} (the model computes in float)"
    removed = ", ".join(f"{count} of {name}" for name, count in done.removed.items()) or "nothing was dead"
    sizes = f"{done.parameters_before:,} -> {done.parameters:,} parameters"
    lines = (
        f"{done.path}: {sizes}; removed: {removed}",
        f"outputs agree {agree} on {done.vectors:,} random inputs",
    )
    show(done, lambda: lines, as_json=as_json)
