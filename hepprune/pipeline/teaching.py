"""Targets that a larger network gives: it is trained first, and its score of each jet is what the recipe's learns."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from hepprune import training
from hepprune.data.inputs import TRANSFORMS
from hepprune.data.jets import Jets
from hepprune.errors import DataError, RecipeError
from hepprune.metrics import mse
from hepprune.network import Network
from hepprune.pipeline.context import Context
from hepprune.recipe import Recipe, Teacher, architectures
from hepprune.task import BinaryLabel, Reconstruction
from hepprune.task.sample import Sample

_BATCH = 4096  # jets that a teacher scores at a time: it may be large

JetsByInput = dict[str, Jets]  # what each input of a network sees of some jets


def taught(context: Context, samples: Sequence[JetsByInput]) -> list[JetsByInput]:
    """Return samples to train, validate and test on with a teacher's score of each jet before their other targets.

    Without a teacher they come back as they are. What it has learned is kept.

    Raises:
        DataError: every jet to train on is signal, of which the teacher learns nothing.
    """
    teacher = context.recipe.data.teacher
    if teacher is None:
        return list(samples)
    jets = [next(iter(inputs.values())) for inputs in samples]  # of the only input
    network = _trained(context, teacher, jets)
    scores = [_scores(teacher, network, each.x) for each in jets]
    if teacher.task == "latent":
        known = scores[0][_background(context.recipe, jets[0])]
        width = known.std(axis=0)
        scores = [(each - known.mean(axis=0)) / np.where(width > 0, width, 1.0) for each in scores]
    return [
        {name: replace(each, targets=np.column_stack([score, each.targets])) for name, each in inputs.items()}
        for inputs, score in zip(samples, scores, strict=True)
    ]


def check(recipe: Recipe) -> None:
    """Refuse a teacher that does not take the recipe's input.

    Raises:
        RecipeError: it does not.
        NetworkError: its architecture takes other axes.
    """
    if recipe.data.teacher is not None:
        _drawn(recipe, recipe.data.teacher)


def _drawn(recipe: Recipe, teacher: Teacher) -> Network:
    ((name, columns),) = recipe.data.columns.items()
    size = 1 if teacher.task == "binary" else math.prod(columns.shape)
    if teacher.architecture is not None:
        return architectures.draw(teacher.architecture, {name: columns.shape}, {"output": size}, seed=recipe.seed)
    if len(columns.shape) > 1 or teacher.hidden is None:
        raise RecipeError(
            f"data.teacher: hidden sizes take one number a feature, not {columns.shape}; give an architecture"
        )
    drawn = training.multilayer_perceptron(columns.shape[0], teacher.hidden, size, seed=recipe.seed)
    left_out = f"relu_{teacher.narrowest}" if teacher.task == "latent" else ""
    return Network([layer for layer in drawn if layer.name != left_out])


def _trained(context: Context, teacher: Teacher, samples: Sequence[Jets]) -> Network:
    recipe = context.recipe
    train, validation = (_lesson(recipe, teacher, jets) for jets in samples[:2])
    key = [teacher.model_dump(exclude={"transform", "of_signal"}), recipe.seed, train.key, validation.key]
    with context.step("training the teacher", teacher.epochs) as advance:
        fit = partial(training.fit, settings=teacher.fit, seed=recipe.seed, advance=advance)
        return context.store.network("teacher", key, lambda: fit(_drawn(recipe, teacher), train, validation)[0])


def _lesson(recipe: Recipe, teacher: Teacher, jets: Jets) -> Sample:
    """Return what the teacher learns: signal and background told apart, or the features of what is not signal."""
    weight = jets.weight if recipe.data.is_weighted else None
    if teacher.task == "binary":
        if len(np.unique(jets.targets[:, -1])) < 2:
            raise DataError(f"data.signal: '{recipe.data.signal}' is true of all jets or none; a teacher tells both")
        return Sample.from_arrays(jets.x, jets.targets[:, -1], weight, task=BinaryLabel())
    known = _background(recipe, jets)
    if not known.any():
        raise DataError(f"data.signal: '{recipe.data.signal}' is true of all jets, and none is left to teach")
    own = None if weight is None else weight[known]
    return Sample.from_arrays(jets.x[known], jets.x[known], own, task=Reconstruction())


def _background(recipe: Recipe, jets: Jets) -> NDArray[np.bool_]:
    return np.ones(len(jets), np.bool_) if recipe.data.signal is None else jets.targets[:, -1] == 0


@torch.no_grad()
def _scores(teacher: Teacher, network: Network, x: NDArray[np.float32]) -> NDArray[np.float64]:
    last, found = f"dense_{teacher.narrowest}" if teacher.task == "latent" else network.raw_outputs[0], []
    for batch in np.array_split(x, -(-len(x) // _BATCH)):
        values = network.activations(torch.from_numpy(batch.copy()), quantised=False, until=[last])[last]
        flat = values.double().numpy().reshape(len(batch), -1)
        if teacher.task == "reconstruction":
            lost = mse(flat, batch.reshape(flat.shape).astype(np.float64))
            flat = TRANSFORMS[teacher.transform](lost)[:, None]
        found.append(flat)
    return np.concatenate(found)
