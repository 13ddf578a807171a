"""Moves of strategies whose weights take turns at a multiplier: DSP rows, reuse factors, bits of weights."""

from collections.abc import Callable

import pytest
import torch

from hepprune.errors import BudgetMissedError, NetworkError
from hepprune.hardware import cost, targets
from hepprune.hardware.cost import reuse
from hepprune.hardware.resources import Budget, Estimate, Resources
from hepprune.network import Conv, Dense, Network, Weighted, identity
from hepprune.pruning import granularity, masks, statistics
from hepprune.pruning.structure import surgery
from hepprune.search import cutting, greedy, moves, sensitivity
from hepprune.search.moves import CHOICES, PerKernel, knobs
from hepprune.search.moves.knobs import Knob
from hepprune.search.stages import Price, Problem, Settings
from hepprune.search.uniform import GlobalMagnitude
from hepprune.task.sample import Sample
from hepprune.training import Fit

TARGET = targets.load("generic_vu13p")
QUICK = Settings(
    stages=3,
    step=0.2,
    digits=False,
    fine_tune=Fit(epochs=1, batch_size=512),
    settle=Fit(epochs=1, batch_size=512),
    trim=Fit(epochs=1, batch_size=512),
    statistics_jets=500,
)


def problem_of(jets: tuple[Sample, Sample], budget: Budget, price: Price, granularities: tuple[str, ...]) -> Problem:
    propose = PerKernel({}, granularities)
    return Problem(train=jets[0], validation=jets[1], budget=budget, price=price, propose=propose, settings=QUICK)


@pytest.fixture
def shared(tagger: Network) -> Network:
    """The 8-16-12-5 tagger with 4, 12 and 1 weights at a multiplier."""
    factors = {"dense_1": 4, "dense_2": 16}
    layers = [layer for layer in tagger if isinstance(layer, Weighted)]
    knob = {layer.name: {"strategy": "resource", "reuse_factor": factors.get(layer.name, 1)} for layer in layers}
    return tagger.replacing({layer.name: layer.rebuilt(**knob[layer.name]) for layer in layers})


def price(network: Network) -> Estimate:
    return cost.estimate(knobs.settled(surgery.shrink(network, warn=False)), TARGET, strategy="resource")


def test_a_knob_builds_one_layer_in_another_way_and_leaves_the_rest(shared: Network) -> None:
    masked = masks.apply(shared, [masks.Cut("dense_1", "weight", (0, 1))])
    turned = knobs.turned(masked, [Knob("dense_1", reuse_factor=8), Knob("dense_1", weight_bits=4)])
    kernel = turned.kernel("dense_1")
    assert (kernel.reuse_factor, kernel.fixed_type.width) == (8, 4)
    assert not kernel.digit_limit.flatten()[:2].any()
    assert identity(turned.replacing({"dense_1": masked["dense_1"]})) == identity(masked)
    with pytest.raises(NetworkError, match="'relu_1' has no reuse factor"):
        knobs.turned(shared, [Knob("relu_1", reuse_factor=2)])


def test_reuse_factors_stay_those_that_can_be_built(shared: Network, tagger: Network) -> None:
    assert knobs.settled(tagger) is tagger
    assert knobs.settled(shared) is shared
    fewer = surgery.shrink(masks.apply(shared, [masks.Cut("dense_1", "neuron", tuple(range(5)))]))
    layer = fewer["dense_2"]
    assert not reuse.is_legal(layer.weight.shape[1], layer.n_out, 16)
    for found in knobs.shared(knobs.settled(fewer)):
        assert reuse.is_legal(found.weight.shape[1], found.n_out, found.reuse_factor)
        for factor in knobs.neighbours(found):
            assert reuse.is_legal(found.weight.shape[1], found.n_out, factor)


def test_neighbours_are_the_legal_factors_around_the_own() -> None:
    """Of 3 x 2 those are 1, 3 and 6; unrolled, which a convolution in parallel never is, all but the last."""
    knob = {"strategy": "resource_unrolled", "reuse_factor": 3}
    assert knobs.neighbours(Dense("dense", torch.ones(2, 3), torch.zeros(2), **knob)) == (1,)
    assert knobs.neighbours(Conv("conv", torch.ones(2, 3, 1), torch.zeros(2), **knob)) == (6, 1)
    assert knobs.neighbours(Dense("dense", torch.ones(2, 3), torch.zeros(2), reuse_factor=2)) == (3, 1)


