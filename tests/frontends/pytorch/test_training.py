"""A Network read from torch trains on: convolutions too, and pruned weights stay pruned."""

import torch
from torch import nn
from torch.nn.utils import prune

from hepprune.frontends.pytorch import read, to_module
from hepprune.task.sample import Sample
from hepprune.training import Fit, fit
from tests.frontends.pytorch.drawing import disagreement


def test_a_convolutional_network_from_torch_is_trained_with_its_mask_held() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3)).eval()
    module.input_shape = (2, 8)
    prune.random_unstructured(module[0], "weight", amount=0.5)
    prune.random_unstructured(module[4], "weight", amount=0.5)
    network = read(module)
    y = torch.arange(300) % 3
    x = torch.randn(300, 8, 2) + y.view(-1, 1, 1)
    jets = Sample(x, y)
    trained, history = fit(network, jets, jets, settings=Fit(epochs=15, batch_size=32, learning_rate=3e-2), seed=0)
    assert history[-1].loss < 0.8 * history[0].training_loss
    for name in ("layer_0", "layer_4"):
        pruned = network[name].digit_limit == 0
        assert pruned.float().mean() == 0.5
        assert not trained[name].used_weight()[pruned].any()
        assert (trained[name].used_weight()[~pruned] != network[name].used_weight()[~pruned]).any()
    written = to_module(trained, module)
    assert disagreement(trained, written, [x.movedim(-1, 1)]) < 1e-5
    assert torch.equal(written[0].weight_mask, module[0].weight_mask)


class Neighbours(nn.Module):
    """Constituents that take in their neighbours by a matrix that is not a parameter, and a scale that is one."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("adjacency", torch.eye(4).roll(1, 0) + torch.eye(4))
        self.register_buffer("kernel", torch.tensor([[[0.25, 0.5, 0.25]]]))
        self.scale = nn.Parameter(torch.tensor([1.5, 1.0, 0.5]))
        self.head = nn.Linear(12, 3)
        self.input_shape = (4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        met = torch.relu(self.adjacency @ (x * self.scale - 0.25))
        smooth = nn.functional.conv1d(met.reshape(-1, 1, 12), self.kernel, padding=1)
        return self.head(torch.flatten(smooth, 1) * 2.0)


def test_what_is_no_parameter_is_neither_trained_nor_cut() -> None:
    torch.manual_seed(0)
    module = Neighbours().eval()
    network = read(module)
    kernels = {kernel.name for layer in network for kernel in layer.kernels}
    assert kernels == {"head"}
    y = torch.arange(300) % 3
    jets = Sample(torch.randn(300, 4, 3) + y.view(-1, 1, 1), y)
    trained, _ = fit(network, jets, jets, settings=Fit(epochs=3, batch_size=32, learning_rate=3e-2), seed=0)
    written = to_module(trained, module)
    assert torch.equal(written.adjacency, module.adjacency)
    assert torch.equal(written.kernel, module.kernel)
    assert (written.scale != module.scale).all()
    assert (written.head.weight != module.head.weight).any()
    assert disagreement(trained, written, jets.x) < 1e-5
