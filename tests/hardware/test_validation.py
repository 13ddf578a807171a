import math
from dataclasses import replace

import pytest

from hepprune.hardware import validation
from hepprune.hardware.resources import Estimate, Measurement, Resources


def pair(lut: float, ratio: float, *, version: str = "1") -> tuple[Estimate, Measurement]:
    estimate = Estimate(
        stage="yosys",
        strategy="latency",
        resources=Resources(lut=lut, dsp=0.0),
        latency_cycles=4,
        interval_cycles=1,
        clock_ns=5.0,
    )
    cells = Resources(lut=ratio * lut, dsp=0.0)
    return estimate, Measurement(
        stage="yosys",
        tool="yosys",
        version=version,
        part="xcvu13p",
        clock_ns=5.0,
        resources=cells,
        latency_cycles=4,
        interval_cycles=1,
    )


PAIRS = [pair(1000, 1.30), pair(2000, 1.25), pair(500, 1.35), pair(3000, 1.28)]


def test_a_common_bias_is_gone_after_the_first_design() -> None:
    rows = validation.forecasts(PAIRS)
    assert [row.n for row in rows] == [1, 2, 3]
    assert {row.resource for row in rows} == {"lut"}  # a count of zero is not a ratio
    (score,) = validation.scores(rows)
    assert score.before == pytest.approx(sum(math.log(r) for r in (1.25, 1.35, 1.28)) / 3)
    assert score.after < 0.3 * score.before
    assert score.pull < 1


def test_a_design_never_teaches_its_own_prediction() -> None:
    """A design that another version of the tool measured too is left out with it."""
    odd = pair(700, 4.0)
    alone = [row for row in validation.left_out([*PAIRS, odd]) if row.predicted == 700]
    twice = [row for row in validation.left_out([*PAIRS, odd, pair(700, 4.0, version="2")]) if row.predicted == 700]
    assert alone[0].calibrated == twice[0].calibrated < 1.5 * 700
    assert len(twice) == 2
    assert len(validation.left_out(PAIRS)) == len(PAIRS)


def test_what_has_no_other_design_of_its_stage_is_not_judged() -> None:
    estimate, measured = pair(100, 2.0)
    other = replace(estimate, stage="vsynth"), replace(measured, stage="vsynth")
    assert validation.left_out([pair(100, 2.0)]) == []
    assert validation.forecasts([pair(300, 2.0), other]) == []
    assert validation.scores([]) == []
