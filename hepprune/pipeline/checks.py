"""What a recipe, its model and the header of its data can be wrong about, found in the first seconds of a run."""

import numpy as np

from hepprune.errors import NetworkError, RecipeError, unknown
from hepprune.firmware.folders import check_names
from hepprune.firmware.routes import ROUTES
from hepprune.hardware import cost
from hepprune.network import BatchNorm, Conv, Dense, Input, Layer, Merge, Network, Pool, ReLU, Reshape, precision
from hepprune.network.layers import Shared
from hepprune.pipeline import budgets, feedback, taggers, tools
from hepprune.pipeline.context import Context
from hepprune.pruning import plan
from hepprune.recipe import Recipe
from hepprune.synthesis import yosys

_PROVED = (Input, Dense, ReLU, BatchNorm, Conv, Merge, Pool, Reshape)
_EXAMPLES = 64  # jets of noise, to choose types by


def check(context: Context, stage: str) -> Network | None:
    """Refuse what a run that is measured at `stage` would meet only after jets are read and networks trained.

    Returns the model that the recipe brings, if it brings one.

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
    _check_columns(recipe)
    model = taggers.model_of(recipe)
    if model is not None:
        check_model(model, str(recipe.model.file), chain=recipe.strategy != "latency")
    tagger = taggers.untrained(recipe, model)
    _check_folded(tagger)
    _check_bits(tagger, recipe)
    typed = taggers.as_built(_typed(tagger, recipe), recipe)
    cost.estimate(typed, target, strategy=recipe.strategy, stage=stage)  # or it says what has no price
    _check_routes(typed, recipe)
    _check_pruning(tagger, recipe)
    return model


def check_model(network: Network, name: str, *, chain: bool) -> None:
    """Refuse a network that a run does not take, and say what can be done with it.

    Where it is to be a `chain`, as under all strategies but latency, that is all but dense layers and ReLUs.

    Raises:
        NetworkError: it has several inputs or outputs, or a layer that a run cannot take.
    """
    ends = {"inputs": len(network.inputs), "outputs": len(network.outputs)}
    for what, count in ends.items():
        if count != 1:
            raise NetworkError(
                f"'{name}' has {count} {what}, and `hepprune run` takes one: `hepprune estimate` prices such a model, "
                "and `hepprune shrink` removes what acts on nothing"
            )
    for layer in network.body:
        if reason := _no_chain(network, layer) if chain else _untried(layer):
            what = (
                "chains of dense layers and ReLUs on single jets"
                if chain
                else "convolutions, pools and merged values besides"
            )
            raise NetworkError(
                f"layer '{layer.name}' of '{name}' {reason}, and `hepprune run` takes only {what} under this strategy: "
                "`hepprune prune` and `hepprune search` make such a model smaller, and `hepprune estimate` prices it"
            )
        if layer.kernels and network.input.result is not None and any(k.type is None for k in layer.kernels):
            raise NetworkError(f"layer '{layer.name}' of '{name}' has no fixed-point type where the input has one")


def _untried(layer: Layer) -> str | None:
    """Return why no run of an HLS project has been proved with such a layer, None where one has."""
    if isinstance(layer, Shared):
        return f"runs the weights of '{layer.of}' again"
    return None if isinstance(layer, _PROVED) else f"is of kind {type(layer).__name__}"


def _no_chain(network: Network, layer: Layer) -> str | None:
    """Return why a layer is none of a chain of dense layers on single jets, None where it is."""
    if isinstance(layer, Shared):
        return f"runs the weights of '{layer.of}' again"
    if not isinstance(layer, Input | Dense | ReLU | BatchNorm):
        return f"is of kind {type(layer).__name__}"
    if len(network.shapes[layer.name]) != 1:
        return f"puts out values of shape {network.shapes[layer.name]}"
    if isinstance(layer, ReLU) and layer.maximum is not None:
        return f"is a ReLU that ends at {layer.maximum:g}"
    return None


def _check_folded(tagger: Network) -> None:
    """Refuse a batch norm that stays, which the search has no price for."""
    for layer in tagger:
        if isinstance(layer, BatchNorm):
            raise NetworkError(
                f"batch norm '{layer.name}' can be folded neither into a layer before it that feeds nothing else, nor "
                "into those after it, and `hepprune run` takes none; `hepprune estimate` prices such a model"
            )


def _check_columns(recipe: Recipe) -> None:
    """Refuse columns that are missing or of the wrong kind, as the first row shows them."""
    taggers.read_columns(recipe, max_jets=1)


def _check_bits(tagger: Network, recipe: Recipe) -> None:
    typed = {layer.name: layer for layer in tagger if precision.takes_bits(layer)}
    for name, bits in recipe.model.bits.layers.items():
        if name not in typed:
            raise RecipeError(f"model.bits.layers: {unknown('layer', name, typed)}")
        if bits < 2 and typed[name].kernels:
            raise RecipeError(f"model.bits.layers: the weights of '{name}' take 2 bits or more, one of them the sign")


def _typed(tagger: Network, recipe: Recipe) -> Network:
    """Return a tagger with fixed-point types: its own, or those that the recipe's bits give on noise."""
    if precision.is_quantised(tagger):
        return tagger
    rng = np.random.default_rng(0)
    noise = tuple(rng.normal(size=(_EXAMPLES, *layer.features_shape)) for layer in tagger.inputs)
    return precision.quantise(tagger, noise, recipe.model.bits.precision())


def _check_routes(typed: Network, recipe: Recipe) -> None:
    """Refuse layers that a route of the recipe's strategy cannot build, all of them by name."""
    reasons: dict[str, str] = {}
    for route in tools.routes(recipe):
        reasons = ROUTES[route].refusals(typed, strategy=recipe.strategy) | reasons
    if reasons:
        raise NetworkError(f"strategy '{recipe.strategy}' cannot build this network: {'; '.join(reasons.values())}")


def _check_pruning(tagger: Network, recipe: Recipe) -> None:
    """Refuse a granularity of which the tagger has nothing to prune."""
    wanted = recipe.prune
    if wanted is not None:
        try:
            plan.prune(tagger, sparsity=0.0, granularity=wanted.granularity, scope=wanted.scope, keep=wanted.keep)
        except NetworkError as problem:
            raise RecipeError(f"prune: {problem}") from problem
