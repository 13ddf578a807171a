"""PyTorch in and out: modules in memory or by name, and `torch.export` programs in memory or as `.pt2` files.

A model is traced into aten operators; each becomes a layer. What torch keeps channels first (a value that a
convolution, batch norm or pooling reads on axis 1) the Network keeps channels last: an input (n_jets, channels,
positions) of such a layer is an Input of shape (positions, channels), and so are outputs that come from one. The
columns of a dense layer after a flatten are put into the order that follows. All other values keep torch's order.

A `.pt2` file is read as JSON and raw numbers. `torch.export.load` would unpickle objects and evaluate text, so it is
called only on a file that hepprune has just written, to run it. A state_dict is loaded with `weights_only=True`.
"""

import re
from pathlib import Path
from typing import Any

from torch import nn

from hepprune.errors import NetworkError
from hepprune.frontends.checking import Reading
from hepprune.frontends.pytorch import archive, modules, pquant, running, writing
from hepprune.frontends.pytorch.lowering import lower
from hepprune.frontends.pytorch.program import Program, from_exported
from hepprune.frontends.pytorch.writing import to_module
from hepprune.network import Network

__all__ = ["claims", "read", "read_back", "read_module", "to_module", "write"]

_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*(@.+)?")


def claims(model: Any) -> bool:
    """Return whether the model is torch's: a module, an exported program, a `.pt2` or `module:factory[@weights.pt]`."""
    if isinstance(model, str | Path):
        return Path(model).suffix in {".pt", ".pt2", ".pth"} or _FACTORY.fullmatch(str(model)) is not None
    if isinstance(model, Network):
        return False
    return any(base.__module__.split(".")[0] == "torch" for base in type(model).__mro__)


def read(model: Any) -> Network:
    """Return the network of a torch model, channels last.

    Raises:
        NetworkError: the model cannot be traced, its input shape is not known, or an operator has no layer.
    """
    source = _source(model)
    return read_module(source) if isinstance(source, nn.Module) else lower(source).network


def read_module(module: nn.Module, input_shape: Any = None) -> Network:
    """Return the network of a module for jets of `input_shape`, a shape or one for each input, without the jets' axis.

    Without it the module's attribute `input_shape` or `example_input` says it, or a first Linear, BatchNorm1d or
    LayerNorm.

    Raises:
        NetworkError: the module cannot be traced, its input shape is not known, or an operator has no layer.
    """
    return lower(modules.capture(module, input_shape)).network


def write(network: Network, path: Path, *, like: Any) -> Path:
    """Write the network's weights and sizes as the kind of model that `like` is; return the path.

    For a module, in memory or by name, the file is a state_dict; `to_module` gives the module itself, and reading
    `module:factory@weights.pt` brings the factory's module to the sizes in the file. For a `torch.export` program, and
    for a module whose path ends in `.pt2`, the file is a `.pt2`: bounds, sizes and places in its graph move with the
    network's. Torch has no place for quantisers: weights are written as quantised, activations go on in float.

    Raises:
        NetworkError: the network has another graph than `like`, arrays that it has no place for, or sizes that are
            fixed in the module's code.
    """
    source = _source(like)
    path = Path(path)
    if path.suffix == ".pt2" and isinstance(source, nn.Module) and pquant.is_compressed(source):
        said = f"{type(source).__name__} has layers of PQuantML, whose quantisers no program of torch has"
        raise NetworkError(f"{said}; give a path that ends in .pt, for its state_dict, or in .npz")
    if path.suffix == ".pt2":
        program = modules.capture(source, any_jets=True) if isinstance(source, nn.Module) else source
        return writing.write_program(network, path, program)
    if isinstance(source, nn.Module):
        return writing.write_state(network, path, source)
    raise NetworkError(f"a torch.export program is written as .pt2, not as {path.name}")


def read_back(path: Path, *, like: Any) -> Reading:
    """Return what a file that was just written is, and what runs it."""
    source = None if path.suffix == ".pt2" else _source(like)
    return running.weights_read(path, source) if isinstance(source, nn.Module) else running.program_read(path)


def _source(model: Any) -> nn.Module | Program:
    from torch.export import ExportedProgram

    if isinstance(model, ExportedProgram):
        return from_exported(model)
    if isinstance(model, nn.Module):
        return model
    if isinstance(model, str | Path) and Path(model).suffix == ".pt2":
        return archive.read(Path(model))
    if isinstance(model, str | Path) and _FACTORY.fullmatch(str(model)):
        return modules.named(str(model))
    given = model if isinstance(model, str | Path) else type(model).__name__
    raise NetworkError(f"{given} holds no graph; give weights as package.module:factory@weights.pt")
