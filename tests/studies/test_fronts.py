from dataclasses import replace

import numpy as np
import pytest

from hepprune.hardware.resources import Budget, Estimate, Measurement, Resources
from hepprune.metrics.scores import Stated
from hepprune.studies import fronts
from hepprune.studies.grid import Setting
from hepprune.studies.points import Point, Study


def point(
    lut: float = 100.0, cycles: int = 4, *, clock: float = 5.0, accuracy: float | None = None, **knobs: object
) -> Point:
    estimate = Estimate(
        stage="yosys",
        strategy=str(knobs.get("strategy", "latency")),
        resources=Resources(lut=lut, dsp=0.0),
        latency_cycles=cycles,
        interval_cycles=1,
        clock_ns=clock,
        uncertainty=Resources(lut=0.1 * lut),
        latency_error_cycles=1.0,
    )
    scores = {} if accuracy is None else {"accuracy": Stated(accuracy, 0.01)}
    setting = Setting(model="a", clock_ns=clock, **knobs)  # type: ignore[arg-type]
    budget = Budget(latency_ns=30.0, resources=Resources(lut=105.0))
    return Point(setting=setting, estimate=estimate, budget=budget, scores=scores)


def measured(of: Point, lut: float, stage: str = "yosys") -> Point:
    seen = Measurement(
        stage=stage,
        tool="t",
        version="1",
        part="p",
        clock_ns=5.0,
        resources=Resources(lut=lut, dsp=0.0),
        latency_cycles=5,
        interval_cycles=1,
    )
    return replace(of, measurement=seen)


def test_nothing_on_the_front_is_beaten_and_everything_else_is() -> None:
    values = np.random.default_rng(0).integers(0, 6, size=(700, 3)).astype(float)
    kept = fronts.unbeaten(values)
    by_hand = [not any((v <= w).all() and (v < w).any() for v in values) for w in values]
    assert kept.tolist() == by_hand
    assert 0 < kept.sum() < len(values)


def test_without_a_metric_only_designs_of_one_network_are_compared() -> None:
    points = [point(100, 4), point(90, 4), point(50, 4, bits=4)]
    assert [each.front for each in fronts.marked(points, None)] == [False, True, True]
    judged = [point(100, 4, accuracy=0.8), point(90, 4, accuracy=0.8), point(50, 4, bits=4, accuracy=0.7)]
    assert [each.front for each in fronts.marked(judged, "accuracy")] == [False, True, True]
    worse = replace(judged[1], scores={"accuracy": Stated(0.6, 0.01)})
    assert [each.front for each in fronts.marked([judged[0], worse, judged[2]], "accuracy")] == [True, False, True]


def test_what_is_most_uncertain_about_the_front_is_measured_first_and_nothing_twice() -> None:
    alike = [point(50, 4, clock=clock, bits=6) for clock in (5.0, 4.9, 4.8)]
    other = point(60, 3, bits=6, strategy="distributed_arithmetic")
    points = fronts.marked([*alike, other], None)
    first = fronts.informative(points, range(4), 2)  # type: ignore[arg-type]
    assert len({points[place].setting.strategy for place in first}) == 2  # two that err alike teach less
    assert fronts.informative(points, range(4), 9)[:2] == first  # type: ignore[arg-type]
    known = [measured(each, 50) if place == first[0] else each for place, each in enumerate(points)]
    again = fronts.informative(known, range(4), 9)  # type: ignore[arg-type]
    assert first[0] not in again
    assert again[0] == first[1]
    assert fronts.informative(points, [2], 5) == [2]


def test_a_verdict_counts_doubt_and_a_measurement_ends_it() -> None:
    assert point(90).verdict == "fits"
    assert point(100).verdict == "doubtful"
    assert point(100).doubtful == ("lut",)
    assert point(110).verdict == "over"
    assert point(110).exceeded == ("lut",)
    assert measured(point(100), 104).verdict == "fits"
    assert measured(point(100), 120).verdict == "over"
    assert measured(point(100), 120, "csynth").verdict == "doubtful"  # another stage says nothing of this one


def test_a_study_is_a_table() -> None:
    points = fronts.marked([measured(point(100, accuracy=0.8), 104), point(90, 3, accuracy=0.9, bits=6)], "accuracy")
    study = Study(target="<t>", io_type="io_parallel", points=points, metric="accuracy")
    arrays = study.to_arrays()
    assert {len(column) for column in arrays.values()} == {2}
    assert arrays["lut"].tolist() == [100, 90]
    assert arrays["latency_ns"].tolist() == [20, 15]
    assert arrays["latency_error_ns"].tolist() == [5, 5]
    assert arrays["accuracy"].tolist() == [0.8, 0.9]
    assert arrays["measured_lut"][0] == 104
    assert np.isnan(arrays["measured_lut"][1])
    assert np.isnan(arrays["bits"][0])
    assert arrays["strategy"].tolist() == ["latency", "latency"]
    assert arrays["front"].dtype == bool
    assert [each.estimate.resources.lut for each in study.fitting] == [90, 100]
    assert (len(study), study[1], len(study.measured)) == (2, points[1], 1)
    page = study._repr_html_()
    assert "&lt;t&gt;" in page
    assert page.count("<tr>") == 1 + len(study.front)


@pytest.mark.parametrize("n", [1, 5])
def test_a_choice_among_many_points_looks_at_those_that_matter(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fronts, "_MOST", 3)
    points = fronts.marked([point(100 + each, 4 + each) for each in range(6)], None)
    found = fronts.informative(points, list(range(6)), n)
    assert len(found) == n
    assert set(found[: min(n, 3)]) <= {0, 1, 2}


def test_a_measurement_without_latency_leaves_the_estimated_one() -> None:
    fast, slow = point(100, 4), point(104, 5)
    known = measured(slow, 104)
    assert known.measurement is not None
    silent = replace(known, measurement=replace(known.measurement, latency_cycles=None), budget=Budget())
    assert (silent.figures, silent.latency_ns) == (silent.measurement, 25.0)
    assert [each.front for each in fronts.marked([fast, silent], None)] == [True, False]


def test_points_that_differ_in_parallelization_alone_err_apart_and_all_means_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair = [point(50, parallelization=1), point(50, parallelization=8)]
    (_, shared), _ = fronts._covariance(pair)
    assert 0 < shared < fronts._covariance(pair)[0, 0]
    monkeypatch.setattr(fronts, "_MOST", 3)
    assert sorted(fronts.informative([point(50, clock=c) for c in range(1, 9)], range(8), 8)) == [*range(8)]
