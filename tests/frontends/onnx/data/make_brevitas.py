"""Exports taggers of Brevitas as QONNX and keeps what it computes; run where Brevitas is: make_brevitas.py FILE SEED."""

import io
import sys
import warnings

import brevitas.nn as qnn
import numpy as np
import onnx
import torch
from brevitas.export import export_qonnx
from brevitas.quant.binary import SignedBinaryActPerTensorConst as SignActivations
from brevitas.quant.binary import SignedBinaryWeightPerTensorConst as SignWeights
from brevitas.quant.fixed_point import Int8ActPerTensorFixedPoint as Signed
from brevitas.quant.fixed_point import Int8BiasPerTensorFixedPointInternalScaling as Bias
from brevitas.quant.fixed_point import Int8WeightPerChannelFixedPoint as Channels
from brevitas.quant.fixed_point import Int8WeightPerTensorFixedPoint as Weights
from brevitas.quant.fixed_point import Uint8ActPerTensorFixedPoint as Unsigned
from brevitas.quant.scaled_int import Int8Bias, Int8WeightPerChannelFloat, Int16Bias
from brevitas.quant.shifted_scaled_int import ShiftedUint8ActPerTensorFloat as Shifted
from brevitas.quant.ternary import SignedTernaryWeightPerTensorConst as Ternary
from brevitas.quant_tensor import QuantTensor
from torch import Tensor, nn

warnings.simplefilter("ignore")


def values(kind: type = Signed, **settings: object) -> nn.Module:
    return qnn.QuantIdentity(act_quant=kind, return_quant_tensor=True, **settings)


def relu(bits: int, **settings: object) -> nn.Module:
    return qnn.QuantReLU(bit_width=bits, return_quant_tensor=True, **settings)


def dense(n_in: int, n_out: int, kind: type = Weights, bias: type | None = None, bits: int = 5) -> nn.Module:
    return qnn.QuantLinear(n_in, n_out, bias is not None, weight_quant=kind, bias_quant=bias, weight_bit_width=bits)


def perceptron() -> nn.Module:
    first = (values(), dense(6, 8, bias=Bias), relu(4, act_quant=Unsigned))
    return nn.Sequential(*first, dense(8, 5, Channels, Int16Bias, bits=4))


def scaled() -> nn.Module:
    """Scales that are not powers of two, which Brevitas learns unless it is told otherwise."""
    first = (qnn.QuantIdentity(return_quant_tensor=True), qnn.QuantLinear(6, 8, bias=True, bias_quant=Int8Bias))
    return nn.Sequential(*first, relu(4), dense(8, 5, Int8WeightPerChannelFloat, bits=3))


def signs() -> nn.Module:
    return nn.Sequential(values(SignActivations), dense(6, 8, SignWeights), values(), dense(8, 4, Ternary))


def image() -> nn.Module:
    first = qnn.QuantConv2d(2, 4, 3, padding=1, bias=False, weight_quant=Channels, weight_bit_width=4)
    second = qnn.QuantConv2d(4, 3, 2, weight_quant=Weights, bias_quant=Int16Bias)
    pooled = (nn.BatchNorm2d(4), relu(6, act_quant=Unsigned), qnn.TruncAvgPool2d(2))
    return nn.Sequential(values(), first, *pooled, second, nn.Flatten(), dense(3, 2))


def steps() -> nn.Module:
    first = qnn.QuantConv1d(3, 4, 3, stride=2, bias=True, weight_quant=Channels, bias_quant=Bias)
    return nn.Sequential(values(), first, relu(6, act_quant=Unsigned), nn.MaxPool1d(2), nn.Flatten(), dense(12, 3))


def functions() -> nn.Module:
    tanh = qnn.QuantTanh(act_quant=Signed, return_quant_tensor=True)
    sigmoid = qnn.QuantSigmoid(act_quant=Unsigned, return_quant_tensor=True)
    return nn.Sequential(values(), dense(6, 8, bias=Bias), tanh, dense(8, 6, bias=Bias), sigmoid, dense(6, 2))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.entry, self.first, self.relu = values(), dense(6, 6, bias=Bias), relu(5, act_quant=Unsigned)
        self.add = qnn.QuantEltwiseAdd(input_quant=Signed, output_quant=Signed, return_quant_tensor=True)
        self.last = dense(6, 3)

    def forward(self, features: Tensor) -> Tensor:
        entered = self.entry(features)
        return self.last(self.add(entered, self.relu(self.first(entered))))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        kinds = {f"{part}_quant": Signed for part in ("q_scaled", "k_transposed", "v", "softmax_input")}
        for part in ("in_proj", "out_proj"):
            kinds |= {f"{part}_input_quant": Signed, f"{part}_weight_quant": Weights, f"{part}_bias_quant": Bias}
        self.entry = qnn.QuantIdentity(act_quant=Signed)
        self.heads = qnn.QuantMultiheadAttention(
            8, 2, batch_first=True, packed_in_proj=False, attn_output_weights_quant=Unsigned, **kinds
        )

    def forward(self, features: Tensor) -> Tensor:
        entered = self.entry(features)
        return self.heads(entered, entered, entered)[0]


class Cells(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = qnn.QuantLSTM(4, 3, batch_first=True)

    def forward(self, features: Tensor) -> Tensor:
        return self.cell(features)[0]


CASES = {
    "perceptron": (perceptron, (6,)),
    "scaled": (scaled, (6,)),
    "signs": (signs, (6,)),
    "image": (image, (2, 4, 4)),
    "steps": (steps, (3, 15)),
    "functions": (functions, (6,)),
    "residual": (Residual, (6,)),
    "attention": (Attention, (4, 8)),
    "shifted": (lambda: nn.Sequential(values(Shifted), dense(6, 3)), (6,)),
    "cells": (Cells, (3, 4)),
}


def plain(found: Tensor | QuantTensor) -> Tensor:
    return found.value if isinstance(found, QuantTensor) else found


@torch.no_grad()
def filled(module: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """Let quantisers see their values, and put out nothing from one row of each layer but the last."""
    module.train()
    for _ in range(310):  # more than Brevitas collects statistics for
        module(torch.randn(16, *shape))
    for layer in [
        part for part in module.modules() if isinstance(part, qnn.QuantLinear | qnn.QuantConv1d | qnn.QuantConv2d)
    ][:-1]:
        layer.weight[1] = 0
        if layer.bias is not None:
            layer.bias[1] = 0
    return module.eval()


def main(path: str, seed: int) -> None:
    kept = {}
    for name, (make, shape) in CASES.items():
        torch.manual_seed(seed)
        module, features, content = filled(make(), shape), 2 * torch.randn(20, *shape), io.BytesIO()
        with torch.no_grad():
            outputs = plain(module(features))
        model = export_qonnx(module, torch.randn(1, *shape), dynamo=False)
        onnx.save(model, content)
        kept[f"{name}.model"] = np.frombuffer(content.getvalue(), np.uint8)
        kept |= {f"{name}.features": features.numpy(), f"{name}.outputs": outputs.numpy()}
    np.savez_compressed(path, **kept)


main(sys.argv[1], int(sys.argv[2]))
