"""The plots of a run: its costs, its search, and for each output the physics that belongs to its task."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from hepprune.firmware import hls
from hepprune.firmware.routes import Built
from hepprune.metrics import Floats
from hepprune.network import Argmax, Network, exact_raw
from hepprune.pipeline import feedback, pricing
from hepprune.pipeline.context import Context
from hepprune.pipeline.outcome import Compared
from hepprune.pipeline.taggers import loss_changes
from hepprune.recipe.outputs import Output
from hepprune.report import costs, physics, plots
from hepprune.report.physics import Scored
from hepprune.report.summary import Summary
from hepprune.sample import Sample
from hepprune.search.sensitivity import LEVELS
from hepprune.task import Classes, Regression


def draw(
    context: Context, summary: Summary, start: feedback.Start, last: feedback.Turn, of: Compared
) -> dict[str, str]:
    """Draw all plots, png and pdf, and return their png files by name."""
    folder, budget = context.build / "plots", summary.budget
    before, after = (_weights(network) for network in (start.tagger, last.network))
    estimates = {"baseline": pricing.own(context, last.known)(start.tagger), "hepprune": last.estimate}
    measured_ns = last.measurement.latency_ns if last.measurement else None
    measured = {"hepprune": measured_ns} if measured_ns else {}
    drawn = {
        "pareto": plots.pareto(summary, folder / "pareto"),
        "resources": plots.resource_bars(summary, folder / "resources"),
        "weights": physics.weight_histogram(before, after, folder / "weights"),
        "predictions": costs.predicted_vs_measured(summary.feedback, folder / "predictions"),
        "latency": costs.latency_stack(
            estimates, folder / "latency", budget_ns=budget.get("latency_ns"), measured_ns=measured
        ),
    }
    if start.curves:  # bits and reuse factors have none
        labels, changes = loss_changes(start.curves)
        drawn["sensitivity"] = plots.sensitivity_map(
            labels, LEVELS, changes, folder / "sensitivity", unit=context.recipe.meaning.unit
        )
    drawn |= _physics(context, start, of.compressed, folder)
    return {name: str(paths[0]) for name, paths in drawn.items()}


def _physics(context: Context, start: feedback.Start, built: Built, folder: Path) -> dict[str, list[Path]]:
    """Draw ROC curves of every output of classes, and the response of every value that is to be met and never zero."""
    drawn: dict[str, list[Path]] = {}
    forms, classes = _forms(start, built), context.recipe.data.classes
    for index, (name, output) in enumerate(context.recipe.outputs.items()):
        title, truth = f"_{name}" if name else "", _truth(start.jets.test, index)
        own = {form: values[index] for form, values in forms.items() if index in values}
        if isinstance(output.task, Classes) and classes:
            drawn[f"roc{title}"] = physics.roc(_scored(own), truth, classes, folder / f"roc{title}")
        if isinstance(output.task, Regression) and truth.all():
            for number, (column, value) in enumerate(_columns(output, own)):
                place = f"response{title}_{number}" if len(output.columns) > 1 else f"response{title}"
                drawn[place] = physics.response(value, truth[:, number], column, folder / place)
    return drawn


def _truth(sample: Sample, index: int) -> NDArray[Any]:
    """Return the targets of an output; of values (n_jets, n_out)."""
    found: NDArray[Any] = sample.truth[index] if isinstance(sample.truth, tuple) else sample.truth
    return found


def _columns(output: Output, forms: Mapping[str, Floats]) -> Iterator[tuple[str, list[Scored]]]:
    """Yield every column of an output of values with its forms, (n_jets,) each."""
    for index, column in enumerate(output.columns):
        yield column, _scored({name: values.reshape(len(values), -1)[:, index] for name, values in forms.items()})


def _scored(forms: Mapping[str, Floats]) -> list[Scored]:
    lines = {"baseline": "-", "hepprune": "--"}
    return [Scored(name, lines.get(name, ":"), values) for name, values in forms.items()]  # type: ignore[arg-type]


def _forms(start: feedback.Start, built: Built) -> dict[str, dict[int, Floats]]:
    """Return what baseline, compressed network and firmware put out on the test jets, by the index of the output.

    Logits become probabilities; the C simulation of an argmax has none.
    """
    features, network, tasks = start.jets.test.arrays, built.network, start.jets.test.task
    each = getattr(tasks, "outputs", {"": tasks}).values()

    def shown(index: int, values: Floats) -> Floats:
        scores: Floats = softmax(values, axis=1) if isinstance([*each][index], Classes) else values
        return scores

    forms = {
        name: {index: shown(index, values) for index, values in enumerate(exact_raw(of, features))}
        for name, of in (("baseline", start.tagger), ("hepprune", network))
    }
    if built.project is not None:
        simulated = hls.predictions(built.project, features)
        forms["firmware (C simulation)"] = {
            index: simulated[name] if network[name].is_head else shown(index, simulated[name])
            for index, name in enumerate(network.outputs)
            if not isinstance(network[name], Argmax)
        }
    return forms


def _weights(network: Network) -> Floats:
    """Return all quantised weights, flat."""
    used = [kernel.used().detach().double().numpy().ravel() for kernel in network.kernels]
    return np.concatenate(used)
