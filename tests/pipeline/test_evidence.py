"""When the loop gives up: out of reach by three standard deviations, by the cost model or by what was measured."""

import itertools
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hepprune.errors import BudgetMissedError
from hepprune.fixed import FixedPoint
from hepprune.hardware import calibration, cost, targets
from hepprune.hardware.calibration import Pair
from hepprune.hardware.resources import Budget, Estimate, Measurement, Resources
from hepprune.metrics.scores import Difference
from hepprune.network import Dense, Input, Network, Recurrent, precision
from hepprune.network.layers.recurrent import GATES
from hepprune.network.precision import Precision
from hepprune.pipeline import evidence
from hepprune.pruning import masks, plan
from hepprune.pruning.structure import surgery
from hepprune.pruning.structure.constants import constants
from hepprune.search.uniform import GlobalMagnitude
from hepprune.task.sample import Sample
from tests.conftest import INPUTS
from tests.network.drawn import typed, typed_graphs
from tests.networks import weighted
from tests.pruning import graphs
from tests.search.architectures import ARCHITECTURES

TARGET = targets.load("generic_vu13p")
LIMIT = 1000.0
LSTM = 0  # of the graph whose recurrent layer is one
BUDGET = Budget(resources=Resources(lut=LIMIT))


def predicted(lut: float, cycles: int = 3) -> Estimate:
    cells = Resources(lut=lut, ff=100.0, dsp=0.0, bram18=0.0)
    return Estimate(
        stage="yosys",
        strategy="distributed_arithmetic",
        resources=cells,
        latency_cycles=cycles,
        interval_cycles=1,
        clock_ns=5.0,
        latency_error_cycles=1.0,
    )


def pair(before: float, after: float) -> Pair:
    cells = Resources(lut=after, ff=100.0, dsp=0.0, bram18=0.0)
    return predicted(before), Measurement(
        stage="yosys",
        tool="yosys",
        version="0.70",
        part="xcvu13p",
        clock_ns=5.0,
        resources=cells,
        latency_cycles=3,
        interval_cycles=1,
    )


def check(least: float, *seen: Pair) -> None:
    evidence.check(BUDGET, predicted(least), calibration.fit(seen) if seen else None, seen)


def test_the_smallest_network_is_one_path(tagger: Network) -> None:
    least = evidence.smallest(tagger)
    assert masks.nonzero_weights(least) == len(least.kernels) == len(tagger.kernels)
    assert [int(layer.kernels[0].digit_counts().sum()) for layer in weighted(least)] == [
        1,
        1,
        1,
    ]
    assert [layer.n_out for layer in weighted(least)] == [1, 1, 5]


@settings(max_examples=10)
@given(st.floats(0.0, 0.95), st.sampled_from(["distributed_arithmetic", "latency", "resource"]))
def test_no_pruned_network_is_priced_below_the_smallest(tagger: Network, sparsity: float, strategy: str) -> None:
    least, other = (
        cost.estimate(network, TARGET, strategy=strategy)
        for network in (evidence.smallest(tagger), plan.prune(tagger, sparsity=sparsity, scope="local"))
    )
    assert least.latency_cycles <= other.latency_cycles
    assert all(count <= other.resources.known()[name] for name, count in least.resources.known().items())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_smallest_network_of_any_graph_keeps_one_path_and_all_outputs(
    name: str, jets: tuple[Sample, Sample]
) -> None:
    network = ARCHITECTURES[name]()
    x = jets[0].first(200).features.reshape(-1, *network.input.features_shape).numpy()
    typed = precision.quantise(network, x, Precision(inputs=INPUTS))
    least = evidence.smallest(typed)
    lengths = {"residual": 2, "shared": 2, "convolution": 5, "deep_sets": 4, "recurrent": 3, "attention": 4}
    assert masks.nonzero_weights(least) == lengths[name]
    assert sum(int(kernel.digit_counts().sum()) for kernel in least.kernels) == lengths[name]
    assert least.widths[least.raw_output] == 5
    price = partial(cost.estimate, target=TARGET, strategy="distributed_arithmetic")
    pruned = surgery.shrink(plan.prune(typed, sparsity=0.5), warn=False)
    assert price(least).resources.lut < price(pruned).resources.lut


def with_biases(name: str) -> Network:
    """Return an architecture whose biases let values through its ReLUs, and cost an adder each."""
    network, draw = ARCHITECTURES[name](), torch.Generator().manual_seed(1)
    for at, values in network.named_parameters():
        if "bias" in at:
            values.data = 0.05 + 0.25 * torch.rand(values.shape, generator=draw)
    return typed(network, bits=5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["residual", "convolution", "deep_sets", "recurrent"])
