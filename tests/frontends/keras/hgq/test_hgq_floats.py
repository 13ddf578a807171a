"""Floats of a few bits, overflow that goes back and forth, and layers along three axes, as HGQ2 computes them.

`data/make_hgq_floats.py` kept what its models put out. HGQ2 0.1.0 to 0.2.0 describe floats and fail to make one; the
script makes up for that, and what is computed is theirs.
"""

import io
import json
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import hepprune
from hepprune.errors import NetworkError
from hepprune.firmware import equivalence, hls, layers, rtl
from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import FixedPoints, Minifloat
from hepprune.frontends import keras as frontend
from hepprune.hardware import cost, targets
from hepprune.network import Conv, Dense, Network, storage
from hepprune.pruning.structure import surgery
from tests.firmware.networks import together
from tests.frontends import interpreters
from tests.frontends.keras.data.moving import moving
from tests.networks import weighted

DATA = Path(hepprune.__file__).parents[1] / "tests" / "frontends" / "keras" / "data"
NAMES = ("floats", "folded", "cubes")
PORT = FixedPoint(8, 4, rounding="RND", overflow="SAT")


def kept(name: str) -> tuple[torch.Tensor, np.ndarray]:
    arrays = np.load(DATA / f"hgq_{name}.npz")
    return torch.as_tensor(arrays["features"]), arrays["outputs"]


def with_ports(name: str) -> Network:
    network = frontend.read(DATA / f"hgq_{name}.keras")
    for layer in network.inputs:
        layer.result = layer.result or PORT
    return network


@torch.no_grad()
def outputs(network: Network, features: torch.Tensor) -> np.ndarray:
    found: np.ndarray = network(features).numpy()
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_network_computes_what_hgq_computes_bit_for_bit(name: str, dtype: torch.dtype) -> None:
    features, wanted = kept(name)
    network = frontend.read(DATA / f"hgq_{name}.keras").to(dtype)
    np.testing.assert_array_equal(outputs(network, features.to(dtype)).astype(np.float32), wanted)
    assert moving(wanted)


def test_values_and_weights_have_the_types_of_the_file() -> None:
    floats, folded = (frontend.read(DATA / f"hgq_{name}.keras") for name in ("floats", "folded"))
    for layer in weighted(floats):
        assert isinstance(layer.weight_type, Minifloat)
    assert isinstance(floats["hidden_input"].result, Minifloat)
    assert floats["hidden_input"].result.mantissa.shape == (6,)
    kinds = [folded["hidden_input"].result, *(layer.weight_type for layer in weighted(folded))]
    assert {kind.overflow for kind in kinds if isinstance(kind, FixedPoints)} == {"WRAP_SM"}
    assert isinstance(frontend.read(DATA / "hgq_cubes.keras")["maps"], Conv)


def written(name: str, folder: Path) -> tuple[Path, np.ndarray]:
    """Return the file of a smaller network, and what the pruned one that it comes from puts out."""
    path, (features, _) = DATA / f"hgq_{name}.keras", kept(name)
    changed, rng = frontend.read(path), np.random.default_rng(0)
    for layer in weighted(changed):
        layer.digit_limit[torch.as_tensor(rng.random(layer.weight.shape) < 0.3)] = 0
    first = weighted(changed)[0]
    first.digit_limit[0] = 0
    smaller = surgery.shrink(changed)
    assert smaller.widths[first.name] < changed.widths[first.name]
    return frontend.write(smaller, folder / "smaller.keras", like=path), outputs(changed, features)


