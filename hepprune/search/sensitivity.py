"""Sensitivity: what the loss does when one layer alone is pruned, at each level and granularity."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch

from hepprune import metrics
from hepprune.network import Dense, Network
from hepprune.pruning import importance, masks
from hepprune.pruning.statistics import Statistics
from hepprune.training import Sample

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True)
class Point:
    """One layer pruned to one level: changes against the unpruned network on the same jets, with paired errors."""

    level: float
    predicted_loss: float
    loss_change: float
    loss_error: float
    accuracy_change: float
    accuracy_error: float


@dataclass(frozen=True)
class SensitivityCurve:
    """The points of one layer at one granularity, least pruned first."""

    layer: str
    granularity: str
    points: tuple[Point, ...]

    @property
    def trust(self) -> float:
        """How much more (or less) the loss really rises than the criterion predicts, over the levels that are no noise.

        1 where no level stands out of its statistical error: the prediction is then all there is.
        """
        clear = [point for point in self.points if point.loss_change > point.loss_error and point.predicted_loss > 0]
        ratios = sorted(point.loss_change / point.predicted_loss for point in clear)
        return min(max(ratios[len(ratios) // 2], 0.05), 20.0) if ratios else 1.0


@torch.no_grad()
def analyse(
    network: Network,
    sample: Sample,
    statistics: Statistics,
    *,
    granularities: Sequence[str] = ("neuron", "weight"),
    levels: Iterable[float] = LEVELS,
    criterion: str = "fisher",
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[SensitivityCurve, ...]:
    """Return a curve per dense layer and granularity on the jets of `sample`; the network is left as it was.

    Activations before the pruned layer are computed once and used again at every level. The layer that gives the
    logits keeps its neurons, which are the classes.
    """
    labels = sample.y.numpy()
    values = network.activations(sample.x, until=network.logits_name)
    reference = values[network.logits_name].double().numpy()
    scores = metrics.cross_entropy(reference, labels), metrics.accuracy(reference, labels)
    curves = []
    for layer, granularity in cuttable(network, granularities):
        points = []
        for level in levels:
            cut, predicted = lowest(layer, granularity, level, statistics, criterion)
            logits = _logits_after(network, cut, sample, values)
            loss = metrics.difference(metrics.cross_entropy(logits, labels), scores[0])
            hit = metrics.difference(metrics.accuracy(logits, labels), scores[1])
            points.append(Point(level, predicted, loss.value, loss.error, hit.value, hit.error))
            advance(1)
        curves.append(SensitivityCurve(layer.name, granularity, tuple(points)))
    return tuple(curves)


def cuttable(network: Network, granularities: Iterable[str]) -> list[tuple[Dense, str]]:
    """Return the (layer, granularity) pairs that a search may cut; classes are no neurons to cut."""
    return [
        (layer, granularity)
        for layer in network.dense_layers
        for granularity in granularities
        if granularity != "neuron" or (layer.name != network.logits_name and layer.n_out > 1)
    ]


def lowest(
    layer: Dense, granularity: str, level: float, statistics: Statistics, criterion: str
) -> tuple[masks.Cut, float]:
    """Return the cut of the least important `level` of a layer's units, and the loss increase it is predicted to cost.

    `digit` cuts, at level s, one digit from each of the least important fraction s of the weights.
    """
    scores = importance.find(criterion)(layer, granularity, statistics.get(layer.name))
    n_cut = min(round(level * len(scores)), len(scores) - 1)
    units = torch.argsort(scores, stable=True)[:n_cut]
    constants = statistics[layer.name].mean[units].tolist() if granularity == "neuron" else []
    return masks.Cut(layer.name, granularity, tuple(units.tolist()), tuple(constants)), float(scores[units].sum())


def _logits_after(network: Network, cut: masks.Cut, sample: Sample, values: dict[str, torch.Tensor]) -> metrics.Floats:
    names = [layer.name for layer in network]
    known = {name: values[name] for name in names[: names.index(cut.layer)] if name in values}
    masked = masks.apply(network, [cut])
    return masked.activations(sample.x, until=network.logits_name, known=known)[network.logits_name].double().numpy()


def ranking(curves: Iterable[SensitivityCurve], *, level: float = 0.5) -> list[SensitivityCurve]:
    """Return the curves, those that give most easily first: by the loss change at the level nearest to `level`."""
    return sorted(curves, key=lambda curve: min(curve.points, key=lambda point: abs(point.level - level)).loss_change)
