"""A price that anybody can recompute: 8 LUT per signed digit, and one adder level per halving of the widest row."""

import math

from hepprune.hardware.resources import Estimate, LayerEstimate, Resources
from hepprune.network import Dense, Network
from tests.networks import weighted


def toy_price(network: Network) -> Estimate:
    layers = [_layer(layer) for layer in weighted(network)]
    lut = sum(layer.resources.lut or 0.0 for layer in layers)
    depth = sum(layer.depth for layer in layers)
    return Estimate(
        stage="da4ml",
        strategy="distributed_arithmetic",
        resources=Resources(lut=lut),
        latency_cycles=math.ceil(depth),
        interval_cycles=1,
        clock_ns=5.0,
        layers=tuple(layers),
    )


def _layer(layer: Dense) -> LayerEstimate:
    digits = layer.kernels[0].digit_counts()
    depth = math.ceil(math.log2(max(1, int(digits.sum(dim=1).max()))))
    return LayerEstimate(layer=layer.name, resources=Resources(lut=8.0 * int(digits.sum())), depth=depth)
