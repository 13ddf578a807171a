"""The one door to da4ml: adder graphs are their matrices."""

import re
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hepprune.firmware import adders
from tests.networks import SEEDS


@given(SEEDS, st.integers(1, 6), st.integers(1, 6))
def test_the_cheapest_graph_is_the_matrix(seed: int, n_in: int, n_out: int) -> None:
    from da4ml.trace import comb_trace
    from da4ml.trace import fixed_variable_array as arrays

    kernel = np.random.default_rng(seed).integers(-15, 16, (n_in, n_out)).astype(np.float64)
    kernel[0] = 1  # a graph needs one weight at least
    original = arrays.solve
    with adders.plain_search():
        port = arrays.FixedVariableArray.from_kif(np.ones(n_in, int), np.full(n_in, 3), np.full(n_in, 2))
        logic = comb_trace(port, port @ kernel)
    inputs = np.random.default_rng(seed).integers(-32, 32, (50, n_in)) / 4
    assert np.array_equal(logic.predict(inputs), inputs @ kernel)
    assert arrays.solve is original


def test_only_one_file_knows_da4ml() -> None:
    package = Path(adders.__file__).parents[1]
    files = [
        file
        for file in package.rglob("*.py")
        if re.search(r"^\s*(from|import) (da4ml|numba)\b", file.read_text(), re.MULTILINE)
    ]
    assert files == [Path(adders.__file__)]
