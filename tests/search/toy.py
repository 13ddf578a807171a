"""A price that anybody can recompute: 8 LUT per signed digit, and one adder level per halving of the widest row."""

import math

from hepprune.hardware.resources import Estimate, LayerEstimate, Resources
from hepprune.network import Dense, Network
from tests.networks import weighted


def toy_price(network: Network) -> Estimate:
    layers = [_layer(layer) for layer in weighted(network)]
    lut = sum(layer.resources.lut or 0.0 for layer in layers)
    depth = sum(layer.depth for layer in layers)
    return Estimate("da4ml", "distributed_arithmetic", Resources(lut=lut), math.ceil(depth), 1, 5.0, tuple(layers))


def _layer(layer: Dense) -> LayerEstimate:
    digits = layer.kernels[0].digit_counts()
    depth = math.ceil(math.log2(max(1, int(digits.sum(dim=1).max()))))
    return LayerEstimate(layer.name, Resources(lut=8.0 * int(digits.sum())), depth)
