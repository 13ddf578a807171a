"""Modules by name and in memory: input shapes, weights that are not unpickled, models that cannot be traced."""

import pickle
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hepprune.errors import NetworkError
from hepprune.frontends.pytorch import claims, read, read_module, to_module
from hepprune.frontends.pytorch.modules import loaded

SOURCE = """
import torch
from torch import nn

def tagger():
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))

def number():
    return 3

instance = tagger()
"""


class Decoder(nn.Module):
    """Its activation is a module, in whose place torch copies a ReLU."""

    input_shape = ((3, 4), (2, 4))

    def __init__(self) -> None:
        super().__init__()
        self.decoder = nn.TransformerDecoderLayer(4, 2, 5, activation=nn.Tanh(), batch_first=True)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.decoder(x, y).mean(1)  # type: ignore[no-any-return]


class Payload:
    """What an attacker would put into a pickle."""

    def __reduce__(self) -> tuple:
        return Path.write_text, (Path("executed"), "")


@pytest.fixture
def taggers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "drawn_taggers.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "drawn_taggers", raising=False)
    return tmp_path


def refused(model: object, words: str) -> None:
    with pytest.raises(NetworkError, match=words) as caught:
        read(model)
    assert "\n" not in str(caught.value)


def test_claims_what_is_torchs_and_nothing_else() -> None:
    module = nn.Sequential(nn.Linear(2, 2))
    exported = torch.export.export(module, (torch.zeros(2, 2),))
    for model in (
        module,
        exported,
        "model.pt2",
        Path("a/model.pt2"),
        "my.package:tagger",
        "taggers:make@best.pt",
        "w.pt",
    ):
        assert claims(model)
    for model in (read(module), "model.onnx", "model.h5", "C:\\models\\model.h5", 3, object(), "network.npz"):
        assert not claims(model)


def test_a_factory_is_called_and_given_its_weights(taggers: Path) -> None:
    from_name = read("drawn_taggers:tagger")
    assert [layer.name for layer in from_name] == ["input", "layer_0", "layer_1", "layer_2"]
    module = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    torch.save(module.state_dict(), taggers / "best.pt")
    torch.save({"state_dict": module.state_dict()}, taggers / "checkpoint.pt")
    x = torch.randn(3, 4)
    for weights in ("best.pt", "checkpoint.pt"):
        assert torch.allclose(read(f"drawn_taggers:tagger@{weights}")(x), module(x), atol=1e-6)
    assert len(list(read("drawn_taggers:instance"))) == 4


@torch.no_grad()
def test_a_module_with_weights_of_a_file_keeps_its_activations() -> None:
    module, x, y = Decoder().eval(), torch.randn(20, 3, 4), torch.randn(20, 2, 4)
    again = loaded(module, module.state_dict(), source="weights.pt")
    assert torch.equal(again(x, y), module(x, y))
    torch.testing.assert_close(to_module(read(module), module)(x, y), module(x, y))


@pytest.mark.usefixtures("taggers")
def test_what_makes_no_module_is_refused() -> None:
    refused("drawn_taggers:nothing", "drawn_taggers:nothing")
    refused("drawn_nowhere:tagger", "drawn_nowhere:tagger")
    refused("drawn_taggers:number", "makes a int, no torch.nn.Module")
    refused("weights.pt", "package.module:factory@weights.pt")


def test_hostile_weights_are_refused_and_not_executed(taggers: Path) -> None:
    good = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).state_dict()
    (taggers / "payload.pt").write_bytes(pickle.dumps(Payload()))
    torch.save({"0.weight": Payload()}, taggers / "zipped.pt")
    torch.save([1, 2], taggers / "list.pt")
    torch.save({key: value for key, value in good.items() if key != "2.bias"}, taggers / "missing.pt")
    torch.save(good | {"3.bias": torch.zeros(2)}, taggers / "more.pt")
    torch.save(good | {"0.weight": torch.full((6, 4), torch.nan)}, taggers / "nan.pt")
    torch.save(good | {"0.weight": torch.zeros(7, 4)}, taggers / "large.pt")
    torch.save(good | {"0.weight": torch.zeros(6)}, taggers / "flat.pt")
    torch.save(good | {"0.weight": torch.zeros(5, 4)}, taggers / "uneven.pt")
    (taggers / "cut.pt").write_bytes((taggers / "nan.pt").read_bytes()[:700])
    before = set(taggers.iterdir())
    for name, words in {
        "payload": "payload.pt is damaged or holds more than tensors",
        "zipped": "zipped.pt is damaged or holds more than tensors",
        "list": "list.pt holds no state_dict",
        "missing": "'2.bias'",
        "more": "'3.bias'",
        "nan": "nan.pt has values in '0.weight' that are not finite",
        "large": "large.pt has '0.weight' of shape .7, 4., where the model has .6, 4.",
        "flat": "flat.pt has '0.weight' of shape",
        "uneven": "cannot be traced",
        "cut": "cut.pt is damaged",
        "absent": "absent.pt cannot be read",
    }.items():
        refused(f"drawn_taggers:tagger@{name}.pt", words)
    assert set(taggers.iterdir()) == before


def test_nan_weights_in_memory_are_refused_by_the_layers_name() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).eval()
    module[0].weight.data[1, 1] = torch.inf
    refused(module, "layer '0' has weight that is not finite")
    module[0].weight.data[1, 1] = 0
    module[1].running_mean[0] = torch.nan
    refused(module, "layer '1' has mean that is not finite")


def test_input_shapes_come_from_the_first_layer_an_attribute_or_the_caller() -> None:
    convolution = nn.Sequential(nn.Conv1d(2, 3, 3), nn.Flatten())
    refused(convolution, "the input shape of Sequential is not known; give the module an attribute input_shape")
    assert read_module(convolution, (2, 6)).input.features_shape == (6, 2)
    convolution.input_shape = (2, 7)
    assert read(convolution).input.features_shape == (7, 2)
    del convolution.input_shape
    convolution.example_input = torch.zeros(1, 2, 8)
    assert read(convolution).input.features_shape == (8, 2)
    assert read(nn.Sequential(nn.BatchNorm1d(5).eval(), nn.Linear(5, 2))).input.features_shape == (5,)
    assert read(nn.Sequential(nn.Dropout(), nn.LayerNorm(4))).input.features_shape == (4,)
    refused(nn.Bilinear(2, 3, 4), "the input shape of Bilinear is not known")


def test_data_dependent_control_flow_is_refused() -> None:
    class Branching(nn.Module):
        input_shape = (3,)

        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    refused(Branching(), "Branching cannot be traced: what it computes depends on the data")


def test_a_forward_that_fails_is_refused_and_the_module_left_as_it_was() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.Linear(5, 2))
    refused(module, "Sequential cannot be traced on inputs of shape .3,.")
    assert module.training
    read(nn.Sequential(module[0]))
    assert module[0].training


def test_parametrised_weights_are_read() -> None:
    module = nn.Sequential(torch.nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)), nn.ReLU()).eval()
    x = torch.randn(5, 3)
    assert torch.allclose(read(module)(x), module(x), atol=1e-6)
