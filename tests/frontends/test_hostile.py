"""Every format, every way to be bad: `hepprune shrink` ends in one sentence and exit code 1, nothing run or written.

What each format refuses in detail stands beside its reader's tests; here the whole street is walked, from the command
line, for each kind of damage that all formats share.
"""

import io
import json
import pickle
import re
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn
from typer.testing import CliRunner

from hepprune.cli import app
from hepprune.network import Dense, Input, Network, ReLU, save

KERNEL, BIAS = np.ones((4, 3), np.float32), np.zeros(3, np.float32)
FACTORY = "from torch import nn\ndef tagger():\n    return nn.Sequential(nn.Linear(4, 3), nn.ReLU())\n"


class Payload:
    """What an attacker would put into a pickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (Path("executed"), "")


@dataclass(frozen=True)
class Flaw:
    """What is wrong with a model that is otherwise one dense layer `fc` of 4 values and 3 neurons."""

    kernel: Any = None
    layer: str = "Dense"
    units: int = 3
    quantiser: str | None = None

    @property
    def array(self) -> Any:
        return KERNEL if self.kernel is None else self.kernel


def _keras_config(flaw: Flaw) -> str:
    kind = "QDense" if flaw.quantiser else flaw.layer
    config = {"name": "fc", "units": flaw.units, "activation": "relu", "use_bias": True}
    config |= {"kernel_quantizer": flaw.quantiser} if flaw.quantiser else {}
    jets = {"class_name": "InputLayer", "config": {"name": "jets", "batch_input_shape": [None, 4]}}
    layers = [jets, {"class_name": kind, "config": config}]
    described = {"class_name": "Sequential", "config": {"name": "tagger", "layers": layers}, "keras_version": "2.13.1"}
    return json.dumps(described)


def _h5(path: Path, flaw: Flaw, *, config: bool = True) -> Path:
    with h5py.File(path, "w") as file:
        if config:
            file.attrs["keras_version"], file.attrs["model_config"] = "2.13.1", _keras_config(flaw)
        group = file.create_group("model_weights/fc")
        group.attrs["weight_names"] = np.array(["kernel", "bias"], dtype="S")
        group["kernel"], group["bias"] = flaw.array, BIAS
    return path


def _json(path: Path, flaw: Flaw) -> Path:
    path.write_text(_keras_config(flaw))
    _h5(path.with_suffix(".weights.h5"), flaw, config=False)
    return path


def _keras(path: Path, flaw: Flaw) -> Path:
    arrays = io.BytesIO()
    group = "q_dense" if flaw.quantiser else "dense"
    with h5py.File(arrays, "w") as file:
        file[f"layers/{group}/vars/0"], file[f"layers/{group}/vars/1"] = flaw.array, BIAS
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "2.13.1"}))
        archive.writestr("config.json", _keras_config(flaw))
        archive.writestr("model.weights.h5", arrays.getvalue())
    return path


def _onnx(path: Path, flaw: Flaw) -> Path:
    kind = {"Dense": "Gemm"}.get(flaw.layer, flaw.layer)
    nodes = [helper.make_node(kind, ["x", "w", "b"], ["h"], name="fc"), helper.make_node("Relu", ["h"], ["y"])]
    arrays = [numpy_helper.from_array(flaw.array.astype(np.float32), "w"), numpy_helper.from_array(BIAS, "b")]
    if flaw.quantiser:
        constants = {"s": 0.5, "z": 0.0, "n": 4.0}
        arrays += [numpy_helper.from_array(np.float32(value), name) for name, value in constants.items()]
        quant = helper.make_node("Quant", ["w", *constants], ["q"], "fc.quant", domain="qonnx.custom_op.general")
        quant.attribute.append(helper.make_attribute("rounding_mode", flaw.quantiser))
        nodes[0].input[1] = "q"
        nodes.insert(0, quant)
    values = (helper.make_tensor_value_info(name, 1, ["n", size]) for name, size in (("x", 4), ("y", flaw.units)))
    graph = helper.make_graph(nodes, "tagger", [next(values)], [next(values)], arrays)
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("qonnx.custom_op.general", 1)]
    path.write_bytes(helper.make_model(graph, opset_imports=domains, ir_version=8).SerializeToString())
    return path


def _npz(path: Path, flaw: Flaw) -> Path:
    network = Network([Input("jets", 4), Dense("fc", torch.ones(3, 4), torch.zeros(3)), ReLU("relu")])
    with np.load(save(network, path)) as archive:
        arrays = dict(archive)
    structure = json.loads(str(arrays["structure"]))
    structure["layers"][1]["layer"] = flaw.layer
    structure["layers"][0]["n_features"] = [4] if flaw.units == 3 else [flaw.units]
    if flaw.quantiser:
        structure["layers"][1]["weight_type"] = {"quantiser": flaw.quantiser}
    arrays |= {"structure": np.array(json.dumps(structure)), "layers.fc.weight": flaw.array.T}
    np.savez(path, **arrays)
    return path


def _pt(path: Path, flaw: Flaw) -> Path:
    """Write a state_dict for `taggers:tagger`, whose classes no file can choose."""
    torch.save({"0.weight": torch.tensor(flaw.array.T), "0.bias": torch.zeros(flaw.units)}, path)
    return path


def _pt2(path: Path, flaw: Flaw) -> Path:
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval()
    module[0].weight.data = torch.tensor(flaw.array.T).contiguous()
    if flaw.array.shape == KERNEL.shape:
        torch.export.save(torch.export.export(module, (torch.zeros(2, 4),)), path)
        return path
    good = _pt2(path, Flaw())
    return _edited(good, "weights/weight_0", np.ascontiguousarray(flaw.array[:2]).tobytes())


def _edited(path: Path, ending: str, content: bytes | Callable[[bytes], bytes]) -> Path:
    """Write an archive again with another content for one entry."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, old in entries.items():
            new = content if isinstance(content, bytes) else content(old)
            archive.writestr(name, new if name.endswith(ending) else old)
    return path


