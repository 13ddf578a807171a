"""What pictures of designs need comes back as it was written, and everything is drawn from it."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hepprune.errors import ReportError
from hepprune.files import stored
from hepprune.hardware.resources import Estimate, LayerEstimate, Resources
from hepprune.report import designs
from hepprune.report.designs import Counted, Designs

WEIGHTS = np.array([0.5, 0.0, -0.25, 0.0, 0.5, 0.5])
ESTIMATE = Estimate(
    stage="da4ml",
    strategy="distributed_arithmetic",
    resources=Resources(lut=100.0),
    latency_cycles=2,
    interval_cycles=1,
    clock_ns=25.0,
    layers=(LayerEstimate(layer="dense_1", resources=Resources(lut=100.0), depth=5.0),),
)
DESIGNS = Designs(
    before=Counted.of(WEIGHTS),
    after=Counted.of(WEIGHTS[:3]),
    estimates={"baseline": ESTIMATE, "hepprune": ESTIMATE},
    measured_ns={"hepprune": 25.0},
    budget_ns=50.0,
    layers=("dense_1 weight",),
    levels=(0.5, 0.9),
    changes=((0.01, 0.2),),
    unit="nat",
)


def test_designs_come_back_and_are_drawn(tmp_path: Path) -> None:
    stored.write(designs.Designs, tmp_path / designs.FILE, DESIGNS)
    found = designs.read(tmp_path / designs.FILE)
    assert found == DESIGNS
    assert np.array_equal(np.repeat(found.before.values, found.before.counts), np.sort(WEIGHTS))
    drawn = designs.draw(found, tmp_path / "plots")
    assert [*drawn] == ["weights", "latency", "sensitivity"]
    assert len(list((tmp_path / "plots").iterdir())) == 6
    assert designs.read(tmp_path / "none.json") is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"before": {"values": [0.5], "counts": [-1]}}, "counts.0: Input should be greater than or equal to 1"),
        ({"after": {"values": [0.5, 1.0], "counts": [2]}}, "after has 2 values and 1 counts"),
        ({"after": {"values": [float("inf")], "counts": [2]}}, "after has values that are not finite"),
        ({"changes": [[0.01]]}, "changes are not of 1 layers and 2 levels each"),
        ({"bits_after": {"relu_1": {"values": [6.0, 7.0], "counts": [2]}}}, "bits_after.relu_1 has 2 values and 1"),
        (
            {"bits_before": {"relu_1": {"values": [1e9], "counts": [2]}}},
            "relu_1 has bits that are not between 0 and 64",
        ),
        ({"changes": []}, "changes are not of 1 layers and 2 levels each"),
    ],
)
def test_parts_that_do_not_go_together_are_one_sentence(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = tmp_path / designs.FILE
    stored.write(designs.Designs, path, DESIGNS)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ReportError, match=re.escape(said)):
        designs.read(path)


def test_any_number_of_weights_is_drawn_without_being_written_out(tmp_path: Path) -> None:
    many = Counted((0.0, 0.5), (10**15, 1))
    assert designs.draw(replace(DESIGNS, before=many, after=many, layers=(), changes=()), tmp_path)["weights"]


def test_bits_are_drawn_where_values_of_a_layer_have_different_ones(tmp_path: Path) -> None:
    one, several = Counted((6.0,), (5,)), Counted((0.0, 3.0, 4.0), (1, 2, 2))
    before = {"features": one, "relu_1": one}
    alike = replace(DESIGNS, bits_before=before, bits_after=before)
    assert "bits" not in designs.draw(alike, tmp_path)
    own = replace(alike, bits_after={"features": one, "relu_1": several, "new": one})
    stored.write(designs.Designs, tmp_path / designs.FILE, own)
    assert designs.read(tmp_path / designs.FILE) == own
    assert [path.name for path in designs.draw(own, tmp_path)["bits"]] == ["bits.png", "bits.pdf"]


def test_what_an_older_version_has_written_is_read_and_drawn(tmp_path: Path) -> None:
    path = tmp_path / designs.FILE
    stored.write(designs.Designs, path, DESIGNS)
    content = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in content.items() if not name.startswith("bits")}))
    assert designs.read(path) == DESIGNS


def test_a_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / designs.FILE).write_text('{"before": 3}')
    with pytest.raises(ReportError, match=r"designs\.json' is damaged or of another version"):
        designs.read(tmp_path / designs.FILE)
