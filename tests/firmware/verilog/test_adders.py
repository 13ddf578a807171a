"""The one door to da4ml: adder graphs are their matrices."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepprune.errors import NetworkError, ToolMissingError
from hepprune.firmware import rtl
from hepprune.firmware.verilog import adders
from hepprune.fixed import FixedPoint
from hepprune.network import Input, Network
from tests.firmware.networks import FEATURES, Maker
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


@given(SEEDS, st.integers(1, 6), st.integers(1, 6), st.integers(-1, 2))
def test_alkaid_solves_the_same_matrix(seed: int, n_in: int, n_out: int, slack: int) -> None:
    pytest.importorskip("alkaid")
    rng = np.random.default_rng(seed)
    kernel = rng.integers(-15, 16, (n_in, n_out)).astype(np.float64) / 4
    kernel[0] = 1
    with adders.solving(depth_slack=slack, solver="alkaid"):
        ports = [adders.port(FixedPoint(6, 4)) for _ in range(n_in)]
        logic = adders.graph(ports, list(adders.multiply(ports, kernel)))
    inputs = rng.integers(-32, 32, (50, n_in)) / 4
    assert np.array_equal(logic.predict(inputs), inputs @ kernel)


def test_unknown_and_missing_solvers_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network([Input("x", 2, FEATURES), Maker(1).dense("dense", 2, 2)])
    with pytest.raises(NetworkError, match="solver 'cp-sat'.*alkaid"):
        rtl.solve(network, solver="cp-sat")
    monkeypatch.setitem(sys.modules, "alkaid", None)
    with pytest.raises(ToolMissingError, match="pip install alkaid"):
        rtl.solve(network, solver="alkaid")


def test_only_one_file_knows_the_solvers() -> None:
    package = Path(adders.__file__).parents[2]
    files = [
        file
        for file in package.rglob("*.py")
        if re.search(r"^\s*(from|import) (alkaid|da4ml|numba)\b", file.read_text(), re.MULTILINE)
    ]
    assert files == [Path(adders.__file__)]
