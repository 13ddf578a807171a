"""The first half of a run: jets, the baseline tagger, what each layer can give."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from hepprune import frontends, training
from hepprune.data import jets as jet_samples
from hepprune.data import root, scaling
from hepprune.errors import RecipeError
from hepprune.files import content_hash
from hepprune.network import Network, identity, precision
from hepprune.pipeline.context import Context
from hepprune.pruning import statistics
from hepprune.pruning.folding import fold_batch_norm
from hepprune.recipe import Recipe
from hepprune.sample import Sample
from hepprune.search import sensitivity
from hepprune.studies import iterative

_TYPE_JETS = 20_000  # enough to see the tails that integer bits are chosen from
_STATISTICS_JETS = 16_384


@dataclass(frozen=True)
class Samples:
    """Scaled jets, split by event; `key` names them by content, `scaler` turns raw features into these."""

    train: Sample
    validation: Sample
    test: Sample
    scaler: scaling.Scaler
    key: str


def read_jets(context: Context) -> Samples:
    """Read, split and scale the recipe's jets."""
    wanted = context.recipe.data
    with context.step("reading jets") as advance:
        jets = root.read(
            wanted.file,
            features=wanted.features,
            label=wanted.label,
            classes=wanted.classes,
            event=wanted.event,
            max_jets=wanted.max_jets,
        )
        fractions = (1 - wanted.validation - wanted.test, wanted.validation, wanted.test)
        train, validation, test = jet_samples.split(jets, fractions, seed=context.recipe.seed)
        scaler = scaling.SCALERS[wanted.scaler](train)
        parts = tuple(Sample.from_arrays(scaler.apply(part).x, part.y) for part in (train, validation, test))
        advance(note=f"{len(train.y):,} to train, {len(validation.y):,} to validate, {len(test.y):,} to test")
    key = content_hash([part.key for part in parts])
    return Samples(train=parts[0], validation=parts[1], test=parts[2], scaler=scaler, key=key)


def baseline(context: Context, jets: Samples, model: Network | None) -> Network:
    """Train the unpruned, quantised tagger, or take the `model` that the recipe brings, quantised where it is float."""
    recipe = context.recipe
    own = None if model is None else identity(model)
    key = [recipe.model.model_dump(), recipe.seed, len(recipe.data.classes), jets.key, own]
    epochs = recipe.model.training.float_epochs + recipe.model.training.epochs
    with context.step("training the baseline", epochs) as advance:
        return context.kept_network("baseline", key, lambda: _train(recipe, model, jets, advance))


def model_of(recipe: Recipe) -> Network | None:
    """Return the model that the recipe brings, if it brings one.

    Raises:
        NetworkError: it cannot be read.
    """
    return None if recipe.model.file is None else frontends.read(recipe.model.file)


def untrained(recipe: Recipe, model: Network | None) -> Network:
    """Return what the recipe's tagger begins as: its model with batch norms folded, or without one a new network.

    Raises:
        RecipeError: the model takes other features, or tells other classes apart, than the recipe names.
    """
    if model is None:
        sizes = len(recipe.data.features), recipe.model.hidden, len(recipe.data.classes)
        return training.multilayer_perceptron(*sizes, seed=recipe.seed)
    tagger = fold_batch_norm(model)
    _check_fits(tagger, recipe)
    return tagger


def _train(recipe: Recipe, given: Network | None, jets: Samples, advance: Any) -> Network:
    model, seed = recipe.model, recipe.seed
    tagger = untrained(recipe, given)
    if tagger.input.result is not None:
        return tagger
    if given is None:
        settings = model.training.fit(model.training.float_epochs, quantised=False)
        tagger, _ = training.fit(tagger, jets.train, jets.validation, settings=settings, seed=seed, advance=advance)
    quantised = precision.quantise(tagger, jets.train.first(_TYPE_JETS).arrays, model.bits.precision())
    settings = model.training.fit(model.training.epochs)
    return training.fit(quantised, jets.train, jets.validation, settings=settings, seed=seed, advance=advance)[0]


def _check_fits(tagger: Network, recipe: Recipe) -> None:
    n_in, n_out = tagger.input.n_features, tagger.widths[tagger.raw_output]
    if (n_in, n_out) != (len(recipe.data.features), len(recipe.data.classes)):
        raise RecipeError(
            f"'{recipe.model.file}' takes {n_in} features and gives {n_out} classes, "
            f"the recipe names {len(recipe.data.features)} and {len(recipe.data.classes)}"
        )


def pruned(context: Context, tagger: Network, jets: Samples) -> Network:
    """Return the tagger as the recipe's `prune` section leaves it; without one, as it is."""
    recipe, wanted = context.recipe, context.recipe.prune
    if wanted is None:
        return tagger
    options, epochs = wanted.options(recipe.model.training.batch_size), wanted.n_rounds * wanted.fine_tune_epochs
    with context.step("pruning", epochs) as advance:

        def prune() -> Network:
            return iterative.prune(tagger, jets.train, jets.validation, **options, seed=recipe.seed, advance=advance)[0]

        return context.kept_network("pruned", [identity(tagger), jets.key, wanted.model_dump(), recipe.seed], prune)


def sensitivities(context: Context, tagger: Network, jets: Samples) -> tuple[sensitivity.SensitivityCurve, ...]:
    """Return how the loss reacts to pruning each layer alone, at every granularity the search may use."""
    granularities = context.recipe.search.granularities
    total = len(sensitivity.cuttable(tagger, granularities)) * len(sensitivity.LEVELS)

    def analyse() -> tuple[sensitivity.SensitivityCurve, ...]:
        some = jets.train.first(_STATISTICS_JETS)
        gathered = statistics.gather(tagger, some)
        return sensitivity.analyse(
            tagger,
            jets.validation,
            gathered,
            granularities=granularities,
            executor=context.executor,
            advance=advance,
        )

    with context.step("sensitivity", total) as advance:
        kind = tuple[sensitivity.SensitivityCurve, ...]
        return context.kept(kind, "sensitivity", [identity(tagger), jets.key, granularities], analyse)


def loss_changes(curves: tuple[sensitivity.SensitivityCurve, ...]) -> tuple[list[str], np.ndarray[Any, Any]]:
    """Return labels and loss changes (n_curves, n_levels), those that give most easily first."""
    ranked = sensitivity.ranking(curves)
    return [f"{c.layer} {c.granularity}" for c in ranked], np.array([[p.loss_change for p in c.points] for c in ranked])