def test_a_budget_that_uniform_pruning_meets_is_never_called_unreachable(name: str) -> None:
    network = with_biases(name)
    x = 2 * torch.randn(200, *network.input.features_shape, generator=torch.Generator().manual_seed(0))
    price = partial(cost.estimate, target=TARGET, strategy="distributed_arithmetic", stage="da4ml")
    least, met = evidence.least(network, price, tries=7), 0
    assert least.resources.lut > 0  # a floor of nothing would be below anything
    for seed, sparsity in itertools.product(range(6), (0.6, 0.8, 0.9, 0.95)):
        pruned = network.clone()
        for kernel in pruned.kernels:
            kept = torch.rand(kernel.weight.shape, generator=torch.Generator().manual_seed(seed)) >= sparsity
            kernel.digit_limit.mul_(kept)
        if bool((pruned.logits(x) != pruned.logits(x[:1])).any()):
            found, met = price(pruned), met + 1
            assert least.resources.lut <= found.resources.lut
            evidence.check(
                Budget(resources=Resources(lut=found.resources.lut), latency_ns=found.latency_ns), least, None, ()
            )
    assert met > 3


@settings(max_examples=6)
@given(typed_graphs(most_bits=6), st.integers(0, 99))
def test_no_uniformly_pruned_graph_of_any_kind_is_priced_below_the_floor(network: Network, seed: int) -> None:
    price = partial(cost.estimate, target=TARGET, strategy="distributed_arithmetic", stage="da4ml")
    x = 2 * torch.randn(50, *network.input.features_shape, generator=torch.Generator().manual_seed(seed))
    least, pruned = evidence.least(network, price), network
    while (move := next(GlobalMagnitude()(pruned, {}, 0.4), None)) is not None:
        pruned = move.made(pruned)
        if bool((pruned.logits(x) != pruned.logits(x[:1])).any()):
            found = price(pruned)
            assert least.resources.lut <= found.resources.lut
            assert least.latency_cycles <= found.latency_cycles


@pytest.mark.parametrize("seed", range(4))
def test_the_smallest_network_is_alive_behind_constants_of_the_model(seed: int) -> None:
    generator, step = torch.Generator().manual_seed(3), FixedPoint(6, 2, True, "RND", "SAT")
    sizes = {"a": (5, 4), "p": (3, 5), "b": (2, 3)}
    layers = [
        Dense(name, torch.randn(size, generator=generator), torch.zeros(size[0]), weight_type=step, fixed=name == "p")
        for name, size in sizes.items()
    ]
    least = evidence.smallest(Network([Input("x", 4), *layers]), seed=seed)
    assert [int((kernel.used() != 0).sum()) for kernel in least.kernels] == [1, 1]
    assert constants(least)[least.outputs[0]].isnan().any()


def test_the_floor_of_a_recurrent_layer_tries_all_its_gates() -> None:
    """The output gate alone moves a state at a fraction of what the others take, which chance alone may never try."""
    network = typed(graphs.build(["recurrent"], seed=LSTM, fixed=False, flat=True), bits=5)
    (cell,) = [layer for layer in network if isinstance(layer, Recurrent)]
    left = []
    for seed in range(8):
        rows = evidence.smallest(network, seed=seed).kernel(f"{cell.name}.weight").rows().any(dim=1)
        left += torch.nonzero(rows.reshape(GATES[cell.cell], -1).any(dim=1)).flatten().tolist()
    assert cell.cell == "lstm"
    assert set(left) == {0, 1, 2, 3}


def test_a_limit_below_what_the_smallest_network_is_predicted_to_need_is_given_up_before_any_search() -> None:
    doubt = math.exp(-evidence.SIGMAS * calibration.Correction().relative_error)
    check(0.99 * LIMIT / doubt)
    with pytest.raises(BudgetMissedError, match="lut binds, 1000 allowed.* as predicted, no less than 1010") as end:
        check(1.01 * LIMIT / doubt)
    assert end.value.exit_code == 2
    with pytest.raises(BudgetMissedError, match="interval_cycles binds, 1 allowed"):
        evidence.check(Budget(interval_cycles=1), replace(predicted(1), interval_cycles=2), None, ())


def test_latency_is_given_up_beyond_its_own_error() -> None:
    budget = Budget(latency_ns=20.0)
    for cycles, out_of_reach in ((7, False), (8, True)):  # 4 cycles are allowed, one is the error
        if out_of_reach:
            with pytest.raises(BudgetMissedError, match=r"latency_ns binds, 20 allowed.* no less than 25"):
                evidence.check(budget, predicted(1, cycles), None, ())
        else:
            evidence.check(budget, predicted(1, cycles), None, ())


