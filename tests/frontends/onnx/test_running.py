"""A file is run as it stands, with features and outputs as the network has them."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from hepprune.frontends.onnx import read
from hepprune.frontends.onnx.running import run
from tests.frontends.onnx.models import QONNX, model

rng = np.random.default_rng(11)


@torch.no_grad()
@pytest.mark.parametrize("n_jets", ["n", 4])
def test_positions_come_first_in_the_file_and_channels_last_here(n_jets: str | int, tmp_path: Path) -> None:
    """Equal sizes, so that only the order of axes tells them apart; a fixed number of jets is run piece by piece."""
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["y"], pads=[1, 1]),
        helper.make_node("Flatten", ["y"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["z"]),
    ]
    arrays = {"k": rng.normal(size=(3, 3, 3)), "w": rng.normal(size=(9, 2))}
    proto = model(nodes, {"x": [n_jets, 3, 3]}, {"y": None, "z": None}, arrays=arrays)
    onnx.save(proto, tmp_path / "tagger.onnx")
    network, x = read(proto), torch.randn(6, 3, 3)
    found, wanted = run(tmp_path / "tagger.onnx", [x]), network.activations(x)
    assert [value.shape for value in found] == [(6, 3, 3), (6, 2)]
    for name, value in zip(network.outputs, found, strict=True):
        assert torch.allclose(value, wanted[name], rtol=1e-5, atol=1e-5)


def test_quantisers_that_onnxruntime_does_not_know_run_as_they_are_read(tmp_path: Path) -> None:
    node = helper.make_node("Quant", ["x", "s", "z", "b"], ["y"], domain=QONNX, rounding_mode="FLOOR")
    onnx.save(
        model([node], {"x": ["n", 2]}, {"y": ["n", 2]}, arrays={"s": 0.5, "z": 0.0, "b": 4.0}), tmp_path / "grid.onnx"
    )
    (found,) = run(tmp_path / "grid.onnx", [torch.tensor([[0.74, -9.0], [100.0, -0.1]])])
    assert found.tolist() == [[0.5, -4.0], [3.5, -0.5]]
