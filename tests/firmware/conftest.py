"""One small network and one of the size that fits a trigger, shared by the tests of every kind of firmware.

Compiling firmware takes longer than all that a test does with it, so tests in a group share its projects.
"""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hepprune.firmware import hls
from hepprune.firmware.verilog import verilator
from hepprune.fixed import FixedPoint
from hepprune.network import Argmax, Dense, Input, Layer, Network, ReLU, Softmax

INPUTS = FixedPoint(8, 3, True, "RND", "SAT")


def tagger(sizes: tuple[int, ...], *, zeros: float, seed: int, relu: FixedPoint) -> Network:
    rng = np.random.default_rng(seed)
    layers: list[Layer] = [Input("features", sizes[0], INPUTS)]
    fraction = INPUTS.fraction
    for index, (n_in, n_out) in enumerate(pairwise(sizes), start=1):
        weight = rng.normal(size=(n_out, n_in)) * np.sqrt(2 / (n_in * (1 - zeros)))
        weight[rng.random(weight.shape) < zeros] = 0
        dense = Dense(
            f"fc{index}",
            torch.tensor(weight, dtype=torch.float32),
            torch.tensor(rng.normal(size=n_out) * 0.1, dtype=torch.float32),
            weight_type=FixedPoint(6, 1, True, "RND", "SAT"),
            bias_type=FixedPoint(8 + fraction, 3, True, "RND", "SAT"),
        )
        layers += [dense, ReLU(f"relu{index}", relu)]
        fraction = relu.fraction
    return Network(layers[:-1])


@pytest.fixture(scope="session")
def small() -> Network:
    """4-6-3 with rounding and saturation, a feature nobody reads, and a neuron that is its bias."""
    network = tagger((4, 6, 3), zeros=0.2, seed=3, relu=FixedPoint(6, 2, False, "RND_CONV", "SAT"))
    first = network.kernels[0].layer
    first.digit_limit[:, 2] = 0
    first.digit_limit[1] = 0
    return network


@pytest.fixture(scope="session")
def trigger_sized() -> Network:
    """16-64-32-32-5 at 85 % zeros, wrapping as the cheapest firmware does."""
    return tagger((16, 64, 32, 32, 5), zeros=0.85, seed=4, relu=FixedPoint(6, 2, False))


@pytest.fixture(scope="session")
def under_softmax(small: Network, tmp_path_factory: pytest.TempPathFactory) -> tuple[Network, hls.Project]:
    """`small` under a softmax, and its project, which the first simulation compiles."""
    return headed(small, Softmax("softmax"), tmp_path_factory)


@pytest.fixture(scope="session")
def under_argmax(small: Network, tmp_path_factory: pytest.TempPathFactory) -> tuple[Network, hls.Project]:
    """`small` under an argmax, and its project, which the first simulation compiles."""
    return headed(small, Argmax("argmax"), tmp_path_factory)


def headed(network: Network, head: Layer, folders: pytest.TempPathFactory) -> tuple[Network, hls.Project]:
    with_head = Network([*network, head])
    options = {"part": "xcvu13p-flga2577-2-e", "clock_ns": 5.0, "clock_uncertainty": 0.27, "strategy": "latency"}
    return with_head, hls.export(with_head, folders.mktemp(head.name) / "hls", **options)  # type: ignore[arg-type]


@pytest.fixture
def built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A design that is compared twice is compiled once."""
    monkeypatch.setattr(verilator, "build", cache(verilator.build))


def jets(network: Network, n_jets: int) -> NDArray[np.float64]:
    return np.random.default_rng(5).normal(size=(n_jets, network.input.n_features)) * 1.5
