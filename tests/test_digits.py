import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepprune import digits


def non_adjacent_form(number: int) -> list[int]:
    """Recode by the textbook: the remainder modulo 4 decides each odd digit."""
    found = []
    while number:
        digit = 2 - number % 4 if number % 2 else 0
        found.append(digit)
        number = (number - digit) // 2
    return found


@given(st.integers(-(2**51), 2**51))
def test_count_equals_the_textbook_recoding(number: int) -> None:
    form = non_adjacent_form(number)
    assert sum(digit * 2**place for place, digit in enumerate(form)) == number
    assert digits.count(np.array([number]))[0] == sum(digit != 0 for digit in form)


@given(st.integers(-(2**51), 2**51))
def test_planes_are_the_digits_of_the_textbook_recoding(number: int) -> None:
    form = non_adjacent_form(number)
    assert digits.planes(np.array([number]))[0].tolist() == form
    widened = digits.planes(np.array([[number, 0], [1, 2**52]]))
    assert widened[0, 0].tolist() == form + [0] * (53 - len(form))


def test_count_is_the_fewest_terms_possible() -> None:
    reachable, fewest = {0}, {0: 0}
    for n_terms in range(1, 5):
        reachable = {value + sign * 2**place for value in reachable for sign in (-1, 1) for place in range(9)}
        for value in reachable:
            fewest.setdefault(value, n_terms)
    numbers = np.arange(-128, 128)
    assert digits.count(numbers).tolist() == [fewest[number] for number in numbers.tolist()]


def test_count_takes_whole_floats() -> None:
    assert digits.count(np.array([[0.0, -7.0], [5.0, 1.0]])).tolist() == [[0, 2], [2, 1]]


@pytest.mark.parametrize(("low", "high"), [(-32, 31), (-128, 127), (-7, 7), (0, 63), (-2, 1)])
@pytest.mark.parametrize("limit", [0, 1, 2, 3])
def test_nearest_equals_brute_force(low: int, high: int, limit: int) -> None:
    allowed = [n for n in range(low, high + 1) if sum(d != 0 for d in non_adjacent_form(n)) <= limit]
    expected = [min(allowed, key=lambda a: (abs(a - n), abs(a))) for n in range(low, high + 1)]
    assert digits.nearest(low, high, limit).tolist() == expected


def test_nearest_cannot_be_changed_by_its_reader() -> None:
    with pytest.raises(ValueError, match="read-only"):
        digits.nearest(-8, 7, 1)[0] = 3
