"""Types of single values: hls4ml's layers have one type each, and its quantiser brings every value into its own."""

from dataclasses import replace
from typing import Any

import numpy as np

from hepprune.firmware.layers.base import HlsLayer, Place
from hepprune.firmware.layers.precision import covering
from hepprune.firmware.names import PART
from hepprune.network import Layer
from hepprune.quantisers import FixedPoints

# What is rounded to a finer grid downwards first, and then in one of these ways, is as if it were rounded at once.
_ROUNDED_ONCE = ("TRN", "RND")


def differ(layer: Layer) -> bool:
    """Return whether the values that a layer puts out have types of their own."""
    return isinstance(layer.result, FixedPoints) and layer.result.width.size > 1


def port(name: str) -> str:
    """Return the name of the node in which the values of such an input arrive."""
    return f"{name}{PART}port"


def quantiser(place: Place, kind: FixedPoints) -> HlsLayer:
    """Return the node that brings each value into its own type.

    Raises:
        NetworkError: values are streamed, which hls4ml brings into one type.
    """
    if place.streams:
        raise place.refused("has a type for each value, which no stream has", cure="export with io_parallel")
    masks = (kind.signed.astype(int), kind.width, kind.integer)
    attributes: dict[str, Any] = {
        "mask_kbi": tuple(np.broadcast_to(mask, place.shape)[None] for mask in masks),
        "RND": kind.rounding,
        "SAT": kind.overflow,
        "fusible": None,
        "overrides": {},
    }
    return place.node("FixedPointQuantizer", attributes)


def features(place: Place, kind: FixedPoints) -> list[HlsLayer]:
    """Describe an input: a port that is as fine as what rounds its finest value, and what brings each into its type.

    Raises:
        NetworkError: values are streamed, or rounded in a way that a port of fixed point does not leave them.
    """
    if kind.rounding not in _ROUNDED_ONCE:
        raise place.refused(
            f"rounds each value by AP_{kind.rounding} to a type of its own", cure=f"round by AP_{_ROUNDED_ONCE[-1]}"
        )
    whole, name = covering(kind), port(place.name)
    fine = replace(whole, width=whole.width + 1, rounding="TRN", overflow=kind.overflow)
    attributes = {"class_name": "InputLayer", "name": name, "input_shape": list(place.shape)}
    read = replace(place, sources=(name,), source_kinds=("",), arriving=(place.shape,), arriving_types=(fine,))
    return [HlsLayer(name=name, attributes=attributes, precision={"result": fine}), quantiser(read, kind)]


def bare(place: Place) -> Place:
    """Return the place of a helper node `<name>.whole` that computes the layer's values before they are rounded."""
    layer: Layer = place.layer.rebuilt(result=None)
    return replace(
        place, layer=layer, name=f"{place.name}{PART}whole", result=place.before, readers=("",), is_output=False
    )
