"""Modules of PQuantML: by its own, where PQUANT_PYTHON names an interpreter that has it, and by their form alone."""

import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hepprune
from hepprune import frontends
from hepprune.errors import NetworkError
from hepprune.firmware import rtl
from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import FixedPoints
from hepprune.frontends.pytorch import to_module
from hepprune.network import Activation, Dense, LayerNorm
from hepprune.network.precision import Precision, quantise
from hepprune.pruning.structure import surgery
from tests.frontends import interpreters

ROOT = Path(hepprune.__file__).parents[1]


class Quantizer(nn.Module):
    """A quantiser that keeps its bits as PQuantML's does, and saturates and rounds by itself."""

    use_hgq, overflow, round_mode = False, "SAT", "RND"

    def __init__(self, *bits: float) -> None:
        super().__init__()
        for name, bit in zip("kifb", (*bits, sum(bits)), strict=True):
            setattr(self, name, nn.Parameter(torch.tensor(float(bit)), requires_grad=False))

    def get_quantization_bits(self) -> tuple[Tensor, ...]:
        return self.k, self.i, self.f  # type: ignore[return-value]

    def forward(self, values: Tensor) -> Tensor:
        sign, integer, fraction = self.get_quantization_bits()
        step, end = 2.0**-fraction, 2.0**integer
        return torch.clamp(torch.floor(values / step + 0.5) * step, -end * sign, end - step)


