"""HGQ 1 itself is the oracle: `data/make_hgq1.py` kept what its model and the proxy models of that put out."""

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import FixedPoints
from hepprune.frontends import keras as frontend
from hepprune.network import Network, Weighted
from hepprune.pruning.structure import surgery
from tests.frontends import interpreters
from tests.frontends.keras.data.moving import moving
from tests.frontends.keras.hgq.test_hgq import DATA
from tests.networks import weighted

FILES = ("model.h5", "model.keras", "varied.h5", "proxy.h5", "proxy.keras")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with zipfile.ZipFile(DATA / "hgq1.zip") as archive:
        archive.extractall(tmp_path)
    return tmp_path


def kept(name: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the jets of a file's model, and what HGQ 1 makes of them."""
    arrays, model = np.load(folder / "arrays.npz"), name.partition(".")[0]
    return arrays[f"{model}_features"], arrays[model]


@torch.no_grad()
def outputs(network: Network, features: np.ndarray, dtype: torch.dtype = torch.float32) -> np.ndarray:
    found: np.ndarray = network.to(dtype)(torch.as_tensor(features, dtype=dtype)).numpy().astype(np.float32)
    return found


def smaller(name: str, folder: Path) -> tuple[Path, Network]:
    """Return the file of a network without a tenth of the weights and what that leaves dead, and what it was pruned to."""
    pruned, rng = frontend.read(folder / name), np.random.default_rng(0)
    for layer in weighted(pruned):
        layer.digit_limit[torch.as_tensor(rng.random(layer.weight.shape) < 0.1)] = 0
    for layer in (weighted(pruned)[0], weighted(pruned)[-2]):
        layer.digit_limit[0] = 0
    shrunk = surgery.shrink(pruned, warn=False)
    assert shrunk.widths != pruned.widths
    return frontend.write(shrunk, folder / f"smaller_{name}", like=folder / name), pruned


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_network_computes_what_hgq_computes_bit_for_bit(name: str, dtype: torch.dtype, folder: Path) -> None:
    features, wanted = kept(name, folder)
    np.testing.assert_array_equal(outputs(frontend.read(folder / name), features, dtype), wanted)
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


@pytest.mark.parametrize("name", FILES)
def test_a_smaller_network_is_written_as_it_computes(name: str, folder: Path) -> None:
    written, pruned = smaller(name, folder)
    features, _ = kept(name, folder)
    np.testing.assert_array_equal(outputs(frontend.read(written), features), outputs(pruned, features))


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_hgq_computes_what_was_written(name: str, folder: Path) -> None:
    interpreters.of("hgq1")
    written, pruned = smaller(name, folder)
    features, _ = kept(name, folder)
    np.save(folder / "features.npy", features)
    interpreters.run("hgq1", DATA / "make_hgq1.py", written, folder / "features.npy", folder / "outputs.npy")
    np.testing.assert_array_equal(np.load(folder / "outputs.npy"), outputs(pruned, features))
    assert np.ptp(outputs(pruned, features), axis=0).all()


def test_a_width_that_values_share_cannot_become_several(folder: Path) -> None:
    network = frontend.read(folder / "varied.h5")
    left = network["left"]
    assert isinstance(left.result, FixedPoint)
    each = FixedPoints.of(left.result, (6, 4))
    width = each.width.copy()
    width[0, 0] -= 1
    left.result = replace(each, width=width)
    with pytest.raises(NetworkError, match=r"'left' \(HDense\) has one 'activation_bw' where the network has several"):
        frontend.write(network, folder / "changed.h5", like=folder / "varied.h5")
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
