"""Effects: what changing one layer does to a metric, measured on jets, with the paired error of the difference."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from hepprune import metrics
from hepprune.errors import DataError
from hepprune.metrics import Metric, Score
from hepprune.metrics.scores import Difference
from hepprune.network import Network
from hepprune.search.sensitivity import replay
from hepprune.search.sensitivity.replay import LayerVariants, Replayed
from hepprune.task import Classes
from hepprune.task.sample import Sample

# The two metrics that are means over jets are summed chunk by chunk; any other is given all logits.
_MEANS = ("cross_entropy", "accuracy")


@dataclass(frozen=True)
class Effect:
    """What one change does to the task's loss, its primary metric, and the metric that was asked for."""

    loss: Difference
    primary: Difference
    metric: Difference


def measure(
    network: Network, sample: Sample, groups: Sequence[LayerVariants], *, metric: Metric | None = None
) -> Iterator[tuple[Effect, ...]]:
    """Yield for each group the effect of each of its variants, against the network on the same jets.

    Without a metric of its own, that is the loss. Classes told apart by one output from one input are measured many
    variants at a time; see `search.sensitivity.replay`.

    Raises:
        DataError: the metric is not finite, for the network or for a change.
    """
    plain = isinstance(sample.task, Classes) and sample.weight is None and len(sample.x) == len(network.outputs) == 1
    if plain and isinstance(sample.y, Tensor) and sample.y.ndim == 1:
        found = _of_classes(network, sample, groups, metric or metrics.cross_entropy)
    else:
        found = _of_any_task(network, sample, groups, metric)
    for group, effects in zip(groups, found, strict=True):
        _check_finite(effects, group.name)
        yield effects


@torch.no_grad()
def of_networks(network: Network, others: Iterable[Network], sample: Sample) -> Iterator[Effect]:
    """Yield the effect of each other network, in which several layers may have changed, on the task's loss.

    Raises:
        DataError: the loss is not finite.
    """
    before = _judged(network, _raw(network, sample), sample, None)
    for other in others:
        effect = Effect(*map(metrics.difference, _judged(other, _raw(other, sample), sample, None), before))
        _check_finite((effect,), network.raw_output)
        yield effect


def _raw(network: Network, sample: Sample, *, batch_size: int = 8192) -> dict[str, Tensor]:
    """Return the raw outputs by name, batch by batch, since values of all layers need not be held together."""
    parts = [network.raw(jets.x) for jets in sample.batches(batch_size)]
    return {name: torch.cat(own) for name, own in zip(network.raw_outputs, zip(*parts, strict=True), strict=True)}


def _of_classes(
    network: Network, sample: Sample, groups: Sequence[LayerVariants], metric: Metric
) -> Iterator[tuple[Effect, ...]]:
    whole = metric not in {metrics.METRICS[name] for name in _MEANS}
    use = partial(_tally, torch.as_tensor(sample.truth), keep=whole)
    for some, chunks in replay.run(network, sample.features, groups, use):
        means = [_means([chunk.groups[index] for chunk in chunks], len(sample)) for index in range(len(some))]
        if whole:  # from the logits of all jets
            reference = scored(metric, torch.cat([chunk.logits[0][:, 0] for chunk in chunks]), sample)
            found = []
            for index, group in enumerate(some, start=1):
                logits = [torch.cat([chunk.logits[index][:, n] for chunk in chunks]) for n in range(len(group))]
                found.append([metrics.difference(scored(metric, each, sample), reference) for each in logits])
        else:
            place = _MEANS.index(next(name for name in _MEANS if metrics.METRICS[name] is metric))
            found = [[pair[place] for pair in group] for group in means]
        for pairs, others in zip(means, found, strict=True):
            yield tuple(Effect(loss, hits, other) for (loss, hits), other in zip(pairs, others, strict=True))


@torch.no_grad()
def _of_any_task(
    network: Network, sample: Sample, groups: Sequence[LayerVariants], metric: Metric | None
) -> Iterator[tuple[Effect, ...]]:
    """Yield the same for any task, inputs and outputs: what follows a changed layer is run anew for each variant."""
    base = network.activations(sample.x)
    before = _judged(network, base, sample, metric)
    for group in groups:
        places = [node.name for node in network.nodes if node.layer.name == group.name]
        changed = {*places, *(name for place in places for name in network.following(place))}
        known = {name: value for name, value in base.items() if name not in changed}
        others = (network.replacing({group.name: layer}) for layer in group.layers)
        after = [_judged(o, o.activations(sample.x, known=known, until=o.raw_outputs), sample, metric) for o in others]
        yield tuple(Effect(*map(metrics.difference, each, before)) for each in after)


