"""What a search did, stage by stage and step by step, as it left it on disk."""

from pathlib import Path

from pydantic import TypeAdapter

from hepprune import scores, stored
from hepprune.errors import ReportError
from hepprune.report.page import Cell, Table
from hepprune.search.stages import Stage

_STAGE = TypeAdapter(Stage)


def read(folder: Path) -> list[list[Stage]]:
    """Return the stages of each search under a folder, searches in the order they were run.

    Raises:
        ReportError: one is damaged.
    """
    found: dict[str, list[Stage]] = {}
    for path in sorted(folder.glob("stage_*-*.json"), key=lambda each: each.stat().st_mtime):
        stage = stored.read(_STAGE, path, error=ReportError)
        found.setdefault(path.stem.partition("-")[2], []).append(stage)
    return [sorted(stages, key=lambda stage: stage.index) for stages in found.values()]


def staged(searches: list[list[Stage]]) -> Table:
    """Return what was left after each stage."""
    rows: list[list[Cell]] = []
    for name, stage in _numbered(searches):
        metric, change = next(iter(stage.changes.items()))
        cost, sizes = stage.estimate, "-".join(map(str, stage.layer_sizes))
        figures = (len(stage.steps), cost.resources.lut, cost.latency_ns, stage.nonzero_weights)
        rows.append([name, *figures, sizes, scores.change(metric, change)])
    columns = ("turn.stage", "steps", "LUT", "ns", "non-zero weights", "neurons", "change on validation jets")
    return Table(caption="Costs are estimates", columns=columns, rows=rows)


def steps(searches: list[list[Stage]]) -> Table:
    """Return every step with its reason: the loss that was predicted for the share of the broken limits it freed."""
    rows: list[list[Cell]] = []
    for name, stage in _numbered(searches):
        for number, step in enumerate(stage.steps, start=1):
            price = step.predicted_loss / step.gain if step.gain > 0 else None
            figures = (step.n_units, step.predicted_loss, step.gain, price)
            rows.append([f"{name}.{number}", ", ".join(step.layers), step.kind, *figures])
    columns = ("turn.stage.step", "layers", "what goes", "units", "loss predicted", "share freed", "loss for all of it")
    return Table(caption="Each step loses least for what it frees of the broken limits", columns=columns, rows=rows)


def _numbered(searches: list[list[Stage]]) -> list[tuple[str, Stage]]:
    return [(f"{turn}.{stage.index}", stage) for turn, stages in enumerate(searches, start=1) for stage in stages]
