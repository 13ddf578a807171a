"""A softmax: distances to the largest value, their exponentials, the inverse of the sum of these, and products."""

from hepprune.network.graph import Network
from hepprune.network.layers import Activation, GlobalPool, Merge, Permute, Reshape, Shape, Softmax
from hepprune.network.layers.base import checked_axis
from hepprune.network.parts.building import Building


def softmax(layer: Softmax, shape: Shape) -> Network:
    """Return the steps of a softmax with types; values that are compared are along the first axis, jets beside."""
    axis, types = checked_axis(layer.name, layer.axis, len(shape)), layer.types
    steps, n_values = Building(shape), shape[axis]
    rows = steps.rows(axis)
    steps.add(GlobalPool("largest", "max", keep_axes=True))
    steps.add(Merge("distance", "subtract", types["distance_type"]), "largest", rows)
    steps.add(Activation("exponential", "decay", result=types["exponential_type"]))
    steps.add(Permute("beside", (1, 0)))
    steps.sum("total", n_values, result=types["total_type"])
    steps.add(Activation("inverse", "reciprocal", result=types["inverse_type"]))
    steps.add(Reshape("above", (1, -1)))
    steps.add(Merge("probability", "multiply"), "exponential", "above")
    steps.columns(shape, axis)
    return steps.network()
