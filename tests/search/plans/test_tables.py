from dataclasses import replace
from functools import partial

import pytest

from hepprune import metrics, training
from hepprune.errors import NetworkError, RecipeError
from hepprune.hardware import cost, targets
from hepprune.hardware.targets import Target
from hepprune.network import Network
from hepprune.pruning import plan, statistics
from hepprune.search.plans import tables
from hepprune.search.plans.choices import ChoiceTable, Option
from hepprune.search.plans.pricing import Pricing, latency_limit
from hepprune.search.plans.variants import ChoiceGrid, Variants
from hepprune.store import Journal
from hepprune.task.sample import Sample
from tests.networks import weighted

TARGET = targets.load("generic_vu13p")
GRID = ChoiceGrid(
    sparsities=(0.25, 0.75),
    granularities=("weight", "neuron", "dsp_row", "2:4"),
    reuse_factors=(1, 4),
    weight_bits=(4,),
    activation_bits=(4,),
    input_bits=(6,),
)
Jets = tuple[Sample, Sample]


@pytest.fixture(scope="module")
def variants(tagger: Network, jets: Jets) -> Variants:
    return Variants.of(tagger, jets[0].first(1000))


def table(variants: Variants, sample: Sample, strategy: str, grid: ChoiceGrid = GRID) -> ChoiceTable:
    pricing = Pricing.of(variants.network, TARGET, strategy=strategy)
    return tables.build(variants, sample, pricing, model="tagger", grid=grid)


@pytest.mark.parametrize("strategy", ["latency", "resource", "resource_unrolled", "distributed_arithmetic"])
def test_shares_of_the_network_as_it_is_add_up_to_its_price(variants: Variants, jets: Jets, strategy: str) -> None:
    grid = ChoiceGrid(sparsities=(0.5,), granularities=("weight",), activation_bits=(4,), input_bits=(6,))
    found = table(variants, jets[1].first(200), strategy, grid)
    whole = cost.estimate(variants.network, TARGET, strategy=strategy)
    total = found.fixed
    for choice in found.choices:
        total += choice.options[0].resources
    assert total.known() == pytest.approx(whole.resources.known())
    latency = found.fixed_latency_ns + sum(choice.options[0].latency_ns for choice in found.choices)
    assert latency == pytest.approx(whole.latency_ns, abs=whole.clock_ns)


@pytest.mark.parametrize("strategy", ["latency", "resource", "resource_unrolled"])
def test_a_share_is_the_layers_price_in_the_whole_network(variants: Variants, jets: Jets, strategy: str) -> None:
    found = table(variants, jets[1].first(200), strategy)
    unchanged = cost.estimate(variants.network, TARGET, strategy=strategy)
    for choice in found.choices:
        for option in choice.options:
            changed = variants.network.replacing({choice.layer: variants.layer(choice.layer, option)})
            whole = cost.estimate(changed, TARGET, strategy=strategy)
            if choice.layer.startswith("dense"):
                layer = next(each for each in whole.layers if each.layer == choice.layer)
                relu = choice.layer.replace("dense", "relu")
                own = layer.resources
                if relu in dict(variants.options(GRID)):  # what follows the layer's neurons belongs to it
                    base = next(each for each in unchanged.layers if each.layer == relu).resources
                    own += base.scaled(dict.fromkeys(base.known(), option.kept))
                assert option.resources.known() == pytest.approx(own.known())
                assert option.interval_cycles == layer.interval_cycles
            else:  # fewer bits change what comes after as well
                cells = sum((c.options[0].resources for c in found.choices if c is not choice), option.resources)
                assert (found.fixed + cells).known() == pytest.approx(whole.resources.known())
            others = sum(each.options[0].latency_ns for each in found.choices if each is not choice)
            latency = found.fixed_latency_ns + others + option.latency_ns
            assert latency == pytest.approx(whole.latency_ns)


def test_losses_are_those_of_the_whole_network(variants: Variants, jets: Jets) -> None:
    sample = jets[1].first(500)
    labels = sample.y.numpy()
    reference = metrics.cross_entropy(training.evaluate(variants.network, sample), labels)
    for choice in table(variants, sample, "resource").choices:
        for option in choice.options:
            changed = variants.network.replacing({choice.layer: variants.layer(choice.layer, option)})
            score = metrics.cross_entropy(training.evaluate(changed, sample), labels)
            expected = metrics.difference(score, reference)
            assert (option.loss, option.error) == pytest.approx((expected.value, expected.error), rel=1e-6, abs=1e-9)


