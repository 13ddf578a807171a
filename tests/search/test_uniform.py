from dataclasses import replace

import pytest
import torch

from hepprune.fixed import FixedPoint
from hepprune.hardware.resources import Budget, Estimate, Resources
from hepprune.network import Dense, Input, Layer, Network, precision
from hepprune.network.layers import Einsum, GlobalPool, Softmax
from hepprune.network.precision import Precision
from hepprune.pruning import masks
from hepprune.search import moves, uniform
from hepprune.search.stages import Problem, Settings
from hepprune.task.sample import Sample
from hepprune.training import Fit
from tests.networks import weighted
from tests.search.toy import toy_price

QUICK = Settings(
    stages=2,
    step=0.05,
    statistics_jets=500,
    fine_tune=Fit(epochs=1, batch_size=512, learning_rate=3e-3),
    settle=Fit(epochs=2, batch_size=512, learning_rate=3e-3),
)


def problem_of(jets: tuple[Sample, Sample], budget: Budget, granularity: str, settings: Settings) -> Problem:
    propose = moves.PerKernel({}, (granularity,))
    return Problem(
        train=jets[0], validation=jets[1], budget=budget, price=toy_price, propose=propose, settings=settings
    )


@pytest.mark.parametrize("dearer", [1.0, 1.3])
def test_the_cost_is_matched_though_the_price_is_wrong(
    tagger: Network, jets: tuple[Sample, Sample], dearer: float
) -> None:
    def cost(network: Network) -> float:
        return dearer * (toy_price(network).resources.lut or 0)

    goal = 0.4 * cost(tagger)
    problem = problem_of(jets, Budget(resources=Resources(lut=1)), "weight", QUICK)
    reported: list[int] = []
    found = uniform.match(tagger, problem, cost=cost, goal=goal, advance=reported.append)
    assert -uniform.BELOW <= cost(found.network) / goal - 1 <= uniform.ABOVE
    assert all(step.kind == "global magnitude" for stage in found.stages for step in stage.steps)
    assert len(reported) >= len(found.stages)


def test_it_is_plain_pruning_of_weights(tagger: Network, jets: tuple[Sample, Sample]) -> None:
    problem = problem_of(jets, Budget(), "digit", replace(QUICK, digits=True))
    goal = 0.5 * (toy_price(tagger).resources.lut or 0)
    found = uniform.match(tagger, problem, cost=lambda n: toy_price(n).resources.lut or 0, goal=goal)
    assert masks.nonzero_weights(found.network) < masks.nonzero_weights(tagger)
    assert {int(limit) for layer in weighted(found.network) for limit in layer.digit_limit.unique()} <= {0, 31}


def met() -> Network:
    """Return constituents that meet by scores of queries and keys, whose few weights are the largest."""
    draw = torch.Generator().manual_seed(1)
    sizes = {"query": (2, 2), "key": (2, 2), "value": (12, 2), "out": (3, 12)}
    dense = {name: Dense(name, torch.randn(size, generator=draw), torch.zeros(size[0])) for name, size in sizes.items()}
    for name in ("query", "key"):
        dense[name].weight.data += 4.0
    layers: list[Layer] = [Input("x", (4, 2)), dense["query"], dense["key"], dense["value"]]
    layers += [Einsum("scores", "qd,kd->qk"), Softmax("softmax"), Einsum("context", "qk,kd->qd")]
    edges: dict[str, str | tuple[str, ...]] = {"query": "x", "key": "x", "value": "x", "scores": ("query", "key")}
    edges |= {"softmax": "scores", "context": ("softmax", "value"), "mean": "context", "out": "mean"}
    return Network([*layers, GlobalPool("mean", "average"), dense["out"]], edges)


def test_a_cost_past_which_a_block_falls_is_come_to_without_the_block() -> None:
    """Scores, softmax and products go with the last weight of the keys, and until then all of them cost."""
    few = Sample.from_arrays(torch.randn(60, 4, 2, generator=torch.Generator().manual_seed(2)), torch.arange(60) % 3)
    kinds = Precision(inputs=FixedPoint(8, 4, True, "RND", "SAT"), weight_bits=5, activation_bits=5)
    network = precision.quantise(met(), few.arrays, kinds)
    short = Fit(epochs=1, batch_size=60, learning_rate=1e-3)
    settings = replace(QUICK, stages=1, statistics_jets=60, fine_tune=short, settle=short, trim=short)

    def price(of: Network) -> Estimate:
        block, found = 4000.0 * bool(of.kernel("key").used().any()), toy_price(of)
        return replace(found, resources=Resources(lut=block + (found.resources.lut or 0)))

    def cost(of: Network) -> float:
        return price(of).resources.lut or 0

    goal = 0.6 * (cost(network) - 4000)
    problem = replace(problem_of((few, few), Budget(), "weight", settings), price=price)
    found = uniform.match(network, problem, cost=cost, goal=goal)
    assert abs(cost(found.network) / goal - 1) < 0.1  # as near as so few weights come
    assert {kernel.name for kernel in found.network.kernels if kernel.used().any()} >= {"value", "out"}


@pytest.mark.parametrize("epochs", [1, 5, 30, 240])
def test_it_trains_as_long_as_an_allocation(epochs: int) -> None:
    long = Fit(epochs=epochs, batch_size=64, learning_rate=1e-3)
    spread = uniform._spread(replace(QUICK, allocate=long, bits=True))
    *cuts, settle, trim = spread.phases({"lut": 4.0})
    assert sum(phase.fit.epochs for phase in (*cuts, settle)) == epochs
    assert {(phase.kind, phase.fit.batch_size) for phase in (*cuts, settle)} == {("cut", 64)}
    assert settle.fit.epochs >= len(cuts)
    assert trim.fit == QUICK.trim


@pytest.mark.parametrize("goal", [0.0, 100.0])
def test_a_network_without_adders_costs_nothing(tagger: Network, jets: tuple[Sample, Sample], goal: float) -> None:
    few, short = (jets[0].first(200), jets[1].first(100)), Fit(epochs=1, batch_size=100, learning_rate=1e-3)
    settings = replace(QUICK, statistics_jets=100, fine_tune=short, settle=short)

    def price(of: Network) -> Estimate:
        return replace(toy_price(of), resources=Resources(lut=0.0))

    reported: list[int] = []
    problem = replace(problem_of(few, Budget(), "weight", settings), price=price)
    uniform.match(tagger, problem, cost=lambda _: 0.0, goal=goal, advance=reported.append)
    stages = problem.settings.stages * 3
    assert len(reported) == (stages if goal == 0 else 5 * stages)  # it is met at once, or never
