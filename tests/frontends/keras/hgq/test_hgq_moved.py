"""Values that HGQ2's quantisers scale and shift, one kernel for keys and values, and tables along any axes.

`data/make_hgq_moved.py` kept what its models put out.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from hepprune.errors import NetworkError
from hepprune.firmware import rtl
from hepprune.fixed import FixedPoint
from hepprune.frontends import keras as frontend
from hepprune.network import Activation, BatchNorm, Network, Recurrent, Shared, Weighted, exact_logits
from hepprune.network.precision import Precision, quantise
from hepprune.pruning.structure import surgery
from tests.frontends import interpreters
from tests.frontends.keras.data.moving import moving
from tests.frontends.keras.hgq.test_hgq import DATA, altered
from tests.networks import weighted

NAMES = ("moved", "uneven", "shared", "contracted", "heads", "sloped")
PORT = FixedPoint(10, 4, True, "RND", "SAT")


def read(name: str) -> tuple[Network, np.ndarray, np.ndarray]:
    """Return a network, its jets, and what HGQ2 makes of them."""
    kept = np.load(DATA / f"hgq_{name}.npz")
    return frontend.read(DATA / f"hgq_{name}.keras"), kept["features"], kept["outputs"]


@torch.no_grad()
def outputs(network: Network, jets: np.ndarray) -> np.ndarray:
    found: np.ndarray = network(torch.as_tensor(jets)).numpy()
    return found


def pruned(name: str) -> Network:
    """Return the network without a tenth of its weights and without one of its neurons."""
    (network, *_), rng = read(name), np.random.default_rng(0)
    for layer in network:
        if isinstance(layer, Weighted | Recurrent) and not layer.name.endswith("_edges"):
            layer.digit_limit[torch.as_tensor(rng.random(layer.weight.shape) < 0.1)] = 0
    if name == "contracted":
        apart = network["apart"]
        apart.digit_limit[:, network["apart_tables"].numbers // apart.n_out == 2] = 0  # one input is used by none
    elif name in {"moved", "uneven", "shared"}:
        weighted(network)[0].digit_limit[1] = 0
    return network


@pytest.mark.parametrize("name", NAMES)
def test_a_network_computes_what_hgq_computes_bit_for_bit(name: str) -> None:
    network, jets, wanted = read(name)
    np.testing.assert_array_equal(outputs(network, jets), wanted)
    if name != "uneven":  # whose products float32 rounds
        np.testing.assert_array_equal(outputs(network.clone().double(), jets.astype(float)).astype(np.float32), wanted)
    assert moving(wanted)


def test_axes_have_the_order_that_hgq_gives_them(tmp_path: Path) -> None:
    network, jets, wanted = read("ordered")
    assert moving(wanted)
    np.testing.assert_array_equal(outputs(network, jets), wanted)
    network["shares"].digit_limit[1] = 0
    network["normed"].digit_limit[:, ::5] = 0
    smaller = surgery.shrink(network, warn=False)
    file = frontend.write(smaller, tmp_path / "pruned.keras", like=DATA / "hgq_ordered.keras")
    np.testing.assert_array_equal(outputs(frontend.read(file), jets), outputs(network, jets))


def test_constants_have_types_where_no_product_is_rounded() -> None:
    exact, rounded = (
        [layer for layer in read(name)[0] if isinstance(layer, BatchNorm)] for name in ("moved", "uneven")
    )
    assert [(layer.name, layer.scale.item(), layer.shift.item()) for layer in exact] == [
        ("hidden_input_scaled", 0.75, 0),
        ("hidden_output_moved", 0.25, 0.5),
        ("turned_moved", -0.5, 0.25),
        ("both_input_0_scaled", -3, 0),
        ("both_input_1_moved", 0.625, 0),
    ]
    for layer in exact:
        assert layer.scale_type is not None
        assert layer.used_scale() == layer.scale
        assert layer.used_shift() == layer.shift
    assert len(rounded) == 4
    assert all(layer.fixed and layer.scale_type is None for layer in rounded)


def test_a_constant_of_many_places_has_no_type(tmp_path: Path) -> None:
    network = frontend.read(altered(DATA / "hgq_moved.keras", tmp_path, '"scaler": 0.75', '"scaler": 1e-9'))
    scaled = network["hidden_input_scaled"]
    assert isinstance(scaled, BatchNorm)
    assert scaled.scale_type is None


def test_one_kernel_mixes_keys_and_values() -> None:
    network, *_ = read("shared")
    assert [layer.name for layer in network if isinstance(layer, Shared)] == ["mixed_lin_value"]
    assert network["mixed_lin_value"].of == "mixed_lin_key"


@pytest.mark.parametrize("name", ["moved", "shared", "contracted", "heads", "sloped"])
def test_adder_graphs_are_exact(name: str) -> None:
    network, jets, _ = read(name)
    network.input.result = PORT
    assert rtl.refusals(network) == {}
    given = np.asarray(PORT(jets.astype(np.float64)))
    wanted = exact_logits(network, given)
    traced = rtl.solve(network).logic.predict(np.ascontiguousarray(given).reshape(len(given), -1))
    np.testing.assert_array_equal(traced, wanted)
    assert np.ptp(wanted, axis=0).all()


def test_constants_without_types_are_given_some() -> None:
    network, jets, _ = read("uneven")
    assert "'hidden_input_moved'" in str(rtl.refusals(network))
    assert rtl.refusals(quantise(network, jets, Precision(inputs=PORT), keep=True)) == {}


@pytest.mark.parametrize("name", NAMES)
def test_a_smaller_network_is_written_as_it_computes(name: str, tmp_path: Path) -> None:
    network, jets, _ = read(name)
    smaller = surgery.shrink(pruned(name), warn=False)
    assert name in {"shared", "sloped"} or smaller.shapes != network.shapes
    file = frontend.write(smaller, tmp_path / "smaller.keras", like=DATA / f"hgq_{name}.keras")
    wanted = outputs(pruned(name), jets)
    np.testing.assert_array_equal(outputs(frontend.read(file), jets), wanted)
    assert np.ptp(wanted, axis=0).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_hgq_computes_what_was_written(name: str, tmp_path: Path) -> None:
    interpreters.of("hgq")
    _, jets, _ = read(name)
    smaller = surgery.shrink(pruned(name), warn=False)
    file = frontend.write(smaller, tmp_path / "smaller.keras", like=DATA / f"hgq_{name}.keras")
    np.save(tmp_path / "features.npy", jets)
    interpreters.run("hgq", DATA / "make_hgq.py", file, tmp_path / "features.npy", tmp_path / "outputs.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "outputs.npy"), outputs(pruned(name), jets))


@pytest.mark.parametrize(
    ("name", "old", "new", "sentence"),
    [
        (
            "moved",
            '"affine": [-0.5, 0.25]',
            '"affine": [0.0, 0.25]',
            "'turned' .* the affine slope 0.0, which is zero, none or out of reach",
        ),
        (
            "moved",
            '"affine": [-0.5, 0.25]',
            '"affine": "half"',
            "'turned' .* the affine half, which is no slope and shift",
        ),
        (
            "moved",
            '"scaler": 0.75',
            '"scaler": 1e300',
            "'hidden' .* the scaler 1e\\+300, which is zero, none or out of",
        ),
        (
            "moved",
            '"scaler": 0.75',
            '"scaler": "large"',
            "'hidden' .* the scaler large, which is zero, none or out of reach",
        ),
        (
            "moved",
            '"class_name": "DefaultBitwidthMapper"',
            '"class_name": "Mapper"',
            "'logits' .* the bw_mapper Mapper; known is DefaultBitwidthMapper",
        ),
        (
            "uneven",
            '"q_type": "kbi", "place": "weight", "scaler": null',
            '"q_type": "kbi", "place": "weight", "scaler": 0.7',
            "'hidden' .* kq_conf with the scaler 0.7, which is not a power of two",
        ),
        (
            "uneven",
            '"q_type": "kbi", "place": "weight", "scaler": null, "qnoise_factor": null, "affine": null',
            '"q_type": "kbi", "place": "weight", "scaler": null, "qnoise_factor": null, "affine": [0.5, 0.0]',
            "'hidden' .* kq_conf with affine, which cannot be taken over where it is not of values",
        ),
        ("contracted", '"bnd,ned->ben"', '"bnd,ned->bne"', "'joined' .* a kernel of shape .* that does not fit"),
        ("contracted", '"n_hl": 2', '"n_hl": 3', "'apart' .* has no kernel of its functions"),
        ("sloped", '"affine": [0.125, 0.375]', '"affine": [0.5, 0.375]', "'first' .* whose gates would leave 0 to 1"),
        ("sloped", '"affine": [0.125, 0.375]', '"affine": [1e-20, 0.375]', "'first' .* whose gates would be rounded"),
        (
            "moved",
            '"scaler": 0.75',
            '"scaler": 0.75, "q_type": "dummy"',
            "'hidden' .* that scales or shifts values and does not quantise them",
        ),
    ],
)
def test_what_cannot_be_taken_over_is_named(name: str, old: str, new: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=sentence) as raised:
        frontend.read(altered(DATA / f"hgq_{name}.keras", tmp_path, old, new))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("name", "edges"), [("ordered", "normed_edges"), ("heads", "attended_query_edges")])
def test_a_function_that_reads_nothing_is_written_as_the_constant_it_is(name: str, edges: str, tmp_path: Path) -> None:
    network, jets, _ = read(name)
    network[edges].digit_limit[1] = 0
    file = frontend.write(network, tmp_path / "shut.keras", like=DATA / f"hgq_{name}.keras")
    np.testing.assert_array_equal(outputs(frontend.read(file), jets), outputs(network, jets))
    assert not np.array_equal(outputs(network, jets), read(name)[2])


def test_a_constant_of_an_input_that_is_gone_has_no_place(tmp_path: Path) -> None:
    network, *_ = read("contracted")
    network["each"].digit_limit[2] = 0
    with pytest.raises(NetworkError, match="'apart' .* no place for the constants that functions of an input that is"):
        frontend.write(
            surgery.shrink(network, warn=False), tmp_path / "smaller.keras", like=DATA / "hgq_contracted.keras"
        )
    assert not list(tmp_path.iterdir())


def test_a_value_is_not_divided_by_zero() -> None:
    with pytest.raises(NetworkError, match="layer 'f': quotient takes no divisor of zero"):
        Activation("f", "quotient", {"by": 0.0})