def test_losses_rise_where_a_metric_falls(variants: Variants, jets: Jets) -> None:
    pricing = Pricing.of(variants.network, TARGET, strategy="latency")
    grid = ChoiceGrid(sparsities=(0.95,), granularities=("weight",))

    def of(metric: metrics.Metric) -> float:
        found = tables.build(variants, jets[1], pricing, model="tagger", grid=grid, metric=metric)
        return found.choices[0].options[1].loss

    def misses(logits: metrics.Floats, labels: object) -> metrics.Score:
        score = metrics.accuracy(logits, labels)  # type: ignore[arg-type]
        return metrics.Score(1 - score.value, -score.influence)

    misses.lower_is_better = True  # type: ignore[attr-defined]
    assert of(metrics.cross_entropy) > 0
    assert of(metrics.accuracy) == pytest.approx(of(misses))
    assert of(metrics.accuracy) > 0
    assert of(metrics.auc) > 0


def test_the_options_are_those_of_the_grid(variants: Variants) -> None:
    options = dict(variants.options(GRID))
    first = options["dense_1"]
    assert first[0] == Option(reuse_factor=1)
    assert {option.granularity for option in first} == {"weight", "neuron", "dsp_row", "2:4"}
    assert not any(option.granularity == "dsp_row" and option.reuse_factor == 1 for option in first)
    assert "neuron" not in {option.granularity for option in options["dense_3"]}  # those are the classes
    assert {option.weight_bits for option in first} == {None, 4}
    assert options["relu_1"] == (Option(), Option(activation_bits=4))
    assert options["features"] == (Option(), Option(input_bits=6))
    assert "features" not in dict(variants.options(replace(GRID, input_bits=())))
    assert (
        str(Option(granularity="dsp_row", sparsity=0.5, reuse_factor=4, weight_bits=4))
        == "50 % of its dsp_rows cut, reuse factor 4, 4-bit weights"
    )
    assert str(Option(input_bits=6)) == "6-bit inputs"
    assert str(Option()) == "left as it is"


def test_a_network_is_built_as_chosen(variants: Variants) -> None:
    chosen = {
        "dense_1": Option(granularity="neuron", sparsity=0.25, reuse_factor=4),
        "dense_2": Option(granularity="weight", sparsity=0.75, reuse_factor=1, weight_bits=4),
        "relu_2": Option(activation_bits=4),
        "features": Option(input_bits=6),
    }
    built = variants.build(chosen)
    first, second, _ = weighted(built)
    assert first.n_out <= 12
    assert (first.reuse_factor, second.reuse_factor) == (4, 1)
    assert second.fixed_types[0].width == 4
    assert built["relu_2"].fixed_result.width == 4  # type: ignore[union-attr]
    before = variants.network.input.fixed_result
    assert built.input.result == replace(before, width=6)  # type: ignore[type-var]
    assert plan.sparsity(built) > plan.sparsity(variants.network)
    assert statistics.scored(variants.network)[0].reuse_factor == 1  # the given network stays as it was


def test_effects_are_remembered(variants: Variants, jets: Jets, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, pricing = Journal(), Pricing.of(variants.network, TARGET, strategy="latency")
    first = tables.build(
        variants, jets[1], pricing, model="tagger", grid=ChoiceGrid(sparsities=(0.5,)), journal=journal
    )
    monkeypatch.setattr(tables, "measure", lambda *_, **__: pytest.fail("measured again"))
    assert (
        tables.build(variants, jets[1], pricing, model="tagger", grid=ChoiceGrid(sparsities=(0.5,)), journal=journal)
        == first
    )


def test_effects_of_sparsities_that_lie_close_are_told_apart(variants: Variants, jets: Jets) -> None:
    pricing, journal = Pricing.of(variants.network, TARGET, strategy="latency"), Journal()
    below, above = (
        ChoiceGrid(sparsities=(96.5 / variants.network["dense_2"].weight.numel() + near,), granularities=("weight",))
        for near in (-1e-6, 1e-6)  # 96 and 97 weights
    )
    build = partial(tables.build, variants, jets[1], pricing, model="tagger")
    fresh = build(grid=above)
    assert effects(build(grid=below, journal=journal)) != effects(fresh)
    assert effects(build(grid=above, journal=journal)) == effects(fresh)


def effects(found: ChoiceTable) -> list[float]:
    return [option.loss for choice in found.choices for option in choice.options]


def test_mistakes_are_refused() -> None:
    with pytest.raises(RecipeError, match="a sparsity of 1.5 is not between 0 and 1"):
        ChoiceGrid(sparsities=(1.5,))
    with pytest.raises(RecipeError, match="weight bits of 99 is not between 2 and 16"):
        ChoiceGrid(weight_bits=(99,))
    with pytest.raises(NetworkError, match="unknown granularity 'neurons'"):
        ChoiceGrid(granularities=("neurons",))


def test_a_latency_is_rounded_down_to_whole_cycles() -> None:
    target = Target(name="mine", part="xcvu13p", clock_ns=5.0)
    assert latency_limit(target, 34.0) == 30.0
    assert latency_limit(target, 35.0) == 35.0
    assert latency_limit(target, None) is None
