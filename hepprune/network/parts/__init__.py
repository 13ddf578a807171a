"""Layers that firmware computes in steps, as networks of the layers that each step is.

Each network has one input, `INPUT`, and computes bit for bit what the layer does before its result quantiser, so that
what is known of the steps (ranges, adder graphs, C++) is known of the layer.
"""

from collections.abc import Callable

from hepprune.errors import refused
from hepprune.network.graph import Network
from hepprune.network.layers import Argmax, Layer, LayerNorm, Recurrent, Shape, Softmax, Stepwise, TopK
from hepprune.network.parts.cells import cell
from hepprune.network.parts.steps import INPUT, index, layer_norm, softmax, top

__all__ = ["INPUT", "PARTS", "has_steps", "parts"]

PARTS: dict[type[Layer], Callable[..., Network]] = {
    Softmax: softmax,
    LayerNorm: layer_norm,
    Recurrent: cell,
    TopK: top,
    Argmax: index,
}


def has_steps(layer: Layer) -> bool:
    """Return whether a layer is known step by step: comparisons always, others that have types of their steps."""
    if isinstance(layer, Recurrent):
        return layer.state_type is not None or layer.act.result is not None
    return isinstance(layer, TopK | Argmax) or (isinstance(layer, Stepwise) and bool(layer.types))


def parts(layer: Layer, shape: Shape) -> Network:
    """Return the steps of a layer, in float64, for one jet's values of that shape.

    Raises:
        NetworkError: it has no types for its steps.
    """
    if not has_steps(layer):
        fix = "choose them by `hepprune.network.precision.quantise`, or let hls4ml look it up (`hepprune.firmware.hls`)"
        raise refused(layer.name, f"({type(layer).__name__}) has no types for its tables; {fix}")
    return PARTS[type(layer)](layer, shape).double()
