"""The page of a latency study: what fits, what nothing beats, and every point."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from hepprune.errors import ReportError
from hepprune.files import stored
from hepprune.report import page as pages
from hepprune.report.page import Page, PageSection, Table

_PICTURES = (
    ("latency_against_lut", "Latency against LUT of every point, with the budget, errors and what was measured"),
    ("latency_by_layer", "Latency by layer of points on the front"),
    ("predicted_against_measured", "What was predicted against what was measured"),
)
_COLUMNS = {"name": "point", "latency_ns": "latency [ns]", "latency_error_ns": "± ns", "interval_cycles": "II"}
_COLUMNS |= {"lut": "LUT", "lut_error": "± LUT", "ff": "FF", "dsp": "DSP", "bram18": "BRAM18"}
_COLUMNS |= {"measured_lut": "LUT measured", "measured_latency_ns": "ns measured", "verdict": "verdict"}


class _Study(TypedDict):
    """What study.json has that the page shows."""

    target: str
    io_type: str
    metric: str | None
    n_jets: int
    notes: list[str]
    points: list[dict[str, str | float | bool | None]]


def page(folder: Path) -> Page:
    """Return the page of a study's folder.

    Raises:
        ReportError: its study.json is damaged.
    """
    study = stored.read(TypeAdapter(_Study), folder / "study.json", error=ReportError)
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
    wanted = {key: title for key, title in (_COLUMNS | own).items() if key in filled}
    rows = [[pages.cell(point.get(key)) for key in wanted] for point in points]
    return Table(caption=caption, columns=list(wanted.values()), rows=rows)
