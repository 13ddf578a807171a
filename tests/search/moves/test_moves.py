import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepprune.fixed import FixedPoint
from hepprune.hardware import cost, targets
from hepprune.hardware.resources import Budget, Estimate, LayerEstimate, Resources
from hepprune.network import Conv, Dense, Input, Network, Pool, ReLU, Reshape
from hepprune.pruning import importance, masks
from hepprune.pruning.statistics import Statistics, gather
from hepprune.pruning.structure import surgery
from hepprune.pruning.structure.constants import constants
from hepprune.recipe import architectures
from hepprune.search import moves
from hepprune.search.sensitivity import cuttable
from hepprune.search.uniform import GlobalMagnitude
from hepprune.task.sample import Sample
from tests.networks import SEEDS, features, networks, transformer, weighted

EVERYTHING = moves.PerKernel({}, masks.GRANULARITIES)
STEPS = st.sampled_from([0.01, 0.05, 0.3, 1.0])


def gathered_on_noise(network: Network, seed: int) -> Statistics:
    jets = torch.tensor(features(network, seed=seed, n_jets=40), dtype=torch.float32)
    return gather(network, Sample(jets, torch.arange(40) % network.widths[network.raw_output]))


@given(networks(min_outputs=2), SEEDS, STEPS)
def test_no_move_empties_a_layer_or_does_nothing(network: Network, seed: int, step: float) -> None:
    for move in EVERYTHING(network, gathered_on_noise(network, seed), step):
        masked = masks.apply(network, move.cuts)
        (cut,) = move.cuts
        assert move.n_units == len(cut.units) >= 1
        assert masked[cut.layer].used_weight().any()
        assert masked[cut.layer].kernels[0].digit_counts().sum() < network[cut.layer].kernels[0].digit_counts().sum()
        assert move.predicted_loss >= 0


@given(networks(min_outputs=2), SEEDS, STEPS)
def test_a_move_takes_the_least_important_of_what_is_alive(network: Network, seed: int, step: float) -> None:
    statistics = gathered_on_noise(network, seed)
    for move in moves.PerKernel({}, ("weight",))(network, statistics, step):
        if move.kind != "weight":
            continue
        (cut,) = move.cuts
        layer = network[cut.layer]
        scores, alive = (
            importance.fisher(layer.kernels[0], "weight", statistics[cut.layer]),
            (layer.used_weight() != 0).flatten(),
        )
        kept = alive.clone()
        kept[list(cut.units)] = False
        assert alive[list(cut.units)].all()
        assert len(cut.units) == min(max(1, round(step * int(alive.sum()))), int(alive.sum()) - 1)
        assert scores[list(cut.units)].max() <= scores[kept].min()


def depths(network: Network) -> dict[str, int]:
    terms = {layer.name: int(layer.kernels[0].digit_counts().sum(dim=1).max()) for layer in weighted(network)}
    return {name: math.ceil(math.log2(max(1, most))) for name, most in terms.items()}


