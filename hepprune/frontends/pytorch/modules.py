"""Modules in memory and by name: trace them, and load weights into them."""

import inspect
import logging
import os
import pickle
import pkgutil
import sys
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from hepprune.errors import NetworkError, explained, refused
from hepprune.fixed.quantisers import FixedPoints
from hepprune.frontends.pytorch import pquant
from hepprune.frontends.pytorch.program import Program, from_exported
from hepprune.frontends.pytorch.resizing import copied, resized
from hepprune.network import Shape

_MAX_BYTES = 2**30
_DAMAGE = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, TypeError, zipfile.BadZipFile)
_LOUD = ("torch._subclasses.fake_tensor", "torch.fx.experimental.symbolic_shapes", "torch.export")
# How many jets a program takes at once; without a bound torch solves for one, and fails where heads share their axis.
N_JETS = Dim("n_jets", max=2**31 - 1)
# What tracing a module raises: torch's own errors derive from these, and so do those of a forward that does not fit.
UNTRACEABLE = (RuntimeError, TypeError, ValueError, AttributeError, LookupError, AssertionError, NotImplementedError)


def capture(module: nn.Module, input_shape: Any = None, *, any_jets: bool = False) -> Program:
    """Return the program of a module in eval mode, for two jets or for any number of them.

    Raises:
        NetworkError: the input's shape is not known, or the module cannot be traced.
    """
    for name, part in module.named_modules():
        if isinstance(part, nn.Embedding | nn.EmbeddingBag):
            raise refused(name, "is an Embedding, which looks up whole numbers; no Network has it")
    shapes = input_shapes(module, input_shape)
    given = examples(module, shapes)
    sizes = tuple({0: N_JETS} for _ in given) if any_jets else None
    types: Mapping[str, FixedPoints] = {}
    with in_eval_mode(module), quiet(), torch.no_grad(), _traced(module, shapes):
        if pquant.is_compressed(module):
            module, types = pquant.prepared(copied(module), given)
        exported = torch.export.export(module, given, dynamic_shapes=sizes)
    return replace(from_exported(exported), types=types)


def examples(module: nn.Module, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
    """Return two jets of zeros for a module, of its own dtype and on its device."""
    like = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros(0))
    return tuple(torch.zeros(2, *shape, dtype=like.dtype, device=like.device) for shape in shapes)


def _traced(module: nn.Module, shapes: tuple[Shape, ...]) -> AbstractContextManager[None]:
    """Explain why a module cannot run on inputs of these shapes."""
    title, given = type(module).__name__, ", ".join(map(str, shapes))

    def error(sentence: str) -> NetworkError:
        of_data = f"{title} cannot be traced: what it computes depends on the data it is given"
        return NetworkError(of_data if "data-dependent" in sentence.lower() else sentence)

    said = f"{title} cannot be traced on inputs of shape {given} (set input_shape if it is another):"
    return explained(error, said, *UNTRACEABLE)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep torch's tracing from warning and logging: what goes wrong is raised."""
    with warnings.catch_warnings(action="ignore"), ExitStack() as after:
        for logger in map(logging.getLogger, _LOUD):
            after.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.CRITICAL)
        yield