def _judged(
    network: Network, values: Mapping[str, Tensor], sample: Sample, metric: Metric | None
) -> tuple[Score, Score, Score]:
    """Return the scores of loss, primary metric and metric of a network's values."""
    raw = tuple(values[name].double() for name in network.raw_outputs)
    loss = metrics.mean(sample.task.each(raw, sample.y).numpy(), sample.weights)
    (primary,) = sample.scores(raw, sample.task.metrics[:1]).values()
    return loss, primary, scored(metric, raw[0], sample) if metric else loss


def _check_finite(effects: Sequence[Effect], name: str) -> None:
    for index, effect in enumerate(effects, start=1):
        if not all(np.isfinite([effect.metric.value, effect.metric.error, effect.loss.value])):
            raise DataError(
                f"the metric is not finite when layer '{name}' is changed (change {index} of {len(effects)}); "
                "look for NaN among the features, and for a metric that divides by an empty class"
            )


@dataclass(frozen=True)
class _Tally:
    # of the differences in loss and accuracy, (2, n) each: the sum over jets and that of the squares, for each group
    groups: tuple[tuple[Tensor, Tensor], ...]
    logits: tuple[Tensor, ...]  # of the network and of each group, (n_jets, n, n_classes), where they are kept


def _tally(labels: Tensor, chunk: Replayed, *, keep: bool) -> _Tally:
    own = labels[chunk.jets]
    reference = torch.stack(_per_jet(chunk.logits, own))[:, :, None]
    sums = []
    for stacked in chunk.stacked:
        n = len(stacked) // len(own)
        values = torch.stack(_per_jet(stacked, own.repeat_interleave(n))).view(2, -1, n).sub_(reference)
        sums.append((values.sum(dim=1), values.square().sum(dim=1)))
    shaped = (each.reshape(len(own), -1, each.shape[-1]) for each in (chunk.logits, *chunk.stacked))
    return _Tally(tuple(sums), tuple(shaped) if keep else ())


def _per_jet(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss and the hit (0 or 1) of each jet, float64 (n,), as `metrics` computes them.

    Classes come first: a sum over five neighbours is slow, a sum of five rows is not.
    """
    by_class = logits.t().contiguous()
    loss = by_class.double().log_softmax(dim=0).gather(0, labels[None])[0].neg_()
    # the class of the largest logit, the first of equals: how many classes come before it
    largest, rows = by_class.amax(dim=0).numpy(), by_class.numpy()
    before, found = np.ones(len(largest), np.bool_), np.zeros(len(largest), np.int64)
    for row in rows[:-1]:
        before &= row != largest
        found += before
    return loss, torch.as_tensor(found == labels.numpy(), dtype=torch.float64)


def _means(chunks: Sequence[tuple[Tensor, Tensor]], n_jets: int) -> list[tuple[Difference, Difference]]:
    """Return the mean differences in loss and accuracy of each variant, with the errors of those means."""
    sums, squares = zip(*chunks, strict=True)
    means = torch.stack(sums).sum(dim=0) / n_jets
    variances = torch.stack(squares).sum(dim=0) / n_jets - means.square()
    errors = (variances.clamp(min=0) / n_jets).sqrt()
    loss, hits = ([Difference(*pair) for pair in row] for row in torch.stack([means, errors], dim=-1).tolist())
    return list(zip(loss, hits, strict=True))


def scored(metric: Metric, values: Tensor, sample: Sample) -> Score:
    """Return a metric's score of the only raw output (n_jets, n_out); it is given weights where the jets have some.

    Raises:
        DataError: it is not a score with a value per jet, or not finite.
    """
    weights = () if sample.weights is None else (sample.weights,)
    found = metric(values.double().numpy(), sample.truth, *weights)
    name = metrics.name_of(metric)
    if not isinstance(found, Score):
        raise DataError(f"the metric '{name}' returns {type(found).__name__}, not a metrics.Score with its influences")
    if not np.isfinite(found.value):
        raise DataError(f"the metric '{name}' is {found.value}; look for NaN among the features or logits")
    return found


@torch.no_grad()
def compare(before: Network, after: Network, sample: Sample, metric: Metric) -> tuple[Score, Score, Difference]:
    """Return the metric of two networks on the same jets, and the second less the first.

    Raises:
        DataError: it is not finite.
    """
    first, second = (scored(metric, network.logits(sample.x), sample) for network in (before, after))
    return first, second, metrics.difference(second, first)
