"""Expressions give what Python gives jet by jet, in numbers wide enough not to wrap around."""

import math
from typing import Any

import awkward as ak
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepprune.data.expressions import evaluate
from hepprune.errors import DataError

PT, CAND, K, NAME = [10.0, 20.0, 30.0], [[4.0, 3.0, 1.0], [], [2.0]], [100, 0, 3], ["t", "q", "t"]
CHUNK = ak.zip(
    {
        "pt": ak.values_astype(ak.Array(PT), np.float32),
        "cand": ak.Array(CAND),
        "k": ak.values_astype(ak.Array(K), np.int8),
        "unsigned": ak.values_astype(ak.Array(K), np.uint16),
        "name": ak.Array(NAME),
        "flag": ak.Array([True, False, True]),
        "jet.mass": ak.Array([1.0, 2.0, 3.0]),
        "log(pt)": ak.Array([7.0, 8.0, 9.0]),
        "other": ak.Array([[1.0], [], []]),
        "square": ak.from_numpy(np.array([[1, 2], [3, 4], [5, 6]])),
        "record": ak.Array([{"a": 1}] * 3),
        "big": ak.from_numpy(np.array([2**64 - 1, 1, 2], np.uint64)),
        "when": ak.from_numpy(np.array([1, 2, 3], "M8[s]")),
    },
    depth_limit=1,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pt / 4", [p / 4 for p in PT]),
        ("log(pt)", [7, 8, 9]),  # a column of that name
        ("log(pt + 0)", [math.log(p) for p in PT]),
        ("log1p(cand)", [[math.log1p(c) for c in row] for row in CAND]),
        ("cand / pt", [[c / p for c in row] for row, p in zip(CAND, PT, strict=True)]),
        ("pt - jet.mass", [9, 18, 27]),
        ("k * 100", [10_000, 0, 300]),
        ("unsigned - 5", [95, -5, -2]),
        ("k >> 1", [50, 0, 1]),
        ("k // 7 + k % 7", [14 + 2, 0, 3]),
        ("k ** -1 * (k > 0) == 0.01", [True, False, False]),
        ("-flag + flag", [0, 0, 0]),
        ("(pt > 10) + (pt > 20)", [0, 1, 2]),
        ("10 < pt <= 20", [False, True, False]),
        ("(pt > 10) & ~flag", [False, True, False]),
        ("pt > 20 or not flag", [False, True, True]),
        ("name == 't'", [True, False, True]),
        ("name != 't' and pt > 1", [False, True, False]),
        ("sum(cand)", [8, 0, 2]),
        ("sum(first(cand, 2)) / pt", [0.7, 0, 2 / 30]),
        ("sum(cand > 2)", [2, 0, 0]),
        ("count(cand)", [3, 0, 1]),
        ("where(count(cand) > 0, max(cand), -1)", [4, -1, 2]),
        ("where(count(cand) > 0, mean(cand), 0)", [8 / 3, 0, 2]),
        ("min(pt, 25, 15)", [10, 15, 15]),
        ("clip(pt, 12, 25)", [12, 20, 25]),
        ("sum(where(cand > 1.5, cand, 0))", [7, 0, 2]),
        ("cand[1]", [3, 0, 0]),
        ("cand[cand < 3.5][0] + pt", [13, 20, 32]),
        ("count(cand[(cand < 3.5) & (pt > 10)])", [0, 0, 1]),
        ("square[square > 1]", [[2], [3, 4], [5, 6]]),
        ("(k & 2) > 0", [False, False, True]),
        ("k & ~1", [100, 0, 2]),
        ("exp(flag)", [math.e, 1, math.e]),
        ("max(cand > 3)", [True, False, False]),
        ("min(cand > 0.5)", [True, True, True]),
        ("cand[1000000000000]", [0, 0, 0]),
    ],
)
def test_an_expression_gives_what_its_words_say(text: str, expected: list[Any]) -> None:
    found = evaluate(text, CHUNK).to_list()
    for row, wanted in zip(found, expected, strict=True):
        assert row == pytest.approx(wanted)


@given(
    pt=st.lists(st.floats(0.5, 1e3), min_size=1, max_size=5),
    operators=st.lists(st.sampled_from(["+", "-", "*", "/"]), min_size=3, max_size=3),
    function=st.sampled_from(["log", "sqrt", "abs", "exp", "tanh"]),
)
def test_arithmetic_is_that_of_python(pt: list[float], operators: list[str], function: str) -> None:
    a, b, c = operators
    chunk = ak.zip({"x": ak.Array(pt)})
    text = f"{function}(x {a} 2) {b} 3 {c} x" if function not in {"log", "sqrt"} else f"{function}(x) {b} 3 {c} x"
    with np.errstate(all="ignore"):
        names = {"log": np.log, "sqrt": np.sqrt, "abs": np.abs, "exp": np.exp, "tanh": np.tanh}
        expected = [eval(text, {"__builtins__": {}}, names | {"x": np.float64(x)}) for x in pt]  # noqa: S307 -- the oracle
    assert evaluate(text, chunk).to_list() == pytest.approx(expected, nan_ok=True)


def test_extremes_of_no_constituents_are_no_numbers() -> None:
    for text in ("max(cand)", "min(cand)", "mean(cand)"):
        assert [math.isnan(value) for value in evaluate(text, CHUNK).to_list()] == [False, True, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("k // k", "'k // k' cannot be worked out: FloatingPointError: divide by zero"),
        ("sum(pt)", "sum(...) takes a value for each constituent, and was given one for each jet"),
        ("first(pt, 2)", "first(...) takes a value for each constituent"),
        ("first(cand, 0)", "first(x, n) takes a number of constituents, not 0"),
        ("first(cand, k)", "first(x, n) takes a number of constituents, not "),
        ("pt[0]", "[...](...) takes a value for each constituent"),
        ("cand[k]", "x[...] takes a place in each list, or a condition on its constituents"),
        ("cand[pt > 10]", "x[...] takes a place in each list, or a condition on its constituents"),
        ("cand + other", "'cand + other' cannot be worked out: "),
        ("name + 1", "'name + 1' cannot be worked out: "),
        ("big + 1", "column 'big' in 'big + 1' has 18446744073709551615, beyond the 63 bits"),
        ("when - 1", "column 'when' in 'when - 1' is 'datetime64[s]' and holds no numbers"),
        ("~pt", "'~pt' cannot be worked out: "),
        ("pt & k", "'pt & k' cannot be worked out: "),
        ("pt >> 2", "'pt >> 2' cannot be worked out: "),
        ("-record", "column 'record' in '-record' is '{a: int64}' and holds no numbers"),
    ],
)
def test_kinds_that_do_not_go_together_are_refused(text: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        evaluate(text, CHUNK)
    assert message in str(caught.value)
