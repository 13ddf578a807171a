import numpy as np
import pytest

from hepprune.hardware.pooling import Observation, learn

WIDTHS = {"school": 0.3, "design": 0.1, "noise": 0.01}
FIXED = frozenset({"noise"})


def observed(value: float, *groups: tuple[str, ...]) -> Observation:
    return Observation(value, dict.fromkeys(groups, 1.0), "noise")


def test_the_posterior_is_that_of_the_textbook_where_nothing_is_learned_of_the_widths() -> None:
    """One normal mean with a normal prior (Gelman et al., Bayesian Data Analysis, section 2.5)."""
    values = [0.2, 0.5, 0.1]
    seen = [Observation(value, {("school", "a"): 1.0}, "noise") for value in values]
    pool = learn(seen, {"school": 0.3, "noise": 0.2}, fixed=frozenset({"school", "noise"}))
    precision = 1 / 0.3**2 + 3 / 0.2**2
    mean, width = pool.predict({("school", "a"): 1.0})
    assert mean == pytest.approx(sum(values) / 0.2**2 / precision)
    assert width == pytest.approx(precision**-0.5)
    assert pool.predict({("school", "b"): 1.0}) == (0.0, 0.3)


def test_the_widths_of_many_groups_are_found() -> None:
    rng = np.random.default_rng(3)
    seen = [
        observed(school + rng.normal(0, 0.2), ("school", str(number)), ("design", f"{number}-{copy}"))
        for number, school in enumerate(rng.normal(0, 0.6, 30))
        for copy in range(4)
    ]
    pool = learn(seen, WIDTHS, fixed=FIXED)
    assert pool.widths["school"] == pytest.approx(0.6, rel=0.25)
    assert pool.widths["design"] == pytest.approx(0.2, rel=0.15)
    assert pool.widths["noise"] == WIDTHS["noise"]


def test_a_group_is_believed_the_more_the_oftener_it_was_seen() -> None:
    seen = [observed(0.0, ("school", "a"), ("design", f"a{n}")) for n in range(6)]
    means = []
    for times in (1, 2, 4):
        more = [observed(0.4, ("school", "b"), ("design", f"b{n}")) for n in range(times)]
        means.append(learn([*seen, *more], WIDTHS, fixed=FIXED).predict({("school", "b"): 1.0}))
    assert 0 < means[0][0] < means[1][0] < means[2][0] < 0.4
    assert means[0][1] > means[1][1] > means[2][1]
