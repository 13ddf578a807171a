from dataclasses import astuple

import numpy as np
import pytest
import torch

from hepprune import executors, metrics, training
from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint
from hepprune.network import Dense, Input, Merge, Network, ReLU, identity
from hepprune.pruning import importance, masks, statistics
from hepprune.pruning.statistics import Statistics
from hepprune.search import sensitivity
from hepprune.search.sensitivity import SensitivityCurve, SensitivityPoint
from hepprune.task.sample import Sample

LEVELS = (0.25, 0.5, 0.9)
EVERY = (*masks.GRANULARITIES, "bit")
Jets = tuple[Sample, Sample]
Curves = tuple[SensitivityCurve, ...]


@pytest.fixture(scope="module")
def curves(tagger: Network, jets: Jets, gathered: Statistics) -> Curves:
    return sensitivity.analyse(tagger, jets[1], gathered, granularities=EVERY, levels=LEVELS)


def test_there_is_a_curve_per_layer_and_granularity_but_classes_are_no_neurons(curves: Curves) -> None:
    found = [(curve.layer, curve.granularity) for curve in curves]
    expected = [(f"dense_{n}", granularity) for n in (1, 2, 3) for granularity in masks.GRANULARITIES]
    expected.remove(("dense_3", "neuron"))
    assert found == [*expected, *((name, "bit") for name in ("features", "relu_1", "relu_2"))]
    assert all(tuple(point.level for point in curve.points) == LEVELS for curve in curves)


@pytest.mark.slow
def test_workers_measure_the_same(tagger: Network, jets: Jets, gathered: Statistics, curves: Curves) -> None:
    """Chunks of jets may be of another size there, so sums may differ in their last digits."""
    reported: list[int] = []
    with executors.open("processes:2") as executor:
        shared = sensitivity.analyse(
            tagger, jets[1], gathered, granularities=EVERY, levels=LEVELS, executor=executor,
            advance=reported.append,
        )  # fmt: skip
    assert [(curve.layer, curve.granularity) for curve in shared] == [(c.layer, c.granularity) for c in curves]
    points = [[astuple(point) for curve in each for point in curve.points] for each in (shared, curves)]
    assert points[0] == [pytest.approx(point, rel=1e-9, abs=1e-12) for point in points[1]]
    assert sum(reported) == len(points[1])


def test_it_leaves_no_trace(tagger: Network, jets: Jets, gathered: Statistics) -> None:
    before, gradients = identity(tagger), [parameter.grad for parameter in tagger.parameters()]
    sensitivity.analyse(tagger, jets[1], gathered, levels=LEVELS)
    assert identity(tagger) == before
    assert [parameter.grad for parameter in tagger.parameters()] == gradients
    assert tagger.training


def test_it_equals_masking_and_running_the_whole_network(
    tagger: Network, jets: Jets, gathered: Statistics, curves: Curves
) -> None:
    labels, reference = jets[1].y.numpy(), training.evaluate(tagger, jets[1])
    places = {(what.name, kind): what for what, kind in sensitivity.cuttable(tagger, EVERY)}
    for curve in curves:
        for point in curve.points:
            cuts, _ = sensitivity.lowest(places[curve.layer, curve.granularity], point.level, gathered, "fisher")
            logits = training.evaluate(masks.apply(tagger, cuts), jets[1])
            loss, hits = (
                metrics.difference(metric(logits, labels), metric(reference, labels))
                for metric in (metrics.cross_entropy, metrics.accuracy)
            )
            found = (point.loss_change, point.loss_error, point.score_change, point.score_error)
            assert found == pytest.approx((loss.value, loss.error, hits.value, hits.error), rel=1e-9, abs=1e-12)


def test_the_least_important_units_go_first_and_are_counted_exactly(tagger: Network, gathered: Statistics) -> None:
    for what, granularity in sensitivity.cuttable(tagger, masks.GRANULARITIES):
        scores = importance.fisher(tagger.kernel(what.name), granularity, gathered[what.name])
        for level in (0.1, 0.5, 0.9, 1.0):
            (cut,), predicted = sensitivity.lowest(what, level, gathered, "fisher")
            assert len(cut.units) == min(round(level * len(scores)), len(scores) - 1)
            kept = sorted(set(range(len(scores))) - set(cut.units))
            assert scores[list(cut.units)].max() <= scores[kept].min()
            assert predicted == pytest.approx(scores[list(cut.units)].sum().item())


def test_the_last_places_of_the_least_worthy_values_go_first(tagger: Network, jets: Jets) -> None:
    """Types differ, and some values have no bit left: those go first and cost nothing."""
    values = np.array([0, 1, 2, 3])
    network = masks.apply(tagger, [masks.Cut("relu_1", "bit", (0, 1))] * 9 + [masks.Cut("relu_1", "bit", (2,))] * 2)
    gathered = statistics.gather(network, jets[0].first(1000))
    (what,) = (what for what, _ in sensitivity.cuttable(network, ("bit",)) if what.name == "relu_1")
    kind = network["relu_1"].result
    assert kind.width[values].tolist() == [0, 0, tagger["relu_1"].result.width - 2, tagger["relu_1"].result.width]
    noise = gathered["dense_2"].read_fisher.double() / 2 * torch.as_tensor(3 * 4.0 ** (kind.integer - kind.width) / 12)
    noise[:2] = 0
    for level in (0.1, 0.5, 0.9):
        (cut,), predicted = sensitivity.lowest(what, level, gathered, "fisher")
        kept = sorted(set(range(len(noise))) - set(cut.units))
        assert set(cut.units) >= {0, 1}
        assert len(cut.units) == round(level * len(noise))
        assert noise[list(cut.units)].max() <= noise[kept].min()
        assert predicted == pytest.approx(noise[list(cut.units)].sum().item())


