"""Sensitivity: what the loss does when one layer alone is pruned, at each level and granularity."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import torch

from hepprune import executors
from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import FixedPoints
from hepprune.network import Network
from hepprune.pruning import importance, masks
from hepprune.pruning.masks import BIT
from hepprune.pruning.statistics import Statistics
from hepprune.search.moves import neurons
from hepprune.search.moves.neurons import BLOCK, ROW, Branch, KernelUnits, Neurons, Values
from hepprune.search.sensitivity.effects import Effect, measure, of_networks
from hepprune.search.sensitivity.replay import LayerVariants
from hepprune.task.sample import Sample

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
_WHOLE = (1.0,)
CUTS = ("neuron", "weight", "digit", ROW, BLOCK, BIT)  # what a search may choose besides is how layers are built


@dataclass(frozen=True, kw_only=True)
class SensitivityPoint:
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
    """The points of one kernel, group of neurons, branch or layer of values at one granularity, least pruned first."""

    layer: str
    granularity: str
    points: tuple[SensitivityPoint, ...]

    @property
    def trust(self) -> float:
        """How much more (or less) the loss really rises than the criterion predicts, over levels that are not noise.

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
    """Return a curve for all that `cuttable` finds, on jets; the network is left as it was.

    All cuts of a kernel are measured together, and what comes before it is computed once
    (`search.sensitivity.replay`). Neurons that several layers make or lose are cut in the whole network, and so are
    branches, of which all goes at once. The layers that give the outputs keep their neurons, which are the classes.
    Kernels are shared among the workers of an `executor`, which pays where one takes longer than a worker takes to
    begin: many jets, or a large network.
    """
    places = cuttable(network, granularities)
    layers = list(dict.fromkeys(what.name for what, _ in places))
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


Cuttable = tuple[KernelUnits | Neurons | Branch | Values, str]
_Measured = Iterator[tuple[tuple[str, str], SensitivityPoint]]


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
        places = [place for place in cuttable(self.network, self.granularities) if place[0].name in names]
        curves = {(what.name, granularity): list[SensitivityPoint]() for what, granularity in places}
        several = [place for place in places if not place[0].alone]
        alone = [place for place in places if place not in several]
        for key, point in itertools.chain(self._layers(alone), self._networks(several)):
            curves[key].append(point)
            advance(1)
        return tuple(SensitivityCurve(*place, tuple(points)) for place, points in curves.items())

    def _layers(self, places: Sequence[Cuttable]) -> _Measured:
        """Yield the points of cuts that change one layer, all those of a layer measured together."""
        groups, predicted = [], []
        for _, own in itertools.groupby(places, lambda place: place[0].name):
            layers = []
            for (what, granularity), level in itertools.product(own, self.levels):
                (cut,), loss = lowest(what, level, self.statistics, self.criterion)
                layer = what.layer if isinstance(what, KernelUnits | Values) else self.network[cut.layer]
                layers.append(masks.with_cut(layer, cut))  # a cut may be long and is not kept
                predicted.append((what.name, granularity, level, loss))
            groups.append(LayerVariants(tuple(layers)))
        effects = itertools.chain.from_iterable(measure(self.network, self.sample, groups))
        for (name, granularity, level, loss), effect in zip(predicted, effects, strict=True):
            yield (name, granularity), _point(level, loss, effect)

    def _networks(self, places: Sequence[Cuttable]) -> _Measured:
        """Yield the points of cuts that change several layers."""
        tried = [(*place, level) for place in places for level in levels_of(place[1], self.levels)]
        found = [lowest(what, level, self.statistics, self.criterion) for what, _, level in tried]
        effects_of = of_networks(self.network, (masks.apply(self.network, cuts) for cuts, _ in found), self.sample)
        for (what, granularity, level), (_, loss), effect in zip(tried, found, effects_of, strict=True):
            yield (what.name, granularity), _point(level, loss, effect)


def levels_of(granularity: str, levels: Sequence[float] = LEVELS) -> Sequence[float]:
    """Return the levels at which cuts of a granularity are measured: a branch only goes as a whole."""
    return _WHOLE if granularity == BLOCK else levels


def _point(level: float, predicted: float, effect: Effect) -> SensitivityPoint:
    return SensitivityPoint(
        level=level,
        predicted_loss=predicted,
        loss_change=effect.loss.value,
        loss_error=effect.loss.error,
        score_change=effect.primary.value,
        score_error=effect.primary.error,
    )


def cuttable(network: Network, granularities: Iterable[str]) -> list[Cuttable]:
    """Return what a search may cut, each with the granularity of its units: kernels, neurons, branches and values.

    Neurons stand where the first kernel that makes them does, branches and values at the end. Classes are none to cut.
    Weights of other than fixed-point types have no digits to cut.
    """
    used, wanted = network.preceding(network.raw_outputs), [each for each in granularities if each in CUTS]
    made: dict[str, list[Neurons]] = {}
    for each in neurons.find(network) if "neuron" in wanted else ():
        made.setdefault(each.first.kernels[0].name, []).append(each)
    found: list[Cuttable] = [
        (what, granularity)
        for kernel in network.kernels
        if kernel.layer.name in used
        for granularity in wanted
        if granularity not in {BLOCK, BIT}
        if granularity != "digit" or isinstance(kernel.type, FixedPoint | FixedPoints | None)
        for what in (made.get(kernel.name, ()) if granularity == "neuron" else (KernelUnits(kernel, granularity),))
    ]
    found += ((branch, BLOCK) for branch in (neurons.find_branches(network) if BLOCK in wanted else ()))
    return [*found, *((each, BIT) for each in (neurons.find_values(network) if BIT in wanted else ()))]


def lowest(
    what: KernelUnits | Neurons | Branch | Values, level: float, statistics: Statistics, criterion: str
) -> tuple[masks.Cuts, float]:
    """Return the cuts of the least important `level` of the units, and the loss increase they are predicted to cost.

    `digit` cuts, at level s, one digit from each of the least important fraction s of the weights, and `bit` the last
    place of such values; a branch goes whole.
    """
    method = importance.find(criterion)
    if isinstance(what, Branch):
        return what.cuts, what.score(statistics, method)
    scores = what.scores(statistics, method)
    units = torch.argsort(scores, stable=True)[: min(round(level * len(scores)), len(scores) - 1)]
    return what.cuts(units, statistics), float(scores[units].sum())


def ranking(curves: Iterable[SensitivityCurve], *, level: float = 0.5) -> list[SensitivityCurve]:
    """Return the curves, those that give most easily first: by the loss change at the level nearest to `level`."""
    return sorted(curves, key=lambda curve: min(curve.points, key=lambda point: abs(point.level - level)).loss_change)
