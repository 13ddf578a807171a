import numpy as np
import pytest
import torch

from hepprune import metrics
from hepprune.hardware import cost, targets
from hepprune.hardware.resources import Budget, Resources
from hepprune.jobs import planning as searching
from hepprune.jobs.planning.whole_networks import PlanSettings
from hepprune.network import Network
from hepprune.pruning.structure import blocks
from hepprune.search.plans import tables
from hepprune.search.plans.choices import ChoiceTable, Option
from hepprune.search.plans.pricing import Pricing
from hepprune.search.plans.variants import ChoiceGrid, Variants
from hepprune.search.sensitivity.effects import compare
from hepprune.task.sample import Sample
from tests.networks import weighted
from tests.pruning import graphs

TARGET = targets.load("generic_vu13p")
GRID = ChoiceGrid(sparsities=(0.5,), granularities=("neuron", "head", "layer"))


@pytest.fixture(scope="module")
def network() -> Network:
    """A residual block that can leave, and attention with four heads."""
    return graphs.build(["residual", "attention"], seed=1, fixed=True, flat=False)


@pytest.fixture(scope="module")
def sample(network: Network) -> Sample:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, *network.input.features_shape, generator=generator)
    return Sample(x, torch.randint(3, (200,), generator=generator))


@pytest.fixture(scope="module")
def table(network: Network, sample: Sample) -> ChoiceTable:
    pricing = Pricing.of(network, TARGET, strategy="latency")
    return tables.build(Variants.of(network, sample), sample, pricing, model="m", grid=GRID)


def test_heads_and_blocks_are_choices_measured_and_priced_whole(
    network: Network, sample: Sample, table: ChoiceTable
) -> None:
    variants = Variants.of(network, sample)
    whole = cost.estimate(network, TARGET, strategy="latency").resources
    structures = {choice.layer: choice.options for choice in table.choices if ":" in choice.layer}
    assert {name.partition(":")[0] for name in structures} == {"heads", "block"}
    assert {name for name in structures if name.startswith("block:")} == {
        f"block:{b.end}" for b in blocks.blocks(network)
    }
    for name, options in structures.items():
        assert options[0].key == Option().key
        for option in options[1:]:
            without = variants.build({name: option})
            change = compare(network, without, sample, metrics.cross_entropy)[2]
            assert (option.loss, option.error) == pytest.approx((change.value, change.error))
            cells = cost.estimate(without, TARGET, strategy="latency").resources
            assert option.resources.lut == pytest.approx((cells.lut or 0) - (whole.lut or 0))
            assert (option.resources.lut or 0) < 0


def test_what_a_block_took_along_needs_no_other_cut(network: Network, sample: Sample) -> None:
    variants = Variants.of(network, sample)
    for block in blocks.blocks(network):
        chosen = {
            f"block:{block.end}": Option(granularity="layer", sparsity=1.0),
            **dict.fromkeys(block.layers, Option(sparsity=0.5)),
        }
        names = {layer.name for layer in weighted(network)}
        chosen = {name: option for name, option in chosen.items() if name in names or ":" in name}
        left = {layer.name for layer in variants.build(chosen)}
        assert not left & set(block.layers)


def test_a_head_leaves_beside_neurons_that_take_another_along(network: Network) -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(200, *network.input.features_shape, generator=generator)
    variants = Variants.of(network, Sample(x, torch.randint(3, (200,), generator=generator)))
    choices = dict(variants.options(GRID))
    heads = next(name for name in choices if name.startswith("heads:"))
    for name, options in choices.items():
        for option in options:
            if option.granularity == "neuron":
                assert torch.isfinite(variants.build({name: option, heads: choices[heads][1]}).logits(x)).all()


@pytest.mark.slow
def test_a_search_meets_a_budget_with_structures(network: Network, sample: Sample) -> None:
    whole = cost.estimate(network, TARGET, strategy="latency")
    budget = Budget(resources=Resources(lut=round(0.6 * (whole.resources.lut or 0))))
    settings = PlanSettings(grid=GRID, n_jets=200)
    found = searching.search({"m": network}, [(sample, sample)], TARGET, settings=settings, budget=budget)
    (planned,) = found.models
    assert budget.met_by(planned.estimate)
    assert np.isfinite(planned.change)
