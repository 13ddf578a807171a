"""Metrics of your own, by `module:function`: from a folder that is named, or from an installed package."""

import importlib
import importlib.util
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hepprune.errors import DataError, explained
from hepprune.files import content_hash
from hepprune.metrics.score import Floats, Score

_PATH = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)")
_READ: dict[str, "Own"] = {}


@dataclass(frozen=True)
class Own:
    """A function of raw outputs, truth and, if there are some, weights, that returns a `Score`; checked each time.

    `content` names what its module holds, so that another one of the same name is told apart.
    """

    name: str
    function: Callable[..., Any] = field(repr=False)
    lower_is_better: bool
    content: str

    def __call__(self, raw: Floats, truth: Any, weight: Floats | None = None) -> Score:
        """Return the function's score.

        Raises:
            DataError: it is none, or not of these jets.
        """
        if isinstance(truth, tuple) and truth[1] is None:  # of values that have targets alone
            truth = truth[0]
        found = self.function(raw, truth) if weight is None else self.function(raw, truth, weight)
        if not isinstance(found, Score):
            raise DataError(f"the metric '{self.name}' returns {type(found).__name__}, not a metrics.Score")
        if np.shape(found.influence) != (len(raw),) or not np.isfinite([found.value, *found.influence]).all():
            raise DataError(f"the metric '{self.name}' returns no finite score with one influence for each jet")
        return found


def own(path: str, folder: Path | None = None) -> Own:
    """Return the metric at `module:function`, of a module in the folder or of an installed package.

    Its `lower_is_better` says so where less of it is better. The standard library and the current folder are
    not sources.

    Raises:
        DataError: the path leads nowhere or elsewhere, or its module does not run.
    """
    found = _PATH.fullmatch(path.strip())
    if not found:
        raise DataError(f"'{path}' is not a metric of your own; write module:function")
    module, name = found.groups()
    loaded = _loaded(module, path, folder)
    function = vars(loaded).get(name)
    if not callable(function):
        raise DataError(f"'{module}' has no function '{name}', which the metric '{path}' names")
    lower, file = bool(getattr(function, "lower_is_better", False)), getattr(loaded, "__file__", None)
    content = content_hash(Path(file).read_bytes()) if file else ""
    _READ[path.strip()] = metric = Own(path.strip(), function, lower, content)
    return metric


def own_is_lower_better(name: str) -> bool:
    """Return whether less of a metric of your own is better, with or without the output's name before it.

    Raises:
        DataError: it has not been loaded in this process.
    """
    if (read := _read(name)) is None:
        raise DataError(f"the metric '{name}' has not been read, and nobody knows whether less of it is better")
    return read.lower_is_better


def own_content(name: str) -> list[str]:
    """Return what tells a metric of your own from another of its name, which is nothing for all other metrics."""
    return [] if (read := _read(name)) is None else [read.content]


def _read(name: str) -> Own | None:
    return _READ.get(name) or _READ.get(name.partition(".")[2])


def _loaded(module: str, path: str, folder: Path | None) -> ModuleType:
    file = None if folder is None else _inside(folder, module)
    with explained(DataError, f"the module of the metric '{path}' does not run:", Exception):  # it may raise anything
        if file is not None:
            return _run(file)
        if _is_installed(module.partition(".")[0]):
            return importlib.import_module(module)
    where = "no folder is given" if folder is None else f"'{folder}' has no such file"
    raise DataError(f"the metric '{path}' is not to be had: {where}, and no installed package has that name")


def _inside(folder: Path, module: str) -> Path | None:
    """Return the module's file in the folder, links that lead out of it excluded."""
    home = folder.resolve()
    file = home.joinpath(*module.split(".")).with_suffix(".py").resolve()
    return file if file.is_file() and file.is_relative_to(home) else None


def _run(file: Path) -> ModuleType:
    """Run a file as a module of its own, which no other import finds."""
    spec = importlib.util.spec_from_file_location(f"hepprune_own_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise DataError(f"'{file}' is not a module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _is_installed(top: str) -> bool:
    """Return whether a package comes from an installed distribution and not from a folder that hides it."""
    spec = importlib.util.find_spec(top)
    if spec is None or spec.origin is None:
        return False
    for name in packages_distributions().get(top, ()):
        with suppress(PackageNotFoundError):  # its metadata is incomplete
            home = Path(str(distribution(name).locate_file(""))).resolve()
            if Path(spec.origin).resolve().is_relative_to(home):
                return True
    return False
