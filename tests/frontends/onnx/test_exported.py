"""Models that torch exports: read as onnxruntime runs them, written back, and smaller after surgery."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import assume, given, settings
from onnx import numpy_helper
from torch import Tensor, nn

from hepprune import frontends
from hepprune.errors import NetworkError
from hepprune.frontends.onnx import claims, read, write
from hepprune.network import BatchNorm, Einsum
from hepprune.pruning.structure import surgery
from hepprune.task.sample import Sample
from hepprune.training import Fit, fit
from tests.frontends.onnx.models import disagreement, executed, exported
from tests.frontends.pytorch.drawing import Drawn, modules
from tests.networks import weighted

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's own, from its exporter


@pytest.mark.slow
@settings(max_examples=25)
@given(modules())
def test_what_torch_exports_is_read_and_written_as_it_is(tmp_path: Path, module: Drawn) -> None:
    assume("same" not in module.steps)  # dilated, which onnxruntime does not pad by itself
    proto = exported(module, module.input_shape)
    x = np.random.default_rng(0).normal(size=(3, *module.input_shape)).astype(np.float32)
    network = read(proto)
    assert disagreement(network, proto, [x]) < 1e-5
    written = write(network, tmp_path / "same.onnx", like=proto)
    assert np.array_equal(executed(onnx.load(written), x)[0], executed(proto, x)[0])


class Convolutional(nn.Module):
    """A residual convolutional tagger with dead filters and neurons."""

    def __init__(self, *, flatten: bool = True) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.conv, self.norm = nn.Conv1d(3, 6, 3, padding=1), nn.BatchNorm1d(6)
        self.hidden, self.out = nn.Linear(48, 7), nn.Linear(7, 2)
        self.flatten = flatten
        with torch.no_grad():
            self.norm.running_mean.normal_()
            self.conv.weight[1], self.conv.bias[1], self.norm.bias[1], self.norm.running_mean[1] = 0, 0, -1, 0
            self.hidden.weight[2], self.hidden.bias[2] = 0, -1

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.conv(x)))
        x = x.flatten(1) if self.flatten else x.reshape(-1, 48)
        return self.out(torch.relu(self.hidden(x)))


@pytest.mark.parametrize("flatten", [True, False])
def test_dead_structure_leaves_the_written_file(tmp_path: Path, *, flatten: bool) -> None:
    """Also where the file says the sizes of a reshape."""
    proto = exported(Convolutional(flatten=flatten), (3, 8))
    original = tmp_path / "tagger.onnx"
    onnx.save(proto, original)
    small = surgery.shrink(frontends.read(original))
    path = frontends.write(small, tmp_path / "small.onnx", like=original)
    sizes = {tensor.name: tuple(tensor.dims) for tensor in onnx.load(path).graph.initializer}
    assert (sizes["hidden.weight"], sizes["out.weight"]) == ((6, 40), (2, 6))
    assert path.stat().st_size < original.stat().st_size
    x = np.random.default_rng(0).normal(size=(5, 3, 8)).astype(np.float32)
    assert np.allclose(executed(onnx.load(path), x)[0], executed(proto, x)[0], rtol=1e-5, atol=1e-6)
    assert read(path).structure() == small.structure()


def test_a_batch_norm_whose_tensors_are_shared_is_written_with_its_own(tmp_path: Path) -> None:
    """An exporter keeps one tensor of ones for the weight and the variance of a norm that was never trained."""
    proto = exported(nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2)), (4,))
    network = read(proto)
    (norm,) = (layer for layer in network if isinstance(layer, BatchNorm))
    with torch.no_grad():
        norm.scale.mul_(torch.arange(1, 5))
        norm.shift.add_(1)
    changed = onnx.load(write(network, tmp_path / "changed.onnx", like=proto))
    x = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    assert disagreement(network, changed, [x]) < 1e-5


def test_attention_and_recurrence_agree_with_onnxruntime() -> None:
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = nn.MultiheadAttention(8, 2, batch_first=True)
            self.cell, self.norm, self.out = nn.GRU(8, 4, batch_first=True), nn.LayerNorm(8), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.norm(x + self.block(x, x, x, need_weights=False)[0])
            return torch.softmax(self.out(self.cell(x)[0][:, -1]), -1)

    proto = exported(Attending(), (5, 8))
    network = read(proto)
    assert sum(isinstance(layer, Einsum) for layer in network) == 2
    assert disagreement(network, proto, [np.random.default_rng(0).normal(size=(4, 5, 8)).astype(np.float32)]) < 1e-5


def test_several_inputs_and_outputs_agree_with_onnxruntime(tmp_path: Path) -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.image, self.track, self.out = nn.Conv2d(1, 2, 3), nn.Linear(7, 3), nn.Linear(27, 2)

        def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            joined = torch.cat([self.image(x).flatten(1), self.track(y)], dim=1)
            return self.out(joined), torch.sigmoid(self.track(y))

    proto = exported(Both(), (1, 5, 6), (7,))
    network = read(proto)
    with torch.no_grad():
        for layer in weighted(network):
            layer.weight += 0.1
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=shape).astype(np.float32) for shape in ((4, 1, 5, 6), (4, 7))]
    changed = onnx.load(write(network, tmp_path / "changed.onnx", like=proto))
    assert disagreement(network, changed, inputs) < 1e-5
    assert disagreement(read(proto), proto, inputs) < 1e-5


class Neighbours(nn.Module):
    """Constituents that take in their neighbours by a matrix of 0 and 1, with numbers in the code and a scale to learn."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("adjacency", torch.eye(4).roll(1, 0) + torch.eye(4))
        self.register_buffer("sides", torch.eye(3)[:, :2])
        self.scale, self.phi, self.head = nn.Parameter(torch.ones(3)), nn.Linear(2, 3), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        met = torch.relu(self.adjacency @ (x * self.scale - 0.25))
        return self.head((self.phi(met @ self.sides) * 2.0).flatten(1))


