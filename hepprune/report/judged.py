"""What every form of a network puts out on the test jets: kept beside summary.json, so that pictures can be redrawn."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, StringConstraints, TypeAdapter, ValidationError

from hepprune.errors import HeppruneError, ReportError
from hepprune.files import arrays, replacing
from hepprune.metrics import Floats

FILE = "judged.npz"
_ARRAYS, _TOLD = ("truth", "signal"), ("name", "kind", "names", "n_bunches", "score")
_MAX_BYTES = 4_000_000_000
TargetKind = Literal["classes", "labels", "values"]


class _About(BaseModel):
    """What is not an array of an output; its name becomes that of files."""

    name: Annotated[str, StringConstraints(pattern=r"^[^.]*$")]
    kind: TargetKind
    names: tuple[str, ...]
    n_bunches: int | None = None
    score: str | None = None
    forms: list[str]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One output on the test jets: what it should be, and by the name of each form of the network what it is.

    Of "classes" forms hold probabilities and truth a number of each jet, (n_jets,), of "labels" logits and of "values"
    numbers, as truth does, (n_jets, n_out). `signal` (n_jets,) is where that is known, and `names` are of the columns.
    """

    name: str
    kind: TargetKind
    names: tuple[str, ...]
    truth: NDArray[Any]
    forms: Mapping[str, Floats]
    signal: NDArray[Any] | None = None
    n_bunches: int | None = None
    score: str | None = None


def write(outputs: tuple[Judged, ...], path: Path) -> Path:
    """Write what is judged, whole or not at all."""
    about = [{name: getattr(each, name) for name in _TOLD} | {"forms": list(each.forms)} for each in outputs]
    found: dict[str, NDArray[Any]] = {"about": np.array(json.dumps(about))}
    for index, each in enumerate(outputs):
        known = {name: getattr(each, name) for name in _ARRAYS if getattr(each, name) is not None}
        known |= {f"form_{number}": _narrowed(form) for number, form in enumerate(each.forms.values())}
        found |= {f"{index}_{name}": values for name, values in known.items()}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **found)  # type: ignore[arg-type]
    return path


def _narrowed(values: Floats) -> NDArray[Any]:
    """Return values in 32 bits where those hold them exactly, as they do fixed-point numbers."""
    narrow = values.astype(np.float32)
    return narrow if np.array_equal(narrow, values) else values


def read(path: Path) -> tuple[Judged, ...]:
    """Read what was judged.

    Raises:
        ReportError: the file is missing or damaged.
    """
    if not path.is_file():
        raise ReportError(f"no '{path}': `hepprune run` writes it, in the build folder of a recipe")
    try:
        found = arrays.read(path, max_bytes=_MAX_BYTES)
        about = TypeAdapter(list[_About]).validate_json(str(found["about"]))
        return tuple(_output(index, each, found) for index, each in enumerate(about))
    except (HeppruneError, ValidationError, ValueError, KeyError) as problem:
        said = str(problem).splitlines()[0]
        raise ReportError(f"'{path}' is damaged: {said}; run the recipe again") from problem


def _output(index: int, about: _About, found: Mapping[str, NDArray[Any]]) -> Judged:
    forms = {name: found[f"{index}_form_{number}"].astype(float) for number, name in enumerate(about.forms)}
    own = {name: getattr(about, name) for name in _TOLD}
    return Judged(**own, forms=forms, truth=found[f"{index}_truth"], signal=found.get(f"{index}_signal"))
