"""What the table of budgets says, and what it says where no network is at the budget, or a small one is."""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from hepprune.errors import ReportError
from hepprune.jobs import pages
from hepprune.metrics.scores import Difference, Stated
from hepprune.pipeline import pictures
from hepprune.report import descent
from hepprune.report.descent import Front, FrontRow
from hepprune.report.summary import Comparison, Cost, Tagger

TAGGER = Tagger(
    scores={"auc": Stated(0.9, 0.01)}, nonzero_weights=9, layer_sizes=(4, 2), estimate=Cost(stage="da4ml", lut=4000.0)
)


def front(luts: Sequence[float]) -> Front:
    """Return a front of a budget of 1000 LUT whose networks lose 0.01 of AUC each."""
    gaps = [Comparison.of({"auc": Difference(-0.01 * index, 0.001 * index)}) for index in range(len(luts))]
    rows = tuple(
        FrontRow(
            lut_allowed=lut,
            tagger=replace(TAGGER, solved_lut=lut),
            validation=TAGGER.scores,
            against_budget=gap,
            against_baseline=gap,
            network="",
        )
        for lut, gap in zip(luts, gaps, strict=True)
    )
    return Front(
        recipe="jets",
        target="here",
        seed=1,
        budget={"lut": 1000.0},
        baseline=TAGGER,
        rows=rows,
        seconds={},
        versions={},
        files={},
    )


def shown(found: Front) -> str:
    text = io.StringIO()
    Console(file=text, width=200).print(descent.render(found))
    return text.getvalue()


def test_half_and_a_quarter_are_told_against_the_network_at_the_budget() -> None:
    found = front([900, 450, 240])
    assert found.at_budget == found.rows[0]
    assert descent.sentences(found) == [
        "half the budget's LUT: AUC -0.0100 ± 0.0010 (450 LUT)",
        "a quarter of the budget's LUT: AUC -0.0200 ± 0.0020 (240 LUT)",
    ]
    assert "against the budget's" in shown(found)


def test_a_small_network_at_the_budget_is_not_told_against_itself() -> None:
    found = front([450, 240])
    assert descent.sentences(found) == ["a quarter of the budget's LUT: AUC -0.0100 ± 0.0010 (240 LUT)"]
    assert descent.sentences(front([240])) == []


def test_that_no_network_is_within_the_budget_is_said() -> None:
    found = front([3000, 1500])
    assert found.at_budget is None
    assert descent.sentences(found) == ["no network is within the budget of 1,000 LUT: the smallest takes 1,500"]
    assert "against the smallest" in shown(found)


def test_a_folder_of_a_front_is_not_taken_for_that_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "front.json").write_text("{}")
    with pytest.raises(ReportError, match="holds a front and no run"):
        pictures.redraw(tmp_path, tmp_path / "plots")
    with pytest.raises(ReportError, match="holds a front, of which there is no page"):
        pages.of(tmp_path)
