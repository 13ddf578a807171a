"""HGQ2 itself is the oracle: `data/make_hgq.py` kept what its models put out."""

from pathlib import Path

import numpy as np
import pytest
import torch

import hepprune.frontends.keras.hgq
from hepprune.errors import NetworkError
from hepprune.frontends.keras.files import read_model
from hepprune.frontends.keras.graph import lower
from hepprune.frontends.keras.writing import filled
from hepprune.network import Network, Weighted
from hepprune.quantisers import FixedPoints

DATA = Path(hepprune.__file__).parents[1] / "tests" / "frontends" / "keras" / "data"
NAMES = ("dense", "convolutional")


def network(name: str) -> Network:
    return lower(read_model(DATA / f"hgq_{name}.keras")).network


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_network_computes_what_hgq_computes_bit_for_bit(name: str, dtype: torch.dtype) -> None:
    kept = np.load(DATA / f"hgq_{name}.npz")
    with torch.no_grad():
        outputs = network(name).to(dtype)(torch.as_tensor(kept["features"], dtype=dtype))
    np.testing.assert_array_equal(outputs.numpy().astype(np.float32), kept["outputs"])


@pytest.mark.parametrize("name", NAMES)
def test_a_weight_without_bits_is_a_pruned_one(name: str) -> None:
    found = 0
    for layer in network(name):
        if isinstance(layer, Weighted):
            assert isinstance(layer.weight_type, FixedPoints)
            np.testing.assert_array_equal(layer.digit_limit.numpy() == 0, layer.weight_type.width == 0)
            found += int((layer.digit_limit == 0).sum())
    assert found > 0


def test_a_changed_network_is_not_written_back() -> None:
    model = read_model(DATA / "hgq_dense.keras")
    changed = lower(model).network
    with torch.no_grad():
        changed["logits"].weight.mul_(0.5)  # type: ignore[operator, union-attr]
    with pytest.raises(NetworkError, match=r"'logits' \(QDense\) is of HGQ2"):
        filled(changed, model)
