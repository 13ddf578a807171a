"""Repeated digit pairs against counting them one by one."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from hepprune.fixed import digits
from hepprune.hardware.cost import sharing

Integers = NDArray[np.int64]
MATRICES = arrays(np.int64, st.tuples(st.integers(1, 6), st.integers(1, 5)), elements=st.integers(-40, 40))


def pairs_counted(weight: Integers) -> Counter[tuple[int, int, int, int]]:
    """Return how many times each pair of signed digits is added: two inputs, the shift and the sign between them."""
    found: Counter[tuple[int, int, int, int]] = Counter()
    for row in digits.planes(weight):
        terms = [(int(i), int(place), int(row[i, place])) for i, place in zip(*np.nonzero(row), strict=True)]
        for (i, place, digit), (j, other, second) in combinations(terms, 2):
            found[i, j, other - place, digit * second] += 1
    return found


@given(MATRICES)
def test_repeats_are_those_counted_one_by_one(weight: Integers) -> None:
    assert sharing.of(weight).repeats == sum(n * (n - 1) for n in pairs_counted(weight).values())


@given(MATRICES)
def test_spread_is_the_mean_distance_of_two_digits_of_an_output(weight: Integers) -> None:
    for row, spread in zip(digits.planes(weight), sharing.of(weight).spread, strict=True):
        places = np.nonzero(row)[1]
        expected = np.abs(places[:, None] - places).mean() if len(places) else 0.0
        assert spread == pytest.approx(expected)


@given(MATRICES, st.data())
def test_signs_shifts_and_order_of_outputs_share_as_much(weight: Integers, data: st.DataObject) -> None:
    n_out = len(weight)
    factors = data.draw(st.lists(st.sampled_from([-4, -1, 1, 2, 8]), min_size=n_out, max_size=n_out))
    order = data.draw(st.permutations(range(n_out)))
    other = (weight * np.array(factors)[:, None])[list(order)]
    assert sharing.of(other).repeats == sharing.of(weight).repeats


@given(MATRICES, st.data())
def test_fewer_weights_repeat_no_more(weight: Integers, data: st.DataObject) -> None:
    fewer = weight.copy()
    fewer.flat[data.draw(st.lists(st.integers(0, weight.size - 1)))] = 0
    assert sharing.of(fewer).repeats <= sharing.of(weight).repeats


def test_a_large_matrix_compared_with_some_of_its_outputs_repeats_about_as_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(1)
    weight = rng.integers(-30, 31, (120, 60)) * (rng.random((120, 60)) < 0.3)
    whole = sharing.of(weight).repeats
    monkeypatch.setattr(sharing, "_MOST_PRODUCTS", 1e7)
    sharing._found.cache_clear()
    sampled = sharing.of(weight).repeats
    sharing._found.cache_clear()
    assert sampled != whole
    assert sampled == pytest.approx(whole, rel=0.1)
