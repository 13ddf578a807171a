"""The page of a result: what a trigger review is shown of a build, a study or a ledger."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from hepprune.errors import ReportError
from hepprune.files import stored
from hepprune.jobs.pages import builds
from hepprune.report import descent
from hepprune.report import page as pages
from hepprune.report.page import Page, PageSection, Table, cell
from hepprune.synthesis import exchange
from hepprune.synthesis.ledger import existing

_LEDGERS = (".sqlite", ".db")
_SHOWN = ("recorded", "design", "kind", "stage", "strategy", "tool", "part", "clock_ns", "lut", "ff", "dsp", "bram18")
_COLUMNS = (*_SHOWN, "latency_cycles", "interval_cycles", "failure")
_PICTURES = (
    ("latency_against_lut", "Latency against LUT of every point, with the budget, errors and what was measured"),
    ("latency_by_layer", "Latency by layer of points on the front"),
    ("predicted_against_measured", "What was predicted against what was measured"),
)
_OF_POINTS = {"name": "point", "latency_ns": "latency [ns]", "latency_error_ns": "± ns", "interval_cycles": "II"}
_OF_POINTS |= {"lut": "LUT", "lut_error": "± LUT", "ff": "FF", "dsp": "DSP", "bram18": "BRAM18"}
_OF_POINTS |= {"measured_lut": "LUT measured", "measured_latency_ns": "ns measured", "verdict": "verdict"}


def of(path: Path) -> Page:
    """Return the page of a build, a study or a ledger.

    Raises:
        ReportError: there is none of them at that path, or it is damaged.
    """
    if path.suffix in _LEDGERS:
        return _ledger(path)
    for name, made in (("summary.json", builds.page), ("study.json", study_page)):
        if (path / name).is_file():
            return made(path)
    if descent.is_alone(path):
        raise ReportError(f"'{path}' holds a front, of which there is no page: its table is {descent.FILE} there")
    raise ReportError(
        f"'{path}' holds no result: give the build/ of a run (with summary.json), the folder of a study (with "
        "study.json) or a ledger (.sqlite)"
    )


def _ledger(path: Path) -> Page:
    with existing(path) as book:
        designs, values = book.designs(), list(exchange.rows(book.records()))
    measured = sum(design.measurements for design in designs)
    own = ("description", "key", "recorded", "estimates", "measurements", "failures")
    columns = ("design", "key", "recorded (UTC)", *own[3:])
    known = Table(caption="Oldest first", columns=columns, rows=[[getattr(d, name) for name in own] for d in designs])
    rows = [[cell(value[name]) for name in _COLUMNS] for value in values]
    kept = Table(caption="Estimates, measurements and failures", columns=_COLUMNS, rows=rows)
    return Page(
        title=f"Ledger {path.name}",
        verdict=f"{len(designs):,} designs, {measured:,} measurements",
        sections=(PageSection(title="Designs", tables=[known]), PageSection(title="Values", tables=[kept])),
    )


class _Study(TypedDict):
    """What study.json has that the page shows."""

    target: str
    io_type: str
    metric: str | None
    n_jets: int
    notes: list[str]
    points: list[dict[str, str | float | bool | None]]


def study_page(folder: Path) -> Page:
    """Return the page of a study's folder.

    Raises:
        ReportError: its study.json is damaged.
    """
    study = stored.read(_Study, folder / "study.json", error=ReportError)
    points = study["points"]
    fitting = sum(point.get("verdict") in {"fits", "doubtful"} for point in points)
    front = [point for point in points if point.get("front")]
    doubtful = sum(point.get("verdict") == "doubtful" for point in points)
    measured = sum(point.get("measured_lut") is not None for point in points)
    every = _points("Every legal point", points, study["metric"])
    return Page(
        title=f"Latency study for {study['target']}",
        verdict=f"{fitting:,} of {len(points):,} points fit, {len(front):,} are on the front",
        good=bool(fitting),
        lines=[
            f"{doubtful:,} of those that fit do so by less than one standard deviation.",
            f"{measured:,} points measured, the others estimated ({study['io_type']}).",
            *study["notes"],
        ],
        sections=(
            PageSection(title="Plots", pictures=pages.pictures(folder, _PICTURES)),
            PageSection(title="The front", tables=[_points("What no other point beats", front, study["metric"])]),
            PageSection(title="All points", tables=[every], folded=True),
        ),
    )


def _points(caption: str, points: Sequence[Mapping[str, Any]], metric: str | None) -> Table:
    """Return the points as a table, without columns that none of them fills."""
    own = {} if metric is None else {metric: metric, f"{metric}_error": f"± {metric}"}
    filled = {key for point in points for key, value in point.items() if value is not None}
    wanted = {key: title for key, title in (_OF_POINTS | own).items() if key in filled}
    rows = [[pages.cell(point.get(key)) for key in wanted] for point in points]
    return Table(caption=caption, columns=list(wanted.values()), rows=rows)
