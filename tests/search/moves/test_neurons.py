"""Neurons are cut by coupled groups; in a chain of dense layers a group is the neurons of one layer."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepprune import training
from hepprune.fixed import FixedPoint
from hepprune.hardware import cost, targets
from hepprune.hardware.resources import Budget, Resources
from hepprune.network import Network, precision
from hepprune.network.precision import Precision
from hepprune.pruning import importance, masks, statistics
from hepprune.pruning.masks import Cut
from hepprune.pruning.structure import surgery
from hepprune.search import greedy, moves, sensitivity
from hepprune.search.moves import neurons
from hepprune.search.stages import Problem, Settings
from hepprune.task.sample import Sample
from hepprune.training import Fit
from tests.networks import SEEDS, features, networks
from tests.search.architectures import ARCHITECTURES

Jets = tuple[Sample, Sample]
INPUTS = FixedPoint(8, 3, True, "RND", "SAT")
SHORT = Fit(epochs=1, batch_size=512, learning_rate=3e-3)
QUICK = Settings(stages=3, step=0.3, statistics_jets=300, fine_tune=SHORT, settle=SHORT, trim=SHORT)
PRICE = partial(cost.estimate, target=targets.load("generic_vu13p"), strategy="distributed_arithmetic")
GROUPS = {
    "residual": {"a + c": 12, "b": 10},
    "shared": {"first + turn": 10},
    "convolution": {"conv_1": 8, "conv_2": 8, "hidden": 8},
    "deep_sets": {"phi_1": 10, "phi_2": 8, "rho": 10},
    "recurrent": {"cell": 8, "hidden": 8},
    "attention": {"embed": 6, "query + key + value": 4, "mixed": 6},
}


def shaped(jets: Jets, network: Network) -> Jets:
    """Return a few jets in the shape that a network reads."""
    shape = network.input.features_shape
    train, validation = (part.first(n) for part, n in zip(jets, (2000, 500), strict=True))
    return tuple(Sample(part.features.reshape(-1, *shape), part.y) for part in (train, validation))  # type: ignore[return-value]


def typed(make: Callable[[], Network], jets: Jets) -> tuple[Network, Jets]:
    """Return a network with types, trained a little, and its jets."""
    network = make()
    own = shaped(jets, network)
    quantised = precision.quantise(network, own[0].arrays, Precision(inputs=INPUTS))
    return training.fit(quantised, *own, settings=Fit(epochs=2, batch_size=256, learning_rate=1e-2), seed=0)[0], own


def posed(jets: Jets, budget: Budget, propose: moves.PerKernel, settings: Settings) -> Problem:
    """Return a search at the price of an adder graph."""
    train, validation = jets
    return Problem(train=train, validation=validation, budget=budget, price=PRICE, propose=propose, settings=settings)


@given(networks(min_outputs=2), SEEDS, st.sampled_from([0.05, 0.3, 1.0]))
def test_in_a_chain_they_are_the_rows_of_the_kernels_that_stay_behind_as_constants(
    network: Network, seed: int, step: float
) -> None:
    x = torch.tensor(features(network, seed=seed, n_jets=40), dtype=torch.float32)
    gathered = statistics.gather(network, Sample(x, torch.arange(40) % network.widths[network.raw_output]))
    expected = []
    for kernel in network.kernels[:-1]:
        alive = torch.nonzero(kernel.used().any(dim=1)).flatten()
        n_cut = min(max(1, round(step * len(alive))), len(alive) - 1)
        if kernel.n_rows > 1 and n_cut > 0:
            own = gathered[kernel.name]
            units = alive[torch.argsort(own.neuron_fisher[alive] / 2, stable=True)[:n_cut]]
            cut = Cut(kernel.name, "neuron", tuple(units.tolist()), tuple(own.mean[units].tolist()))
            expected.append(((cut,), float((own.neuron_fisher / 2)[units].sum())))
    found = [(move.cuts, move.predicted_loss) for move in moves.PerKernel({}, ("neuron",))(network, gathered, step)]
    assert found == expected


@given(networks(min_outputs=2), SEEDS)
def test_in_a_chain_curves_cut_the_same(network: Network, seed: int) -> None:
    x = torch.tensor(features(network, seed=seed, n_jets=40), dtype=torch.float32)
    gathered = statistics.gather(network, Sample(x, torch.arange(40) % network.widths[network.raw_output]))
    places = sensitivity.cuttable(network, ("neuron", "digit"))
    kernels = [kernel for kernel in network.kernels[:-1] if kernel.n_rows > 1]
    assert [what.name for what, granularity in places if granularity == "neuron"] == [k.name for k in kernels]
    for what, granularity in places:
        if granularity == "neuron":
            own = gathered[what.name]
            scores = own.neuron_fisher / 2
            units = torch.argsort(scores, stable=True)[: min(round(0.5 * len(scores)), len(scores) - 1)]
            cut = Cut(what.name, "neuron", tuple(units.tolist()), tuple(own.mean[units].tolist()))
            assert sensitivity.lowest(what, 0.5, gathered, "fisher") == (
                (cut,),
                float(scores[units].sum()),
            )


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_they_are_what_leaves_together(name: str) -> None:
    assert {each.name: len(each.group) for each in neurons.find(ARCHITECTURES[name]())} == GROUPS[name]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_is_cut_leaves_with_all_that_reads_it(name: str, jets: Jets) -> None:
    network, own = typed(ARCHITECTURES[name], jets)
    gathered = statistics.gather(network, own[0].first(200))
    for each in neurons.find(network):
        scores = each.scores(gathered, importance.fisher)
        assert scores.shape == each.alive().shape == (len(each.group),)
        assert bool((scores >= 0).all())
        plan = each.cuts(torch.tensor([0, 2]), gathered)
        masked = masks.apply(network, plan)
        (alive,) = [other.alive() for other in neurons.find(masked) if other.name == each.name]
        assert alive.tolist() == [unit not in {0, 2} for unit in range(len(each.group))]
        if each.alone:
            continue  # a constant that no bias can hold exactly stays
        smaller = surgery.shrink(masked)
        (left,) = [other for other in neurons.find(smaller) if other.name == each.name]
        assert len(left.group) == len(each.group) - 2
        for member in each.group.of("made"):
            before, after = network.shapes[member.layer][-1], smaller.shapes[member.layer][-1]
            assert before - after == 2 * len(member.indices[0])


def test_a_group_is_scored_by_all_that_makes_it_and_states_by_all_their_weights(jets: Jets) -> None:
    network, own = typed(ARCHITECTURES["residual"], jets)
    gathered = statistics.gather(network, own[0].first(200))
    both = next(each for each in neurons.find(network) if each.name == "a + c")
    expected = (gathered["a"].neuron_fisher + gathered["c"].neuron_fisher) / 2
    assert torch.allclose(both.scores(gathered, importance.fisher), expected)
    network, own = typed(ARCHITECTURES["recurrent"], jets)
    gathered = statistics.gather(network, own[0].first(200))
    states = next(each for each in neurons.find(network) if each.name == "cell")
    each = [gathered[k.name].weight_fisher * k.used() ** 2 / 2 for k in network.kernels if k.layer.name == "cell"]
    total = sum(scores.reshape(3, 8, -1).sum(dim=(0, 2)) for scores in each)
    assert torch.allclose(states.scores(gathered, importance.fisher), torch.as_tensor(total))


@pytest.mark.parametrize("name", ["convolution", "recurrent"])
def test_statistics_hold_the_mean_of_what_is_read(name: str, jets: Jets) -> None:
    network, own = typed(ARCHITECTURES[name], jets)
    x = own[0].first(200)
    gathered, values = statistics.gather(network, x, batch_size=77), network.activations(x.x)
    for kernel in network.kernels:
        source = values[network.sources[kernel.layer.name][0]]
        assert torch.allclose(gathered[kernel.name].reads, source.flatten(0, -2).mean(dim=0), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_budget_is_met_by_losing_neurons(name: str, jets: Jets) -> None:
    network, own = typed(ARCHITECTURES[name], jets)
    gathered = statistics.gather(network, own[0].first(200))
    curves = sensitivity.analyse(network, own[1], gathered, granularities=("neuron",), levels=(0.5,))
    assert [curve.layer for curve in curves] == list(GROUPS[name])
    budget = Budget(resources=Resources(lut=0.5 * (PRICE(network).resources.lut or 0.0)))
    problem = posed(own, budget, moves.PerKernel.of(curves, ("neuron",)), replace(QUICK, digits=False))
    found = greedy.search(network, problem)
    assert budget.met_by(PRICE(found.network))
    assert sum(found.network.sizes.values()) < sum(network.sizes.values())
    assert found.network.widths[found.network.raw_output] == 5
    assert {step.kind for stage in found.stages for step in stage.steps} == {"neuron"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["residual", "convolution", "attention"])
def test_digits_are_chosen_for_them_too(name: str, jets: Jets) -> None:
    network, own = typed(ARCHITECTURES[name], jets)
    budget = Budget(resources=Resources(lut=0.5 * (PRICE(network).resources.lut or 0.0)))
    found = greedy.search(network, posed(own, budget, moves.PerKernel({}, masks.GRANULARITIES), QUICK))
    assert budget.met_by(PRICE(found.network))