FORMATS: dict[str, Callable[[Path, Flaw], Path]] = {
    "h5": _h5,
    "keras": _keras,
    "json": _json,
    "onnx": _onnx,
    "npz": _npz,
    "pt": _pt,
    "pt2": _pt2,
}
ZIPPED = ("keras", "npz", "pt", "pt2")


def truncated(make: Callable[[Flaw], Path]) -> Path:
    path = make(Flaw())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def corrupted(make: Callable[[Flaw], Path]) -> Path:
    """Overwrite a stretch in the middle, and the ends, where archives keep their directory."""
    path = make(Flaw())
    content = bytearray(path.read_bytes())
    for start in (0, len(content) // 2, len(content) - 40):
        content[start : start + 40] = b"\xff" * 40
    path.write_bytes(bytes(content))
    return path


def pickled(make: Callable[[Flaw], Path]) -> Path:
    path = make(Flaw())
    path.write_bytes(pickle.dumps(Payload()))
    return path


def bomb(make: Callable[[Flaw], Path]) -> Path:
    """Let the archive's directory promise gigabytes, as that of a real bomb does."""
    path = make(Flaw())
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(archive.namelist()[0].split("/")[0] + "/zeros", bytes(2**16))
        archive.infolist()[-1].file_size = 2**40
    return path


BAD: dict[str, tuple[Callable[[Callable[[Flaw], Path]], Path], tuple[str, ...], str]] = {
    "truncated": (truncated, tuple(FORMATS), "model"),
    "corrupted": (corrupted, tuple(FORMATS), "model"),
    "pickled": (pickled, tuple(FORMATS), "model"),
    "bomb": (bomb, ZIPPED, "more than|unpacks"),
    "nan": (lambda make: make(Flaw(np.full((4, 3), np.nan, np.float32))), tuple(FORMATS), "finite|NaN"),
    "mismatch": (lambda make: make(Flaw(np.ones((5, 3), np.float32))), tuple(FORMATS), "fc|0.weight|0"),
    "lambda": (lambda make: make(Flaw(layer="Lambda")), ("h5", "keras", "json", "onnx", "npz"), "Lambda"),
    "unknown_layer": (lambda make: make(Flaw(layer="Teleport")), ("h5", "keras", "json", "onnx", "npz"), "Teleport"),
    "unknown_quantiser": (
        lambda make: make(Flaw(quantiser="warp")),
        ("h5", "keras", "json", "onnx", "npz"),
        "(?i)warp",
    ),
    "absurd": (lambda make: make(Flaw(units=2**40)), ("h5", "keras", "json", "npz"), "1099511627776"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "taggers.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "taggers", raising=False)
    return tmp_path


def shrunk(path: Path, out: Path) -> Any:
    model = f"taggers:tagger@{path}" if path.suffix == ".pt" else str(path)
    return CliRunner().invoke(app, ["shrink", model, "-o", str(out)])


@pytest.mark.parametrize("kind", FORMATS)
def test_without_a_flaw_the_model_is_shrunk(kind: str, folder: Path) -> None:
    done = shrunk(FORMATS[kind](folder / f"model.{kind}", Flaw()), folder / f"out.{kind}")
    assert done.exit_code == 0, done.output
    assert (folder / f"out.{kind}").is_file()


@pytest.mark.parametrize(
    ("name", "kind"), [pytest.param(name, kind, id=f"{name}-{kind}") for name, row in BAD.items() for kind in row[1]]
)
def test_a_bad_model_ends_in_one_sentence_with_nothing_run_and_nothing_written(
    name: str, kind: str, folder: Path
) -> None:
    path = BAD[name][0](lambda flaw: FORMATS[kind](folder / f"model.{kind}", flaw))
    before = {file.name for file in folder.iterdir()}
    done = shrunk(path, folder / f"out.{kind}")
    said = done.output.strip()
    assert done.exit_code == 1, said
    assert "\n" not in said
    assert said.startswith("error: ")
    assert re.search(BAD[name][2], said), said
    assert {file.name for file in folder.iterdir()} - {"__pycache__"} == before
