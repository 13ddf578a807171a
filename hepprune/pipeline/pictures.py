"""The plots of a run: its costs, its search, and for each output the physics that belongs to its task."""

from pathlib import Path

import numpy as np
from scipy.special import softmax

from hepprune.errors import ReportError
from hepprune.files import stored
from hepprune.firmware import hls
from hepprune.metrics import Floats
from hepprune.network import Argmax, Network, bits, exact_raw
from hepprune.pipeline import feedback, pricing
from hepprune.pipeline.context import Context
from hepprune.pipeline.outcome import Compared
from hepprune.pipeline.taggers import loss_changes
from hepprune.report import descent, designs, plots
from hepprune.report import summary as summaries
from hepprune.report.designs import Counted, Designs, Judged
from hepprune.report.plots import costs, gallery
from hepprune.report.summary import Summary
from hepprune.search.sensitivity import LEVELS
from hepprune.task import Classes, MultiLabel, Regression

Pictured = tuple[Designs | None, tuple[Judged, ...]]  # what plots are drawn from, beside the summary


def keep(context: Context, start: feedback.Start, last: feedback.Turn, of: Compared) -> Pictured:
    """Return what plots are drawn from, and write it down; plots of an earlier run are of other networks, and go."""
    layers, changes = loss_changes(start.curves)
    measured_ns = last.measurement.latency_ns if last.measurement else None
    built = Designs(
        before=Counted.of(_weights(start.tagger)),
        after=Counted.of(_weights(last.network)),
        estimates={"baseline": pricing.own(context, last.known)(start.tagger), "hepprune": last.estimate},
        measured_ns={"hepprune": measured_ns} if measured_ns else {},
        budget_ns=start.budget.limits().get("latency_ns"),
        layers=tuple(layers),
        levels=tuple(LEVELS),
        changes=tuple(map(tuple, changes.tolist())),
        unit=context.recipe.meaning.unit,
        bits_before=_bits(start.tagger),
        bits_after=_bits(last.network),
    )
    outputs = _judged(context, start, of)
    stored.write(Designs, context.build / designs.FILE, built)
    designs.write_judged(outputs, context.build / designs.JUDGED_FILE)
    for earlier in (context.build / "plots").glob("*.p??"):
        earlier.unlink()
    return built, outputs


def redraw(build: Path, folder: Path, *, label: str | None = None) -> dict[str, str]:
    """Draw all that a run has drawn once more, from what it left, under a label; return the png files by name.

    Raises:
        ReportError: the run has not been to its end, made a front, or a file of it is damaged.
    """
    if descent.is_alone(build):
        raise ReportError(f"'{build}' holds a front and no run: its plots are front.png and front.pdf there")
    summary, outputs = summaries.read(build / "summary.json"), designs.read_judged(build / designs.JUDGED_FILE)
    with plots.labelled(label):
        return draw(summary, designs.read(build / designs.FILE), outputs, folder)


def draw(summary: Summary, built: Designs | None, outputs: tuple[Judged, ...], folder: Path) -> dict[str, str]:
    """Draw all plots of a run, png and pdf, and return their png files by name."""
    drawn = {
        "pareto": plots.pareto(summary, folder / "pareto"),
        "resources": plots.resource_bars(summary, folder / "resources"),
        "predictions": costs.predicted_vs_measured(summary.feedback, folder / "predictions"),
        **({} if built is None else designs.draw(built, folder)),
        **gallery.draw(outputs, folder),
    }
    return {name: str(paths[0]) for name, paths in drawn.items()}


def _judged(context: Context, start: feedback.Start, of: Compared) -> tuple[Judged, ...]:
    sample, recipe, forms = start.jets.test, context.recipe, _forms(start, of)
    found = []
    for index, (name, output) in enumerate(recipe.outputs.items()):
        task = output.task
        one = Judged(
            name=name,
            kind="classes" if isinstance(task, Classes) else "labels" if isinstance(task, MultiLabel) else "values",
            names=output.values,
            truth=sample.truth[index] if isinstance(sample.truth, tuple) else sample.truth,
            forms={form: all_[index].reshape(len(sample), -1) for form, all_ in forms.items() if index in all_},
            signal=sample.truth[-1] if recipe.data.signal is not None else None,
            n_bunches=recipe.n_bunches,
            score=task.conditions.of if isinstance(task, Regression) else None,
        )
        found.append(one)
    return tuple(found)


def _forms(start: feedback.Start, of: Compared) -> dict[str, dict[int, Floats]]:
    """Return what baseline, uniform and compressed network and firmware put out, by the index of the output.

    Logits of classes become probabilities; the C simulation of an argmax has none.
    """
    features, built, tasks = start.jets.test.arrays, of.compressed, start.jets.test.task
    each = getattr(tasks, "outputs", {"": tasks}).values()

    def shown(index: int, values: Floats) -> Floats:
        return softmax(values, axis=1) if isinstance([*each][index], Classes) else values

    network = built.network
    forms = {
        name: {index: shown(index, values) for index, values in enumerate(exact_raw(each, features))}
        for name, each in {"baseline": start.tagger, "uniform": of.uniform.network, "hepprune": network}.items()
    }
    if built.project is not None:
        simulated = hls.predictions(built.project, features)
        forms["firmware (C simulation)"] = {
            index: simulated[name] if network[name].is_head else shown(index, simulated[name])
            for index, name in enumerate(network.outputs)
            if not isinstance(network[name], Argmax)
        }
    return forms


def _bits(network: Network) -> dict[str, Counted]:
    return {name: Counted.of(widths.astype(np.float64)) for name, widths in bits.of_values(network).items()}


def _weights(network: Network) -> Floats:
    return np.concatenate([kernel.used().detach().double().numpy().ravel() for kernel in network.kernels])
