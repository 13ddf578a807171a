"""Taggers of the field's record, published as files of HGQ2, beside HGQ2 itself: read, shrunk and written back."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hepprune.frontends import keras as frontend
from hepprune.network import Network
from tests.frontends.keras.data.moving import moving
from tests.frontends.keras.hgq.test_hgq_drawn import Ask, ask, pruned, pytestmark
from tests.reference import MORE

__all__ = ["ask", "pytestmark"]
FILES = [path for path in sorted((MORE / "hgq").glob("*/*")) if path.stem != "jedi_8"]  # which is QKeras' own


def features(network: Network) -> list[np.ndarray]:
    """Return random jets, spread over more than the range of the first quantisers."""
    rng = np.random.default_rng(0)
    return [rng.normal(0, 2, (200, *layer.features_shape)).astype(np.float32) for layer in network.inputs]


@torch.no_grad()
def outputs(network: Network, jets: list[np.ndarray], dtype: torch.dtype = torch.float32) -> Any:
    given = [torch.as_tensor(array, dtype=dtype) for array in jets]
    return network.to(dtype)(given if len(given) > 1 else given[0]).numpy().astype(np.float32)


def as_hgq_computes(ask: Ask, model: Path, jets: list[np.ndarray], folder: Path) -> np.ndarray:
    np.savez(folder / "features.npz", *jets)
    assert ask(model=model, folder=folder, outputs="outputs")["loaded"]
    found: np.ndarray = np.load(folder / "outputs.npy")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_published_tagger_is_read_and_written_bit_for_bit(path: Path, ask: Ask, tmp_path: Path) -> None:
    network = frontend.read(path)
    jets = features(network)
    wanted = as_hgq_computes(ask, path, jets, tmp_path)
    assert moving(wanted)
    for dtype in (torch.float32, torch.float64):
        np.testing.assert_array_equal(outputs(network.clone(), jets, dtype), wanted)
    smaller = pruned(network, seed=0)
    written = frontend.write(smaller, tmp_path / f"smaller{path.suffix}", like=path)
    np.testing.assert_array_equal(as_hgq_computes(ask, written, jets, tmp_path), outputs(smaller, jets))
