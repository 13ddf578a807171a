"""QKeras for Keras 3 itself is the oracle: `data/make_qkeras3.py` kept what its models put out."""

import os
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from hepprune.frontends import keras as frontend
from hepprune.network import Network, Recurrent
from hepprune.pruning.structure import surgery
from tests.frontends.keras.hgq.test_hgq import DATA
from tests.networks import weighted

NAMES = ("image", "gru", "lstm", "simple")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with zipfile.ZipFile(DATA / "qkeras3.zip") as archive:
        archive.extractall(tmp_path)
    return tmp_path


@torch.no_grad()
def outputs(network: Network, folder: Path, name: str) -> np.ndarray:
    found: np.ndarray = network(torch.as_tensor(np.load(folder / "arrays.npz")[f"{name}_features"])).numpy()
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_network_computes_what_qkeras_computes_bit_for_bit(name: str, suffix: str, folder: Path) -> None:
    wanted = np.load(folder / "arrays.npz")[name]
    np.testing.assert_array_equal(outputs(frontend.read(folder / f"{name}{suffix}"), folder, name), wanted)
    assert np.ptp(wanted, axis=0).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_smaller_network_is_written_back_twice(name: str, suffix: str, folder: Path) -> None:
    """QKeras itself runs what was written where QKERAS3_PYTHON names an interpreter that has it for Keras 3."""
    path = folder / f"{name}{suffix}"
    for again in range(2):
        network = frontend.read(path)
        weighted(network)[-1].digit_limit[:, 0] = 0
        for cell in (layer for layer in network if isinstance(layer, Recurrent)):
            cell.recurrent_digit_limit[:, 0] = 0  # then nothing reads its first state
        smaller = surgery.shrink(network)
        assert sum(smaller.sizes.values()) < sum(network.sizes.values())
        path = frontend.write(smaller, folder / f"smaller{again}{suffix}", like=path)
        np.testing.assert_array_equal(outputs(frontend.read(path), folder, name), outputs(network, folder, name))
        if "QKERAS3_PYTHON" in os.environ:
            np.save(folder / "wanted.npy", outputs(network, folder, name))
            arguments = [DATA / "make_qkeras3.py", path, folder / "arrays.npz", name, folder / "wanted.npy"]
            subprocess.run([os.environ["QKERAS3_PYTHON"], *arguments], check=True, capture_output=True)


def test_places_under_a_mask_are_pruned(folder: Path) -> None:
    limit = weighted(frontend.read(folder / "image.keras"))[0].digit_limit
    assert [tuple(place) for place in torch.nonzero(limit[0, :, :, 0] == 0).tolist()] == [(0, 1), (2, 0)]
    assert torch.equal(limit, limit[:1, :, :, :1].expand_as(limit))


@pytest.mark.parametrize("name", ["gru", "lstm", "simple"])
def test_a_trained_recurrent_bias_goes_into_the_one_of_the_file(name: str, folder: Path) -> None:
    """The sum of both, which are rounded each for itself, may need a bit more than either."""
    network = frontend.read(folder / f"{name}.keras")
    (cell,) = (layer for layer in network if isinstance(layer, Recurrent))
    with torch.no_grad():
        cell.recurrent_bias += torch.linspace(-4, 4, len(cell.bias))
    written = frontend.write(network, folder / "moved.keras", like=folder / f"{name}.keras")
    np.testing.assert_array_equal(outputs(frontend.read(written), folder, name), outputs(network, folder, name))