def test_a_part_that_no_cut_takes_away_shows_in_the_line() -> None:
    """Proportions say that the smallest network fits: 10 predicted, five times as many measured at worst."""
    stays = [pair(before, 2.0 * LIMIT) for before in (LIMIT, LIMIT / 2, LIMIT / 4)]
    check(10, *stays[:1])
    with pytest.raises(BudgetMissedError, match="lut binds, 1000 allowed.* by the line through 3 measured designs"):
        check(10, *stays)
    with pytest.raises(BudgetMissedError, match="by the line through 2 measured designs"):
        check(10, pair(LIMIT, 3 * LIMIT), pair(LIMIT / 3, 3 * LIMIT))
    check(10, pair(LIMIT, 2.0 * LIMIT), pair(LIMIT, 1.9 * LIMIT))  # nothing was cut, nothing is known


@given(st.floats(0.5, 4.0), st.integers(0, 2**32 - 1))
def test_a_budget_in_reach_is_not_given_up(ratio: float, seed: int) -> None:
    """Each turn aims at the limit from the last measured design, and misses by what designs differ by."""
    rng, seen, before = np.random.default_rng(seed), list[Pair](), LIMIT
    for _ in range(6):
        after = max(1.02 * LIMIT, before * ratio * math.exp(rng.normal(0.0, calibration.DESIGN_WIDTH)))
        seen.append(pair(before, after))
        check(LIMIT / 50, *seen)
        before *= 0.99 * LIMIT / after


def test_accuracy_that_is_lost_beyond_doubt_ends_the_loop(tagger: Network, jets: tuple[Sample, Sample]) -> None:
    validation = jets[1]
    evidence.check_losses(tagger, tagger, validation, allowed={"accuracy": 0.01})
    ruined = plan.prune(tagger, sparsity=0.9)
    with pytest.raises(BudgetMissedError, match=r"accuracy binds, 1\.00 points may be lost.* has lost [\d.]+ \+- "):
        evidence.check_losses(ruined, tagger, validation, allowed={"accuracy": 0.01})
    evidence.check_losses(ruined, tagger, validation, allowed={"accuracy": 1.0})
    with pytest.raises(BudgetMissedError, match=r"cross entropy binds, 0\.0100 may be lost.* has lost \d\.\d{4} \+- "):
        evidence.check_losses(ruined, tagger, validation, allowed={"cross_entropy": 0.01})


def test_a_loss_of_a_metric_with_arguments_ends_the_loop(tagger: Network, jets: tuple[Sample, Sample]) -> None:
    allowed = {"auc(4/0)": 1e-3}
    evidence.check_losses(tagger, tagger, jets[1], allowed=allowed)
    with pytest.raises(BudgetMissedError, match=r"AUC\(4/0\) binds, .* has lost"):
        evidence.check_losses(plan.prune(tagger, sparsity=0.95), tagger, jets[1], allowed=allowed)


@pytest.mark.parametrize(("met", "begun"), [(True, "the budget is met"), (False, "the design is to be measured")])
def test_a_design_that_has_lost_too_much_is_refused_and_said_to_fit_only_if_it_does(*, met: bool, begun: str) -> None:
    found = {"accuracy": Difference(-0.02, 0.001), "cross_entropy": Difference(0.03, 0.002)}
    evidence.check_kept(found, {"accuracy": 0.02, "cross_entropy": 0.03}, met=met)
    evidence.check_kept({"accuracy": Difference(0.5, 0.001)}, {"accuracy": 0.01}, met=met)
    said = r"accuracy binds: 1\.90 points may be lost and 2\.00 \+- 0\.10 are"
    with pytest.raises(BudgetMissedError, match=f"{begun}, but {said}") as end:
        evidence.check_kept(found, {"accuracy": 0.019}, met=met)
    assert end.value.exit_code == 2
    said = r"cross entropy binds: 0\.0200 may be lost and 0\.0300 \+- 0\.0020 are"
    with pytest.raises(BudgetMissedError, match=f"{begun}, but {said}"):
        evidence.check_kept(found, {"cross_entropy": 0.02}, met=met)


@pytest.mark.parametrize(("met", "said"), [(None, False), (True, False), (False, True)])
def test_a_missed_clock_is_said(met: bool | None, said: bool, caplog: pytest.LogCaptureFixture) -> None:  # noqa: FBT001
    seen = Measurement(
        stage="route",
        tool="Vivado",
        version="2024.2",
        part="",
        clock_ns=2.5,
        resources=Resources(),
        clock_met=met,
    )
    evidence.check_clock(seen)
    assert ("Vivado (route) says that the design misses its clock of 2.5 ns" in caplog.text) == said