def test_values_that_are_read_elsewhere_have_no_curve_of_bits() -> None:
    kind, read = FixedPoint(6, 2, False), FixedPoint(8, 3)
    own = {"weight_type": FixedPoint(5, 2), "bias_type": FixedPoint(8, 3)}
    layers = [
        Input("x", 3, read),
        *(Dense(name, torch.ones(3, 3), torch.zeros(3), **own) for name in ("a", "b")),
        *(ReLU(name, kind) for name in ("ra", "rb")),
        Merge("sum", "add", result=kind),
        Dense("last", torch.ones(2, 3), torch.zeros(2), **own),
    ]
    sources = {"a": "x", "ra": "a", "b": "ra", "rb": "b", "sum": ("ra", "rb"), "last": "rb"}
    network = Network([*layers[:2], layers[3], layers[2], *layers[4:]], sources, ["last", "sum"])
    assert [what.name for what, _ in sensitivity.cuttable(network, ("bit",))] == ["x"]


def test_several_inputs_are_measured_by_the_whole_network() -> None:
    generator = torch.Generator().manual_seed(2)
    kind, own = FixedPoint(6, 3, True, "RND", "SAT"), {"weight_type": FixedPoint(5, 2), "bias_type": FixedPoint(8, 3)}
    layers = [
        Input("x", 3, kind),
        Input("y", 2, kind),
        Dense("a", torch.randn(4, 3, generator=generator), torch.zeros(4), **own),
        Dense("b", torch.randn(4, 2, generator=generator), torch.zeros(4), **own),
        Merge("sum", "add"),
    ]
    network = Network(layers, {"a": "x", "b": "y", "sum": ("a", "b")})
    x = tuple(torch.randn(300, n, generator=generator) * 2 for n in (3, 2))
    sample = Sample(x, torch.randint(4, (300,), generator=generator))
    gathered = statistics.gather(network, sample)
    found = sensitivity.analyse(network, sample, gathered, granularities=("bit",), levels=(0.7,))
    assert [curve.layer for curve in found] == ["x", "y"]
    for curve in found:
        (what,) = (what for what, _ in sensitivity.cuttable(network, ("bit",)) if what.name == curve.layer)
        cuts, _ = sensitivity.lowest(what, 0.7, gathered, "fisher")
        before, after = (training.scores(each, sample) for each in (network, masks.apply(network, cuts)))
        change = metrics.difference(after["accuracy"], before["accuracy"])
        (point,) = curve.points
        assert (point.score_change, point.score_error) == pytest.approx((change.value, change.error))
        assert point.loss_change != 0


def test_predictions_rise_with_the_level_and_rank_the_curves(curves: Curves) -> None:
    for curve in curves:
        predicted = [point.predicted_loss for point in curve.points]
        assert predicted == sorted(predicted)
    weights = [curve for curve in curves if curve.granularity == "weight"]
    assert all(curve.points[-1].loss_change > curve.points[0].loss_change for curve in weights)
    assert all(curve.points[-1].loss_change > 0.1 for curve in weights)


def test_the_magnitude_criterion_needs_no_statistics(tagger: Network, jets: Jets) -> None:
    found = sensitivity.analyse(tagger, jets[1], {}, granularities=("weight",), levels=(0.5,), criterion="magnitude")
    assert len(found) == 3
    with pytest.raises(NetworkError, match="'magnitude' scores no bits of values"):
        sensitivity.analyse(tagger, jets[1], {}, granularities=("bit",), levels=(0.5,), criterion="magnitude")


def test_progress_counts_every_point(tagger: Network, jets: Jets, gathered: Statistics) -> None:
    reported: list[int] = []
    sample = jets[1].first(100)
    found = sensitivity.analyse(tagger, sample, gathered, levels=LEVELS, advance=reported.append)
    assert len(reported) == sum(len(curve.points) for curve in found) == 5 * len(LEVELS)


def curve(*ratios: float, error: float = 0.0) -> SensitivityCurve:
    points = tuple(
        SensitivityPoint(
            level=0.1 * n,
            predicted_loss=0.1,
            loss_change=0.1 * ratio,
            loss_error=error,
            score_change=0.0,
            score_error=0.0,
        )
        for n, ratio in enumerate(ratios, start=1)
    )
    return SensitivityCurve("d", "weight", points)


def test_trust_is_the_median_of_what_stands_out_of_the_noise() -> None:
    assert curve(1, 2, 4).trust == pytest.approx(2)
    assert curve(1, 2, 4, error=0.15).trust == pytest.approx(2 * 2)  # only 0.2 and 0.4 stand out: the upper of two
    assert curve(1, 2, 4, error=1.0).trust == 1.0
    assert curve(-3).trust == 1.0
    assert curve(1000).trust == 20
    assert curve(1e-4).trust == 0.05


def test_the_ranking_starts_with_what_gives_most_easily(curves: Curves) -> None:
    ranked = sensitivity.ranking(curves, level=0.5)
    changes = [next(point.loss_change for point in curve.points if point.level == 0.5) for curve in ranked]
    assert changes == sorted(changes)
