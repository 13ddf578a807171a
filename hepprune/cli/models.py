"""Commands on a model alone: look at it, remove what is dead."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hepprune.cli.screen import AsJson, errors_in_one_sentence, print_json

Model = Annotated[
    str, typer.Argument(help="A model file (.h5, .keras, model.json, .onnx, .pt2, .npz) or module:factory.")
]


def inspect(
    model: Model,
    groups: Annotated[bool, typer.Option("--groups", help="Show what can only be removed together instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a model's layers: shapes, parameters, non-zero weights, bits, dead neurons."""
    with errors_in_one_sentence():
        from hepprune import frontends
        from hepprune.jobs import inspection
        from hepprune.report import layers as layer_table

        if groups:
            coupled = inspection.coupled(frontends.read(model))
            if as_json:
                print_json(coupled)
            else:
                Console().print(
                    "\n".join(map(str, (*coupled.groups, *coupled.blocks))), highlight=False, soft_wrap=True
                )
            return
        layers = inspection.describe(frontends.read(model))
        if as_json:
            print_json(layers)
        else:
            Console().print(layer_table.render(layers))


def shrink(
    model: Model,
    out: Annotated[Path, typer.Option("--out", "-o", help="The smaller model, of the same kind.")],
    as_json: AsJson = False,
) -> None:
    """Remove dead structure only: no data, no retraining, the same outputs."""
    with errors_in_one_sentence():
        from hepprune.jobs import models

        done = models.shrink(model, out)
        if as_json:
            print_json(done)
            return
        agree = "bit for bit" if done.exact else f"to {done.difference:.1e} (the model computes in float)"
        removed = ", ".join(f"{count} of {name}" for name, count in done.removed.items()) or "nothing was dead"
        Console().print(
            f"{done.path}: {done.parameters_before:,} -> {done.parameters:,} parameters; removed: {removed}\n"
            f"outputs agree {agree} on {done.vectors:,} random inputs",
            soft_wrap=True,
            highlight=False,
        )
