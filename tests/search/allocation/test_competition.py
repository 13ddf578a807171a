"""One training in which digits and bits compete: it meets the budget, trains freely, and is exact as built."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from hepprune import training
from hepprune.errors import BudgetMissedError, NetworkError
from hepprune.firmware import rtl
from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import FixedPoints
from hepprune.hardware import cost, targets
from hepprune.hardware.resources import Budget, Estimate, Resources
from hepprune.network import Dense, Input, Layer, Network, ReLU, exact_logits
from hepprune.network.layers import Activation
from hepprune.network.precision import Precision, quantise
from hepprune.pruning import masks, statistics
from hepprune.pruning.masks import Cut
from hepprune.pruning.statistics import values
from hepprune.pruning.structure import surgery
from hepprune.search import greedy, moves
from hepprune.search.allocation import bits, competition
from hepprune.search.moves.neurons import NOISE
from hepprune.search.stages import Outcome, Problem, Settings
from hepprune.task import Regression
from hepprune.task.sample import Sample
from hepprune.training import Fit

Jets = tuple[Sample, Sample]
PRICE = partial(cost.estimate, target=targets.load("generic_vu13p"), strategy="distributed_arithmetic")
LONG = Fit(epochs=6, batch_size=512, learning_rate=5e-3)
SETTINGS = Settings(bits=True, allocate=LONG, trim=Fit(epochs=2, batch_size=256, learning_rate=5e-4))


def lut(network: Network) -> float:
    return PRICE(network).resources.lut or 0.0


def problem(jets: Jets, limit: float) -> Problem:
    propose, budget = moves.PerKernel({}, moves.ALLOCATED), Budget(resources=Resources(lut=limit))
    train, validation = jets
    return Problem(train=train, validation=validation, budget=budget, price=PRICE, propose=propose, settings=SETTINGS)


@pytest.fixture(scope="module")
def third(tagger: Network, jets: Jets) -> Outcome:
    return greedy.search(tagger, problem(jets, lut(tagger) / 3))


@pytest.mark.slow
def test_the_budget_is_met_by_what_is_built(tagger: Network, third: Outcome, jets: Jets) -> None:
    network, validation = third.network, jets[1]
    assert lut(network) <= lut(tagger) / 3
    assert third.stages[-1].estimate == PRICE(network)
    kinds = [network[name].result for name in network.layers if isinstance(network[name], Input | ReLU)]
    assert all(isinstance(kind, FixedPoints) for kind in kinds)
    assert len({int(width) for kind in kinds for width in kind.width}) > 2
    assert [kind.overflow for kind in kinds] == ["SAT", "WRAP", "WRAP"]
    before, after = (training.scores(net, validation)["accuracy"].value for net in (tagger, network))
    assert after > before - 0.05


@pytest.mark.slow
def test_the_adder_graph_computes_the_network_bit_for_bit(third: Outcome, jets: Jets) -> None:
    network, x = third.network, jets[1].features.numpy().astype(np.float64)
    read = np.ascontiguousarray(network.input.result(x))
    assert np.array_equal(rtl.solve(network).logic.predict(read), exact_logits(network, x))


@pytest.mark.slow
def test_nothing_wraps_that_was_seen(third: Outcome, jets: Jets) -> None:
    network = third.network
    kinds = {name: network[name].result for name in network.layers if isinstance(network[name], ReLU)}
    for name, most in values.largest(network, *jets).items():
        if name in kinds:
            kind = kinds[name]
            assert (most.numpy() < 2.0**kind.integer).all()


@pytest.mark.slow
def test_a_search_that_goes_on_trims_and_builds_the_same_way(jets: Jets, third: Outcome) -> None:
    resumed = replace(problem(jets, 0.9 * lut(third.network)), settings=replace(SETTINGS, stages=1))
    again = greedy.search(third.network, resumed)
    assert lut(again.network) <= 0.9 * lut(third.network)
    before, after = (network.input.result for network in (third.network, again.network))
    assert (after.width <= before.width).all()
    assert (after.rounding, after.overflow) == (before.rounding, before.overflow)
    assert all(layer.result.overflow == "WRAP" for layer in again.network if isinstance(layer, ReLU))


def test_a_budget_of_nothing_is_missed(tagger: Network, jets: Jets) -> None:
    with pytest.raises(BudgetMissedError, match="the budget cannot be reached"):
        greedy.search(tagger, problem(jets, 0.0))


def test_what_a_loss_minds_more_gets_more_bits(tagger: Network, jets: Jets) -> None:
    train = jets[0]
    network, finest = bits.opened(tagger, train)
    worths = values.worths(network, train)
    of_input = worths.values[network.input.name]
    of_input[0] = 1e4 * of_input.max()
    bits.calibrate(network, train, overflow="WRAP")
    fits = lambda figures: (figures.resources.lut or 0.0) <= 300  # noqa: E731
    competition.settle(network, worths, PRICE, finest=finest, fits=fits)
    fractions = network.input.result.fractions
    assert fractions[0] == finest[network.input.name]
    assert fractions[1:].mean() < fractions[0]
    assert lut(network) <= 300
    assert all(bool(kernel.used().any()) for kernel in network.kernels)


def chain(*body: Layer) -> tuple[Network, Sample]:
    """Return a typed chain on eight features, and jets that it learns to reproduce in part."""
    x = np.random.default_rng(3).normal(size=(400, 8)).astype(np.float32)
    network = quantise(Network([Input("x", 8), *body]), x, Precision(inputs=FixedPoint(8, 3, True, "RND", "SAT")))
    return network, Sample.from_arrays(x, np.abs(x[:, :2]), task=Regression())


def dense(name: str, n_in: int, n_out: int) -> Dense:
    weight = torch.randn(n_out, n_in, generator=torch.Generator().manual_seed(n_in)) / n_in**0.5
    return Dense(name, weight, torch.full((n_out,), 0.5))


def settled(network: Network, train: Sample, limit: float) -> Network:
    opened, finest = bits.opened(network, train)
    worths = values.worths(opened, train)
    bits.calibrate(opened, train, overflow="WRAP")
    fits = lambda figures: figures.resources.lut <= limit  # noqa: E731
    competition.settle(opened, worths, PRICE, finest=finest, fits=fits)
    return bits.finished(opened, train)


def test_constants_of_the_model_stay_and_what_they_read_pays_for_their_digits() -> None:
    weight = torch.cat([torch.eye(8), -torch.eye(8), 0.6875 * torch.eye(8)[:1]])
    projection = Dense("projection", weight, torch.zeros(17), fixed=True)
    network, train = chain(projection, ReLU("kept"), dense("d", 17, 2))
    found = settled(network, train, lut(network) / 2)
    assert lut(found) <= lut(network) / 2
    given, own = found["projection"], network["projection"]
    assert (given.weight_type, given.bias_type) == (own.weight_type, own.bias_type)
    assert torch.equal(given.used_weight(), own.used_weight())
    assert torch.equal(given.used_bias(), own.used_bias())
    contest = competition._Contest(network.replacing({"x": bits.opened(network, train)[0]["x"]}), None, {})
    assert contest.given["x"].tolist() == [5, *[2] * 7]  # 0.6875 has three


def test_values_that_nothing_reads_are_chosen_too() -> None:
    network, train = chain(dense("a", 8, 6), ReLU("hidden"), dense("b", 6, 2), ReLU("out"))
    found = settled(network, train, lut(network) / 3)
    assert lut(found) <= lut(network) / 3
    assert isinstance(found["out"].result, FixedPoints)


def test_a_larger_budget_never_buys_less(tagger: Network, jets: Jets) -> None:
    train = jets[0]
    network, finest = bits.opened(tagger, train)
    worths = values.worths(network, train)
    bits.calibrate(network, train, overflow="WRAP")
    found: list[Estimate] = []
    for limit in (200.0, 400.0, 800.0):
        competition.settle(network, worths, PRICE, finest=finest, fits=lambda f, most=limit: f.resources.lut <= most)
        found.append(PRICE(network))
    spent = [figures.resources.lut or 0.0 for figures in found]
    assert spent == sorted(spent)
    assert all(each <= most for each, most in zip(spent, (200.0, 400.0, 800.0), strict=True))
    assert all(used > 0.85 * limit for used, limit in zip(spent, (200, 400, 800), strict=True))


def test_the_information_of_values_is_the_mean_squared_gradient_of_each_jet(tagger: Network, jets: Jets) -> None:
    some = jets[0].first(5)
    found = values.worths(tagger, some)
    squares = []
    for index in range(5):
        one = some.taking(slice(index, index + 1))
        x = one.features.clone().requires_grad_()
        seen = tagger.activations(x, until=tagger.raw_outputs)
        squares.append(torch.autograd.grad(one.loss(tagger.raw(x)), tagger.kernels[1].weight)[0] ** 2)
        assert seen
    name = tagger.kernels[1].name
    assert torch.allclose(found.weights[name], torch.stack(squares).mean(dim=0), rtol=1e-4, atol=1e-9)
    assert found.biases[name].shape == (tagger.sizes[name],)
    assert set(found.values) >= {tagger.input.name, *(name for name in tagger.layers if name.startswith("relu"))}


def test_the_value_that_a_loss_minds_least_loses_its_last_bit(tagger: Network, jets: Jets) -> None:
    network, _ = bits.opened(tagger, jets[0])
    gathered = statistics.gather(network, jets[0].first(1000))
    own = values.worths(network, jets[0].first(1000)).values
    propose = moves.PerKernel({}, ("bit",))
    found = {move.cuts[0].layer: move for move in propose(network, gathered, 0.01)}
    assert set(found) == {"features", "relu_1", "relu_2"}
    for name, move in found.items():
        before = network[name].result
        noise = own[name].double() / 2 * torch.as_tensor(3 * 4.0**-before.fractions / 12)
        (least,) = move.cuts[0].units
        assert least == int(noise.argmin())
        assert move.predicted_loss == pytest.approx(NOISE * float(noise.min()), rel=1e-3, abs=1e-12)
        made = move.made(network)
        after = made[name].result
        assert (before.width - after.width).tolist() == [int(i == least) for i in range(len(noise))]
        assert np.array_equal(before.integer, after.integer)
        assert lut(made) <= lut(network)


def test_bits_are_cut_as_masks_and_by_surgery_alike(tagger: Network, jets: Jets) -> None:
    network, _ = bits.opened(tagger, jets[0])
    bits.calibrate(network, jets[0], overflow="WRAP")
    plan = [*([Cut("relu_1", "bit", (0, 3, 5))] * 9), Cut("features", "bit", (1,))]
    x = jets[1].features.numpy()[:300]
    masked, smaller = masks.apply(network, plan), surgery.shrink(network, plan)
    assert (masked["relu_1"].result.width[[0, 3, 5]] == 0).all()
    assert smaller.kernels[0].n_rows <= network.kernels[0].n_rows - 3
    assert np.array_equal(exact_logits(masked, x), exact_logits(smaller, x))
    with pytest.raises(NetworkError, match="has no types of single values"):
        masks.apply(tagger, [Cut("dense_1", "bit", (0,))])
    with pytest.raises(NetworkError, match="has 16 units, none has index 16"):
        masks.apply(network, [Cut("relu_1", "bit", (16,))])


def test_a_network_that_is_no_chain_is_refused(tagger: Network) -> None:
    tabled = Network([Input("x", 2, FixedPoint(4, 2)), Activation("tanh", "tanh", None, FixedPoint(4, 1))])
    float_ = Network([Input("x", 2), Dense("d", torch.ones(2, 2), torch.zeros(2))])
    for network in (tabled, float_):
        with pytest.raises(NetworkError, match="take the search kind 'stages'"):
            bits.check(network)
    bits.check(tagger)


def test_dead_neurons_leave_whatever_their_constant_and_biases_end_with_their_last_bit(
    tagger: Network, jets: Jets
) -> None:
    network, _ = bits.opened(tagger, jets[0])
    first = network.kernels[0].layer
    first.digit_limit[3], first.bias.data[3] = 0, 0.8125
    built = bits.finished(network.clone(), jets[0])
    bits.calibrate(network, jets[0], overflow="WRAP")
    assert built.kernels[0].n_rows == network.kernels[0].n_rows - 1
    x = jets[1].features.numpy()[:300]
    assert np.array_equal(exact_logits(built, x), exact_logits(network, x))
    for layer in (kernel.layer for kernel in built.kernels):
        assert layer.fixed_types[1].fraction == 0 or (layer.used_bias() % (2 * layer.bias_type.step) != 0).any()


@pytest.mark.parametrize(("weight", "offset"), [(3.25, 60.0), (0.5, 0.0), (-2.0, -9.5), (700.0, 3000.0)])
def test_what_a_network_computes_is_not_clipped(weight: float, offset: float) -> None:
    kinds = {"weight_type": FixedPoint(16, 12, True, "RND", "SAT"), "bias_type": FixedPoint(16, 13, True, "RND", "SAT")}
    x = torch.linspace(-1, 1, 100)[:, None].expand(-1, 2)
    network = Network(
        [
            Input("x", 2, FixedPoint(8, 2, True, "RND", "SAT")),
            Dense("first", torch.tensor([[weight, 0.5], [0.25, 0.5]]), torch.tensor([offset, 0.5]), **kinds),
            ReLU("relu", FixedPoint(20, 14, False, "RND", "SAT")),
            Dense("last", torch.tensor([[1.0, weight]]), torch.tensor([offset]), **kinds),
        ]
    )
    sample = Sample.from_arrays(x.numpy(), x[:, 0].numpy(), task=Regression())
    found, finest = bits.opened(network, sample)
    built = bits.finished(found.clone(), sample)
    wanted = network.raw((x,))[0]
    for each in (found, built):
        assert torch.allclose(each.raw((x,))[0], wanted, rtol=0.01, atol=0.05)
    for layer, after in ((layer, found[layer.name]) for layer in network if isinstance(layer, Dense)):
        weights, biases = after.fixed_types
        assert weights.fraction == min(7, 16 - weights.integer)
        assert (weights.integer == 2) == (-2 <= weight < 2)
        assert biases.fraction == finest[layer.name]
        assert built[layer.name].fixed_types[1].integer >= biases.integer >= 4


@pytest.mark.slow
def test_a_search_that_is_resumed_allocates_again_from_what_was_built(third: Outcome, jets: Jets) -> None:
    less = problem(jets, 0.9 * lut(third.network))
    found = greedy.search(third.network, replace(less, settings=replace(SETTINGS, stages=1)))
    assert lut(found.network) <= 0.9 * lut(third.network)
    assert found.stages[0].steps == ()  # nothing was cut: digits and bits were chosen anew
    opened, finest = bits.opened(third.network, jets[0])
    before = [third.network[name].result for name in finest if not isinstance(third.network[name], Dense)]
    assert [opened[name].result.overflow for name in finest if not isinstance(opened[name], Dense)] == ["SAT"] * 3
    assert [finest[name] for name in finest if not isinstance(opened[name], Dense)] == [
        kind.fraction + bits.FINER for kind in before
    ]


def test_digits_and_bits_are_chosen_so_often_at_most_and_last_of_all_before_they_are_held(
    tagger: Network, jets: Jets
) -> None:
    opened, finest = bits.opened(tagger, jets[0])
    few, reported = jets[0].first(200), []

    def price(network: Network) -> Estimate:
        reported.append(network)
        return PRICE(network)

    budget = Budget(resources=Resources(lut=lut(tagger)))
    step = competition.Narrowing(train=few, price=price, budget=budget, finest=finest)
    turns = []
    for epoch in range(1, 301):
        before = len(reported)
        held = step(opened, epoch / 300)
        turns += [epoch / 300] * (len(reported) > before)
    assert held
    assert 40 < len(turns) <= competition._CHOICES + 1
    assert 0.05 <= turns[0] < 0.07
    assert turns[-1] == 0.65


@pytest.mark.parametrize("of_values", [True, False])
def test_a_budget_beyond_the_network_buys_nothing_larger(tagger: Network, jets: Jets, *, of_values: bool) -> None:
    few = (jets[0].first(300), jets[1].first(100))
    short = replace(SETTINGS, bits=of_values, allocate=replace(LONG, epochs=4))
    posed = replace(problem(few, 4 * lut(tagger)), settings=short)
    found = greedy.search(tagger, posed)
    assert 0.8 * lut(tagger) < lut(found.network) <= lut(tagger)
