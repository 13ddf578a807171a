"""Every kind of layer as Verilog: simulated, bit for bit what the Network computes at every output.

Compiling a simulation takes longer than all that is simulated in it, so networks stand side by side in one design.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from hepprune.firmware import equivalence, rtl
from hepprune.fixed import FixedPoint
from hepprune.network import Input, Layer, Network
from hepprune.network.layers import Einsum, GlobalPool, Merge, Pool, Shared, TopK
from hepprune.network.precision import Precision, quantise
from tests.firmware.layers import test_projects
from tests.firmware.layers.test_projects import EVERYWHERE, PARALLEL, PART, random_features
from tests.firmware.networks import FEATURES, NARROW, POSITIVE, Maker, together
from tests.firmware.test_tracing_layers import STAGES, assert_exact
from tests.pruning import graphs

# States that are read are in `cells`, and functions with types in `functions`.
FEW = {"n_steps": 1, "functions": ("sigmoid", "tanh", "elu")}
# Smaller where a simulation of the whole would take a minute to compile.
SMALLER = {
    test_projects.convolutions_1d: {"n_steps": 7},
    test_projects.convolutions_2d: {"image": (3, 4)},
    test_projects.merges: {"n_steps": 2},
    test_projects.tables: FEW,
}


def chosen(network: Network) -> Network:
    """Return a network with types for all that it holds."""
    features = [each.astype(np.float32) for each in random_features(network, 300)]
    given = features[0] if len(features) == 1 else features
    return quantise(network, given, Precision(inputs=FEATURES, activation_bits=5))


def assert_simulated(network: Network, folder: Path) -> None:
    assert rtl.refusals(network) == {}
    design = rtl.write_verilog(rtl.solve(network), folder, name="tagger", levels_per_cycle=6, part=PART, clock_ns=5.0)
    check = equivalence.against_rtl(network, design, random_features(network, 300))
    assert (check.vectors, check.mismatches, check.agreement) == (300, 0, 1.0)


def two_sided() -> Network:
    """Two inputs of other types, a shared layer, and three outputs: of classes, of a regression, of moved values."""
    make = Maker(8)
    layers: list[Layer] = [
        Input("left", (3, 2), FEATURES),
        Input("right", (3, 2), FixedPoint(5, 2, False)),
        make.dense("phi", 2, 4),
        Shared("again", "phi", FixedPoint(6, 3, True, "RND", "SAT")),
        Merge("sum", "add"),
        GlobalPool("mean", "average", result=NARROW),
        make.dense("classes", 4, 3, result=None),
        make.dense("momentum", 4, 1, result=None),
        Einsum("pairs", "ij,kj->ik", NARROW),
    ]
    sources = {"phi": "left", "again": "right", "sum": ("phi", "again"), "mean": "sum", "classes": "mean"}
    return Network(
        layers, {**sources, "momentum": "mean", "pairs": ("left", "right")}, ["classes", "momentum", "pairs"]
    )


def largest() -> Network:
    """A convolution of two dimensions, its maxima, a batch norm, a mean, and the largest channels."""
    make = Maker(9)
    layers = [Input("x", (6, 5, 2), FEATURES), make.conv("conv", 3, 2, 2, 2, padding=((1, 0), (0, 0)), result=POSITIVE)]
    layers += [Pool("most", "max", (2, 2)), make.batch_norm("norm", 3), GlobalPool("mean", "average", result=NARROW)]
    return Network([*layers, TopK("top", 2), make.dense("out", 3, 2)])


@pytest.mark.slow
def test_the_verilog_of_every_network_that_hls4ml_builds_is_exact(tmp_path: Path) -> None:
    found = [build("io_parallel", **SMALLER.get(build, {})) for build in (*EVERYWHERE, *PARALLEL)]
    without = {layer for network in found for layer in rtl.refusals(network)}
    assert without == {"lstm", "gru", "backwards", "attention", "norm"}  # of `tables`: no types of states and tables
    typed = [chosen(network) if rtl.refusals(network) else network for network in found]
    assert_simulated(together([*typed, two_sided(), largest()]), tmp_path / "rtl")


def test_networks_side_by_side_are_exact() -> None:
    assert_exact(two_sided())
    assert_exact(together([two_sided(), largest()]))


@pytest.mark.slow
def test_the_verilog_of_drawn_graphs_of_every_stage_is_exact(tmp_path: Path) -> None:
    assert_simulated(together(drawn_graphs()), tmp_path / "rtl")


def drawn_graphs() -> list[Network]:
    """Return small drawn graphs with types chosen for them, which have every stage once."""
    order = np.random.default_rng(0).permutation(STAGES).tolist()
    return [_drawn(order[place : place + 2], seed=place) for place in range(0, len(order), 2)]


def _drawn(stages: list[str], seed: int) -> Network:
    """Return a small drawn graph with types chosen for it, up to all values of its last stage."""
    whole = graphs.build(stages, seed=seed, fixed=False, flat=True, small=True)
    layers = [*whole][: [layer.name for layer in whole].index("flat") + 1]
    network = Network(layers, {layer.name: whole.sources[layer.name] for layer in layers[1:]})
    (features,) = random_features(network, 300)
    precision = Precision(inputs=FixedPoint(6, 3, True, "RND", "SAT"), weight_bits=4, activation_bits=4)
    found = quantise(network, features.astype(np.float32), precision)
    assert np.ptp(found(torch.as_tensor(features, dtype=torch.float32)).detach().numpy(), axis=0).any()
    return found
