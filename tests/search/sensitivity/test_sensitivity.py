from dataclasses import astuple

import pytest

from hepprune import executors, metrics, training
from hepprune.network import Network, identity
from hepprune.pruning import importance, masks
from hepprune.pruning.statistics import Statistics
from hepprune.sample import Sample
from hepprune.search import sensitivity
from hepprune.search.sensitivity import SensitivityCurve, SensitivityPoint

LEVELS = (0.25, 0.5, 0.9)
Jets = tuple[Sample, Sample]
Curves = tuple[SensitivityCurve, ...]


@pytest.fixture(scope="module")
def curves(tagger: Network, jets: Jets, gathered: Statistics) -> Curves:
    return sensitivity.analyse(tagger, jets[1], gathered, granularities=masks.GRANULARITIES, levels=LEVELS)


def test_there_is_a_curve_per_layer_and_granularity_but_classes_are_no_neurons(curves: Curves) -> None:
    found = [(curve.layer, curve.granularity) for curve in curves]
    expected = [(f"dense_{n}", granularity) for n in (1, 2, 3) for granularity in masks.GRANULARITIES]
    expected.remove(("dense_3", "neuron"))
    assert found == expected
    assert all(tuple(point.level for point in curve.points) == LEVELS for curve in curves)


@pytest.mark.slow
def test_workers_measure_the_same(tagger: Network, jets: Jets, gathered: Statistics, curves: Curves) -> None:
    """Chunks of jets may be of another size there, so sums may differ in their last digits."""
    reported: list[int] = []
    with executors.open("processes:2") as executor:
        shared = sensitivity.analyse(
            tagger, jets[1], gathered, granularities=masks.GRANULARITIES, levels=LEVELS, executor=executor,
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
    places = {(what.name, kind): what for what, kind in sensitivity.cuttable(tagger, masks.GRANULARITIES)}
    for curve in curves:
        for point in curve.points:
            cuts, _ = sensitivity.lowest(
                places[curve.layer, curve.granularity], curve.granularity, point.level, gathered, "fisher"
            )
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
            (cut,), predicted = sensitivity.lowest(what, granularity, level, gathered, "fisher")
            assert len(cut.units) == min(round(level * len(scores)), len(scores) - 1)
            kept = sorted(set(range(len(scores))) - set(cut.units))
            assert scores[list(cut.units)].max() <= scores[kept].min()
            assert predicted == pytest.approx(scores[list(cut.units)].sum().item())


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
