"""A Network read from torch trains on: convolutions too, and pruned weights stay pruned."""

import torch
from torch import nn

from hepprune.frontends.pytorch import read, to_module
from hepprune.sample import Sample
from hepprune.training import Fit, fit
from tests.frontends.pytorch.drawing import disagreement


def test_a_convolutional_network_from_torch_is_trained_with_its_mask_held() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3)).eval()
    module.input_shape = (2, 8)
    torch.nn.utils.prune.random_unstructured(module[0], "weight", amount=0.5)
    torch.nn.utils.prune.random_unstructured(module[4], "weight", amount=0.5)
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
