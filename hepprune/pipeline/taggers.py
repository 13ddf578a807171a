"""The first half of a run: jets, the baseline tagger, what each layer can give."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune import frontends, metrics, training
from hepprune.data import jets as jet_samples
from hepprune.data import reading, scaling
from hepprune.data.jets import Jets
from hepprune.errors import DataError, RecipeError, unknown
from hepprune.network import Activation, Network, Weighted, identity, precision
from hepprune.network.folding import fold_batch_norm
from hepprune.pipeline import making, teaching
from hepprune.pipeline.context import Context
from hepprune.pruning import statistics
from hepprune.recipe import Recipe, architectures
from hepprune.recipe.outputs import Output
from hepprune.search import sensitivity
from hepprune.search.moves.neurons import BLOCK
from hepprune.studies import iterative
from hepprune.task import Classes, MultiLabel, Reconstruction
from hepprune.task.sample import Sample, Split

_TYPE_JETS = 20_000  # enough to see the tails that integer bits are chosen from
_STATISTICS_JETS = 16_384


@dataclass(frozen=True, kw_only=True)
class Samples(Split):
    """Scaled jets, split by event; `scalers` turn raw features into each input's."""

    scalers: dict[str, scaling.Scaler]


def read_jets(context: Context) -> Samples:
    """Read, split and scale the recipe's jets, made first where it makes its own."""
    making.make(context)
    recipe, wanted = context.recipe, context.recipe.data
    fractions = (1 - wanted.validation - wanted.test, wanted.validation, wanted.test)
    with context.step("reading jets") as advance:
        read = read_columns(recipe, max_jets=wanted.max_jets)
        split = {name: _split(jets, fractions, recipe) for name, jets in read.items()}
        scalers = {name: scaling.SCALERS[wanted.scaler](train) for name, (train, *_) in split.items()}
        scaled = [{name: scalers[name].apply(parts[index]) for name, parts in split.items()} for index in range(3)]
        sizes = [len(next(iter(inputs.values()))) for inputs in scaled]
        advance(note=f"{sizes[0]:,} to train, {sizes[1]:,} to validate, {sizes[2]:,} to test")
    train, validation, test = (_sample(recipe, inputs) for inputs in teaching.taught(context, scaled))
    return Samples(train=train, validation=validation, test=test, scalers=scalers)


def _split(jets: Jets, fractions: tuple[float, ...], recipe: Recipe) -> tuple[Jets, ...]:
    """Return jets to train, to validate and to test on; of signal, if nothing is learned of it, only the latter two."""
    train, *others = jet_samples.split(jets, fractions, seed=recipe.seed)
    if not recipe.data.learns_signal:
        train = train.take(train.targets[:, -1] == 0)
        if not len(train):
            raise DataError(f"data.signal: '{recipe.data.signal}' is true of all jets, and none is left to train on")
    return train, *others


def read_columns(recipe: Recipe, *, max_jets: int | None) -> dict[str, Jets]:
    """Return the recipe's jets as each input sees them, row for row the same."""
    wanted = recipe.data
    labelled = any(output.reads_label for output in recipe.outputs.values())
    return reading.read_inputs(
        wanted.file,
        wanted.columns,
        label=wanted.label if labelled else None,
        classes=wanted.classes or ("no", "yes"),
        targets=(*wanted.target_columns, *([] if wanted.signal is None else [wanted.signal])),
        event=wanted.event or reading.event_column(wanted.file),
        weight=wanted.weight,
        cut=wanted.cut,
        explode=wanted.explode,
        flatten=wanted.flattened,
        max_jets=max_jets,
    )


def _sample(recipe: Recipe, inputs: dict[str, Jets]) -> Sample:
    first, columns = next(iter(inputs.values())), recipe.data.target_columns
    y: tuple[Any, ...] = tuple(_targets(output, first, columns) for output in recipe.outputs.values())
    if recipe.data.signal is not None:
        y = ((*y, first.targets[:, -1]),) if len(y) == 1 else (*y, first.targets[:, -1])
    x, weight = tuple(jets.x for jets in inputs.values()), first.weight if recipe.data.is_weighted else None
    return Sample.from_arrays(x, y if len(y) > 1 else y[0], weight, task=recipe.meaning)