class PQDense(nn.Linear):
    """A layer with the names of PQuantML's: the weights that act are a property of latent ones and a mask."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(n_in, n_out)
        latent, bias = self._parameters.pop("weight"), self._parameters.pop("bias")
        self._weight, self._bias = latent, bias
        self.register_buffer("final_compression_done", torch.tensor(data=False))
        self.mask = (torch.arange(n_out * n_in) % 3 > 0).reshape(n_out, n_in).float()
        self.input_quantizer = Quantizer(1, 2, 4)
        self.weight_quantizer, self.bias_quantizer = Quantizer(1, 0, 5), Quantizer(1, 1, 3)

    @property
    def weight(self) -> Tensor:
        if self.final_compression_done:
            return self._weight
        return self.weight_quantizer(self._weight * self.mask)

    @property
    def bias(self) -> Tensor:
        return self._bias if self.final_compression_done else self.bias_quantizer(self._bias)

    def forward(self, values: Tensor) -> Tensor:
        return nn.functional.linear(self.input_quantizer(values), self.weight, self.bias)


class PQLayerNorm(nn.LayerNorm):
    """A layer norm in float32 between two quantisers."""

    def __init__(self, n_values: int) -> None:
        super().__init__(n_values)
        self.input_quantizer, self.output_quantizer = Quantizer(1, 2, 4), Quantizer(1, 2, 4)

    def forward(self, values: Tensor) -> Tensor:
        return self.output_quantizer(super().forward(self.input_quantizer(values)))


Quantizer.__module__ = "pquant.core.torch.quantizer"
PQDense.__module__ = PQLayerNorm.__module__ = "pquant.core.torch.layers"


def module() -> nn.Module:
    torch.manual_seed(0)
    made = nn.Sequential(PQDense(5, 4), nn.ReLU(), PQDense(4, 2))
    made.input_shape = (5,)  # type: ignore[assignment]
    return made.eval()


def test_a_module_is_read_with_the_weights_that_act_and_its_types() -> None:
    tagger, features = module(), 3 * torch.randn(50, 5)
    network = frontends.read(tagger)
    with torch.no_grad():
        assert torch.equal(network(features), tagger(features))
    first, value = (layer for layer in network if layer.name.startswith("layer_0") and layer.name != "input")
    assert isinstance(first, Activation)
    assert isinstance(value, Dense)
    assert first.result == FixedPoint(7, 3, True, "RND", "SAT")
    assert (value.weight_type, value.bias_type) == (
        FixedPoint(6, 1, True, "RND", "SAT"),
        FixedPoint(5, 2, True, "RND", "SAT"),
    )
    assert (value.weight[tagger[0].mask == 0] == 0).all()  # type: ignore[index,union-attr]
    assert not tagger[0].final_compression_done  # type: ignore[index,union-attr]


def test_a_module_in_double_is_read_as_one_in_single() -> None:
    single, double = frontends.read(module()), frontends.read(module().double())
    for one, other in zip(single.kernels, double.kernels, strict=True):
        assert torch.equal(one.weight.double(), other.weight.double())


def test_a_module_with_half_a_bit_or_an_unknown_overflow_is_refused() -> None:
    tagger = module()
    tagger[0].input_quantizer = Quantizer(1, 2, 4.5)  # type: ignore[index,union-attr]
    with pytest.raises(NetworkError, match=r"'0.input_quantizer' has a quantiser of bits that are not whole numbers"):
        frontends.read(tagger)
    tagger[0].input_quantizer.overflow = "WRAP_UP"  # type: ignore[index,union-attr]
    with pytest.raises(NetworkError, match="overflows by WRAP_UP, unknown here"):
        frontends.read(tagger)
    tagger[0].input_quantizer = Quantizer(0, 2, -2)  # type: ignore[index,union-attr]
    tagger[0].input_quantizer.overflow = "WRAP_SM"  # type: ignore[index,union-attr]
    with pytest.raises(NetworkError, match="'0.input_quantizer' has a quantiser without a bit, of which WRAP_SM makes"):
        frontends.read(tagger)


@torch.no_grad()
def test_a_smaller_module_takes_its_weights_as_they_act_and_keeps_its_types(tmp_path: Path) -> None:
    tagger, features = module(), 3 * torch.randn(50, 5)
    network = frontends.read(tagger)
    for layer in network:
        if isinstance(layer, Dense) and layer.name == "layer_0":
            layer.digit_limit[1], layer.bias[1] = 0, -1
    smaller = surgery.shrink(network)
    written = to_module(smaller, tagger)
    assert written[0]._weight.shape == (3, 5)  # type: ignore[index,union-attr]
    assert written[0].final_compression_done  # type: ignore[index,union-attr]
    assert not tagger[0].final_compression_done  # type: ignore[index,union-attr]
    assert torch.equal(written(features), smaller(features))
    assert frontends.read(written).structure()["layers"] == smaller.structure()["layers"]
    tensors = torch.load(frontends.write(smaller, tmp_path / "smaller.pt", like=tagger), weights_only=True)
    assert {key: tensor.shape for key, tensor in tensors.items()} == {
        key: tensor.shape for key, tensor in written.state_dict().items()
    }


@torch.no_grad()
def test_several_widths_where_a_quantiser_keeps_one_are_refused() -> None:
    network = frontends.read(module())
    name = next(layer.name for layer in network if layer.name.startswith("layer_0") and isinstance(layer, Activation))
    kind = FixedPoints(width=[7, 7, 6, 7, 7], integer=3, signed=True, rounding="RND", overflow="SAT")  # type: ignore[arg-type]
    changed = network.replacing({name: network[name].rebuilt(result=kind)})
    with pytest.raises(NetworkError, match=r"'0.input_quantizer' keeps one width where the network has several"):
        to_module(changed, module())


@torch.no_grad()
def test_a_layer_norm_that_computes_in_float_gets_types_of_its_steps_and_the_others_stay() -> None:
    """PQuantML quantises what a layer norm reads and puts out; between them it computes in float32, which no type is."""
    torch.manual_seed(0)
    made = nn.Sequential(PQDense(5, 4), PQLayerNorm(4), PQDense(4, 2))
    made.input_shape = (5,)  # type: ignore[assignment]
    network, features = frontends.read(made.eval()), 3 * torch.randn(200, 5)
    assert torch.equal(network(features), made(features))
    (name,) = (layer.name for layer in network if isinstance(layer, LayerNorm))
    assert name in rtl.refusals(network)
    typed = quantise(network, features.numpy(), Precision(inputs=FixedPoint(7, 3, True, "RND", "SAT")), keep=True)
    assert rtl.refusals(typed) == {}
    for layer in typed:
        if isinstance(layer, Dense):
            assert (layer.weight_type, layer.bias_type) == (
                network[layer.name].weight_type,
                network[layer.name].bias_type,
            )
    given = typed.inputs[0](features.double()).numpy()
    found = rtl.solve(typed).logic.predict(np.ascontiguousarray(given))
    assert np.array_equal(found, typed.double()(torch.as_tensor(given)).numpy())


def test_a_module_is_not_written_as_a_program_which_has_no_quantisers(tmp_path: Path) -> None:
    tagger = module()
    with pytest.raises(NetworkError, match=r"whose quantisers no program of torch has; give a path that ends in \.pt"):
        frontends.write(frontends.read(tagger), tmp_path / "smaller.pt2", like=tagger)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_modules_compute_what_pquant_computes_bit_for_bit() -> None:
    check = Path(__file__).parent / "data" / "check_pquant.py"
    interpreters.run("pquant", check, ROOT, sysconfig.get_path("purelib"))
