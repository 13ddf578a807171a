"""Residual branches as moves of a search: the whole branch, and nothing of a chain."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from hepprune.hardware import cost, targets
from hepprune.hardware.resources import Budget, Resources
from hepprune.network import Dense, Input, Merge, Network, Shared
from hepprune.pruning import masks, statistics
from hepprune.search import allocation, cutting, sensitivity
from hepprune.search.moves import CHOICES, Move, PerKernel, neurons
from hepprune.search.moves.knobs import Knob
from hepprune.search.moves.neurons import BLOCK
from hepprune.search.stages import Problem
from hepprune.task.sample import Sample
from tests.network.drawn import typed
from tests.search.architectures import residual

PRICE = partial(cost.estimate, target=targets.load("generic_vu13p"), strategy="distributed_arithmetic")


@pytest.fixture(scope="module")
def network() -> Network:
    return typed(residual(), bits=5)


@pytest.fixture(scope="module")
def sample() -> Sample:
    x = torch.randn(600, 8, generator=torch.Generator().manual_seed(1))
    return Sample.from_arrays(x.numpy(), x[:, :5].argmax(dim=1).numpy())


def test_of_a_sum_the_way_around_the_branch_is_left(network: Network, sample: Sample) -> None:
    (branch,) = neurons.find_branches(network)
    assert (branch.name, [kernel.name for kernel in branch.kernels]) == ("sum", ["b", "c"])
    cut = masks.apply(network, branch.cuts)
    values = cut.activations(sample.x)
    around = network.activations(sample.x)["relu_a"]
    assert torch.equal(values["sum"] - around, values["c"][:1].expand_as(around))
    assert PRICE(cut).resources.lut < PRICE(network).resources.lut
    assert neurons.find_branches(cut) == []


def test_branches_within_a_branch_are_moves_of_their_own() -> None:
    def square(name: str) -> Dense:
        return Dense(name, torch.eye(4), torch.zeros(4))

    layers = [Input("x", 4), square("a"), square("b"), Merge("inner", "add"), square("c"), Merge("outer", "add")]
    edges = {"a": "x", "b": "a", "inner": ("a", "b"), "c": "inner", "outer": ("x", "c"), "out": "outer"}
    network = typed(Network([*layers, square("out")], edges), bits=5)
    found = {each.name: each for each in neurons.find_branches(network)}
    assert {name: [kernel.name for kernel in each.kernels] for name, each in found.items()} == {
        "inner": ["b"],
        "outer": ["a", "b", "c"],
    }
    assert [each.name for each in neurons.find_branches(masks.apply(network, found["inner"].cuts))] == ["outer"]
    assert neurons.find_branches(masks.apply(network, found["outer"].cuts)) == []


def test_a_branch_that_lends_its_weights_stays(network: Network) -> None:
    layers = [*network, Shared("again", "out")]
    assert len(neurons.find_branches(Network(layers, network.sources | {"again": "relu_c"}, ["out", "again"]))) == 1
    layers = [Shared("turn", "c") if layer.name == "out" else layer for layer in network]
    assert neurons.find_branches(Network(layers, network.sources | {"turn": "relu_b"}, ["relu_c", "turn"])) == []


def test_its_curve_is_one_point_of_the_measured_change(network: Network, sample: Sample) -> None:
    gathered = statistics.gather(network, sample)
    (curve,) = sensitivity.analyse(network, sample, gathered, granularities=(BLOCK,))
    (point,) = curve.points
    cut = masks.apply(network, neurons.find_branches(network)[0].cuts)
    with torch.no_grad():
        losses = [float(sample.loss(each.raw(sample.x))) for each in (cut, network)]
    assert (curve.layer, curve.granularity, point.level) == ("sum", BLOCK, 1.0)
    assert point.loss_change == pytest.approx(losses[0] - losses[1], abs=1e-6)
    (move,) = PerKernel.of([curve], (BLOCK,))(network, gathered, 0.1)
    assert move.predicted_loss == pytest.approx(point.predicted_loss * curve.trust)


def test_a_search_takes_it_and_leaves_it_gone(network: Network, sample: Sample) -> None:
    goal = {"lut": 1.0}
    limit = 1.02 * (PRICE(masks.apply(network, neurons.find_branches(network)[0].cuts)).resources.lut or 0.0)
    problem = Problem(
        train=sample,
        validation=sample,
        budget=Budget(resources=Resources(lut=limit)),
        price=PRICE,
        propose=PerKernel({}, (BLOCK,)),
    )
    cut, steps = cutting.cut_until(network, problem, goal)
    assert [(step.layers, step.kind) for step in steps] == [(("b", "c"), BLOCK)]
    gathered = statistics.gather(cut, sample)
    allocation.allocate(cut, gathered, PRICE, fits=lambda _: True)
    assert [kernel.name for kernel in cut.kernels if kernel.used().any()] == ["a", "out"]
    _, more = cutting.cut_until(
        cut,
        replace(problem, propose=PerKernel({}, ("neuron",)), budget=Budget(resources=Resources(lut=0.9 * limit))),
        goal,
    )
    assert {step.kind for step in more} == {"neuron"}


def test_a_trim_takes_it_only_where_nothing_else_frees_anything(network: Network, sample: Sample) -> None:
    def idle(*given: Any) -> Iterator[Move]:
        """Propose weights of as many bits as there are, and the branch."""
        yield Move((), 0.0, "bits", (Knob("a", weight_bits=5),))
        yield from PerKernel({}, (BLOCK,))(*given)

    budget = Budget(resources=Resources(lut=0.95 * (PRICE(network).resources.lut or 0.0)))
    for propose, kind in ((PerKernel({}, ("weight", BLOCK)), "weight"), (idle, BLOCK)):
        problem = Problem(train=sample, validation=sample, budget=budget, price=PRICE, propose=propose, trims=True)
        cut, steps = cutting.cut_until(network, problem, {"lut": 1.0})
        assert budget.met_by(PRICE(cut))
        assert {step.kind for step in steps} <= {kind, "depth"}
        assert kind in {step.kind for step in steps}


def test_moves_of_a_chain_are_what_they_were(tagger: Network, jets: tuple[Sample, Sample]) -> None:
    gathered = statistics.gather(tagger, jets[0].first(500))
    names = CHOICES["distributed_arithmetic"]
    kinds = (names, tuple(name for name in names if name != BLOCK))
    one, other = (list(PerKernel({}, own)(tagger, gathered, 0.1)) for own in kinds)
    assert one == other
    assert not neurons.find_branches(tagger)