def _targets(output: Output, jets: Jets, columns: tuple[str, ...]) -> NDArray[Any]:
    """Return what an output is to learn: columns, the label, the features, or a teacher's score."""
    if output.reads_label:
        return jets.y
    if isinstance(output.task, Reconstruction):
        return jets.x
    if not output.columns:
        return jets.targets[:, : len(output.values)]
    return jets.targets[:, [columns.index(name) for name in output.columns]]


def baseline(context: Context, jets: Samples, model: Network | None) -> Network:
    """Train the unpruned, quantised tagger, or take the `model` that the recipe brings, quantised where it is float."""
    recipe = context.recipe
    sizes = [len(each.values) for each in recipe.outputs.values()]
    key = [recipe.model.model_dump(), recipe.seed, sizes, jets.key, None if model is None else identity(model)]
    objective = recipe.objective
    key += [] if objective == "loss" else [objective, recipe.n_bunches, *metrics.own_content(objective)]
    epochs = recipe.model.training.float_epochs + recipe.model.training.epochs
    with context.step("training the baseline", epochs) as advance:
        trained = context.store.network("baseline", key, lambda: _train(recipe, model, jets, advance))
    return as_built(trained, recipe)


def as_built(network: Network, recipe: Recipe) -> Network:
    """Return a network whose layers know the strategy and reuse factors that the recipe builds them with.

    Raises:
        RecipeError: a layer that has a reuse factor there is not in the network.
    """
    wanted = recipe.reuse_factor
    layers = {layer.name: layer for layer in network if isinstance(layer, Weighted)}
    factors = wanted if isinstance(wanted, dict) else dict.fromkeys(layers if wanted else (), wanted)
    for name in factors:
        if name not in layers:
            raise RecipeError(f"reuse_factor: {unknown('layer', name, layers)}")
    if recipe.strategy == "distributed_arithmetic":
        return network
    knobs = {name: {"strategy": recipe.strategy, "reuse_factor": factor} for name, factor in factors.items()}
    return network.replacing(
        {name: layer.rebuilt(**{"strategy": recipe.strategy, **knobs.get(name, {})}) for name, layer in layers.items()}
    )


def model_of(recipe: Recipe) -> Network | None:
    """Return the model that the recipe brings, if it brings one.

    Raises:
        NetworkError: it cannot be read.
    """
    return None if recipe.model.file is None else frontends.read(recipe.model.file)


def untrained(recipe: Recipe, model: Network | None) -> Network:
    """Return what the recipe's tagger begins as: its model with batch norms folded, or without one a new network.

    Raises:
        RecipeError: the model takes other features, or puts out other values, than the recipe names.
    """
    if model is None:
        return drawn(recipe, seed=recipe.seed)
    tagger = fold_batch_norm(model)
    inputs, outputs, file = recipe.data.columns, recipe.outputs, recipe.model.file
    shapes = [layer.features_shape for layer in tagger.inputs]
    n_out = [tagger.widths[name] for name in tagger.raw_outputs]
    wanted = [each.shape for each in inputs.values()], [len(each.values) for each in outputs.values()]
    if (shapes, n_out) != wanted:
        what = "classes" if isinstance(recipe.meaning, Classes) else "values"
        raise RecipeError(
            f"'{file}' takes {_text(shapes)} features and gives {_text(n_out)} {what}, "
            f"the recipe names {_text(wanted[0])} and {_text(wanted[1])}"
        )
    ports = [layer.name for layer in tagger.inputs]
    for kind, own, named in (("inputs", ports, list(inputs)), ("outputs", list(tagger.outputs), list(outputs))):
        if len(named) > 1 and own != named:
            raise RecipeError(f"'{file}' has the {kind} {', '.join(own)}, the recipe names {', '.join(named)}")
    for name, output in zip(tagger.raw_outputs, outputs.values(), strict=True):
        last = tagger[name]
        if isinstance(output.task, MultiLabel) and isinstance(last, Activation) and last.function == "sigmoid":
            raise RecipeError(f"'{file}' ends in the sigmoid '{name}', and is judged by its logits; take it off")
    return tagger


def check_plain(recipe: Recipe) -> None:
    """Refuse a recipe whose jets a network of hidden sizes does not take.

    Raises:
        RecipeError: there are constituents, or several inputs or outputs.
    """
    if not recipe.is_plain:
        raise RecipeError(
            f"this study draws networks of model.hidden, which take one input of one number per feature and have one "
            f"output; the recipe '{recipe.name}' has other inputs or outputs"
        )


