"""Sensitivity: what the loss does when one layer alone is pruned, at each level and granularity."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import torch
from torch import Tensor

from hepprune import executors
from hepprune.network import Kernel, Layer, Network
from hepprune.pruning import importance, masks, selection
from hepprune.pruning.granularity import members
from hepprune.pruning.statistics import Statistics
from hepprune.sample import Sample
from hepprune.search.effects import measure
from hepprune.search.replay import Group

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
ROW = "dsp_row"
CUTS = ("neuron", "weight", "digit", ROW)  # what a search may choose besides is how layers are built


@dataclass(frozen=True, kw_only=True)
class Point:
    """One layer pruned to one level: changes of the loss and of the task's primary metric.

    They are against the unpruned network on the same jets, with paired errors.
    """

    level: float
    predicted_loss: float
    loss_change: float
    loss_error: float
    score_change: float
    score_error: float


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


def analyse(
    network: Network,
    sample: Sample,
    statistics: Statistics,
    *,
    granularities: Sequence[str] = ("neuron", "weight"),
    levels: Sequence[float] = LEVELS,
    criterion: str = "fisher",
    executor: Executor | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[SensitivityCurve, ...]:
    """Return a curve per kernel and granularity on the jets of `sample`; the network is left as it was.

    All cuts of a kernel are measured together, and what comes before it is computed once; see `search.replay`. The
    layers that give the outputs keep their neurons, which are the classes. Kernels are shared among the workers of an
    `executor`, which pays where one takes longer than a worker takes to begin: many jets, or a large network.
    """
    places = cuttable(network, granularities)
    layers = list(dict.fromkeys(kernel.name for kernel, _ in places))
    probe = _Probe(
        network=network,
        sample=sample,
        statistics=statistics,
        granularities=tuple(granularities),
        levels=tuple(levels),
        criterion=criterion,
    )
    if executor is None:
        return probe(layers, advance)
    found: dict[str, tuple[SensitivityCurve, ...]] = {}
    for (name,), curves in executors.completed(executor, probe, [(name,) for name in layers]):
        found[name] = curves
        advance(sum(len(curve.points) for curve in curves))
    return tuple(curve for name in layers for curve in found[name])


@dataclass(frozen=True, kw_only=True)
class _Probe:
    """Measures some kernels of a network; a worker is sent it once."""

    network: Network
    sample: Sample
    statistics: Statistics
    granularities: tuple[str, ...]
    levels: tuple[float, ...]
    criterion: str

    def __call__(
        self, names: Sequence[str], advance: Callable[[int], None] = lambda _: None
    ) -> tuple[SensitivityCurve, ...]:
        curves: dict[tuple[str, str], list[Point]] = {}
        groups, predictions = [], []
        places = [place for place in cuttable(self.network, self.granularities) if place[0].name in names]
        for name, own in itertools.groupby(places, lambda place: place[0].name):
            tried = [(granularity, level) for _, granularity in own for level in self.levels]
            kernel = self.network.kernel(name)
            layers, losses = zip(*(self._cut(kernel, *each) for each in tried), strict=True)
            groups.append(Group(layers))
            predictions.append([((name, kind), level, loss) for (kind, level), loss in zip(tried, losses, strict=True)])
        effects_of = measure(self.network, self.sample, groups)
        for predicted, effects in zip(predictions, effects_of, strict=True):
            for (place, level, loss), effect in zip(predicted, effects, strict=True):
                point = Point(
                    level=level,
                    predicted_loss=loss,
                    loss_change=effect.loss.value,
                    loss_error=effect.loss.error,
                    score_change=effect.primary.value,
                    score_error=effect.primary.error,
                )
                curves.setdefault(place, []).append(point)
                advance(1)
        return tuple(SensitivityCurve(*place, tuple(points)) for place, points in curves.items())

    def _cut(self, kernel: Kernel, granularity: str, level: float) -> tuple[Layer, float]:
        """Return the layer with a kernel cut to a level, and the loss increase that is predicted."""
        cut, predicted = lowest(kernel, granularity, level, self.statistics, self.criterion)
        return masks.with_cut(kernel.layer, cut), predicted  # a cut may be long and is not kept


def cuttable(network: Network, granularities: Iterable[str]) -> list[tuple[Kernel, str]]:
    """Return the (kernel, granularity) pairs that a search may cut.

    Classes are no neurons to cut, and those of a grouped convolution or a recurrent layer only leave with others.
    """
    used = network.preceding(network.raw_outputs)
    rows = {kernel.name for kernel in selection.prunable(network, "neuron") if kernel.groups == 1}
    return [
        (kernel, granularity)
        for kernel in network.kernels
        if kernel.layer.name in used
        for granularity in granularities
        if granularity in CUTS and (granularity != "neuron" or kernel.name in rows)
    ]


def lowest(
    kernel: Kernel, granularity: str, level: float, statistics: Statistics, criterion: str
) -> tuple[masks.Cut, float]:
    """Return the cut of the least important `level` of a kernel's units, and the loss increase it is predicted to cost.

    `digit` cuts, at level s, one digit from each of the least important fraction s of the weights.
    """
    if granularity == ROW:
        weights = importance.find(criterion)(kernel, "weight", statistics.get(kernel.name))
        return _lowest_rows(kernel, level, selection.combined(kernel, weights, ROW))
    scores = importance.find(criterion)(kernel, granularity, statistics.get(kernel.name))
    n_cut = min(round(level * len(scores)), len(scores) - 1)
    units = torch.argsort(scores, stable=True)[:n_cut]
    constants = statistics[kernel.name].mean[units].tolist() if granularity == "neuron" else []
    return masks.Cut(kernel.name, granularity, tuple(units.tolist()), tuple(constants)), float(scores[units].sum())


def _lowest_rows(kernel: Kernel, level: float, scores: Tensor) -> tuple[masks.Cut, float]:
    rows = torch.argsort(scores, stable=True)[: min(round(level * len(scores)), len(scores) - 1)]
    units = members(kernel, ROW, rows)
    return masks.Cut(kernel.name, "weight", tuple(units.tolist())), float(scores[rows].sum())


def ranking(curves: Iterable[SensitivityCurve], *, level: float = 0.5) -> list[SensitivityCurve]:
    """Return the curves, those that give most easily first: by the loss change at the level nearest to `level`."""
    return sorted(curves, key=lambda curve: min(curve.points, key=lambda point: abs(point.level - level)).loss_change)
