"""The page of a study: what fits, what no point filled, and a damaged file in one sentence."""

import json
from pathlib import Path
from typing import Any

import pytest

from hepprune.errors import ReportError
from hepprune.jobs import pages

POINT = {"name": "a <b>", "latency_ns": 20.0, "lut": 500.0, "dsp": 0.0, "ff": None, "verdict": "fits", "front": True}
STUDY = {"target": "t", "io_type": "io_parallel", "metric": None, "n_jets": 0, "notes": ["a note"]}


def write(folder: Path, *points: dict[str, Any]) -> Path:
    (folder / "study.json").write_text(json.dumps(STUDY | {"points": points}))
    return folder


def test_points_that_fit_are_counted_and_columns_that_none_fills_left_out(tmp_path: Path) -> None:
    others = (POINT | {"verdict": "doubtful", "front": False}, POINT | {"verdict": "over", "front": False})
    page = pages.of(write(tmp_path, POINT, *others))
    assert page.verdict == "2 of 3 points fit, 1 are on the front"
    assert page.good is True
    assert "1 of those that fit do so by less than one standard deviation." in page.lines
    (front,) = next(section for section in page.sections if section.title == "The front").tables
    assert list(front.columns) == ["point", "latency [ns]", "LUT", "DSP", "verdict"]
    assert [list(row) for row in front.rows] == [["a <b>", 20.0, 500.0, 0.0, "fits"]]


@pytest.mark.parametrize("lut", [[1], {"a": 1}])
def test_a_damaged_study_is_one_sentence(tmp_path: Path, lut: object) -> None:
    with pytest.raises(ReportError, match="damaged or of another version"):
        pages.of(write(tmp_path, POINT | {"lut": lut}))
