from collections.abc import Iterable
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepprune import training
from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import FixedPoints
from hepprune.network import Conv, Dense, Input, Network, ReLU, Reshape
from hepprune.task.sample import Sample
from hepprune.training import Fit
from hepprune.training.chains import Chain
from hepprune.training.optimiser import AdamW
from tests.networks import SEEDS, features, networks, weighted

ROUNDED = FixedPoint(6, 2, True, "RND", "SAT")


def alike(network: Network) -> Network:
    """Return the network with weights and biases that one rounding and one clamp serve."""
    for layer in weighted(network):
        kinds = layer.fixed_types
        layer.weight_type, layer.bias_type = (replace(kind, rounding="RND", overflow="SAT") for kind in kinds)
    return network


def of_autograd(network: Network, jets: Sample, *, quantised: bool) -> tuple[torch.Tensor, Iterable[torch.Tensor]]:
    loss = jets.loss(network.raw(jets.x, quantised=quantised))
    return loss, torch.autograd.grad(loss, list(network.parameters()), materialize_grads=True)


def check(network: Network, jets: Sample, *, quantised: bool) -> None:
    wanted, slopes = of_autograd(network, jets, quantised=quantised)
    optimiser = AdamW(network.parameters())
    chain = Chain.of(network, optimiser, quantised=quantised)
    assert chain is not None
    entered = chain.enter(jets)
    with torch.no_grad():
        assert torch.equal(chain.forward(entered.features)[1], network.raw(jets.x, quantised=quantised)[0])
    assert torch.equal(chain.differentiate(entered), wanted)
    for slope, other in zip(optimiser.slopes.values(), slopes, strict=True):  # in an order of the processor's library
        torch.testing.assert_close(slope, other, rtol=1e-4, atol=1e-6)


@given(network=networks(min_outputs=2).map(alike), n_jets=st.integers(1, 70), seed=SEEDS)
@pytest.mark.parametrize("quantised", [True, False])
def test_values_and_gradients_of_a_chain_are_those_of_the_network(
    network: Network, n_jets: int, seed: int, *, quantised: bool
) -> None:
    x = torch.tensor(features(network, seed=seed, n_jets=n_jets), dtype=torch.float32)
    y = torch.randint(0, network.widths[network.raw_output], (n_jets,), generator=torch.Generator().manual_seed(seed))
    check(network, Sample(x, y), quantised=quantised)


@pytest.mark.parametrize("maximum", [None, 1.5])
@pytest.mark.parametrize(
    "result",
    [
        None,
        FixedPoint(5, 3, False, "TRN", "SAT"),
        FixedPoint(4, 1, False, "RND", "WRAP"),
        FixedPoint(5, 2, True, "RND", "SAT_SYM"),
        FixedPoints(width=[3, 4, 0, 5], integer=[1, 2, 1, 3], signed=[False]),
        FixedPoints(width=[3, 4, 0, 2], integer=[1, 0, 1, 3], signed=[False], rounding="TRN", overflow="SAT"),
        FixedPoints(width=[3, 4, 0, 5], integer=[1, 2, 1, 3], signed=[True, True, False, False], overflow="SAT_SYM"),
    ],
)
def test_every_type_of_a_result_and_every_ceiling(result: FixedPoint | None, maximum: float | None) -> None:
    generator = torch.Generator().manual_seed(2)
    arrays = [torch.randn(shape, generator=generator) for shape in ((4, 6), (4,), (3, 4), (3,))]
    limit = torch.randint(0, 4, (4, 6), generator=generator).to(torch.uint8)
    kinds = {"weight_type": ROUNDED, "bias_type": ROUNDED}
    network = Network(
        [
            Input("x", 6, FixedPoint(6, 3, True, "RND", "SAT")),
            Dense("first", *arrays[:2], result=ROUNDED, digit_limit=limit, **kinds),
            ReLU("relu", result, maximum),
            Dense("second", *arrays[2:], result=ROUNDED, **kinds),
        ]
    )
    x = torch.randn(64, 6, generator=generator) * 3
    y = torch.randint(0, 3, (64,), generator=generator)
    check(network, Sample(x, y, weight=torch.rand(64, generator=generator)), quantised=True)


def test_no_chain_is_made_of_anything_else() -> None:
    weight, kinds = torch.ones(2, 3), {"weight_type": ROUNDED, "bias_type": ROUNDED}
    last = Dense("last", weight, torch.zeros(2), **kinds)
    wraps = Dense("last", weight, torch.zeros(2), weight_type=replace(ROUNDED, overflow="WRAP"), bias_type=ROUNDED)
    half = Dense("last", weight, torch.zeros(2), weight_type=ROUNDED)
    fixed = Dense("first", torch.eye(3), torch.zeros(3), fixed=True)
    conv = [Conv("conv", torch.ones(1, 1, 1), torch.zeros(1)), Reshape("flat", (3,)), last]
    twice = Network([Input("x", 3), last, Dense("other", weight, torch.zeros(2))], {"last": "x", "other": "x"})
    chains = ([Input("x", 3), wraps], [Input("x", 3), half], [Input("x", 3), fixed, last], [Input("x", (3, 1)), *conv])
    for network in (twice, *map(Network, chains)):
        optimiser = AdamW(network.parameters())
        assert Chain.of(network, optimiser, quantised=True) is None


def test_a_training_of_a_chain_is_the_one_that_autograd_gives(tagger: Network, jets: tuple[Sample, Sample]) -> None:
    settings = Fit(epochs=2, batch_size=700, weight_decay=0.01)

    def nothing(*_: object) -> torch.Tensor:  # a penalty, which needs the values of all layers
        return torch.zeros(())

    found = [training.fit(tagger, *jets, settings=settings, seed=1, penalty=each)[0] for each in (None, nothing)]
    assert all(map(torch.equal, *(network.state_dict().values() for network in found)))