@given(networks(min_outputs=2), SEEDS)
def test_a_depth_move_takes_exactly_one_level_or_more_off_the_deepest_rows(network: Network, seed: int) -> None:
    statistics = gathered_on_noise(network, seed)
    for move in moves.PerKernel({}, ("weight",))(network, statistics, 0.05):
        if move.kind != "depth":
            continue
        (cut,) = move.cuts
        before, masked = depths(network)[cut.layer], masks.apply(network, move.cuts)
        assert depths(masked)[cut.layer] < before
        rows = {unit // network[cut.layer].n_in for unit in cut.units}
        terms = network[cut.layer].kernels[0].digit_counts().sum(dim=1)
        assert all(terms[row] > 2 ** (before - 1) for row in rows)


def test_every_layer_of_a_trained_tagger_has_a_depth_move(tagger: Network, gathered: Statistics) -> None:
    found = [move.cuts[0].layer for move in EVERYTHING(tagger, gathered, 0.05) if move.kind == "depth"]
    assert found == ["dense_1", "dense_2", "dense_3"]


def test_trust_scales_predictions(tagger: Network, gathered: Statistics) -> None:
    plain = list(EVERYTHING(tagger, gathered, 0.1))
    scaled = list(moves.PerKernel({("dense_1", "neuron"): 3.0}, masks.GRANULARITIES)(tagger, gathered, 0.1))
    for before, after in zip(plain, scaled, strict=True):
        factor = 3.0 if (before.cuts[0].layer, before.kind) == ("dense_1", "neuron") else 1.0
        assert after.predicted_loss == pytest.approx(factor * before.predicted_loss)
        assert after.cuts == before.cuts


def test_trust_scales_the_last_places_of_values_too(tagger: Network, gathered: Statistics) -> None:
    plain, scaled = (
        [*moves.PerKernel(trust, ("bit",))(tagger, gathered, 0.3)] for trust in ({}, {("relu_1", "bit"): 3.0})
    )
    assert [move.cuts[0].layer for move in plain] == ["features", "relu_1", "relu_2"]
    for before, after, factor in zip(plain, scaled, (1, 3, 1), strict=True):
        assert after.predicted_loss == pytest.approx(factor * before.predicted_loss)
        assert after.cuts == before.cuts


def test_neurons_that_are_cut_leave_their_mean(tagger: Network, gathered: Statistics) -> None:
    for move in moves.PerKernel({}, ("neuron",))(tagger, gathered, 0.2):
        (cut,) = move.cuts
        assert cut.constants == tuple(gathered[cut.layer].mean[list(cut.units)].tolist())


def kept(layers: list[Dense]) -> list[torch.Tensor]:
    """Return the largest weight of each class, and the largest of each neuron on the way back to the inputs."""
    wanted, found = set(range(layers[-1].n_out)), []
    for layer in reversed(layers):
        stays = torch.zeros_like(layer.weight, dtype=torch.bool)
        for row in wanted:
            stays[row, int(torch.where(layer.digit_limit[row] > 0, layer.weight[row].abs(), -1).argmax())] = True
        wanted = set(torch.nonzero(stays)[:, 1].tolist())
        found.append(stays.flatten())
    return found[::-1]


@given(networks(), st.floats(0.01, 1))
def test_global_magnitude_cuts_exactly_the_smallest_survivors(network: Network, fraction: float) -> None:
    layers = weighted(network)
    sizes = torch.cat([layer.weight.abs().flatten() for layer in layers])
    alive, stays = torch.cat([layer.digit_limit.flatten() > 0 for layer in layers]), torch.cat(kept(layers))
    n_free = int((alive & ~stays).sum())
    proposed = list(GlobalMagnitude()(network, {}, fraction))
    if n_free < 2:
        assert proposed == []
        return
    (move,) = proposed
    masked = masks.apply(network, move.cuts)
    after = torch.cat([layer.digit_limit.flatten() > 0 for layer in weighted(masked)])
    gone = alive & ~after
    assert int(gone.sum()) == move.n_units == min(max(1, round(fraction * int(alive.sum()))), n_free - 1)
    assert sizes[gone].max() <= sizes[after & ~stays].min()
    assert not (gone & stays).any()


def recurrent() -> Network:
    return architectures.draw(architectures.GRU(units=4, rho=(3,)), {"x": (5, 3)}, {"y": 2}, seed=1)


def ends_in_relu() -> Network:
    """Return a network whose output has no weights of its own, one of its values hardly reached."""
    generator = torch.Generator().manual_seed(1)
    first, last = (torch.randn(n_out, n_in, generator=generator) for n_out, n_in in ((5, 6), (3, 5)))
    last[0] *= 1e-3
    layers = [Dense("a", first, torch.zeros(5)), ReLU("r"), Dense("b", last, torch.zeros(3)), ReLU("s")]
    return Network([Input("x", 6), *layers])


def two_heads() -> Network:
    wanted = architectures.DeepSets(phi=(6, 4), rho=(5,))
    return architectures.draw(wanted, {"x": (4, 3)}, {"flavour": 3, "ratio": 1}, seed=1)


@given(networks(), st.floats(0.1, 0.9), st.integers(-4, 4))
def test_how_large_a_layer_is_as_a_whole_means_nothing_to_adaptive_magnitude(
    network: Network, fraction: float, power: int
) -> None:
    first = weighted(network)[0]
    scaled = network.replacing({first.name: first.rebuilt(weight=first.weight.detach() * 2.0**power)})
    whole, other = (list(GlobalMagnitude(adaptive=True)(each, {}, fraction)) for each in (network, scaled))
    assert [move.cuts for move in whole] == [move.cuts for move in other]


def through_constants() -> Network:
    """Return a network whose inner matrix is a constant of the model."""
    generator = torch.Generator().manual_seed(3)
    sizes = {"a": (5, 4), "p": (3, 5), "b": (2, 3)}
    layers = [
        Dense(name, torch.randn(shape, generator=generator), torch.zeros(shape[0]), fixed=name == "p")
        for name, shape in sizes.items()
    ]
    return Network([Input("x", 4), *layers])


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("make", [lambda: transformer(heads=2), recurrent, two_heads, ends_in_relu, through_constants])
def test_global_magnitude_leaves_every_output_a_path(make: Callable[[], Network], *, adaptive: bool) -> None:
    network = make()
    while proposed := list(GlobalMagnitude(adaptive=adaptive)(network, {}, 1.0)):
        fewer = masks.apply(network, proposed[0].cuts)
        if masks.nonzero_weights(fewer) == masks.nonzero_weights(network):
            break
        network = fewer
    values = constants(surgery.shrink(network, warn=False))
    assert masks.nonzero_weights(network) < 40
    for name in network.raw_outputs:
        assert values[name].isnan().all()


def estimate(lut: float, depths: tuple[float, ...], cycles: int) -> Estimate:
    layers = tuple(
        LayerEstimate(layer=f"d{n}", resources=Resources(lut=1), depth=depth) for n, depth in enumerate(depths)
    )
    return Estimate(
        stage="da4ml",
        strategy="distributed_arithmetic",
        resources=Resources(lut=lut),
        latency_cycles=cycles,
        interval_cycles=1,
        clock_ns=5.0,
        layers=layers,
    )


def test_gain_counts_only_limits_beyond_their_goal() -> None:
    budget = Budget(latency_ns=10, resources=Resources(lut=100))
    before, after = estimate(400, (4, 4), 4), estimate(300, (4, 2), 4)
    assert moves.gain(before, after, budget, {"lut": 2, "latency_ns": 9}) == pytest.approx(1.0)
    assert moves.gain(before, after, budget, {"lut": 9, "latency_ns": 1}) == pytest.approx(2 * 2 / 8)
    assert moves.gain(before, after, budget, {"lut": 1, "latency_ns": 1}) == pytest.approx(1.5)
    assert moves.gain(before, after, budget, {"lut": 9, "latency_ns": 9}) == 0
    assert moves.gain(after, before, budget, {"lut": 1, "latency_ns": 9}) == pytest.approx(-1.0)


def at_intervals(*cycles: int) -> Estimate:
    """Return the estimate of layers that take a jet every so many cycles."""
    own = estimate(100, (1,) * len(cycles), 4)
    layers = tuple(replace(layer, interval_cycles=n) for layer, n in zip(own.layers, cycles, strict=True))
    return replace(own, interval_cycles=max(cycles), layers=layers)


@pytest.mark.parametrize(
    ("before", "after", "goal", "freed"),
    [
        ((8, 8, 8), (4, 8, 8), 1.0, 1.0),
        ((8, 8, 8), (8, 2, 8), 1.0, 1.0),  # what is below the limit already frees nothing more
        ((8, 8, 8), (4, 8, 8), 1.5, 0.5),
        ((8, 4, 2), (8, 2, 2), 1.0, 0.0),
        ((8, 4, 2), (4, 4, 2), 1.0, 1.0),
        ((8, 8, 8), (8, 8, 16), 1.0, -2.0),
        ((4, 4, 4), (2, 4, 4), 1.0, 0.0),
    ],
)
def test_each_of_several_layers_that_are_slowest_frees_its_own_share_of_the_interval(
    before: tuple[int, ...], after: tuple[int, ...], goal: float, freed: float
) -> None:
    goals = {"interval_cycles": goal}
    assert moves.gain(at_intervals(*before), at_intervals(*after), Budget(interval_cycles=4), goals) == freed


def test_an_interval_that_no_layer_tells_is_that_of_the_whole() -> None:
    before, after = (replace(estimate(100, (), 4), interval_cycles=n) for n in (8, 6))
    assert moves.gain(before, after, Budget(interval_cycles=4), {"interval_cycles": 1.0}) == 0.5


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (Budget(10, resources=Resources(lut=100)), "lut binds, 100 allowed, 400 at the closest point"),
        (Budget(10, resources=Resources(lut=0)), "lut binds, 0 allowed, 400 at the closest point"),
        (Budget(10, resources=Resources(ff=5)), "ff binds, 5 allowed, an unknown number at the closest point"),
    ],
)
def test_a_missed_budget_names_what_binds_whatever_the_limit(budget: Budget, said: str, tagger: Network) -> None:
    assert said in str(moves.missed(budget, estimate(400, (4, 4), 4), tagger))


def test_a_missed_budget_says_what_layers_without_weights_hold() -> None:
    kind = FixedPoint(6, 2)
    types = {"weight_type": kind, "bias_type": kind, "result": kind}
    layers = [Input("x", (8, 1), kind), Conv("conv", torch.ones(4, 3, 1), torch.zeros(4), **types)]
    pooled = [
        Pool("pool", "max", (2,)),
        Reshape("flat", (12,)),
        Dense("dense", torch.ones(2, 12), torch.zeros(2), **types),
    ]
    network = Network([*layers, *pooled])
    figures = cost.estimate(network, targets.load("generic_vu13p"), strategy="latency")
    held = {layer.layer: layer.resources.lut for layer in figures.layers}["pool"]
    said = str(moves.missed(Budget(resources=Resources(lut=1)), figures, network))
    assert said.endswith(f"{held:g} of them in layers without weights: 'pool'")
    assert {kernel.name for kernel, _ in cuttable(network, ("neuron", "weight", "digit"))} == {"conv", "dense"}
