"""What pictures of designs need comes back as it was written, and everything is drawn from it."""

from pathlib import Path

import numpy as np
import pytest

from hepprune.errors import ReportError
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
    designs.write(DESIGNS, tmp_path / designs.FILE)
    found = designs.read(tmp_path / designs.FILE)
    assert found == DESIGNS
    assert np.array_equal(found.before.each, np.sort(WEIGHTS))
    drawn = designs.draw(found, tmp_path / "plots")
    assert [*drawn] == ["weights", "latency", "sensitivity"]
    assert len(list((tmp_path / "plots").iterdir())) == 6
    assert designs.read(tmp_path / "none.json") is None


def test_a_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / designs.FILE).write_text('{"before": 3}')
    with pytest.raises(ReportError, match=r"designs\.json' is damaged or of another version"):
        designs.read(tmp_path / designs.FILE)
