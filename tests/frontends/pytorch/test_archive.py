"""`.pt2` files are read as data: as torch loads them, and never by unpickling or evaluating what is in them."""

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from hepprune.errors import NetworkError
from hepprune.frontends.pytorch import archive, read
from tests.frontends.pytorch.drawing import disagreement


class Payload:
    """What an attacker would put into a pickle."""

    def __reduce__(self) -> tuple:
        return Path.write_text, (Path("executed"), "")


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, nn.Module]:
    monkeypatch.chdir(tmp_path)
    module = nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4)).eval()
    sizes = ({0: torch.export.Dim("n_jets")},)
    exported = torch.export.export(module, (torch.zeros(2, 2, 6),), dynamic_shapes=sizes)
    torch.export.save(exported, tmp_path / "model.pt2")
    return tmp_path / "model.pt2", module


def rewritten(path: Path, **changes: object) -> Path:
    """Write the archive again with entries changed by a function, or replaced by bytes, found by how they end."""
    target = path.with_name("changed.pt2")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            for ending, change in changes.items():
                if entry.filename.endswith(ending.replace("__", "/")):
                    content = change if isinstance(change, bytes) else json.dumps(change(json.loads(content))).encode()
            new.writestr(entry.filename, content)
    return target


def refused(path: Path, words: str) -> None:
    before = set(path.parent.iterdir())
    with pytest.raises(NetworkError, match=words) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert set(path.parent.iterdir()) == before


def test_a_file_gives_what_the_module_gives(saved: tuple[Path, nn.Module]) -> None:
    path, module = saved
    network = read(path)
    assert [layer.name for layer in network] == ["input", "layer_0", "layer_1", "layer_2", "layer_3", "layer_4"]
    assert disagreement(network, module, [torch.randn(3, 2, 6)]) < 1e-6


def test_pickled_sample_inputs_are_never_opened(saved: tuple[Path, nn.Module]) -> None:
    path = rewritten(saved[0], sample_inputs__model=b"", **{"model.pt": pickle.dumps(Payload())})
    assert len(read(path).kernels) == 2
    assert not Path("executed").exists()


def test_pickled_weights_are_refused(saved: tuple[Path, nn.Module]) -> None:
    def pickled(config: dict) -> dict:
        config["config"]["0.weight"]["use_pickle"] = True
        return config

    path = rewritten(
        saved[0], model_weights_config=b"", **{"weights_config.json": pickled, "weight_0": pickle.dumps(Payload())}
    )
    refused(path, "'0.weight' is stored as a pickle")


def test_the_old_format_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "old.pt2", "w") as old:
        old.writestr("version", "8.2")
        old.writestr("serialized_state_dict.pt", pickle.dumps(Payload()))
        old.writestr("serialized_exported_program.json", "{}")
    refused(tmp_path / "old.pt2", "export it again")


def test_text_that_torch_would_evaluate_is_not(saved: tuple[Path, nn.Module]) -> None:
    def evil(model: dict) -> dict:
        sizes = model["graph_module"]["graph"]["tensor_values"]["input"]["sizes"]
        sizes[0]["as_expr"]["expr_str"] = "__import__('pathlib').Path('executed').touch()"
        return model

    assert len(read(rewritten(saved[0], **{"model.json": evil})).kernels) == 2
    assert not Path("executed").exists()


def test_calls_of_other_functions_are_refused(saved: tuple[Path, nn.Module]) -> None:
    def calling(target: str) -> Callable[[dict], dict]:
        def change(model: dict) -> dict:
            model["graph_module"]["graph"]["nodes"][-1]["target"] = target
            return model

        return change

    for target in ("torch.hub.load", "torch.ops.aten.linear.default.__class__", "math.pow", "torch.ops.os.system"):
        refused(rewritten(saved[0], **{"model.json": calling(target)}), "not an operator that is known")
    refused(
        rewritten(saved[0], **{"model.json": calling("torch.ops.aten.from_file.default")}), "aten.from_file.default"
    )
    refused(rewritten(saved[0], **{"model.json": calling("torch.ops.aten.linear.nowhere")}), "aten.linear.nowhere")


def test_arguments_that_are_given_twice_and_names_that_are_none_are_refused(saved: tuple[Path, nn.Module]) -> None:
    def twice(model: dict) -> dict:
        inputs = model["graph_module"]["graph"]["nodes"][-1]["inputs"]
        inputs.append(inputs[1] | {"kind": 2})
        return model

    def nameless(model: dict) -> dict:
        model["graph_module"]["graph"]["nodes"][-1]["inputs"][0]["arg"] = {"as_tensor": {"name": ["x"]}}
        return model

    refused(rewritten(saved[0], **{"model.json": twice}), r"\(aten.linear.default\) is given weight twice")
    refused(rewritten(saved[0], **{"model.json": nameless}), r"a value is called \['x'\], which is no name")


def test_damaged_files_are_refused(saved: tuple[Path, nn.Module]) -> None:
    path = saved[0]
    content = path.read_bytes()
    truncated = path.with_name("truncated.pt2")
    truncated.write_bytes(content[: len(content) // 2])
    refused(truncated, "truncated.pt2 is not a .pt2 archive")
    refused(path.with_name("missing.pt2"), "missing.pt2")
    refused(rewritten(path, **{"model.json": b"{"}), "changed.pt2 is damaged")
    refused(rewritten(path, **{"model.json": b"[]"}), "changed.pt2 is damaged")
    refused(rewritten(path, **{"model.json": lambda model: model | {"graph_module": {}}}), "changed.pt2 is damaged")
    refused(rewritten(path, weight_4=b"\0" * 8), "4.weight|damaged|out of bounds|storage")
    nan = torch.full((4,), torch.nan).numpy().tobytes()
    refused(rewritten(path, **{"weights/weight_5": nan}), "layer '4' has bias that is not finite")


def test_absurd_shapes_are_refused(saved: tuple[Path, nn.Module]) -> None:
    def wide(model: dict) -> dict:
        model["graph_module"]["graph"]["tensor_values"]["input"]["sizes"][2]["as_int"] = 2**40
        return model

    refused(rewritten(saved[0], **{"model.json": wide}), "input")


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_MAX_BYTES", 2**20)
    with zipfile.ZipFile(tmp_path / "bomb.pt2", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("bomb/models/model.json", b"\0" * (2**20 + 1))
    refused(tmp_path / "bomb.pt2", "unpacks to more than")
