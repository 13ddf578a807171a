"""Tables: what every option of every layer of a model does to the metric, measured, and what it costs, priced."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from hepprune import metrics
from hepprune.errors import NetworkError
from hepprune.files import content_hash
from hepprune.hardware.resources import Resources
from hepprune.metrics import Metric
from hepprune.network import Layer, Network, identity
from hepprune.search.effects import compare, measure
from hepprune.search.plans import structures
from hepprune.search.plans.choices import Choice, Option, Table
from hepprune.search.plans.journal import Journal
from hepprune.search.plans.pricing import Pricing
from hepprune.search.plans.variants import ROWS, Grid, Workshop
from hepprune.search.replay import Group
from hepprune.training import Sample

_TOGETHER = 16  # variants of one layer that are measured in one call
_LESS_IS_BETTER = frozenset({"cross_entropy"})  # metrics of which less is better; a user's may say `lower_is_better`


@dataclass(frozen=True)
class Measured:
    """The loss of an option, positive for worse, and its statistical error."""

    loss: float
    error: float


def build(
    workshop: Workshop,
    sample: Sample,
    pricing: Pricing,
    *,
    model: str,
    grid: Grid,
    metric: Metric = metrics.cross_entropy,
    journal: Journal | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> Table:
    """Return the table of one model: each option measured on the jets of `sample` and priced beside the others as is.

    Effects are kept in the journal, layer by layer. `advance(1)` is called for each layer.

    Raises:
        DataError: the metric is not finite.
        NetworkError: nothing in the network can be changed, or it has no price.
    """
    journal = Journal() if journal is None else journal
    choices, shares = [], {}
    for name, options in workshop.options(grid):
        if structures.is_structure(name):
            choices.append(_structure(workshop, sample, pricing, name, options, metric=metric, journal=journal))
            advance(1)
            continue
        variants = dict(_possible(workshop, name, options))
        effects = _effects(workshop, sample, name, variants, metric=metric, journal=journal)
        priced = {option: pricing.share(layer, kept=option.kept) for option, layer in variants.items()}
        shares[name] = pricing.share(workshop.network[name])
        choices.append(
            Choice(
                name,
                tuple(
                    replace(
                        option,
                        loss=effects[_effect(option)].loss,
                        error=effects[_effect(option)].error,
                        resources=share.resources,
                        latency_ns=share.latency_ns,
                        interval_cycles=share.interval_cycles,
                    )
                    for option, share in priced.items()
                ),
            )
        )
        advance(1)
    if not choices:
        raise NetworkError("the network has no layer with weights before its logits, so there is nothing to choose")
    resources, latency_ns = pricing.fixed(shares)
    feeders = pricing.feeders(shares)
    return Table(model, tuple(choices), fixed=resources, fixed_latency_ns=latency_ns, feeders=feeders)


def _structure(
    workshop: Workshop,
    sample: Sample,
    pricing: Pricing,
    name: str,
    options: Sequence[Option],
    *,
    metric: Metric,
    journal: Journal,
) -> Choice:
    """Return the choice of heads or of a block, each option measured and priced on the whole network."""
    nothing = Resources(**dict.fromkeys(pricing.whole.resources.known(), 0.0))
    found = [replace(options[0], resources=nothing)]
    for option in options[1:]:
        without = workshop.build({name: option})
        key = content_hash("structure", *_key(workshop, sample, metric), name, str(option))
        loss, error = journal.remember(key, partial(_whole_effect, workshop.network, without, sample, metric))
        share = pricing.structure(without)
        cells, latency_ns = share.resources, share.latency_ns
        found.append(replace(option, loss=loss, error=error, resources=cells, latency_ns=latency_ns))
    return Choice(name, tuple(found))


def _whole_effect(before: Network, after: Network, sample: Sample, metric: Metric) -> tuple[float, float]:
    change = compare(before, after, sample, metric)[2]
    return sign(metric) * change.value, change.error


def _key(workshop: Workshop, sample: Sample, metric: Metric) -> tuple[str, ...]:
    return identity(workshop.network), jets_key(sample), named(metric), workshop.criterion.name


def _possible(workshop: Workshop, name: str, options: Sequence[Option]) -> Iterator[tuple[Option, Layer]]:
    """Yield the options that leave something of the layer, with what they make of it."""
    for option in options:
        try:
            yield option, workshop.layer(name, option)
        except NetworkError:  # it would be left empty
            continue


def _effect(option: Option) -> Option:
    """Return the option without what changes no value: the reuse factor, unless rows of that many weights are cut."""
    return option if option.granularity in ROWS else replace(option, reuse_factor=None)


def _effects(
    workshop: Workshop, sample: Sample, name: str, variants: Mapping[Option, Layer], *, metric: Metric, journal: Journal
) -> dict[Option, Measured]:
    """Return the effect of each option that changes values, measured or from the journal."""
    distinct = {_effect(option): layer for option, layer in variants.items()}
    unchanged = Option()
    tried = [option for option in distinct if option != unchanged]
    described = [str(option) for option in tried]
    key = content_hash("effects", *_key(workshop, sample, metric), name, described)

    def make() -> list[tuple[float, float]]:
        found: list[tuple[float, float]] = []
        for start in range(0, len(tried), _TOGETHER):  # fewer at once need less memory, and stay in the cache
            group = Group(tuple(distinct[option] for option in tried[start : start + _TOGETHER]))
            (effects,) = measure(workshop.network, sample, [group], metric=metric)
            found += [(sign(metric) * effect.metric.value, effect.metric.error) for effect in effects]
        return found

    pairs = journal.remember(key, make)
    return {unchanged: Measured(0.0, 0.0)} | {
        option: Measured(*pair) for option, pair in zip(tried, pairs, strict=True)
    }


def sign(metric: Metric) -> float:
    """Return 1 for a metric of which less is better, else -1."""
    name = getattr(metric, "__name__", "")
    lower = getattr(metric, "lower_is_better", name in _LESS_IS_BETTER)
    return 1.0 if lower else -1.0


def named(metric: Metric) -> str:
    """Return the name a metric is kept under."""
    return f"{getattr(metric, '__module__', '')}.{getattr(metric, '__qualname__', type(metric).__name__)}"


def jets_key(sample: Sample) -> str:
    """Return the content hash of jets."""
    return content_hash(sample.x.numpy().tobytes(), sample.y.numpy().tobytes())
