"""Values brought into the type of a result: one for all of them, or one each."""

from collections.abc import Callable

import numpy as np

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint, Quantiser
from hepprune.hardware.cost.circuits.operations import Bill
from hepprune.hardware.cost.circuits.wires import Wires, constants
from hepprune.network import Layer
from hepprune.quantisers import FixedPoints, spread

Typed = Callable[[Bill, Wires, FixedPoint], Wires]


def kind_of(layer: Layer) -> FixedPoint | FixedPoints | None:
    """Return the type of a layer's result, or those of its values.

    Raises:
        NetworkError: it has a quantiser that firmware has no types for.
    """
    return layer.result if isinstance(layer.result, FixedPoints) else layer.fixed_result


def in_type(bill: Bill, operation: Typed, values: Wires, kind: Quantiser) -> Wires:
    """Return what an operation makes of values and the type of each; one without bits is zero."""
    if isinstance(kind, FixedPoint):
        return operation(bill, values, kind)
    kinds, flat = spread(kind, values.shape), values.reshaped(-1)
    planes = np.empty_like(flat.planes)
    for one in dict.fromkeys(kinds):
        chosen = np.array([own == one for own in kinds])
        zeros = constants(np.zeros(int(chosen.sum())))
        planes[:, chosen] = (zeros if one is None else operation(bill, flat[chosen], one)).planes
    return Wires(planes).reshaped(*values.shape)


def port(_bill: Bill, values: Wires, kind: FixedPoint) -> Wires:
    """Return what comes in in a type."""
    ends = (np.full(values.shape, end) for end in (kind.minimum, kind.maximum))
    return Wires.of(*ends, kind.fraction)


def needed(layer: Layer) -> FixedPoint | FixedPoints:
    """Return the type of a layer's result, or those of its values.

    Raises:
        NetworkError: it has none, or a quantiser that firmware has no types for.
    """
    kind = kind_of(layer)
    if kind is None:
        said = f"layer '{layer.name}' ({type(layer).__name__}) has no fixed-point form without a result type"
        raise NetworkError(said)
    return kind
