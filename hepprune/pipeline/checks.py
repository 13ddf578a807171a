"""What a recipe, its model and the header of its data can be wrong about, found in the first seconds of a run."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from hepprune import training
from hepprune.errors import NetworkError, RecipeError, explained, unknown
from hepprune.firmware import rtl
from hepprune.firmware.folders import check_names
from hepprune.firmware.routes import ROUTES
from hepprune.hardware import budgets, cost
from hepprune.hardware.resources import Estimate
from hepprune.network import Network, precision
from hepprune.pipeline import feedback, making, taggers, teaching, tools
from hepprune.pipeline.context import Context
from hepprune.pruning import plan
from hepprune.recipe import Recipe
from hepprune.search.allocation import bits
from hepprune.synthesis import yosys

_EXAMPLES = 64  # jets of noise, to choose types by


def check(context: Context, stage: str) -> tuple[Network | None, str]:
    """Refuse what a run that is measured at `stage` would meet only after jets are read and networks trained.

    Returns the model that the recipe brings, if it brings one, and why Verilog alone is written of it, if it is: where
    that is measured, what hls4ml does not take is no reason to refuse.

    Raises:
        RecipeError: the recipe contradicts its model, its target or what can be predicted.
        NetworkError: the model cannot be read, or has a layer that a run cannot take.
        DataError: the data lack a column, or hold one of the wrong kind.
        ReportError: the part is of no family that is synthesised.
    """
    recipe, target = context.recipe, context.target
    check_names(recipe.name, part=target.part_name, clock_ns=target.period_ns)
    if stage == "yosys":
        yosys.family(target.part_name)
    budgets.check(target, feedback.asked(context))
    teaching.check(recipe)
    # columns that are missing or of the wrong kind, as the first row shows them
    with TemporaryDirectory() as folder:
        taggers.read_columns(making.example(recipe, Path(folder)), max_jets=1)
    model = taggers.model_of(recipe)
    tagger = taggers.untrained(recipe, model)
    _check_bits(tagger, recipe)
    typed = taggers.as_built(_typed(tagger, recipe), recipe)
    predicted = cost.estimate(typed, target, strategy=recipe.strategy, stage=stage)  # or it says what has no price
    _check_size(context, typed, predicted)
    no_hls = _check_routes(typed, recipe)
    _check_pruning(tagger, recipe)
    if recipe.settings().bits:
        bits.check(typed)
    return model, no_hls


def check_jets(recipe: Recipe, baseline: Network, jets: taggers.Samples) -> None:
    """Refuse metrics of which there are too few jets to validate or to test, before anything is cut."""
    decisive = [name for name in recipe.judged_by if name in {*recipe.max_losses, recipe.objective}]
    for some, names in ((jets.validation, decisive), (jets.test, recipe.judged_by)):
        training.scores(baseline, some, names=names)


def _check_bits(tagger: Network, recipe: Recipe) -> None:
    typed = {layer.name: layer for layer in tagger if precision.takes_bits(layer)}
    for name, width in recipe.model.bits.layers.items():
        if name not in typed:
            raise RecipeError(f"model.bits.layers: {unknown('layer', name, typed)}")
        if width < 2 and typed[name].kernels:
            raise RecipeError(f"model.bits.layers: the weights of '{name}' take 2 bits or more, one of them the sign")


def _typed(tagger: Network, recipe: Recipe) -> Network:
    """Return a tagger with fixed-point types: its own, and those that the recipe's bits give on noise."""
    if precision.is_quantised(tagger):
        return tagger
    rng = np.random.default_rng(0)
    noise = tuple(rng.normal(size=(_EXAMPLES, *layer.features_shape)) for layer in tagger.inputs)
    return precision.quantise(tagger, noise, recipe.model.bits.precision(), keep=True)


def _check_size(context: Context, typed: Network, predicted: Estimate) -> None:
    """Refuse a network that is too large to be unrolled, even when it is as small as the budget asks."""
    lut = predicted.resources.lut
    if not tools.is_rtl(context.recipe) or lut is None:
        return
    most = feedback.resolve(context, lut).resources.lut
    if reason := rtl.too_large(typed, lut if most is None else min(lut, most)):
        raise RecipeError(f"strategy '{context.recipe.strategy}': {reason}")


def _check_routes(typed: Network, recipe: Recipe) -> str:
    """Refuse a network that no firmware can be written of as asked; return why hls4ml takes no part, where it does not.

    Firmware is asked for on every route of the strategy, but for HLS beside Verilog, which a network may do without.
    """
    found = {route: ROUTES[route].refusals(typed, strategy=recipe.strategy) for route in tools.routes(recipe)}
    spared = {} if tools.asks_for_hls(recipe) or found["rtl"] else found.pop("hls")
    reasons: dict[str, str] = {}
    for refused in found.values():
        reasons = refused | reasons
    if reasons:
        raise NetworkError(f"strategy '{recipe.strategy}' cannot build this network: {'; '.join(reasons.values())}")
    return "; ".join(spared.values())


def _check_pruning(tagger: Network, recipe: Recipe) -> None:
    wanted = recipe.prune
    if wanted is not None:
        with explained(RecipeError, "prune:", NetworkError):
            plan.prune(tagger, sparsity=0.0, granularity=wanted.granularity, scope=wanted.scope, keep=wanted.keep)
