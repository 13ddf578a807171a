import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepprune.errors import NetworkError
from hepprune.pruning import schedules


@given(st.sampled_from(list(schedules.SCHEDULES)), st.floats(0, 1), st.integers(1, 20))
def test_a_schedule_rises_to_its_target(name: str, target: float, rounds: int) -> None:
    steps = schedules.sparsities(name, target, rounds=rounds)
    assert steps[-1] == pytest.approx(target)
    assert len(steps) == (1 if name == "one_shot" else rounds)
    assert list(steps) == sorted(steps)


@given(st.floats(0, 0.99), st.integers(1, 20))
def test_geometric_takes_the_same_fraction_of_what_remains(target: float, rounds: int) -> None:
    left = [1.0, *(1 - step for step in schedules.geometric(target, rounds))]
    fraction = 1 - (1 - target) ** (1 / rounds)
    assert all(1 - b / a == pytest.approx(fraction, abs=1e-6) for a, b in itertools.pairwise(left))


def test_polynomial_is_that_of_zhu_and_gupta() -> None:
    assert schedules.polynomial(0.8, 4, 0.2) == pytest.approx(
        [0.2 + 0.6 * (1 - (1 - k / 4) ** 3) for k in (1, 2, 3, 4)]
    )


def test_linear_takes_as_many_each_round() -> None:
    assert schedules.linear(0.9, 3) == pytest.approx([0.3, 0.6, 0.9])


def test_a_schedule_of_ones_own() -> None:
    assert schedules.sparsities([0.1, 0.5, 0.5]) == (0.1, 0.5, 0.5)


@pytest.mark.parametrize(
    ("kind", "target", "rounds", "said"),
    [
        ([0.5, 0.4], None, 1, "never falls"),
        ([0.5, 1.4], None, 1, "1.4 does not"),
        ([], None, 1, "at least one round"),
        ("geometric", 1.5, 3, "1.5 does not"),
        ("linear", 0.5, 0, "at least one round"),
        ("linear", None, 2, "needs a target"),
        ("cubic", 0.5, 2, "unknown schedule 'cubic'"),
    ],
)
def test_a_mistake_is_one_sentence(kind: object, target: float | None, rounds: int, said: str) -> None:
    with pytest.raises(NetworkError, match=said):
        schedules.sparsities(kind, target, rounds=rounds)
