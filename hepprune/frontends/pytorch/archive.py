"""Read a `.pt2` archive as data: JSON and raw numbers.

`torch.export.load` unpickles objects and evaluates text, so it is not used.
"""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hepprune.errors import NetworkError, explained
from hepprune.frontends.pytorch.program import Call, Program, Ref, scoped

_MAX_BYTES, _MAX_TEXT = 2**30, 2**24
# torch._export.serde.schema.ScalarType
_NAMES = {1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64"}
_DTYPES = {number: getattr(torch, name) for number, name in (_NAMES | {12: "bool", 13: "bfloat16"}).items()}
_TARGET = re.compile(r"aten\.[a-zA-Z]\w*\.\w+|_?[a-z]+", re.ASCII)
_UNREADABLE = (OSError, zipfile.BadZipFile, NotImplementedError)
_DAMAGED = (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError, RecursionError, EOFError)


def read(path: Path) -> Program:
    """Return the program of a file that `torch.export.save` wrote.

    Raises:
        NetworkError: the file is damaged, unpacks to more than 2**30 bytes, or holds tensors as pickles.
    """
    damaged = explained(NetworkError, f"{path.name} is damaged:", *_DAMAGED)
    unreadable = explained(NetworkError, f"{path.name} is not a .pt2 archive that can be read:", *_UNREADABLE)
    with damaged, unreadable, explained(NetworkError, f"{path.name}:", NetworkError), zipfile.ZipFile(path) as archive:
        return _program(_Files(archive))


class _Files:
    """The entries of an archive without the folder that torch puts them in."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > _MAX_BYTES:
            raise NetworkError("the archive unpacks to more than 2**30 bytes")
        root = {entry.filename.split("/")[0] for entry in entries}
        self.archive, self.root = archive, root.pop() if len(root) == 1 else ""
        if f"{self.root}/models/model.json" not in archive.namelist():
            raise NetworkError("the archive holds no models/model.json; export it again with torch 2.9 or newer")
        if f"{self.root}/byteorder" in archive.namelist() and self.bytes("byteorder").strip() != b"little":
            raise NetworkError("the archive was written on a big-endian machine")

    def bytes(self, name: str, limit: int = _MAX_BYTES) -> bytes:
        with self.archive.open(f"{self.root}/{name}") as entry:
            content = entry.read(limit + 1)
        if len(content) > limit:
            raise NetworkError(f"{name} is longer than {limit} bytes")
        return content

    def json(self, name: str) -> Any:
        return json.loads(self.bytes(name, _MAX_TEXT))

    def tensors(self, folder: str) -> dict[str, Tensor]:
        if f"{self.root}/data/{folder}/model_{folder}_config.json" not in self.archive.namelist():
            raise NetworkError(f"{folder} are stored as a pickle, which is not read; export by torch 2.9 or newer")
        config = self.json(f"data/{folder}/model_{folder}_config.json")["config"]
        return {name: self._tensor(name, f"data/{folder}", entry) for name, entry in config.items()}

    def _tensor(self, name: str, folder: str, entry: dict[str, Any]) -> Tensor:
        meta = entry["tensor_meta"]
        if entry["use_pickle"] or meta is None:
            raise NetworkError(f"'{name}' is stored as a pickle, which is not read")
        sizes, strides = ([int(size["as_int"]) for size in meta[key]] for key in ("sizes", "strides"))
        content = bytearray(self.bytes(f"{folder}/{entry['path_name']}"))
        dtype = _DTYPES[meta["dtype"]]
        flat = torch.frombuffer(content, dtype=dtype) if content else torch.zeros(0, dtype=dtype)
        shared = torch.as_strided(flat, sizes, strides, int(meta["storage_offset"]["as_int"]))
        if shared.numel() > flat.numel():
            raise NetworkError(f"'{name}' has the shape {tuple(sizes)} and {flat.numel()} numbers")
        return shared.clone()


def _program(files: _Files) -> Program:
    module = files.json("models/model.json")["graph_module"]
    graph, signature = module["graph"], module["signature"]
    stored = files.tensors("constants") | files.tensors("weights")
    inputs: dict[str, tuple[int | None, ...]] = {}
    constants: dict[str, tuple[str, Tensor]] = {}
    parameters = set()
    for spec in signature["input_specs"]:
        ((kind, content),) = spec.items()
        if kind == "user_input":
            name = content["arg"]["as_tensor"]["name"]
            inputs[name] = tuple(size.get("as_int") for size in graph["tensor_values"][name]["sizes"])
        elif kind in {"parameter", "buffer", "tensor_constant"}:
            target = content[f"{kind}_name"]
            constants[content["arg"]["name"]] = (target, stored[target])
            parameters |= {target} if kind == "parameter" else set()
        else:
            raise NetworkError(f"an input of the kind {kind} is not known")
    outputs = [next(iter(spec.items())) for spec in signature["output_specs"]]
    if any(kind != "user_output" for kind, _ in outputs):
        raise NetworkError("the program changes its buffers while it runs; export it in eval mode")
    returned = tuple(_ref(content["arg"]["as_tensor"]["name"]) for _, content in outputs)
    calls = tuple(call for node in graph["nodes"] for call in _calls(node))
    return Program(inputs=inputs, constants=constants, calls=calls, outputs=returned, parameters=frozenset(parameters))


def _calls(node: dict[str, Any]) -> list[Call]:
    """Return the call of a node, and one that picks each of its outputs where there are several."""
    target = node["target"].removeprefix("torch.ops.").removeprefix("_operator.")
    if not _TARGET.fullmatch(target):
        raise NetworkError(f"the program calls {target[:80]}, which is not an operator that is known")
    given = [(entry["name"], _argument(entry["arg"]), entry.get("kind")) for entry in node["inputs"]]
    outputs = [argument for output in node["outputs"] if (argument := _argument(output)) is not None]
    several = [entry for output in outputs for entry in (output if isinstance(output, list) else [output])]
    one = len(outputs) == 1 and not isinstance(outputs[0], list)
    name = several[0].name if one else str(node.get("name") or "") or f"{several[0].name if several else 'none'}_all"
    args = tuple(value for _, value, kind in given if kind != 2)
    kwargs = {key: value for key, value, kind in given if kind == 2}
    innermost = node["metadata"].get("nn_module_stack", "").split(";")[-1].split(",")
    known = len(innermost) == 3 and not innermost[0].startswith("_empty")
    scope = scoped(*innermost) if known else ("", "")
    picked = [] if one else list(enumerate(several))
    picks = [Call(name=ref.name, target="getitem", args=(Ref(name), i), kwargs={}) for i, ref in picked]
    return [Call(name=name, target=target, args=args, kwargs=kwargs, scope=scope), *picks]


def _argument(argument: dict[str, Any]) -> Any:
    """Return a value of the schema's `Argument`: the union's one entry by its kind."""
    ((kind, value),) = argument.items()
    if kind in {"as_none", "as_device", "as_layout", "as_memory_format"}:
        return None
    if kind == "as_scalar_type":
        return _DTYPES[value]
    if kind in {"as_tensor", "as_sym_int", "as_sym_float", "as_sym_bool", "as_optional_tensor"}:
        return _named(value)
    if kind in {"as_tensors", "as_sym_ints", "as_optional_tensors"}:
        return [_named(entry) for entry in value]
    if kind in {"as_int", "as_ints", "as_float", "as_floats", "as_bool", "as_bools", "as_string"}:
        return value
    raise NetworkError(f"an argument of the kind {kind} is not known")


def _ref(name: Any) -> Ref:
    if not isinstance(name, str):
        raise NetworkError(f"a value is called {str(name)[:60]}, which is no name")
    return Ref(name)


def _named(entry: dict[str, Any]) -> Any:
    if "name" in entry:
        return _ref(entry["name"])
    ((kind, value),) = entry.items()
    if kind == "as_tensor":
        return _ref(value["name"])
    return _ref(value) if kind == "as_name" else None if kind == "as_none" else value
