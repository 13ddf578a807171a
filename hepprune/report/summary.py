"""summary.json: everything a run found, predicted and measured apart, every metric with its error."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hepprune.errors import ReportError
from hepprune.files import stored, write_text
from hepprune.hardware.resources import RESOURCES, Estimate, Measurement
from hepprune.metrics.scores import Difference, Stated, primary

# What a budget can limit, as tables and plots name it.
FIGURES = {"latency_ns": "latency [ns]", "interval_cycles": "II"} | {name: name.upper() for name in RESOURCES}


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Figures of a design: at which stage and by which tool, cells, latency, interval; an unknown is left out.

    An estimate has the `uncertainty` of its figures, one standard deviation each, by their names.
    """

    stage: str
    tool: str | None = None
    lut: float | None = None
    ff: float | None = None
    dsp: float | None = None
    bram18: float | None = None
    uram: float | None = None
    latency_cycles: int | None = None
    latency_ns: float | None = None
    interval_cycles: int | None = None
    clock: str | None = None
    uncertainty: dict[str, float] | None = None

    @classmethod
    def of(cls, figures: Estimate | Measurement) -> "Cost":
        """Return the figures of an estimate, or of a measurement with its tool and whether the clock is met."""
        cells = figures.resources.known()
        own: dict[str, Any] = {"uncertainty": None}
        if isinstance(figures, Measurement):
            own |= {"tool": f"{figures.tool} {figures.version}", "clock": figures.clock}
        else:
            cells = {name: round(value, 1) for name, value in cells.items()}
            own["uncertainty"] = {name: round(value, 1) for name, value in figures.uncertainty.known().items()}
            if (cycles := figures.latency_error_cycles) is not None:
                own["uncertainty"]["latency_ns"] = round(cycles * figures.clock_ns, 1)
        names = ("stage", "latency_cycles", "latency_ns", "interval_cycles")
        return cls(**({name: getattr(figures, name) for name in names} | own | cells))


@dataclass(frozen=True, kw_only=True)
class Tagger:
    """One network: physics on the test jets with statistical errors, size, predicted and measured cost.

    `input_bits` and `activation_bits` are of all values of a jet, `weight_bits` what a weight that acts needs in the
    mean; absent where they are unknown, or of an older version.
    """

    scores: dict[str, Stated]
    nonzero_weights: int
    layer_sizes: tuple[int, ...]
    input_bits: int | None = None
    activation_bits: int | None = None
    weight_bits: float | None = None
    estimate: Cost
    solved_lut: float | None = None
    solved_depth: float | None = None
    measured: Cost | None = None

    @property
    def lut(self) -> float:
        """The LUT at which networks are compared: of the solved adder graph, or as estimated."""
        return (self.estimate.lut or 0.0) if self.solved_lut is None else self.solved_lut


@dataclass(frozen=True)
class Comparison:
    """Differences of two taggers on the same test jets, metric by metric, with the paired errors.

    `significant` is that of the primary metric. Of classes, the cross-entropy in nats tells two taggers apart best, the
    accuracy worst: it looks at the highest output alone.
    """

    scores: dict[str, Difference]
    significant: bool

    @classmethod
    def of(cls, differences: dict[str, Difference]) -> "Comparison":
        """Return the comparison that differences of metrics make, the primary one first."""
        return cls(differences, primary(differences).significant)


@dataclass(frozen=True, kw_only=True)
class Equalities:
    """The equalities proved: vectors compared and mismatches; absent is what the run's route has not.

    `no_hls` is why hls4ml does not take the network, where Verilog alone was written for that.
    """

    csim_vectors: int | None = None
    csim_mismatches: int | None = None
    rtl_vectors: int | None = None
    rtl_mismatches: int | None = None
    csim_agreement: float | None = None
    no_hls: str | None = None


@dataclass(frozen=True)
class Feedback:
    """One turn of the loop: what was predicted, what was measured, and whether the budget was met.

    What another machine is still to measure is absent.
    """

    iteration: int
    estimate: Cost
    measured: Cost | None = None
    met: bool | None = None


@dataclass(frozen=True, kw_only=True)
class StagePoint:
    """One stage of the search, for the Pareto plot."""

    lut: float
    latency_ns: float
    scores: dict[str, Stated]
    significant: bool
    change: float  # of the primary metric since the baseline, on the same validation jets


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a run found; `no_model` is why the network is not written as the kind of model that it came as."""

    recipe: str
    target: str
    budget: dict[str, float]
    baseline: Tagger
    compressed: Tagger
    uniform: Tagger
    compressed_minus_baseline: Comparison
    compressed_minus_uniform: Comparison
    uniform_minus_baseline: Comparison
    checks: Equalities
    feedback: tuple[Feedback, ...]
    search: tuple[StagePoint, ...]
    seconds: dict[str, float]
    seed: int
    versions: dict[str, str]
    files: dict[str, str] = field(default_factory=dict)
    no_model: str | None = None
    max_losses: dict[str, float] = field(default_factory=dict)  # what may be lost to the baseline, by metric


def to_json(summary: Summary) -> str:
    """Return the summary as JSON; what is unknown is absent."""
    return stored.adapter(Summary).dump_json(summary, indent=2, exclude_none=True).decode()


def write(summary: Summary, path: Path) -> Path:
    """Write summary.json whole, and return its path."""
    return write_text(path, to_json(summary) + "\n")


def read(path: Path) -> Summary:
    """Read a summary.json.

    Raises:
        ReportError: it cannot be read, is damaged, or is of another version.
    """
    return stored.read(Summary, path, error=ReportError)
