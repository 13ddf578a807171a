"""HGQ 1 itself is the oracle: `data/make_hgq1.py` kept what its model and the proxy models of that put out."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from hepprune.errors import NetworkError
from hepprune.fixed.quantisers import FixedPoints
from hepprune.frontends import keras as frontend
from hepprune.network import Network, Weighted
from hepprune.pruning.structure import surgery
from tests.frontends.keras.data.moving import moving
from tests.frontends.keras.hgq.test_hgq import DATA
from tests.networks import weighted

FILES = ("model.h5", "proxy.h5", "proxy.keras")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with zipfile.ZipFile(DATA / "hgq1.zip") as archive:
        archive.extractall(tmp_path)
    return tmp_path


@torch.no_grad()
def outputs(network: Network, folder: Path, dtype: torch.dtype = torch.float32) -> np.ndarray:
    features = torch.as_tensor(np.load(folder / "arrays.npz")["features"], dtype=dtype)
    found: np.ndarray = network.to(dtype)(features).numpy().astype(np.float32)
    return found


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_network_computes_what_hgq_computes_bit_for_bit(name: str, dtype: torch.dtype, folder: Path) -> None:
    wanted = np.load(folder / "arrays.npz")[name.partition(".")[0]]
    np.testing.assert_array_equal(outputs(frontend.read(folder / name), folder, dtype), wanted)
    assert moving(wanted)


def test_a_weight_without_bits_is_a_pruned_one(folder: Path) -> None:
    network, found = frontend.read(folder / "model.h5"), 0
    for layer in network:
        if isinstance(layer, Weighted):
            assert isinstance(layer.weight_type, FixedPoints)
            np.testing.assert_array_equal(layer.digit_limit.numpy() == 0, layer.weight_type.width == 0)
            np.testing.assert_array_equal(layer.digit_limit.numpy() == 0, layer.used_weight().detach().numpy() == 0)
            found += int((layer.digit_limit == 0).sum())
    assert found > 0


@pytest.mark.parametrize("name", FILES[1:])
def test_a_smaller_proxy_is_written_back(name: str, folder: Path) -> None:
    network = frontend.read(folder / name)
    for layer in weighted(network):
        layer.digit_limit[0] = 0
    smaller = surgery.shrink(network)
    written = frontend.write(smaller, folder / f"smaller.{name.partition('.')[2]}", like=folder / name)
    np.testing.assert_array_equal(outputs(frontend.read(written), folder), outputs(network, folder))


def test_a_changed_network_is_not_written_as_a_model_of_hgq_itself(folder: Path) -> None:
    network = frontend.read(folder / "model.h5")
    weighted(network)[0].digit_limit[0] = 0
    with pytest.raises(NetworkError, match="'maps' has settings or weights that a file of Keras cannot hold"):
        frontend.write(network, folder / "changed.h5", like=folder / "model.h5")
    assert not (folder / "changed.h5").exists()


def test_a_proxy_that_overflows_to_zero_is_refused(folder: Path) -> None:
    with zipfile.ZipFile(folder / "proxy.keras") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["config.json"] = parts["config.json"].replace(b'"SAT": "SAT"', b'"SAT": "SAT_ZERO"')
    with zipfile.ZipFile(folder / "odd.keras", "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(NetworkError, match=r"FixedPointQuantizer\) rounds by RND and overflows by SAT_ZERO, which"):
        frontend.read(folder / "odd.keras")
