"""Reads modules of PQuantML in memory and compares them with what they compute; run where PQuantML and scipy are installed."""

import copy
import os
import sys
import tempfile
import types
from pathlib import Path

sys.path.extend(sys.argv[1:])  # hepprune's own packages come after those of this interpreter
os.environ["KERAS_BACKEND"] = "torch"

import numpy as np
import pquant
import torch
from pquant.core.torch.activations import PQActivation, PQSoftmax
from pquant.core.torch.layers import (
    PQAvgPool1d,
    PQAvgPool2d,
    PQBatchNorm1d,
    PQConv1d,
    PQConv2d,
    PQDense,
    PQLayerNorm,
    PQMultiheadAttention,
    get_ebops,
)
from pquant.core.torch.quantizer import Quantizer
from torch import nn

from hepprune import frontends
from hepprune.frontends.pytorch import to_module
from hepprune.network import Network, Weighted
from hepprune.pruning.structure import surgery

rng = np.random.default_rng(3)
torch.manual_seed(3)
FINE = {"use_high_granularity_quantization": True, "granularity": "per_weight"}


def settings(method: str, **changed: object) -> object:
    config = getattr(pquant, f"{method}_config")()
    config.quantization_parameters.default_data_keep_negatives = 1.0
    for name, value in changed.items():
        setattr(config.quantization_parameters, name, value)
    return config


class Own(PQDense):
    """A layer of a user's, which is one of PQuantML's all the same."""


def dense(c: object) -> tuple[nn.Module, tuple[int, ...]]:
    first = (PQDense(c, 6, 8, quantize_output=True), PQBatchNorm1d(c, 8), PQActivation(c, quantize_output=True))
    return nn.Sequential(*first, Own(c, 8, 5), PQActivation(c, "tanh"), PQDense(c, 5, 3)), (6,)


def steps(c: object) -> tuple[nn.Module, tuple[int, ...]]:
    first = (PQConv1d(c, 3, 4, 2), PQActivation(c), PQAvgPool1d(c, 2, quantize_output=True))
    return nn.Sequential(*first, nn.Flatten(), PQDense(c, 12, 2)), (3, 7)


def image(c: object) -> tuple[nn.Module, tuple[int, ...]]:
    first = (PQConv2d(c, 2, 4, 2, padding=1), PQActivation(c, "hard_tanh"), PQAvgPool2d(c, 2))
    return nn.Sequential(*first, nn.Flatten(), PQDense(c, 36, 2)), (2, 6, 6)


def softmax(c: object) -> tuple[nn.Module, tuple[int, ...]]:
    return nn.Sequential(PQDense(c, 6, 8, quantize_output=True), PQSoftmax(c, -1, stable=False), PQDense(c, 8, 2)), (6,)


class Attention(nn.Module):
    """A layer norm, attention among particles and their sum."""

    def __init__(self, c: object) -> None:
        super().__init__()
        self.before, self.norm = PQDense(c, 6, 12, quantize_output=True), PQLayerNorm(c, 12, quantize_output=True)
        self.attention = PQMultiheadAttention(c, 12, 3, batch_first=True, quantize_output=True)
        self.after = PQDense(c, 12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.before(x))
        return self.after(self.attention(x, x, x)[0].sum(1))


def attention(c: object) -> tuple[nn.Module, tuple[int, ...]]:
    return Attention(c), (5, 6)


@torch.no_grad()
def fill(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, Quantizer):
            shape = tuple(part.get_quantization_bits()[1].shape)
            bits = (torch.as_tensor(rng.integers(*ends, shape)).float() for ends in ((1, 4), (2, 6)))
            integer, fraction = bits
            if part.use_hgq:
                part.quantizer._f.data = fraction
                (part.quantizer._i_raw if part.overflow == "WRAP" else part.quantizer._i).data = integer
            else:
                part.set_quantization_bits(integer, fraction)
        if getattr(part, "_weight", None) is not None:
            part._weight.normal_()
            part._bias.normal_()
        pruning = getattr(part, "pruning_layer", None)
        if pruning is not None and getattr(pruning, "mask", None) is not None:
            pruning.pre_finetune_function()
            if pruning.mask.shape == part._weight.shape:
                pruning.mask.data = (torch.rand(pruning.mask.shape) > 0.5).float()
        if isinstance(part, PQBatchNorm1d):
            part.running_mean.normal_(0, 0.5)
            part.running_var.uniform_(0.5, 2)


