"""Compiled epochs: what the network puts out and its gradients are those of the steps in torch, whatever the types."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hepprune.errors import DataError
from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import FixedPoints
from hepprune.network import Dense, Input, Network, ReLU
from hepprune.task import Regression
from hepprune.task.sample import Sample
from hepprune.training import Fit, epochs, fit
from hepprune.training.chains import Chain, Placed
from hepprune.training.epochs import Epochs, PreparedJets
from hepprune.training.optimiser import AdamW, Rate, one_cycle
from hepprune.training.passes import Pass

WEIGHTS = FixedPoint(6, 2, True, "RND", "SAT")
FEATURES = FixedPoint(6, 3, True, "RND", "SAT")
OWN = FixedPoints(
    width=[3, 4, 0, 2, 6], integer=[1, 0, 1, 3, 2], signed=[False] * 5, rounding="TRN", overflow="SAT"
)  # of five values
SIGNED = FixedPoints(width=[5] * 5, integer=[3] * 5, signed=[True] * 5, rounding="TRN", overflow="SAT")
MIXED = replace(SIGNED, width=[5, 5, 0, 4, 5], signed=[True, False, True, False, True])
ONE = FixedPoint(4, 2, False, "TRN", "SAT")
BATCH = 70  # no whole number of tiles, and 150 jets are not a whole number of batches


def drawn(
    kind: FixedPoint | FixedPoints | None,
    rounding: str = "RND",
    features: FixedPoint = FEATURES,
    hidden: tuple[int, int] = (5, 7),
) -> Network:
    """Return a network of 20 features, hidden neurons and 3 more, some weights of it cut, some limited in digits."""
    generator = torch.Generator().manual_seed(4)
    sizes, layers = (20, *hidden, 3), [Input("x", 20, features)]
    kinds = dict.fromkeys(("weight_type", "bias_type"), replace(WEIGHTS, rounding=rounding))
    for index in range(3):
        weight = torch.randn(sizes[index + 1], sizes[index], generator=generator)
        limit = torch.randint(0, 4, weight.shape, generator=generator).to(torch.uint8)
        bias = torch.randn(sizes[index + 1], generator=generator)
        layers.append(Dense(f"dense_{index}", weight, bias, digit_limit=limit, **kinds))
        last = FixedPoint(5, 3, False, "RND", "SAT") if isinstance(kind, FixedPoints) and index else kind
        layers += [ReLU(f"relu_{index}", last)] if index < 2 else []
    return Network(layers)


def chained(network: Network) -> Chain:
    """Return a network, which is one, as a chain."""
    found = Chain.of(network, AdamW(network.parameters()), quantised=True)
    assert found is not None
    return found


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
    ("kind", "rounding"),
    [(OWN, "RND"), (ONE, "TRN"), (SIGNED, "RND"), (MIXED, "RND")],
    ids=["each", "one", "signed", "mixed"],
)
def test_an_epoch_is_that_of_the_steps_in_torch(kind: FixedPoint | FixedPoints, rounding: str, *, taught: bool) -> None:
    sample = jets(taught=taught)
    assert Epochs.of(chained(drawn(kind, rounding)), sample, PreparedJets()) is not None
    still = [passed(drawn(kind, rounding), sample, iter([Rate(0.0, 0.9)] * 3), compiled=c) for c in (True, False)]
    moved = [passed(drawn(kind, rounding), sample, one_cycle(0.01, 3), compiled=c) for c in (True, False)]
    for (loss, mine), (wanted, torchs) in (still, moved):
        assert loss == pytest.approx(wanted, rel=1e-6)
        assert mine.n_steps == torchs.n_steps == 3
        for name in ("values", "mean", "squares"):
            assert torch.allclose(getattr(mine, name), getattr(torchs, name), rtol=1e-4, atol=1e-6), name
    assert not torch.equal(moved[0][1].values, still[0][1].values)


@needs_compiler
@pytest.mark.parametrize("kind", [OWN, ONE, SIGNED, MIXED], ids=["each", "one", "signed", "mixed"])
def test_what_is_put_out_for_other_jets_is_that_of_the_network(kind: FixedPoint | FixedPoints) -> None:
    network, judged = drawn(kind), jets(taught=False).first(130)
    optimiser = AdamW(network.parameters())
    own = Pass(
        optimiser=optimiser, rates=one_cycle(0.05, 3), batch_size=BATCH, quantised=True, penalty=None, is_long=True
    )
    before = own.raw(network, judged)
    assert torch.equal(before[0], network.raw(judged.x)[0])
    own(network, jets(taught=True), torch.arange(150))
    (after,) = own.raw(network, judged)
    assert torch.equal(after, network.raw(judged.x)[0])
    assert not torch.equal(after, before[0])


@needs_compiler
@pytest.mark.parametrize(("n_steps", "compiled"), [(epochs.LEAST - 1, False), (epochs.LEAST, True)])
def test_a_training_is_compiled_from_so_many_steps_on(
    n_steps: int, monkeypatch: pytest.MonkeyPatch, *, compiled: bool
) -> None:
    taken, one = [], Epochs.__call__

    def counted(*given: Any) -> torch.Tensor:
        taken.append(given)
        return one(*given)

    monkeypatch.setattr(Epochs, "__call__", counted)
    sample = jets(taught=False)
    fit(drawn(OWN), sample, sample, settings=Fit(epochs=n_steps, batch_size=150), seed=1)
    assert len(taken) == (n_steps if compiled else 0)


@needs_compiler
def test_other_chains_and_tasks_are_left_to_torch() -> None:
    plain, sample = drawn(OWN), jets(taught=False)
    weighted = replace(sample, weight=torch.ones(150))
    numbers = Sample(sample.x, torch.randn(150, 3), task=Regression())
    wraps, signed = replace(OWN, overflow="WRAP"), FixedPoint(5, 3, True, "RND", "SAT")
    cases = [(drawn(each), sample) for each in (wraps, signed, replace(OWN, rounding="RND_CONV"))]
    large = drawn(ONE, hidden=(400, 240))  # 104,000 parameters
    for network, each in [*cases, (plain, weighted), (plain, numbers), (large, sample)]:
        assert Epochs.of(chained(network), each, PreparedJets()) is None


@needs_compiler
@pytest.mark.parametrize(("width", "taken"), [(15, True), (16, False)])
def test_sums_that_float32_does_not_hold_are_left_to_torch(width: int, *, taken: bool) -> None:
    """Twenty products of 4 by 2 and a bias of 2 are 162 at most, where 2^24 last places are 256 or 128."""
    chain = chained(drawn(ONE, features=FixedPoint(width, 3, True, "RND", "SAT")))
    assert (Epochs.of(chain, jets(taught=False), PreparedJets()) is not None) == taken


def test_other_devices_are_left_to_torch() -> None:
    chain = chained(drawn(OWN))  # types of single values, then one type for all of them
    steps = tuple(
        tuple(
            Placed.of(step.kind, torch.zeros((), device="meta")) if isinstance(step, Placed) else step for step in part
        )
        for part in chain.steps
    )
    own = AdamW([torch.nn.Parameter(each.detach().to("meta")) for each in chain.optimiser.slopes])
    assert Epochs.of(replace(chain, steps=steps, optimiser=own), jets(taught=False), PreparedJets()) is None


@needs_compiler
def test_features_enter_anew_only_where_jets_or_their_type_change() -> None:
    read, sample = PreparedJets(), jets(taught=False)
    wider = replace(FEATURES, width=7)
    found = [
        read(chained(drawn(OWN, features=kind)), given)[0]
        for kind, given in ((FEATURES, sample), (FEATURES, sample), (wider, sample), (wider, sample.first(100)))
    ]
    assert found[0] is found[1]
    assert torch.equal(found[1], FEATURES(sample.features))
    assert torch.equal(found[2], wider(sample.features))
    assert torch.equal(found[3], wider(sample.features[:100]))


# A compiler that is not there, one that cannot be run, one that fails, and one whose code is not loaded.
@pytest.mark.parametrize(
    "program", [None, "#!/no/shell", "#!/bin/sh\nexit 1", '#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done; echo >"$2"']
)
def test_without_compiled_code_torch_goes_on(
    program: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if program is not None:
        (tmp_path / "g++").write_text(program)
        (tmp_path / "g++").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    epochs._compiled.cache_clear()
    found = [passed(drawn(OWN), jets(taught=True), one_cycle(0.01, 3), compiled=each) for each in (True, False)]
    epochs._compiled.cache_clear()
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1].values, found[1][1].values)
    assert ("training goes on without compiled code" in caplog.text) == (program is not None)


@needs_compiler
def test_weights_that_diverge_are_told_of() -> None:
    network = drawn(OWN)
    network["dense_1"].weight.data[0, 0] = torch.nan
    with pytest.raises(DataError, match="the training loss is not finite"):
        passed(network, jets(taught=True), one_cycle(0.01, 3), compiled=True)
