"""What the parts of an adder graph are priced at, against da4ml itself, which makes them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hepprune.fixed import FixedPoint
from hepprune.hardware.cost.circuits import operations, tables
from hepprune.hardware.cost.circuits.operations import Bill
from hepprune.hardware.cost.circuits.wires import Wires
from hepprune.network.layers import Activation

pytest.importorskip("da4ml")

from hepprune.firmware.tracing import arithmetic, rounding
from hepprune.firmware.tracing import tables as traced_tables
from hepprune.firmware.verilog import adders

KINDS = st.builds(
    FixedPoint,
    st.integers(2, 9),
    st.integers(-2, 5),
    st.booleans(),
    st.sampled_from(["TRN", "RND"]),
    st.sampled_from(["SAT", "WRAP"]),
)


def wires(kind: FixedPoint) -> Wires:
    return Wires.of(np.array([kind.minimum]), np.array([kind.maximum]), float(kind.fraction))


def expected(function: Callable[..., Any], *kinds: FixedPoint) -> tuple[float, float]:
    """Return LUT and levels of what da4ml makes of variables of these types, if it is not always the same."""
    ports = [adders.port(kind) for kind in kinds]
    with adders.solving(depth_slack=2, solver="da4ml"):
        output = function(*ports)
        assume(not adders.is_constant(output))
        logic = adders.graph(ports, [output])
    return float(logic.cost), float(max(logic.out_latency))


def priced(function: Callable[..., Wires], *kinds: FixedPoint) -> tuple[float, float]:
    bill = Bill()
    found = function(bill, *(wires(kind) for kind in kinds))
    return bill.lut, float(found.level[0])


@pytest.mark.parametrize("name", ["add", "multiply", "maximum", "minimum", "subtract"])
@settings(max_examples=60, deadline=None)
@given(KINDS, KINDS)
def test_operations_of_two_values_cost_what_da4ml_says(name: str, left: FixedPoint, right: FixedPoint) -> None:
    pairs = {
        "add": (operations.add, arithmetic.added),
        "multiply": (operations.product, arithmetic.product),
        "maximum": (operations.largest, arithmetic.larger),
        "minimum": (operations.smallest, arithmetic.OPERATIONS["minimum"]),
        "subtract": (operations.subtract, lambda a, b: a - b),
    }
    ours, theirs = pairs[name]
    assert priced(ours, left, right) == expected(theirs, left, right)


@settings(max_examples=150, deadline=None)
@given(KINDS, KINDS)
def test_types_cost_what_da4ml_says(before: FixedPoint, after: FixedPoint) -> None:
    found = priced(lambda bill, value: operations.quantise(bill, value, after), before)
    assert found == expected(lambda value: rounding.quantise(value, after), before)


@settings(max_examples=100, deadline=None)
@given(KINDS, KINDS)
def test_relus_cost_what_da4ml_says(before: FixedPoint, after: FixedPoint) -> None:
    found = priced(lambda bill, value: operations.relu_in(bill, value, after), before)
    assert found == expected(lambda value: rounding.relu(value, after), before)


@settings(max_examples=60, deadline=None)
@given(KINDS, KINDS, KINDS)
def test_products_of_sums_in_a_type_cost_what_da4ml_says(a: FixedPoint, b: FixedPoint, after: FixedPoint) -> None:
    def ours(bill: Bill, left: Wires, right: Wires) -> Wires:
        return operations.quantise(bill, operations.product(bill, operations.add(bill, left, right), right), after)

    def theirs(left: Any, right: Any) -> Any:
        return rounding.quantise(arithmetic.product(left + right, right), after)

    assert priced(ours, a, b) == expected(theirs, a, b)


@settings(max_examples=60, deadline=None)
@given(KINDS, st.integers(1, 9), st.sampled_from([operations.add, operations.largest]))
def test_reductions_cost_what_da4ml_says(kind: FixedPoint, n: int, operation: operations.CircuitOperation) -> None:
    theirs = arithmetic.added if operation is operations.add else arithmetic.larger
    bill = Bill()
    values = Wires(np.repeat(wires(kind).planes, n, axis=1))
    found = operations.reduced(bill, operation, values)
    theirs_ = expected(lambda *ports: arithmetic.combined(theirs, ports), *[kind] * n)
    assert (bill.lut, float(found.level)) == theirs_


@settings(max_examples=60, deadline=None)
@given(KINDS, st.integers(1, 9), KINDS)
def test_means_cost_what_da4ml_says(kind: FixedPoint, n: int, after: FixedPoint) -> None:
    bill = Bill()
    values = Wires(np.repeat(wires(kind).planes, n, axis=1))
    found = operations.quantise(bill, operations.mean(bill, values, after), after)

    def theirs(*ports: Any) -> Any:
        whole = arithmetic.total(ports)
        halved = whole * (1 / n) if n & (n - 1) == 0 else arithmetic.divided(whole, n, after)
        return rounding.quantise(halved, after)

    lut, levels = expected(theirs, *[kind] * n)
    assert bill.lut == pytest.approx(lut, rel=0.1, abs=4)
    assert float(found.level) == levels


@settings(max_examples=40, deadline=None)
@given(KINDS, KINDS, st.sampled_from(["tanh", "sigmoid", "softplus", "elu", "gelu", "hard_tanh"]))
def test_tables_cost_what_da4ml_says(before: FixedPoint, after: FixedPoint, function: str) -> None:
    layer = Activation("f", function, result=after)
    ours = tables.of(layer, rises=layer.rises)
    found = priced(lambda bill, value: tables.looked_up(bill, ours, value), before)
    assert found == expected(lambda value: traced_tables._looked_up(layer, value, rises=layer.rises), before)
