"""What a search did, stage by stage and step by step, as it left it on disk."""

from collections.abc import Sequence
from pathlib import Path

from hepprune.errors import ReportError
from hepprune.files import stored
from hepprune.metrics import scores
from hepprune.report.page import Cell, Table
from hepprune.search.stages import Stage

FILE = "search.json"
Searches = Sequence[Sequence[Stage]]
_KIND = tuple[tuple[Stage, ...], ...]


def write(searches: Searches, path: Path) -> None:
    """Write the stages of the search of each turn of a run."""
    stored.write(_KIND, path, tuple(map(tuple, searches)))


def read(path: Path) -> Searches:
    """Return the stages of the search of each turn of a run, none where it has written none.

    Raises:
        ReportError: the file is damaged.
    """
    return stored.read(_KIND, path, error=ReportError) if path.is_file() else ()


def staged(searches: Searches) -> Table:
    """Return what was left after each stage."""
    rows: list[list[Cell]] = []
    for name, stage in _numbered(searches):
        metric, change = next(iter(stage.changes.items()))
        cost, sizes = stage.estimate, "-".join(map(str, stage.layer_sizes))
        figures = (len(stage.steps), cost.resources.lut, cost.latency_ns, stage.nonzero_weights)
        rows.append([name, *figures, sizes, scores.change(metric, change)])
    columns = ("turn.stage", "steps", "LUT", "ns", "non-zero weights", "neurons", "change on validation jets")
    return Table(caption="Costs are estimates", columns=columns, rows=rows)


def steps(searches: Searches) -> Table:
    """Return every step with its reason: the loss that was predicted for the share of the broken limits it freed."""
    rows: list[list[Cell]] = []
    for name, stage in _numbered(searches):
        for number, step in enumerate(stage.steps, start=1):
            price = step.predicted_loss / step.gain if step.gain > 0 else None
            figures = (step.n_units, step.predicted_loss, step.gain, price)
            rows.append([f"{name}.{number}", ", ".join(step.layers), step.kind, *figures])
    columns = ("turn.stage.step", "layers", "what goes", "units", "loss predicted", "share freed", "loss for all of it")
    return Table(caption="Each step loses least for what it frees of the broken limits", columns=columns, rows=rows)


def _numbered(searches: Searches) -> list[tuple[str, Stage]]:
    return [(f"{turn}.{stage.index}", stage) for turn, stages in enumerate(searches, start=1) for stage in stages]
