"""Constants of a model, such as an adjacency matrix: nothing that makes a network smaller or better changes them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hepprune.fixed import FixedPoint
from hepprune.network import BatchNorm, Dense, Input, Layer, Network, ReLU, precision, storage
from hepprune.network.folding import fold_batch_norm
from hepprune.network.precision import Precision
from hepprune.pruning import masks, plan, statistics
from hepprune.pruning.structure import coupling, surgery
from hepprune.search.moves import PerKernel
from hepprune.task.sample import Sample
from hepprune.training import Fit, fit

BIT, INPUTS = FixedPoint(1, 1, False), FixedPoint(8, 3, True, "RND", "SAT")
SUMS = torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 1]])


@pytest.fixture
def network() -> Network:
    generator = torch.Generator().manual_seed(0)
    first, last = torch.randn(4, 3, generator=generator), torch.randn(2, 3, generator=generator)
    layers: list[Layer] = [
        *(Input("x", 3), Dense("first", first, torch.zeros(4)), ReLU("relu")),
        Dense("sums", SUMS, torch.zeros(3), weight_type=BIT, bias_type=BIT, fixed=True),
        Dense("last", last, torch.zeros(2)),
    ]
    return Network(layers)


@pytest.fixture
def jets() -> Sample:
    x = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)
    return Sample.from_arrays(x, (x[:, 0] > 0).astype(np.int64))


def test_it_is_stored_as_such(network: Network, tmp_path: Path) -> None:
    again = storage.load(storage.save(network, tmp_path / "network.npz"))
    assert [layer.name for layer in again if layer.fixed] == ["sums"]
    assert storage.identity(again) == storage.identity(network)
    trainable = network.replacing({"sums": network["sums"].rebuilt(fixed=False)})
    assert storage.identity(trainable) != storage.identity(network)


def test_it_keeps_its_weights_and_types(network: Network, jets: Sample) -> None:
    typed = precision.quantise(network, jets.x[0].numpy(), Precision(inputs=INPUTS, weight_bits=5))
    trained, _ = fit(typed, jets, jets, settings=Fit(epochs=3, batch_size=50, learning_rate=0.05), seed=0)
    pruned = surgery.shrink(plan.prune(trained, sparsity=0.5), warn=False)
    assert not torch.equal(trained["last"].weight, network["last"].weight)
    for each in (typed, trained, pruned):
        sums = each["sums"]
        assert torch.equal(sums.used_weight(), SUMS)
        assert (sums.weight_type, sums.bias_type) == (BIT, BIT)


def test_nothing_is_cut_from_it(network: Network, jets: Sample) -> None:
    typed = precision.quantise(network, jets.x[0].numpy(), Precision(inputs=INPUTS, weight_bits=5))
    moves = list(PerKernel({}, (*masks.GRANULARITIES, "bits"))(typed, statistics.gather(typed, jets), 0.5))
    assert {layer for move in moves for layer in move.layers} == {"first", "last"}
    (kept,) = [group.kept for group in coupling.groups(typed) if group.name == "first"]
    assert kept == "'sums' is fixed"


def test_a_number_is_folded_into_nothing(network: Network, jets: Sample) -> None:
    half = BatchNorm("halved", torch.tensor([0.5]), torch.zeros(1), fixed=True)
    scaled = Network([*network, half])
    assert storage.identity(fold_batch_norm(scaled)) == storage.identity(scaled)
    trained, _ = fit(scaled, jets, jets, settings=Fit(epochs=1, batch_size=50, quantised=False), seed=0)
    assert (trained["halved"].scale, trained["halved"].shift) == (half.scale, half.shift)
    assert [layer.name for layer in fold_batch_norm(scaled.replacing({"halved": half.rebuilt(fixed=False)}))][
        -1
    ] == "last"
