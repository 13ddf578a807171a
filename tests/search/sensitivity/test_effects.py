import numpy as np
import pytest
import torch

from hepprune import metrics, training
from hepprune.errors import DataError
from hepprune.metrics import Floats, Score
from hepprune.network import Network
from hepprune.pruning import masks
from hepprune.search.sensitivity.effects import measure
from hepprune.search.sensitivity.replay import LayerVariants
from hepprune.task.sample import Sample

CUTS = [masks.Cut("dense_2", "weight", tuple(range(n))) for n in (10, 60)]


def groups(network: Network) -> list[LayerVariants]:
    return [LayerVariants(tuple(masks.with_cut(network["dense_2"], cut) for cut in CUTS))]


def top_two(logits: Floats, labels: np.ndarray) -> Score:
    """A user's own metric: the class is one of the two best."""
    hits = (np.argsort(-logits, axis=1)[:, :2] == labels[:, None]).any(axis=1)
    return Score(float(hits.mean()), hits - hits.mean())


@pytest.mark.parametrize("metric", [metrics.cross_entropy, metrics.accuracy, metrics.auc, top_two])
def test_any_metric_is_measured_as_on_the_whole_network(
    tagger: Network, jets: tuple[Sample, Sample], metric: metrics.Metric
) -> None:
    labels = jets[1].y.numpy()
    reference = metric(training.evaluate(tagger, jets[1]), labels)
    (found,) = measure(tagger, jets[1], groups(tagger), metric=metric)
    for cut, effect in zip(CUTS, found, strict=True):
        logits = training.evaluate(masks.apply(tagger, [cut]), jets[1])
        expected = metrics.difference(metric(logits, labels), reference)
        assert (effect.metric.value, effect.metric.error) == pytest.approx((expected.value, expected.error), abs=1e-12)


def test_jets_count_by_their_weights_in_any_metric(tagger: Network, jets: tuple[Sample, Sample]) -> None:
    weight = torch.rand(len(jets[1]), generator=torch.Generator().manual_seed(1))
    weighted = Sample(jets[1].x, jets[1].y, weight / weight.mean())
    labels, weights = jets[1].y.numpy(), weight.double().numpy()
    (found,) = measure(tagger, weighted, groups(tagger), metric=metrics.auc)
    reference = metrics.auc(training.evaluate(tagger, jets[1]), labels, weights)
    for cut, effect in zip(CUTS, found, strict=True):
        own = metrics.auc(training.evaluate(masks.apply(tagger, [cut]), jets[1]), labels, weights)
        expected = metrics.difference(own, reference)
        assert (effect.metric.value, effect.metric.error) == pytest.approx((expected.value, expected.error), abs=1e-6)
        assert effect.metric.value != pytest.approx(
            (metrics.auc(training.evaluate(masks.apply(tagger, [cut]), jets[1]), labels).value - reference.value),
            abs=1e-6,
        )


def test_a_metric_that_is_nan_or_no_score_is_refused_in_one_sentence(
    tagger: Network, jets: tuple[Sample, Sample]
) -> None:
    def broken(logits: Floats, labels: np.ndarray) -> Score:
        return Score(float(logits[0, 0]) * float("nan"), np.zeros(len(labels)))

    with pytest.raises(DataError, match="the metric 'broken' is nan"):
        list(measure(tagger, jets[1], groups(tagger), metric=broken))
    with pytest.raises(DataError, match="returns float, not a metrics.Score"):
        list(measure(tagger, jets[1], groups(tagger), metric=lambda logits, labels: 0.5))  # type: ignore[arg-type, return-value]
    x = torch.full_like(jets[1].features, torch.nan)
    with pytest.raises(DataError, match="not finite when layer 'dense_2' is changed"):
        list(measure(tagger, Sample(x, jets[1].y), groups(tagger)))
