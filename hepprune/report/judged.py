"""What every form of a network puts out on the test jets: kept beside summary.json, so that pictures can be redrawn."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from hepprune.errors import ReportError
from hepprune.files import replacing
from hepprune.metrics import Floats

FILE = "judged.npz"
_ARRAYS = ("truth", "signal")


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One output on the test jets: what it should be, and by the name of each form of the network what it is.

    Of "classes" forms hold probabilities and truth a number of each jet, (n_jets,), of "labels" logits and of "values"
    numbers, as truth does, (n_jets, n_out). `signal` (n_jets,) is where that is known, and `names` are of the columns.
    """

    name: str
    kind: Literal["classes", "labels", "values"]
    names: tuple[str, ...]
    truth: NDArray[Any]
    forms: Mapping[str, Floats]
    signal: NDArray[Any] | None = None
    n_bunches: int | None = None
    score: str | None = None
    told: dict[str, Any] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        known = {name: getattr(self, name) for name in ("name", "kind", "names", "n_bunches", "score")}
        object.__setattr__(self, "told", known | {"forms": list(self.forms)})


def write(outputs: tuple[Judged, ...], path: Path) -> Path:
    """Write what is judged, whole or not at all."""
    arrays: dict[str, NDArray[Any]] = {"about": np.array(json.dumps([each.told for each in outputs]))}
    for index, each in enumerate(outputs):
        known = {name: getattr(each, name) for name in _ARRAYS if getattr(each, name) is not None}
        known |= {f"form_{number}": form.astype(np.float32) for number, form in enumerate(each.forms.values())}
        arrays |= {f"{index}_{name}": values for name, values in known.items()}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return path


def read(path: Path) -> tuple[Judged, ...]:
    """Read what was judged.

    Raises:
        ReportError: the file is missing or damaged.
    """
    if not path.is_file():
        raise ReportError(f"no '{path}': `hepprune run` writes it, in the build folder of a recipe")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return tuple(_output(index, told, arrays) for index, told in enumerate(json.loads(str(arrays["about"]))))
    except (BadZipFile, OSError, ValueError, KeyError, TypeError, EOFError) as problem:
        raise ReportError(f"'{path}' is damaged: {problem}; run the recipe again") from problem


def _output(index: int, told: dict[str, Any], arrays: Any) -> Judged:
    forms = {name: arrays[f"{index}_form_{number}"].astype(float) for number, name in enumerate(told.pop("forms"))}
    known = {name: arrays[f"{index}_{name}"] for name in _ARRAYS if f"{index}_{name}" in arrays}
    return Judged(**{**told, "names": tuple(told["names"])}, **known, forms=forms)
