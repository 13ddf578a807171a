import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import FixedPoints
from hepprune.network import Dense, Input, Network, ReLU, bits

WIDTHS = [0, 3, 5]


def network(*, weight_type: FixedPoint | None, weight: torch.Tensor | None = None) -> Network:
    weight = torch.ones(3, 4) if weight is None else weight
    types = FixedPoints(width=WIDTHS, integer=2, signed=False)  # type: ignore[arg-type]
    layers = [
        Input("x", 4, FixedPoint(8, 4)),
        Dense("a", weight, torch.zeros(3), weight_type=weight_type),
        ReLU("r", types),
        Dense("b", torch.zeros(2, 3), torch.zeros(2), weight_type=weight_type),
    ]
    return Network(layers)


def test_bits_of_values_are_those_of_their_types() -> None:
    found = network(weight_type=FixedPoint(6, 2))
    assert {name: each.tolist() for name, each in bits.of_values(found).items()} == {"x": [8] * 4, "r": WIDTHS}
    assert (bits.of_inputs(found), bits.of_activations(found)) == (32, 8)


def test_a_network_in_float_has_no_bits() -> None:
    found = Network([Input("x", 4), Dense("a", torch.ones(2, 4), torch.zeros(2))])
    assert (bits.of_inputs(found), bits.of_activations(found), bits.per_weight(found)) == (None, None, None)
    assert bits.per_weight(network(weight_type=FixedPoint(6, 2), weight=torch.zeros(3, 4))) is None


@given(st.lists(st.integers(-32, 31), min_size=12, max_size=12).filter(any), st.integers(-3, 9))
def test_a_weight_needs_what_lies_between_its_first_and_its_last_bit(integers: list[int], integer: int) -> None:
    kind = FixedPoint(6, integer)
    weight = torch.tensor(integers).view(3, 4) * kind.step
    needed = [len(f"{abs(each):b}".rstrip("0")) + 1 for each in integers if each]
    assert bits.per_weight(network(weight_type=kind, weight=weight)) == pytest.approx(np.mean(needed))
