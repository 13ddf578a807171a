"""Normalisation for hls4ml: affine maps, and layer norm from its table."""

import math
from dataclasses import replace

import numpy as np

from hepprune.firmware.layers.base import HlsLayer, Place, cast, fixed
from hepprune.firmware.layers.precision import constant_type
from hepprune.fixed import FixedPoint
from hepprune.network import BatchNorm
from hepprune.network.layers import LayerNorm

_ACCUMULATOR = FixedPoint(40, 16, rounding="RND_CONV", overflow="SAT")
_INVERSE_ROOT = FixedPoint(24, 10, False, "RND_CONV", "SAT")
_CONSTANT = FixedPoint(18, 6, rounding="RND", overflow="SAT")


def batch_norm(place: Place, layer: BatchNorm) -> list[HlsLayer]:
    """Describe the affine map; one that changes nothing, which hls4ml would drop with its type, is a cast."""
    scale, shift = layer.used_scale().numpy(), layer.used_shift().numpy()
    if (scale == 1).all() and (shift == 0).all():
        return [cast(place)]
    types = {
        "scale": constant_type(place.name, scale, layer.scale_type),
        "bias": constant_type(place.name, shift, layer.shift_type),
    }
    return [affine(place, np.broadcast_to(scale, place.shape[-1:]), np.broadcast_to(shift, place.shape[-1:]), types)]


def affine(place: Place, scale: np.ndarray, shift: np.ndarray, types: dict[str, FixedPoint]) -> HlsLayer:
    """Return the node of scale * x + shift over the channels."""
    attributes = {
        "n_in": place.n_values,
        "n_filt": -1 if len(place.shape) == 1 else place.shape[-1],
        "scale_data": scale.copy(),
        "bias_data": shift.copy(),
    }
    return place.node("BatchNormalization", attributes, **types)


def layer_norm(place: Place, layer: LayerNorm) -> list[HlsLayer]:
    """Describe layer norm, which hls4ml looks up: its table of 1 / sqrt(variance) ends at a variance of 1."""
    if place.streams:
        raise place.refused("has no io_stream form in hls4ml", cure="export with io_parallel")
    power = -round(math.log10(layer.epsilon))
    if power < 1 or not math.isclose(layer.epsilon, 10.0**-power, rel_tol=1e-3):
        raise place.refused(
            f"has epsilon {layer.epsilon:g}, and hls4ml knows 0.1, 0.01, ... only", cure="train it with one of these"
        )
    attributes = {
        "n_in": place.n_values,
        "seq_len": math.prod(place.shape[:-1]),
        "axis": 2,
        "epsilon_power_of_10": power,
        "gamma_data": layer.scale.numpy(),
        "beta_data": layer.shift.numpy(),
        "accum_t": fixed(_ACCUMULATOR),
        "table_t": fixed(_INVERSE_ROOT),
    }
    return [replace(place.node("LayerNormalization", attributes, scale=_CONSTANT, bias=_CONSTANT), exact=False)]