@contextmanager
def in_eval_mode(module: nn.Module) -> Iterator[None]:
    """Bring a module into eval mode for a while."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


def input_shapes(module: nn.Module, input_shape: Any = None) -> tuple[Shape, ...]:
    """Return the shape of one jet for each input: as given, or the module's `input_shape` or `example_input`.

    Without any the first layer says it where it can: a Linear, BatchNorm1d or LayerNorm.
    """
    given = getattr(module, "input_shape", None) if input_shape is None else input_shape
    example = getattr(module, "example_input", None)
    if given is None and example is not None:
        given = [tuple(tensor.shape[1:]) for tensor in ((example,) if isinstance(example, Tensor) else example)]
    given = _first_layer(module) if given is None else given
    if given is None:
        fix = "input_shape, such as (16,) or, for several inputs, ((16, 3), (8,)), without the axis of jets"
        said = f"the input shape of {type(module).__name__} is not known"
        raise NetworkError(f"{said}; give the module an attribute {fix}")
    shapes = [given] if all(isinstance(size, int) for size in given) else list(given)
    return tuple(tuple(int(size) for size in shape) for shape in shapes)


def _first_layer(module: nn.Module) -> Shape | None:
    parameters = inspect.signature(module.forward).parameters.values()
    if sum(p.default is p.empty and p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD} for p in parameters) > 1:
        return None
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            return (layer.in_features,)
        if isinstance(layer, nn.BatchNorm1d):
            return (layer.num_features,)
        if isinstance(layer, nn.LayerNorm):
            return tuple(layer.normalized_shape)
        if next(layer.parameters(recurse=False), None) is not None:
            return None
    return None


def named(text: str) -> nn.Module:
    """Return the module that `package.module:factory` makes, with the weights of a `@weights.pt` behind it.

    The module named is imported and its factory called, as asked; the weights are never unpickled.

    Raises:
        NetworkError: there is no such module or factory, or the weights do not fit or hold more than tensors.
    """
    place, _, weights = text.partition("@")
    with explained(NetworkError, f"'{place}' makes no model:", ImportError, AttributeError, TypeError, ValueError):
        with _working_directory_first():
            found: Any = pkgutil.resolve_name(place)
        module = found if isinstance(found, nn.Module) else found()
    if not isinstance(module, nn.Module):
        raise NetworkError(f"'{place}' makes a {type(module).__name__}, no torch.nn.Module")
    if not weights:
        return module
    return loaded(whole(module), state(Path(weights)), source=Path(weights).name)


def whole(module: nn.Module, input_shape: Any = None) -> nn.Module:
    """Return a module with all of its tensors: PQuantML makes quantisers when the first values arrive."""
    if not pquant.is_compressed(module):
        return module
    made, shapes = copied(module), input_shapes(module, input_shape)
    with in_eval_mode(made), torch.no_grad(), _traced(made, shapes):
        made(*examples(made, shapes))
    return made


@contextmanager
def _working_directory_first() -> Iterator[None]:
    before = list(sys.path)
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 -- sys.path holds text
    try:
        yield
    finally:
        sys.path[:] = before


def state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a state_dict file by name; nothing else in it is unpickled.

    Raises:
        NetworkError: the file is missing, damaged, unpacks to more than 2**30 bytes or holds other objects.
    """
    damaged = f"{path.name} is damaged or holds more than tensors, so it is not loaded"
    with explained(NetworkError, f"{path.name} cannot be read:", OSError), explained(NetworkError, damaged, *_DAMAGE):
        unpacked = path.stat().st_size
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > _MAX_BYTES:
            raise NetworkError(f"{path.name} unpacks to more than 2**30 bytes")
        with quiet():
            found = torch.load(path, map_location="cpu", weights_only=True)
    tensors = found.get("state_dict", found) if isinstance(found, dict) else {}
    if not tensors or not all(isinstance(v, Tensor) and isinstance(k, str) for k, v in tensors.items()):
        raise NetworkError(f"{path.name} holds no state_dict, a mapping of names to tensors")
    return dict(tensors)


def loaded(module: nn.Module, tensors: Mapping[str, Tensor], *, source: str) -> nn.Module:
    """Return a copy of a module with these weights; they may be smaller than its own, as after surgery.

    Raises:
        NetworkError: names are missing or unknown, or a shape is larger than the module's or has other axes.
    """
    own, copies = module.state_dict(), pquant.copies(module)
    for name in (*own.keys() - tensors.keys(), *tensors.keys() - own.keys()):
        raise NetworkError(f"{source} and {type(module).__name__} do not both have a tensor '{name}'")
    for name, tensor in tensors.items():
        sizes = tuple(own[name].shape)
        large = tensor.ndim != len(sizes) or any(n > size for n, size in zip(tensor.shape, sizes, strict=True))
        if large and name not in copies:
            raise NetworkError(f"{source} has '{name}' of shape {tuple(tensor.shape)}, where the model has {sizes}")
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise NetworkError(f"{source} has values in '{name}' that are not finite")
    return resized(module, tensors)
