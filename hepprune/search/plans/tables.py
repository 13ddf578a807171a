"""Tables: what every option of every layer of a model does to the metric, measured, and what it costs, priced."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from hepprune import metrics
from hepprune.errors import NetworkError
from hepprune.hardware.resources import Resources
from hepprune.metrics import Metric
from hepprune.network import Layer, Network
from hepprune.search.plans.choices import Choice, ChoiceTable, Option
from hepprune.search.plans.pricing import Pricing
from hepprune.search.plans.variants import ROWS, ChoiceGrid, Variants
from hepprune.search.sensitivity.effects import compare, measure
from hepprune.search.sensitivity.replay import LayerVariants
from hepprune.store import Journal
from hepprune.task.sample import Sample

_TOGETHER = 16  # variants of one layer that are measured in one call


def build(
    variants: Variants,
    sample: Sample,
    pricing: Pricing,
    *,
    model: str,
    grid: ChoiceGrid,
    metric: Metric = metrics.cross_entropy,
    journal: Journal | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> ChoiceTable:
    """Return the table of one model: each option measured on the jets of `sample` and priced beside the others as is.

    Effects are kept in the journal, layer by layer. `advance(1)` is called for each layer.

    Raises:
        DataError: the metric is not finite.
        NetworkError: nothing in the network can be changed, or it has no price.
    """
    journal = Journal() if journal is None else journal
    effects = _Effects(variants=variants, sample=sample, pricing=pricing, metric=metric, journal=journal)
    choices = []
    for name, options in variants.options(grid):
        whole = name in variants.structures
        choices.append(effects.structure(name, options) if whole else effects.layer(name, options))
        advance(1)
    if not choices:
        raise NetworkError("the network has no layer with weights before its logits, so there is nothing to choose")
    layers = [choice.layer for choice in choices if choice.layer not in variants.structures]
    shares = {name: pricing.share(variants.network[name], Option()) for name in layers}
    cells, latency_ns = pricing.fixed(shares)
    feeders = pricing.feeders(shares)
    return ChoiceTable(model=model, choices=tuple(choices), fixed=cells, fixed_latency_ns=latency_ns, feeders=feeders)


@dataclass(frozen=True, kw_only=True)
class _Effects:
    """What measures and prices the options of one model."""

    variants: Variants
    sample: Sample
    pricing: Pricing
    metric: Metric
    journal: Journal

    def layer(self, name: str, options: Sequence[Option]) -> Choice:
        """Return the choice of one layer, each option measured and priced beside the other layers as they are."""
        built: dict[Option, Layer] = {}
        for option in options:
            with suppress(NetworkError):  # it would be left empty
                built[option] = self.variants.layer(name, option)
        unchanged = Option()
        distinct = {_effect(option): layer for option, layer in built.items()}
        tried = [option for option in distinct if option != unchanged]
        key = ["effects", *self._key, name, [option.key for option in tried]]
        pairs = self.journal.remember(key, partial(self._measured, [distinct[option] for option in tried]))
        effects = {unchanged: (0.0, 0.0)} | dict(zip(tried, pairs, strict=True))
        found = []
        for option, layer in built.items():
            loss, error = effects[_effect(option)]
            found.append(replace(self.pricing.share(layer, option), loss=loss, error=error))
        return Choice(name, tuple(found))

    def structure(self, name: str, options: Sequence[Option]) -> Choice:
        """Return the choice of heads or of a block, each option measured and priced on the whole network."""
        nothing = Resources(**dict.fromkeys(self.pricing.whole.resources.known(), 0.0))
        found = [replace(options[0], resources=nothing)]
        for option in options[1:]:
            without = self.variants.build({name: option})
            key = ["structure", *self._key, name, option.key]
            loss, error = self.journal.remember(key, partial(self._of_whole, without))
            found.append(self.pricing.structure(without, replace(option, loss=loss, error=error)))
        return Choice(name, tuple(found))

    @property
    def _key(self) -> tuple[str, ...]:
        return *self.variants.key, self.sample.key, named(self.metric)

    def _of_whole(self, after: Network) -> tuple[float, float]:
        """Return the loss of another network, positive for worse, and its statistical error."""
        change = compare(self.variants.network, after, self.sample, self.metric)[2]
        return metrics.lost(self.metric, change.value), change.error

    def _measured(self, layers: Sequence[Layer]) -> list[tuple[float, float]]:
        found: list[tuple[float, float]] = []
        for start in range(0, len(layers), _TOGETHER):  # fewer at once need less memory, and stay in the cache
            group = LayerVariants(tuple(layers[start : start + _TOGETHER]))
            (effects,) = measure(self.variants.network, self.sample, [group], metric=self.metric)
            found += [(metrics.lost(self.metric, effect.metric.value), effect.metric.error) for effect in effects]
        return found


def _effect(option: Option) -> Option:
    """Return the option without what changes no value: the reuse factor, unless rows of that many weights are cut."""
    return option if option.granularity in ROWS else replace(option, reuse_factor=None)


def named(metric: Metric) -> str:
    """Return the name a metric is kept under."""
    name = f"{getattr(metric, '__module__', '')}.{getattr(metric, '__qualname__', metrics.name_of(metric))}"
    return name + getattr(metric, "content", "")  # of a metric of one's own
