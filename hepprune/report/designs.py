"""What pictures of a run's designs need beyond summary.json, kept beside it, so that they can be drawn again."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, TypeAdapter

from hepprune.errors import ReportError
from hepprune.files import stored
from hepprune.hardware.resources import Estimate
from hepprune.metrics import Floats
from hepprune.report import plots
from hepprune.report.plots import costs, distributions, physics
from hepprune.report.plots.physics import WeightedValues

FILE = "designs.json"
MAX_BITS = 64  # of a value, as a plot has room for


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
    found = stored.read(TypeAdapter(Designs), path, error=ReportError)
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
