"""Tables: what every option of every layer of a model does to the metric, measured, and what it costs, priced."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from hepprune import metrics
from hepprune.errors import NetworkError
from hepprune.files import content_hash
from hepprune.metrics import Metric
from hepprune.network import Layer, identity
from hepprune.search.choices import Choice, Option, Table
from hepprune.search.effects import measure
from hepprune.search.journal import Journal
from hepprune.search.pricing import Pricing
from hepprune.search.replay import Group
from hepprune.search.variants import ROWS, Grid, Workshop
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
    key = content_hash("effects", identity(workshop.network), name, described, jets_key(sample), named(metric))

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
