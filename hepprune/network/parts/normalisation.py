"""A layer norm: what values are above their mean, the sum of its squares, and the inverse root of that from a table."""

import torch

from hepprune.fixed import FixedPoint
from hepprune.network.graph import Network
from hepprune.network.layers import Activation, BatchNorm, Einsum, LayerNorm, Merge, Permute, Reshape, Shape
from hepprune.network.parts.building import Building

_NONE = FixedPoint(1, 1, signed=False)


def layer_norm(layer: LayerNorm, shape: Shape) -> Network:
    """Return the steps of a layer norm with types; channels are along the first axis until they are scaled."""
    n_channels, n_bits, types = len(layer.scale), layer.n_bits, layer.types
    steps = Building(shape)
    rows = steps.rows(len(shape) - 1)
    steps.add(Permute("beside", (1, 0)), rows)
    steps.sum("total", n_channels, scale=2.0**-n_bits)
    mean = steps.add(Reshape("mean", (1, -1)))
    share = FixedPoint(max(n_bits, 1) + 1, 1, signed=False)
    factor, zero = torch.tensor([layer.share], dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    steps.add(BatchNorm("part", factor, zero, scale_type=share, shift_type=_NONE), rows)
    steps.add(Merge("centred", "subtract", types["centred_type"]), "part", mean)
    steps.add(Einsum("squares", "ij,ij->j", types["squares_type"]), "centred", "centred")
    steps.add(Activation("root", "inverse_root", layer.root, types["root_type"]))
    steps.add(Reshape("above", (1, -1)))
    steps.add(Merge("normal", "multiply", types["normal_type"]), "centred", "above")
    steps.columns(shape, len(shape) - 1)
    scale, shift, (scale_type, shift_type) = layer.scale, layer.shift, (types["scale_type"], types["shift_type"])
    steps.add(BatchNorm("scaled", scale.double(), shift.double(), scale_type=scale_type, shift_type=shift_type))
    return steps.network()
