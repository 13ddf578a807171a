import pytest
import torch

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import Binary
from hepprune.network import Argmax, BatchNorm, Dense, Input, Lookup, ReLU, Softmax
from hepprune.network.layers import Activation
from hepprune.network.layers.activation import FUNCTIONS

VALUES = torch.tensor([[1.0, 3.0, 3.0], [-1.0, -2.0, -3.0]])


def test_relu_softmax_and_argmax_equal_torch() -> None:
    assert torch.equal(ReLU("r")(VALUES), torch.relu(VALUES))
    assert torch.equal(Softmax("s")(VALUES), torch.softmax(VALUES, dim=1))
    assert Argmax("a")(VALUES).tolist() == [[1.0], [0.0]]  # the first of equals


def test_batch_norm_equals_torch_in_eval() -> None:
    torch.manual_seed(0)
    module = torch.nn.BatchNorm1d(3)
    module(torch.randn(64, 3) * 3 + 1)
    torch.nn.init.normal_(module.weight)
    torch.nn.init.normal_(module.bias)
    mean, variance = module.running_mean, module.running_var
    assert mean is not None
    assert variance is not None
    scale = module.weight / torch.sqrt(variance + module.eps)
    own = BatchNorm("bn", scale, module.bias - mean * scale)
    assert torch.allclose(own(VALUES), module.eval()(VALUES), atol=1e-6)


def test_dense_equals_torch_linear_in_float() -> None:
    module = torch.nn.Linear(3, 2)
    assert torch.equal(Dense("d", module.weight, module.bias)(VALUES), module(VALUES))


def test_pruned_weights_act_in_no_mode() -> None:
    limit = torch.tensor([[0, 31, 31], [31, 0, 31]], dtype=torch.uint8)
    layer = Dense("d", torch.ones(2, 3), torch.zeros(2), weight_type=FixedPoint(6, 2), digit_limit=limit)
    expected = [[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]]
    assert layer.used_weight().tolist() == expected
    assert layer.used_weight(quantised=False).tolist() == expected


def test_dense_copies_the_arrays_it_is_given() -> None:
    weight = torch.ones(2, 3)
    layer = Dense("d", weight, torch.zeros(2))
    weight.zero_()
    assert layer.weight.sum() == 6


@pytest.mark.parametrize(
    ("weight", "bias"), [(torch.ones(2), torch.ones(2)), (torch.ones(2, 3), torch.ones(3)), (torch.ones(1, 2, 3),) * 2]
)
def test_weight_and_bias_must_fit(weight: torch.Tensor, bias: torch.Tensor) -> None:
    with pytest.raises(NetworkError, match="layer 'd': weight"):
        Dense("d", weight, bias)


@pytest.mark.parametrize("name", ["", "fc 1", "1fc", "a.b", "a/b"])
def test_names_are_identifiers(name: str) -> None:
    with pytest.raises(NetworkError, match="is not an identifier"):
        Input(name, 3)


BENT = {"hard_sigmoid": "slope", "hard_tanh": "slope", "leaky_relu": "slope", "elu": "alpha"}
BENT |= {"thresholded_relu": "theta", "decay": "rate"}


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
@pytest.mark.parametrize("value", [-1.0, -0.25, 0.0, 0.5, 2.0])
def test_a_function_rises_where_its_values_do(function: str, value: float) -> None:
    layer = Activation("f", function, {BENT[function]: value} if function in BENT else {})
    values = layer.compute(torch.arange(-8, 8, 1 / 32, dtype=torch.float64), quantised=False)
    assert layer.rises == bool((values.diff() >= 0).all())


@pytest.mark.parametrize(
    ("function", "parameters", "message"),
    [
        ("leaky_relu", {"slope": float("nan")}, "layer 'f': leaky_relu with slope nan has no values; give a finite"),
        ("thresholded_relu", {"theta": float("inf")}, "layer 'f': thresholded_relu with theta inf has no values"),
        ("reciprocal", {"epsilon": -0.5}, "layer 'f': reciprocal takes an epsilon above zero, not -0.5"),
        ("reciprocal", {"epsilon": 0.0}, "layer 'f': reciprocal takes an epsilon above zero, not 0"),
    ],
)
def test_parameters_without_a_meaning_are_refused(function: str, parameters: dict[str, float], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        Activation("f", function, parameters)


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_every_function_has_a_gradient(function: str) -> None:
    values = torch.linspace(0.1, 0.9, 9, requires_grad=True)
    parameters = {"theta": 0.05} if function == "thresholded_relu" else {}
    Activation("f", function, parameters)(values).sum().backward()
    assert values.grad is not None
    assert values.grad.ne(0).all()


@pytest.mark.parametrize("scale", [0.25, 1.0, 2.0])
def test_scaled_signs_have_the_gradient_of_a_hard_tanh(scale: float) -> None:
    values = torch.tensor([-1.5, -0.5, 0.0, 1.0, 1.5], requires_grad=True)
    found = Activation("sign", "binary_tanh", result=Binary(scale))(values)
    found.sum().backward()
    assert found.tolist() == [-scale, -scale, scale, scale, scale]
    assert values.grad is not None
    assert values.grad.tolist() == [0, 1, 1, 1, 0]


def test_a_table_has_the_slope_between_its_neighbouring_entries() -> None:
    table = Lookup("t", torch.tensor([[0.0, 1.0, 4.0, 9.0]]), FixedPoint(2, 1, False))
    values = torch.tensor([[0.0], [0.5], [1.0], [1.5]], requires_grad=True)
    found = table(values)
    found.sum().backward()
    assert found.flatten().tolist() == [0, 1, 4, 9]
    assert values.grad is not None
    assert values.grad.flatten().tolist() == [1, 4, 8, 5]