def test_a_network_is_built_like_another(shared: Network, tagger: Network) -> None:
    other = knobs.turned(shared, [Knob("dense_1", reuse_factor=16, weight_bits=3)])
    alike = knobs.alike(shared, other)
    assert (alike.kernel("dense_1").reuse_factor, alike.kernel("dense_1").fixed_type.width) == (16, 3)
    assert identity(knobs.alike(shared, shared)) == identity(shared)
    assert tagger.kernel("dense_1").reuse_factor == 1


def test_what_rounding_costs_is_what_becomes_of_the_weights(shared: Network) -> None:
    kernel = shared.kernel("dense_2")
    coarser = knobs.turned(shared, [Knob("dense_2", weight_bits=3)]).kernel("dense_2")
    assert torch.equal(knobs.rounding(kernel, 3), (coarser.used() - kernel.used()).detach())
    assert knobs.rounding(kernel, 3).abs().max() > 0


def test_whole_rows_of_multipliers_are_cut_and_free_them(shared: Network, jets: tuple[Sample, Sample]) -> None:
    gathered = statistics.gather(shared, jets[0].first(500))
    proposed = [move for move in PerKernel({}, ("dsp_row",))(shared, gathered, 0.25) if move.layers != ("dense_3",)]
    assert [move.layers for move in proposed] == [("dense_1",), ("dense_2",)]
    for move in proposed:
        kernel = shared.kernel(move.layers[0])
        rows = granularity.groups(kernel, "dsp_row")
        cut = torch.zeros(len(rows), dtype=torch.bool)
        cut[list(move.cuts[0].units)] = True
        assert all(cut[rows == row].all() or not cut[rows == row].any() for row in rows.unique())
        assert 0.2 < float(cut.float().mean()) < 0.3
        assert move.predicted_loss > 0
        before, after = price(shared), price(move.made(shared))
        assert (after.resources.lut or 0) < (before.resources.lut or 0)
    (curve, *_) = sensitivity.analyse(shared, jets[1].first(500), gathered, granularities=("dsp_row", "bits"))
    assert curve.granularity == "dsp_row"
    assert curve.points[-1].loss_change > 0


def test_only_whole_rows_go_where_weights_are_pruned_by_magnitude(shared: Network) -> None:
    for adaptive in (True, False):
        (move,) = GlobalMagnitude("dsp_row", adaptive=adaptive)(shared, {}, 0.3)
    pruned = move.made(shared)
    for kernel in pruned.kernels:
        rows, acts = granularity.groups(kernel, "dsp_row"), kernel.digit_limit.flatten() > 0
        partly = [row for row in rows.unique() if acts[rows == row].any() and not acts[rows == row].all()]
        assert len(partly) <= 1  # the one at which the fraction was reached
    assert all(kernel.used().any(dim=1).all() for kernel in pruned.kernels if kernel.name == "dense_3")


def test_knobs_are_turned_only_where_that_frees_something_and_breaks_nothing(
    shared: Network, jets: tuple[Sample, Sample]
) -> None:
    begin = price(shared)
    lut = 0.6 * (begin.resources.lut or 0)
    assert begin.interval_cycles == 16
    for interval in (16, 64):
        budget = Budget(interval_cycles=interval, resources=Resources(lut=lut))
        problem = problem_of(jets, budget, price, CHOICES["resource"])
        network, steps = cutting.cut_until(shared, problem, {"lut": 1.0, "interval_cycles": 1.0})
        found = price(network)
        assert budget.met_by(found)
        raised = [step for step in steps if step.kind == "reuse_factor"]
        largest = max(layer.reuse_factor for layer in knobs.shared(network))
        assert raised
        assert largest > 16 if interval == 64 else largest == 16
        assert all(step.predicted_loss == 0 and step.gain > 0 for step in raised)