def drawn(recipe: Recipe, *, seed: int) -> Network:
    """Return a float network of the recipe's architecture or hidden sizes, drawn from a seed.

    Raises:
        NetworkError: the architecture does not take the recipe's input.
    """
    wanted = recipe.model.architecture
    if wanted is None:
        return dense(recipe, seed=seed)
    shapes = {name: each.shape for name, each in recipe.data.columns.items()}
    sizes = {name or "output": len(each.values) for name, each in recipe.outputs.items()}
    return architectures.draw(wanted, shapes, sizes, seed=seed)


def dense(recipe: Recipe, *, seed: int) -> Network:
    """Return a float network of the recipe's hidden sizes, drawn from a seed."""
    (columns,), (output,) = recipe.data.columns.values(), recipe.outputs.values()
    return training.multilayer_perceptron(len(columns.names), recipe.model.hidden, len(output.values), seed=seed)


def _train(recipe: Recipe, given: Network | None, jets: Samples, advance: Any) -> Network:
    model, seed = recipe.model, recipe.seed
    tagger = untrained(recipe, given)
    if precision.is_quantised(tagger):
        return tagger
    if given is None:
        settings = model.training.fit(model.training.float_epochs, quantised=False, objective=recipe.objective)
        tagger, _ = training.fit(tagger, jets.train, jets.validation, settings=settings, seed=seed, advance=advance)
    some = jets.train.first(_TYPE_JETS).arrays
    quantised = precision.quantise(tagger, some, model.bits.precision(), keep=True)
    settings = model.training.fit(model.training.epochs, objective=recipe.objective)
    return training.fit(quantised, jets.train, jets.validation, settings=settings, seed=seed, advance=advance)[0]


def _text(sizes: Sequence[Any]) -> str:
    """Return "16", or "(16, 4) and 3"."""
    return " and ".join(str(s[0]) if isinstance(s, tuple) and len(s) == 1 else str(s) for s in sizes)


def pruned(context: Context, tagger: Network, jets: Samples) -> Network:
    """Return the tagger as the recipe's `prune` section leaves it; without one, as it is."""
    recipe, wanted = context.recipe, context.recipe.prune
    if wanted is None:
        return tagger
    options, epochs = wanted.options(recipe.model.training.batch_size), wanted.n_rounds * wanted.fine_tune_epochs
    with context.step("pruning", epochs) as advance:

        def prune() -> Network:
            return iterative.prune(tagger, jets.train, jets.validation, **options, seed=recipe.seed, advance=advance)[0]

        key = [identity(tagger), jets.key, wanted.model_dump(), recipe.model.training.batch_size, recipe.seed]
        return context.store.network("pruned", key, prune)


def sensitivities(context: Context, tagger: Network, jets: Samples) -> tuple[sensitivity.SensitivityCurve, ...]:
    """Return how the loss reacts to pruning each kernel or group of neurons, at each granularity of the search."""
    granularities = [name for name in context.recipe.granularities if name in sensitivity.CUTS]
    total = sum(len(sensitivity.levels_of(kind)) for _, kind in sensitivity.cuttable(tagger, granularities))

    def analyse() -> tuple[sensitivity.SensitivityCurve, ...]:
        gathered = statistics.gather(*training.placed(tagger, jets.train.first(_STATISTICS_JETS)))
        how: dict[str, Any] = {"granularities": granularities, "executor": context.executor, "advance": advance}
        return sensitivity.analyse(tagger, jets.validation, gathered, **how)

    with context.step("sensitivity", total) as advance:
        kind = tuple[sensitivity.SensitivityCurve, ...]
        return context.store.value(kind, "sensitivity", [identity(tagger), jets.key, granularities], analyse)


def loss_changes(curves: tuple[sensitivity.SensitivityCurve, ...]) -> tuple[list[str], np.ndarray[Any, Any]]:
    """Return labels and loss changes (n_curves, n_levels) of what goes in parts, those that give most easily first."""
    ranked = [curve for curve in sensitivity.ranking(curves) if curve.granularity != BLOCK]
    return [f"{c.layer} {c.granularity}" for c in ranked], np.array([[p.loss_change for p in c.points] for c in ranked])