WRAP = {"overflow_mode_data": "WRAP", "overflow_mode_parameters": "WRAP", "round_mode": "TRN"}
BACK = {"overflow_mode_data": "WRAP_SM", "overflow_mode_parameters": "WRAP_SM", "round_mode": "RND_CONV"}
CASES = (
    (dense, settings("dst", granularity="per_weight")),
    (dense, settings("pdp", use_relu_multiplier=True, **BACK)),
    (attention, settings("cs", **BACK, **FINE)),
    (dense, settings("pdp", **FINE)),
    (dense, settings("wanda", **WRAP)),
    (steps, settings("pdp", granularity="per_channel")),
    (steps, settings("cs", overflow_mode_parameters="WRAP", **FINE)),
    (image, settings("wanda")),
    (softmax, settings("pdp")),
    (attention, settings("pdp", granularity="per_channel")),
    (attention, settings("cs", overflow_mode_parameters="WRAP", **FINE)),
)


def shrunk(network: Network, n_values: int = 4) -> Network:
    """Return a network without the first neuron of each layer, and the heads that have the first values."""
    for layer in network:
        if isinstance(layer, Weighted) and layer.name == "attention_out_proj":
            layer.digit_limit[:, :n_values] = 0
        elif isinstance(layer, Weighted) and not layer.name.startswith("attention"):
            layer.digit_limit[0] = 0
    return surgery.shrink(network)


@torch.no_grad()
def compare(smaller: Network, module: nn.Module, features: torch.Tensor, given: torch.Tensor) -> None:
    """Write a smaller network as a module and as a state_dict, and run both, and their cost, by PQuantML."""
    wanted, made = smaller(given), to_module(smaller, module)
    assert torch.equal(made(features), wanted)
    assert sum(each.numel() for each in made.parameters()) <= sum(each.numel() for each in module.parameters())
    assert float(get_ebops(made)) >= 0
    with tempfile.TemporaryDirectory() as folder:
        path = frontends.write(smaller, Path(folder) / "smaller.pt", like=module)
        loaded = copy.deepcopy(made)
        loaded.load_state_dict(torch.load(path, weights_only=True))
    assert torch.equal(loaded(features), wanted)


def again(module: nn.Module, make: object, config: object, folder: Path) -> nn.Module:
    """Return a module as its factory makes it, with the weights of a file."""
    sys.modules["factories"] = factories = types.ModuleType("factories")

    def made() -> nn.Module:
        found, found.input_shape = make(config)[0], module.input_shape
        return found

    factories.made = made
    torch.save(module.state_dict(), folder / "weights.pt")
    return frontends.read(f"factories:made@{folder / 'weights.pt'}")


def compressed(module: nn.Module) -> None:
    for part in module.modules():
        if hasattr(part, "apply_final_compression"):
            part.apply_final_compression()


for number, (make, config) in enumerate(CASES):
    module, shape = make(config)
    module.input_shape = shape
    with torch.no_grad():
        module(torch.zeros(2, *shape))
        fill(module.eval())
        if number % 3 == 2:
            compressed(module)
        features = 3 * torch.randn(64, *shape)
        wanted = module(features)
        given = features.movedim(1, -1) if make in {steps, image} else features
        with tempfile.TemporaryDirectory() as folder:
            networks = frontends.read(module), again(module, make, config, Path(folder))
    for network in networks:
        assert torch.equal(network(given), wanted), make.__name__
        assert all(kernel.type is not None for kernel in network.kernels)
    for network, n_values in zip(networks, (4, 8), strict=True):  # of the heads of an attention two are left, then one
        compare(shrunk(network, n_values), module, features, given)
    if make in {dense, softmax} and config.quantization_parameters.overflow_mode_data != "WRAP_SM":
        assert all(layer.result is not None for layer in networks[0].inputs)