def test_numbers_of_the_code_and_matrices_that_project_are_neither_trained_nor_cut(tmp_path: Path) -> None:
    proto = exported(Neighbours(), (4, 3))
    network = read(proto)
    assert {kernel.name for kernel in network.kernels} == {"phi_MatMul", "head"}
    assert sorted(layer.held for layer in network if isinstance(layer, BatchNorm) and not layer.fixed) == ["shift"]
    y = torch.arange(60) % 3
    jets = Sample(torch.randn(60, 4, 3) + y.view(-1, 1, 1), y)
    trained, _ = fit(network, jets, jets, settings=Fit(epochs=1, batch_size=20, learning_rate=3e-2), seed=0)
    written = onnx.load(write(trained, tmp_path / "trained.onnx", like=proto))
    old, new = ({each.name: numpy_helper.to_array(each) for each in of.graph.initializer} for of in (proto, written))
    assert {name for name, values in old.items() if np.array_equal(values, new[name])} == {"adjacency", "sides"}
    assert {kernel.name for kernel in read(written).kernels} == {"phi_MatMul", "head"}
    assert disagreement(trained, written, list(jets.arrays)) < 1e-5


def test_claims_what_is_onnxs_and_another_graph_is_refused(tmp_path: Path) -> None:
    proto = exported(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), (3,))
    assert all(claims(model) for model in (proto, "model.onnx", Path("a/model.onnx")))
    assert not any(claims(model) for model in (read(proto), "model.h5", nn.Linear(2, 2), 3, "network.npz"))
    other = exported(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), (3,))
    with pytest.raises(NetworkError, match="Activation .* where the model has a ReLU"):
        write(read(other), tmp_path / "other.onnx", like=proto)
    with pytest.raises(NetworkError, match="written as .onnx"):
        write(read(proto), tmp_path / "other.h5", like=proto)
    assert not list(tmp_path.iterdir())
