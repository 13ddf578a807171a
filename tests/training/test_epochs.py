"""Compiled epochs: what the network puts out and its gradients are those of the steps in torch, whatever the types."""

import shutil
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from hepprune.errors import DataError
from hepprune.fixed import FixedPoint
from hepprune.network import Dense, Input, Network, ReLU
from hepprune.quantisers import FixedPoints
from hepprune.sample import Sample
from hepprune.task import Regression
from hepprune.training import epochs
from hepprune.training.chains import Chain
from hepprune.training.epochs import Epochs
from hepprune.training.optimiser import AdamW, Rate, one_cycle
from hepprune.training.passes import Pass

WEIGHTS = FixedPoint(6, 2, True, "RND", "SAT")
FEATURES = FixedPoint(6, 3, True, "RND", "SAT")
OWN = FixedPoints(
    width=[3, 4, 0, 2, 6], integer=[1, 0, 1, 3, 2], signed=[False] * 5, rounding="TRN", overflow="SAT"
)  # of five values
BATCH = 70  # no whole number of tiles, and 150 jets are no whole number of batches


def drawn(kind: FixedPoint | FixedPoints | None, rounding: str = "RND") -> Network:
    """Return a network of 20 features and of 5, 7 and 3 neurons, some weights of it cut, some limited in digits."""
    generator = torch.Generator().manual_seed(4)
    sizes, layers = (20, 5, 7, 3), [Input("x", 20, FEATURES)]
    kinds = dict.fromkeys(("weight_type", "bias_type"), replace(WEIGHTS, rounding=rounding))
    for index in range(3):
        weight = torch.randn(sizes[index + 1], sizes[index], generator=generator)
        limit = torch.randint(0, 4, weight.shape, generator=generator).to(torch.uint8)
        bias = torch.randn(sizes[index + 1], generator=generator)
        layers.append(Dense(f"dense_{index}", weight, bias, digit_limit=limit, **kinds))
        last = FixedPoint(5, 3, False, "RND", "SAT") if isinstance(kind, FixedPoints) and index else kind
        layers += [ReLU(f"relu_{index}", last)] if index < 2 else []
    return Network(layers)


def jets(*, taught: bool) -> Sample:
    generator = torch.Generator().manual_seed(5)
    x, y = 2 * torch.randn(150, 20, generator=generator), torch.randint(0, 3, (150,), generator=generator)
    return Sample(x, torch.softmax(torch.randn(150, 3, generator=generator), dim=1) if taught else y)


def passed(network: Network, sample: Sample, rates: Iterator[Rate], *, compiled: bool) -> tuple[float, AdamW]:
    """Return the mean loss of one pass, and the optimiser after it."""
    optimiser = AdamW(network.parameters(), weight_decay=0.1)
    own = Pass(optimiser=optimiser, rates=rates, batch_size=BATCH, quantised=True, penalty=None, is_long=compiled)
    return own(network, sample, torch.randperm(150, generator=torch.Generator().manual_seed(6))), optimiser


needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler is here")


@needs_compiler
@pytest.mark.parametrize("taught", [False, True])
@pytest.mark.parametrize(
    ("kind", "rounding"), [(OWN, "RND"), (FixedPoint(4, 2, False, "TRN", "SAT"), "TRN")], ids=["each", "one"]
)
def test_an_epoch_is_that_of_the_steps_in_torch(kind: FixedPoint | FixedPoints, rounding: str, *, taught: bool) -> None:
    sample = jets(taught=taught)
    network = drawn(kind, rounding)
    own = AdamW(network.parameters())
    chain = Chain.of(network, own, quantised=True)
    assert chain is not None
    assert Epochs.of(chain, sample) is not None
    still = [passed(drawn(kind, rounding), sample, iter([Rate(0.0, 0.9)] * 3), compiled=c) for c in (True, False)]
    moved = [passed(drawn(kind, rounding), sample, one_cycle(0.01, 3), compiled=c) for c in (True, False)]
    for (loss, mine), (wanted, torchs) in (still, moved):
        assert loss == pytest.approx(wanted, rel=1e-6)
        assert mine.n_steps == torchs.n_steps == 3
        for name in ("values", "mean", "squares"):
            assert torch.allclose(getattr(mine, name), getattr(torchs, name), rtol=1e-4, atol=1e-6), name
    assert not torch.equal(moved[0][1].values, still[0][1].values)


@needs_compiler
def test_other_chains_and_tasks_are_left_to_torch() -> None:
    plain, sample = drawn(OWN), jets(taught=False)
    weighted = replace(sample, weight=torch.ones(150))
    numbers = Sample(sample.x, torch.randn(150, 3), task=Regression())
    wraps, signed = replace(OWN, overflow="WRAP"), FixedPoint(5, 3, True, "RND", "SAT")
    cases = [(drawn(each), sample) for each in (wraps, signed, replace(OWN, rounding="RND_CONV"))]
    for network, each in [*cases, (plain, weighted), (plain, numbers)]:
        chain = Chain.of(network, AdamW(network.parameters()), quantised=True)
        assert chain is not None
        assert Epochs.of(chain, each) is None


def test_without_a_compiler_torch_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    epochs._compiled.cache_clear()
    found = [passed(drawn(OWN), jets(taught=True), one_cycle(0.01, 3), compiled=each) for each in (True, False)]
    epochs._compiled.cache_clear()
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1].values, found[1][1].values)


@needs_compiler
def test_weights_that_diverge_are_told_of() -> None:
    network = drawn(OWN)
    network["dense_1"].weight.data[0, 0] = torch.nan
    with pytest.raises(DataError, match="the training loss is not finite"):
        passed(network, jets(taught=True), one_cycle(0.01, 3), compiled=True)
