"""What plots of a run are drawn from, kept beside its summary: weights, estimates, curves, outputs of jets."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, StringConstraints, TypeAdapter, ValidationError

from hepprune.errors import HeppruneError, ReportError
from hepprune.files import arrays, replacing, stored
from hepprune.hardware.resources import Estimate
from hepprune.metrics import Floats
from hepprune.report import plots
from hepprune.report.plots import costs, distributions, physics
from hepprune.report.plots.physics import WeightedValues

FILE = "designs.json"
MAX_BITS = 64  # of a value, as a plot has room for
JUDGED_FILE = "judged.npz"
_ARRAYS, _TOLD = ("truth", "signal"), ("name", "kind", "names", "n_bunches", "score")
_MAX_BYTES = 4_000_000_000
TargetKind = Literal["classes", "labels", "values"]


@dataclass(frozen=True)
class Counted:
    """Values, and how often each is there."""

    values: tuple[float, ...]
    counts: tuple[Annotated[int, Field(ge=1)], ...]

    @classmethod
    def of(cls, values: Floats) -> "Counted":
        """Count the values of an array."""
        found, counts = np.unique(values, return_counts=True)
        return cls(tuple(found.tolist()), tuple(counts.tolist()))

    @property
    def weighted(self) -> WeightedValues:
        """Both as arrays, (n_values,) each."""
        return np.array(self.values, float), np.array(self.counts, float)


@dataclass(frozen=True, kw_only=True)
class Designs:
    """Quantised weights before and after, estimates and measured latencies by name, what cutting each layer costs.

    `changes` of the loss, in the `unit` of the task, are of a layer and of the `levels`, the fractions that are cut.
    `bits_before` and `bits_after` are the bits of single values by layer, which older versions have not written.
    """

    before: Counted
    after: Counted
    estimates: dict[str, Estimate]
    measured_ns: dict[str, float]
    budget_ns: float | None
    layers: tuple[str, ...]
    levels: tuple[float, ...]
    changes: tuple[tuple[float, ...], ...]
    unit: str
    bits_before: dict[str, Counted] = field(default_factory=dict)
    bits_after: dict[str, Counted] = field(default_factory=dict)

    @property
    def counted(self) -> Iterator[tuple[str, Counted]]:
        """All that is counted, by what it is of."""
        yield from (("before", self.before), ("after", self.after))
        for form, layers in (("bits_before", self.bits_before), ("bits_after", self.bits_after)):
            yield from ((f"{form}.{name}", each) for name, each in layers.items())


def read(path: Path) -> Designs | None:
    """Read what a run wrote; None where it wrote none, as runs once did.

    Raises:
        ReportError: the file is damaged.
    """
    if not path.exists():
        return None
    found = stored.read(Designs, path, error=ReportError)
    for problem in _mismatches(found):
        raise ReportError(f"'{path}' is damaged: {problem}; write it again")
    return found


def _mismatches(designs: Designs) -> Iterator[str]:
    """Yield what of a file does not go together, or cannot be drawn."""
    for name, each in designs.counted:
        if len(each.values) != len(each.counts):
            yield f"{name} has {len(each.values)} values and {len(each.counts)} counts"
        if not np.isfinite(each.values).all():
            yield f"{name} has values that are not finite"
        if name.startswith("bits") and not all(0 <= width <= MAX_BITS for width in each.values):
            yield f"{name} has bits that are not between 0 and {MAX_BITS}"
    sizes = [len(row) for row in designs.changes]
    if sizes != [len(designs.levels)] * len(designs.layers):
        yield f"changes are not of {len(designs.layers)} layers and {len(designs.levels)} levels each"


def draw(designs: Designs, folder: Path) -> dict[str, list[Path]]:
    """Draw weights and latency, sensitivity where layers go in parts, and bits where values have types of their own.

    The files are returned by the name of the plot.
    """
    drawn = {
        "weights": physics.weight_histogram(designs.before.weighted, designs.after.weighted, folder / "weights"),
        "latency": costs.latency_stack(
            designs.estimates, folder / "latency", budget_ns=designs.budget_ns, measured_ns=designs.measured_ns
        ),
    }
    if designs.layers:  # bits of all weights of a layer, reuse factors and whole branches have no curves
        drawn["sensitivity"] = plots.sensitivity_map(
            designs.layers, designs.levels, designs.changes, folder / "sensitivity", unit=designs.unit
        )
    if any(len(each.values) > 1 for each in designs.bits_after.values()):
        before, after = (
            {name: each.weighted for name, each in form.items()} for form in (designs.bits_before, designs.bits_after)
        )
        drawn["bits"] = distributions.of_values(before, after, folder / "bits")
    return drawn


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


def write_judged(outputs: tuple[Judged, ...], path: Path) -> Path:
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


def read_judged(path: Path) -> tuple[Judged, ...]:
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
