"""Simple recurrent layers of HGQ2, which is the oracle: `data/make_hgq_recurrent.py` kept what its model puts out."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

import hepprune
from hepprune.errors import NetworkError
from hepprune.frontends import keras as frontend
from hepprune.network import Recurrent
from hepprune.pruning.structure import surgery
from tests.frontends.keras.hgq.test_hgq import altered

DATA = Path(hepprune.__file__).parents[1] / "tests" / "frontends" / "keras" / "data"
PATH = DATA / "hgq_recurrent.keras"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_cell_computes_what_hgq_computes_bit_for_bit(dtype: torch.dtype) -> None:
    kept = np.load(PATH.with_suffix(".npz"))
    with torch.no_grad():
        outputs = frontend.read(PATH).to(dtype)(torch.as_tensor(kept["features"], dtype=dtype))
    np.testing.assert_array_equal(outputs.numpy().astype(np.float32), kept["outputs"])


def test_weights_of_a_cell_without_bits_are_pruned() -> None:
    first = frontend.read(PATH)["first"]
    assert isinstance(first, Recurrent)
    for limit, kind in (
        (first.digit_limit, first.weight_type),
        (first.recurrent_digit_limit, first.recurrent_weight_type),
    ):
        np.testing.assert_array_equal(limit.numpy() == 0, kind.width == 0)  # type: ignore[union-attr]
        assert (limit == 0).any()


def test_a_smaller_cell_is_written_as_hgq_reads_it(tmp_path: Path) -> None:
    changed, kept = frontend.read(PATH), np.load(PATH.with_suffix(".npz"))
    first, second = changed["first"], changed["second"]
    assert isinstance(first, Recurrent)
    assert isinstance(second, Recurrent)
    second.digit_limit[:, 1] = 0
    first.recurrent_digit_limit[[0, 2, 3], 1] = 0
    smaller = surgery.shrink(changed)
    assert smaller.widths["first"] < changed.widths["first"]
    with torch.no_grad():
        wanted = changed(torch.as_tensor(kept["features"])).numpy()
        written = frontend.write(smaller, tmp_path / "smaller.keras", like=PATH)
        found = frontend.read(written)(torch.as_tensor(kept["features"])).numpy()
    np.testing.assert_array_equal(found, wanted)
    if "HGQ_PYTHON" in os.environ:
        np.save(tmp_path / "features.npy", kept["features"])
        arguments = [DATA / "make_hgq.py", written, tmp_path / "features.npy", tmp_path / "outputs.npy"]
        subprocess.run([os.environ["HGQ_PYTHON"], *arguments], check=True, capture_output=True)
        np.testing.assert_array_equal(np.load(tmp_path / "outputs.npy"), wanted)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"oq_conf": null', '"oq_conf": {"config": {"q_type": "kif"}}', "'first' .* puts out by oq_conf"),
        ('"class_name": "QSimpleRNN"', '"class_name": "QGRU"', "'first' .QGRU. quantises what its reset gate"),
        ('"units": 4', '"units": 5', "'first' .* has weights of shapes"),
        ('"q_type": "kbi"', '"q_type": "float"', "of type float; known are kif and kbi"),
        ('"overflow_mode": "WRAP"', '"overflow_mode": null', "with overflow NONE; known are"),
    ],
)
def test_what_no_cell_has_is_refused(old: str, new: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=sentence):
        frontend.read(altered(PATH, tmp_path, old, new))
