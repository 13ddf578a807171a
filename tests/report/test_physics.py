from pathlib import Path

import numpy as np
import pytest

from hepprune.report import physics
from hepprune.report.physics import Scored


@pytest.mark.slow
def test_roc_and_weights_are_written_as_png_and_pdf(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 300)
    scores = rng.normal(size=(300, 3)) + 2 * np.eye(3)[labels]
    forms = [Scored("baseline", "-", scores), Scored("firmware", ":", np.round(scores))]
    drawn = physics.roc(forms, labels, ["g", "q", "t"], tmp_path / "roc")
    drawn += physics.weight_histogram(rng.normal(size=50), np.zeros(20), tmp_path / "weights")
    assert [path.name for path in drawn] == ["roc.png", "roc.pdf", "weights.png", "weights.pdf"]
    assert all(path.read_bytes()[:4] in {b"\x89PNG", b"%PDF"} for path in drawn)
