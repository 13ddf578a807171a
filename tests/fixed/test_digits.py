import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepprune.fixed import FixedPoint, digits
from hepprune.network import Dense
from hepprune.search.allocation import saved


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
    assert digits.nearest(np.arange(low, high + 1), low, high, limit).tolist() == expected


def next_to(number: int, limit: int) -> list[int]:
    """Return the numbers from 0 up with at most so many digits among which the nearest is: next to a power of two."""
    if number == 0 or limit == 0:
        return [0]
    power = 1 << (number.bit_length() - 1)
    below = [power + rest for rest in next_to(number - power, limit - 1)]
    return below + [2 * power - rest for rest in next_to(2 * power - number, limit - 1)]


@given(st.lists(st.tuples(st.integers(-(2**51), 2**51 - 1), st.integers(0, 5)), min_size=1, max_size=8))
def test_nearest_of_many_bits_lies_next_to_powers_of_two(given: list[tuple[int, int]]) -> None:
    numbers, limits = np.array(given).T
    expected = []
    for number, limit in given:
        sign = -1 if number < 0 else 1
        allowed = [sign * each for each in next_to(abs(number), limit) if sign * each < 2**51]
        expected.append(min(allowed, key=lambda a, n=number: (abs(a - n), abs(a))))
    found = digits.nearest(numbers, -(2**51), 2**51 - 1, limits)
    assert found.tolist() == expected
    assert (digits.count(found) <= limits).all()


def test_a_digit_of_many_bits_is_cut_without_a_table() -> None:
    kernel = Dense("d", torch.tensor([[0.7, -0.3]]), torch.zeros(1), weight_type=FixedPoint(28, 2)).matrix
    tracemalloc.start()
    before = kernel.digit_counts()
    kernel.digit_limit.copy_(before - 1)
    assert torch.equal(kernel.digit_counts(), before - 1)
    worth = saved(kernel)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
    assert worth.shape == (15, 1, 2)
    assert (worth[:12] > 0).all()
