"""The search over every family of networks: the LUT that uniform pruning comes to, and the solved graph says the same."""

from functools import cache, partial

import numpy as np
import pytest
import torch

from hepprune import training
from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import FixedPoints
from hepprune.hardware import cost, targets
from hepprune.hardware.resources import Budget, Resources
from hepprune.network import Dense, GlobalPool, Input, Layer, Network, ReLU, exact_logits, precision
from hepprune.network.precision import Precision
from hepprune.pruning import masks, plan
from hepprune.pruning.structure import surgery
from hepprune.search import greedy, moves, uniform
from hepprune.search.stages import Problem, Settings
from hepprune.task import Classes, Regression, Tasks
from hepprune.task.sample import Sample
from hepprune.training import Fit
from tests.search.architectures import ARCHITECTURES

PRICE = partial(cost.estimate, target=targets.load("generic_vu13p"), strategy="distributed_arithmetic", stage="da4ml")
INPUTS = FixedPoint(7, 3, True, "RND", "SAT")
SHORT = Fit(epochs=1, batch_size=256, learning_rate=3e-3)
QUICK = Settings(stages=4, step=0.2, statistics_jets=500, fine_tune=SHORT, settle=Fit(epochs=3), trim=SHORT)
FAMILIES = {
    "residual": 0.5,
    "convolution": 0.5,
    "recurrent": 0.8,
    "attention": 0.8,
    "two_heads": 0.5,
}  # pruned uniformly


def two_heads() -> Network:
    """Return a network on sets with classes and a momentum."""
    draw = torch.Generator().manual_seed(5)

    def dense(name: str, n_in: int, n_out: int) -> Dense:
        return Dense(name, torch.randn(n_out, n_in, generator=draw) / n_in**0.5, torch.zeros(n_out))

    layers: list[Layer] = [
        *(Input("x", (4, 2)), dense("phi", 2, 8), ReLU("r1"), dense("phi_2", 8, 8), ReLU("r2")),
        *(GlobalPool("mean", "average"), dense("rho", 8, 8), ReLU("r3")),
        *(dense("flavour", 8, 3), dense("momentum", 8, 1)),
    ]
    names = [layer.name for layer in layers]
    edges = dict(zip(names[1:8], names, strict=False)) | {"flavour": "r3", "momentum": "r3"}
    return Network(layers, edges, outputs=("flavour", "momentum"))


@cache
def posed(name: str) -> tuple[Network, Sample, Sample]:
    """Return a network with types, trained a little, and jets whose targets follow from their features.

    All must stay as they are.
    """
    network = two_heads() if name == "two_heads" else ARCHITECTURES[name]()
    x = torch.randn(3000, *network.input.features_shape, generator=torch.Generator().manual_seed(1))
    flat = x.flatten(1)
    flavour = (flat[:, :3] * flat[:, 3:6]).argmax(dim=1)
    if name == "two_heads":
        task = Tasks({"flavour": Classes(), "momentum": Regression()})
        y = (flavour, 1 + 0.3 * flat[:, 0] + 0.1 * flat[:, 1])
        sample = Sample((x,), task.targets(y), task=task)
    else:
        sample = Sample.from_arrays(x, flavour)
    train, validation = sample.first(2000), sample.taking(slice(2000, None))
    quantised = precision.quantise(network, train.arrays, Precision(inputs=INPUTS, weight_bits=5, activation_bits=5))
    fit = Fit(epochs=3, batch_size=256, learning_rate=1e-2)
    return training.fit(quantised, train, validation, settings=fit, seed=0)[0], train, validation


@pytest.mark.slow
@pytest.mark.parametrize(("name", "sparsity"), FAMILIES.items())
def test_what_uniform_pruning_comes_to_is_met_and_the_solved_graph_agrees(name: str, sparsity: float) -> None:
    rtl = pytest.importorskip("hepprune.firmware.rtl")
    pytest.importorskip("da4ml")
    network, train, validation = posed(name)
    uniformly = plan.prune(network, sparsity=sparsity, scope="local")
    goal = PRICE(surgery.shrink(uniformly, warn=False)).resources.lut
    assert goal < 0.7 * PRICE(network).resources.lut
    budget = Budget(resources=Resources(lut=goal))
    found = greedy.within(network, train, validation, budget=budget, price=PRICE, settings=QUICK)
    price = PRICE(found.network).resources.lut
    assert price <= goal
    assert rtl.solve(found.network).cost == pytest.approx(price, rel=0.15)


@pytest.mark.slow
def test_stages_take_last_places_of_values_too_and_the_graph_computes_the_network() -> None:
    rtl = pytest.importorskip("hepprune.firmware.rtl")
    network, train, validation = posed("residual")
    limit = 0.5 * (PRICE(network).resources.lut or 0.0)
    found = greedy.within(
        network,
        train,
        validation,
        budget=Budget(resources=Resources(lut=limit)),
        price=PRICE,
        granularities=("neuron", "bit"),
        settings=QUICK,
    )
    taken = {layer for stage in found.stages for step in stage.steps if step.kind == "bit" for layer in step.layers}
    assert taken
    assert {layer.name for layer in found.network if isinstance(layer.result, FixedPoints)} == taken
    assert PRICE(found.network).resources.lut <= limit
    read = np.ascontiguousarray(found.network.input.result(validation.features.double().numpy()))
    solved = rtl.solve(found.network)
    assert solved.cost == pytest.approx(PRICE(found.network).resources.lut, rel=0.15)
    assert np.array_equal(solved.logic.predict(read), exact_logits(found.network, validation.features.numpy()))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["residual", "convolution", "two_heads"])
def test_a_latency_is_met_along_the_longest_path(name: str) -> None:
    network, train, validation = posed(name)
    start = PRICE(network)
    budget = Budget(latency_ns=start.latency_ns - start.clock_ns)
    found = greedy.within(network, train, validation, budget=budget, price=PRICE, settings=QUICK)
    assert PRICE(found.network).latency_cycles < start.latency_cycles


@pytest.mark.slow
@pytest.mark.parametrize("name", ["recurrent", "two_heads"])
def test_uniform_pruning_comes_to_the_same_cost(name: str) -> None:
    network, train, validation = posed(name)
    start = PRICE(network).resources.lut or 0.0
    problem = Problem(
        train=train,
        validation=validation,
        budget=Budget(resources=Resources(lut=start)),
        price=PRICE,
        propose=moves.PerKernel({}, masks.GRANULARITIES),
        settings=QUICK,
    )

    def lut(of: Network) -> float:
        return PRICE(of).resources.lut or 0.0

    found = uniform.match(network, problem, cost=lut, goal=0.6 * start)
    assert 0.5 * start < lut(found.network) < 0.65 * start