@pytest.mark.parametrize("name", NAMES)
def test_a_smaller_network_is_written_as_it_computes(name: str, tmp_path: Path) -> None:
    file, wanted = written(name, tmp_path)
    np.testing.assert_array_equal(outputs(frontend.read(file), kept(name)[0]), wanted)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_hgq_computes_what_was_written(name: str, tmp_path: Path) -> None:
    interpreters.of("hgq")
    file, wanted = written(name, tmp_path)
    np.save(tmp_path / "features.npy", kept(name)[0].numpy())
    interpreters.run("hgq", DATA / "make_hgq_floats.py", file, tmp_path / "features.npy", tmp_path / "outputs.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "outputs.npy"), wanted)


@pytest.mark.parametrize("name", ["floats", "folded"])
def test_a_network_is_kept_with_its_types(name: str, tmp_path: Path) -> None:
    network, (features, wanted) = frontend.read(DATA / f"hgq_{name}.keras"), kept(name)
    storage.save(network, tmp_path / "network.npz")
    np.testing.assert_array_equal(outputs(storage.load(tmp_path / "network.npz"), features), wanted)


@pytest.mark.parametrize("name", ["floats", "folded"])
def test_an_adder_graph_computes_the_same_and_costs_about_its_price(name: str) -> None:
    network, (features, _) = with_ports(name).double(), kept(name)
    given = network.inputs[0](features.double())
    solution = rtl.solve(network)
    found = solution.logic.predict(np.ascontiguousarray(given.detach().numpy()))
    np.testing.assert_array_equal(found, outputs(network, given))
    price = cost.adder_graph(network, targets.load("generic_vu13p")).resources.lut
    assert solution.cost == pytest.approx(price, rel=0.15)


@torch.no_grad()
def test_a_kernel_that_nothing_quantises_is_taken_as_it_is_and_has_no_type(tmp_path: Path) -> None:
    path = tmp_path / "plain.keras"
    with zipfile.ZipFile(DATA / "hgq_dense.keras") as archive, zipfile.ZipFile(path, "w") as copy:
        for name in archive.namelist():
            content = archive.read(name)
            if name == "config.json":
                config = json.loads(content)
                hidden = next(each for each in config["config"]["layers"] if each["name"] == "hidden")
                hidden["config"]["kq_conf"]["config"] = {"q_type": "dummy", "place": "weight"}
                content = json.dumps(config).encode()
            copy.writestr(name, content)
    network, features = frontend.read(path), torch.as_tensor(np.load(DATA / "hgq_dense.npz")["features"])
    hidden = network["hidden"]
    assert isinstance(hidden, Dense)
    assert hidden.weight_type is None
    with h5py.File(io.BytesIO(zipfile.ZipFile(path).read("model.weights.h5"))) as arrays:
        np.testing.assert_array_equal(hidden.weight.numpy().T, arrays["layers/q_dense/vars/0"][()])
    hidden.digit_limit[1] = 0
    hidden.bias[1] = 0
    smaller = surgery.shrink(network)
    written = frontend.read(frontend.write(smaller, tmp_path / "smaller.keras", like=path))
    np.testing.assert_array_equal(outputs(written, features), outputs(network, features))


def test_hls4ml_has_no_layer_of_three_axes_and_verilog_has() -> None:
    network = with_ports("cubes")
    network["mean"].result = FixedPoint(12, 6)
    assert rtl.refusals(network) == {}
    refused = layers.refusals(network, io_type="io_parallel")
    for name in ("maps", "largest"):
        assert "three axes of positions, which hls4ml has no layer for" in refused[name]


@pytest.mark.parametrize("name", ["floats", "folded"])
def test_hls4ml_has_no_table_for_each_value(name: str) -> None:
    refused = layers.refusals(with_ports(name), io_type="io_parallel")
    assert (
        "looks each value up in a table of its own, which hls4ml has not; write it as Verilog"
        in refused["hidden_input"]
    )


@pytest.mark.slow
def test_quantisers_of_single_values_are_hls4mls_own(tmp_path: Path) -> None:
    both = together(with_ports(name) for name in ("dense", "convolutional"))
    options = {"part": "xcvu13p-flga2577-2-e", "clock_ns": 5.0, "clock_uncertainty": 0.27}
    project = hls.export(both, tmp_path / "hls", **options)
    hls.compile(project, n_jets=300)
    rng = np.random.default_rng(0)
    features = [rng.normal(0, 3, (2_000, *each.features_shape)).astype(np.float32) for each in both.inputs]
    assert equivalence.against_csim(both, project, features).mismatches == 0


def test_floats_that_the_file_has_no_place_for_are_refused(tmp_path: Path) -> None:
    path = DATA / "hgq_floats.keras"
    network = frontend.read(path)
    assert isinstance(network["logits_input"].result, Minifloat)
    network["logits_input"].result = Minifloat(
        mantissa=np.arange(7) % 3, exponent=np.full(7, 2), offset=np.zeros(7, int)
    )
    with pytest.raises(NetworkError, match="'logits' .* one width where the network has several"):
        frontend.write(network, tmp_path / "changed.keras", like=path)
    assert not list(tmp_path.iterdir())


def test_floats_are_not_written_where_a_file_has_fixed_point_numbers(tmp_path: Path) -> None:
    path = DATA / "hgq_folded.keras"
    network = frontend.read(path)
    network["hidden_input"].result = Minifloat(mantissa=np.array(2), exponent=np.array(2), offset=np.array(0))
    with pytest.raises(NetworkError, match="'hidden' .* fixed-point numbers where the network has floats"):
        frontend.write(network, tmp_path / "changed.keras", like=path)
    assert not list(tmp_path.iterdir())