def test_layers_that_are_slowest_together_are_all_built_faster(shared: Network, jets: tuple[Sample, Sample]) -> None:
    slow = knobs.turned(shared, [Knob(f"dense_{n}", reuse_factor=8 if n < 3 else 12) for n in (1, 2, 3)])
    assert price(slow).interval_cycles == 12
    problem = problem_of(jets, Budget(interval_cycles=4), price, ("reuse_factor",))
    network, steps = cutting.cut_until(slow, problem, {"interval_cycles": 1.0})
    assert price(network).interval_cycles == 4
    assert {layer.name: layer.reuse_factor for layer in knobs.shared(network)} == dict.fromkeys(
        ("dense_1", "dense_2", "dense_3"), 4
    )
    assert all(step.gain > 0 for step in steps)


def test_bits_alone_lead_to_a_smaller_network_or_to_a_budget_missed(
    shared: Network, jets: tuple[Sample, Sample]
) -> None:
    def problem(lut: float) -> Problem:
        return problem_of(jets, Budget(resources=Resources(lut=lut)), cheap, ("bits",))

    def cheap(network: Network) -> Estimate:
        return cost.estimate(network, TARGET, strategy="latency")

    begin = cheap(shared).resources.lut or 0
    network, steps = cutting.cut_until(shared, problem(0.9 * begin), {"lut": 1.0})
    assert {step.kind for step in steps} == {"bits"}
    assert sum(kernel.fixed_type.width for kernel in network.kernels) <= 6 * 3 - len(steps)
    assert all(step.layers[0] in shared.layers for step in steps)
    with pytest.raises(BudgetMissedError, match="lut binds"):
        cutting.cut_until(shared, problem(0.01 * begin), {"lut": 1.0})


@pytest.mark.parametrize("dsp", [0.0, 2.0])
def test_bits_cross_widths_at_which_nothing_is_freed(tagger: Network, jets: tuple[Sample, Sample], dsp: float) -> None:
    """A product of these leaves its DSP at 4 bits only, and of none that are allowed there is no fraction to free."""
    layers = {layer.name: layer.rebuilt(strategy="resource", reuse_factor=4) for layer in tagger if layer.kernels}
    begin = knobs.settled(tagger.replacing(layers))
    one_less = knobs.turned(begin, [Knob(kernel.name, weight_bits=5) for kernel in begin.kernels])
    assert price(one_less).resources.dsp == price(begin).resources.dsp
    problem = problem_of(jets, Budget(resources=Resources(dsp=dsp)), price, ("bits", "reuse_factor"))
    network, steps = cutting.cut_until(begin, problem, {"dsp": 1.0})
    assert (price(network).resources.dsp or 0.0) <= dsp
    assert all(step.gain > 0 for step in steps)


@pytest.mark.parametrize("choose", [moves.CHOICES, moves.ALLOWED])
def test_every_choice_is_a_cut_or_a_knob(choose: dict[str, tuple[str, ...]]) -> None:
    for names in choose.values():
        assert set(names) <= {*sensitivity.CUTS, "bits", "reuse_factor"}


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["resource", "latency"])
def test_a_search_with_knobs_goes_on_where_it_was_interrupted(
    strategy: str, shared: Network, jets: tuple[Sample, Sample], tmp_path_factory: pytest.TempPathFactory
) -> None:
    def of(network: Network) -> Estimate:
        return cost.estimate(knobs.settled(surgery.shrink(network, warn=False)), TARGET, strategy=strategy)

    budget = Budget(resources=Resources(lut=0.6 * (of(shared).resources.lut or 0)))
    problem = problem_of(jets, budget, of, CHOICES[strategy])
    whole = greedy.search(shared, problem, state=tmp_path_factory.mktemp("whole"))
    state, stop = tmp_path_factory.mktemp("stopped"), _after(1)
    with pytest.raises(KeyboardInterrupt):
        greedy.search(shared, problem, state=state, advance=stop)
    again = greedy.search(shared, problem, state=state)
    assert identity(again.network) == identity(whole.network)
    assert budget.met_by(of(again.network))


def _after(n: int) -> Callable[[object], None]:
    reported: list[object] = []

    def stop(stage: object) -> None:
        reported.append(stage)
        if len(reported) == n:
            raise KeyboardInterrupt

    return stop
