"""Commands on a model: look at it, remove what is dead, prune it in one shot or in rounds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from rich.table import Table
from typer import Argument, Option

from hepprune.cli.screen import AsJson, Screen, numbers, show

ModelArgument = Annotated[str, Argument(help="A model (.h5, .keras, model.json, .onnx, .pt2, .npz), module:factory.")]


def inspect(
    model: ModelArgument,
    groups: Annotated[bool, Option("--groups", help="Show what can only be removed together instead.")] = False,
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
    out: Annotated[Path, Option("--out", "-o", help="The smaller model, of the same kind.")],
    as_json: AsJson = False,
) -> None:
    """Remove dead structure only: no data, no retraining, the same outputs."""
    from hepprune.jobs import models

    done = models.shrink(model, out)
    agree = "bit for bit" if done.exact else f"to {done.difference:.1e} (the model computes in float)"
    removed = ", ".join(f"{count} of {name}" for name, count in done.removed.items()) or "nothing was dead"
    sizes = f"{done.parameters_before:,} -> {done.parameters:,} parameters"
    lines = (f"{done.path}: {sizes}; removed: {removed}", f"outputs agree {agree} on {done.vectors:,} random inputs")
    show(done, lambda: lines, as_json=as_json)


def prune(
    model: Annotated[
        str, Argument(help="A model (.h5, .keras, model.json, .onnx, .pt2, .npz), module:factory, or recipe.yaml.")
    ],
    *,
    out: Annotated[Path, Option("--out", "-o", help="The pruned model, of the same kind.")],
    method: Annotated[str | None, Option(help="What ranks the units: magnitude, fisher, obd, obs, ...")] = None,
    sparsity: Annotated[float | None, Option(help="The fraction to cut; else only what scores nothing.")] = None,
    granularity: Annotated[str | None, Option(help="weight, dsp_row, bram_row, N:M, neuron, head or layer.")] = None,
    scope: Annotated[str | None, Option(help="Rank all layers together (global) or each alone (local).")] = None,
    normalisation: Annotated[str | None, Option(help="none, mean, max, sum, l2 or lamp.")] = None,
    keep: Annotated[int | None, Option(min=0, help="Units that every layer keeps.")] = None,
    schedule: Annotated[
        str | None, Option(help="one_shot, linear, geometric, polynomial, or sparsities by commas.")
    ] = None,
    rounds: Annotated[int | None, Option(min=1, help="Rounds of the schedule.")] = None,
    epochs: Annotated[int | None, Option(min=1, help="Of fine-tuning after each round.")] = None,
    patience: Annotated[int | None, Option(min=1, help="Stop early after so many epochs without gain.")] = None,
    monitor: Annotated[str | None, Option(help="What judges epochs: loss, or a metric of the task.")] = None,
    data: Annotated[Path | None, Option(help="Jets: a recipe.yaml, or an .npz with x and y.")] = None,
    seed: Annotated[int, Option(min=0, help="Of the method `random`, the training and the shuffling.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Prune a model once without training, or in rounds with fine-tuning where there is a schedule.

    A recipe's tagger is trained and pruned as its `prune` section says; options here take its place.
    """
    from hepprune.jobs import models

    ranking = {"method": method, "granularity": granularity, "scope": scope, "normalisation": normalisation}
    once = _given(**ranking, keep=keep)
    tuning = _given(rounds=rounds, fine_tune_epochs=epochs, patience=patience, monitor=monitor)
    with Screen() as screen:
        rest: dict[str, Any] = {"data": data, "seed": seed, "track": screen}
        if schedule is None and not tuning and Path(model).suffix not in {".yaml", ".yml"}:
            done = models.prune(model, out, sparsity=sparsity, **rest, **once)
        else:
            wanted = once | tuning | _given(sparsity=sparsity, schedule=_schedule(schedule))
            done = models.prune_in_rounds(model, out, wanted, **rest)
    show(done, lambda: _lines(done), as_json=as_json)


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _schedule(text: str | None) -> Any:
    """Return the name of a schedule, or the sparsities that it is."""
    return text if text is None or not text[:1].isdigit() else list(numbers("schedule", text, float))


def _lines(done: Any) -> Iterator[Any]:
    from hepprune.metrics import scores

    if done.history:
        metric = next(iter(done.history[0].scores))
        heads = ("round", "aim", "reached", scores.label(metric), "loss", "seconds")
        table = Table(*heads, title="on the validation jets")
        for index, each in enumerate(done.history):
            score = f"{each.scores[metric]:{scores.form(metric)}}"
            row = (f"{each.target:.1%}", f"{each.sparsity:.1%}", score, f"{each.loss:.4g}", f"{each.seconds:.1f}")
            table.add_row(str(index), *row)
        yield table
    yield f"{done.path}: {done.sparsity:.1%} of the weights are zero ({done.sparsity_before:.1%} before)"
    for name, layer in done.layers.items():
        gone = f", {done.removed[name]} removed" if name in done.removed else ""
        yield f"  {name}: {layer:.1%}{gone}"
    if done.before and done.after:  # both on the same jets, so that one error says enough
        forms = {name: scores.form(name) for name in done.after}
        yield ", ".join(
            f"{scores.label(name)} {done.before[name].value:{form}} -> {done.after[name]:{form}}"
            for name, form in forms.items()
        )
