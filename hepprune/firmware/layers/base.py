"""What a description of a layer is made of: where the layer stands, and the hls4ml nodes that compute it."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

from hepprune.errors import NetworkError, refused
from hepprune.firmware.names import PART, owner
from hepprune.fixed import FixedPoint
from hepprune.network import Layer, Shape

STREAM, PARALLEL = "io_stream", "export with io_parallel"


@dataclass(frozen=True, kw_only=True)
class HlsLayer:
    """One layer of hls4ml: its attributes, its types, its knobs.

    `exact` says that it computes the Network's value bit for bit, not from hls4ml's own tables.
    """

    name: str
    attributes: dict[str, Any]
    precision: dict[str, FixedPoint]
    knobs: dict[str, Any] = field(default_factory=dict)
    exact: bool = True


@dataclass(frozen=True, kw_only=True)
class Place:
    """A layer where it stands in its network: what comes in, and in which types it is held.

    `layer` is what runs, in double precision; `before` holds every value before the result quantiser and `result` every
    one after it. `readers` are the kinds of the layers that read it.
    """

    layer: Layer
    name: str
    sources: tuple[str, ...]
    source_kinds: tuple[str, ...]
    arriving: tuple[Shape, ...]
    arriving_types: tuple[FixedPoint, ...]
    shape: Shape
    before: FixedPoint
    result: FixedPoint
    io_type: str
    strategy: str | None
    readers: tuple[str, ...]
    is_output: bool

    @property
    def streams(self) -> bool:
        """Whether values travel through streams, a position at a time."""
        return self.io_type == STREAM

    @property
    def n_values(self) -> int:
        """Values that come in from the first source."""
        return math.prod(self.arriving[0])

    def refused(self, reason: str, fix: str) -> NetworkError:
        """Return the error that hls4ml cannot take this layer, with what would help."""
        return refused(owner(self.name), f"({type(self.layer).__name__}) {reason}; {fix}")

    def node(self, class_name: str, attributes: dict[str, Any], **types: FixedPoint) -> HlsLayer:
        """Return a node of the layer's own name and result type that reads the layer's sources."""
        common = {"class_name": class_name, "name": self.name, "inputs": list(self.sources)}
        common["data_format"] = "channels_last"
        return HlsLayer(name=self.name, attributes=common | attributes, precision={"result": self.result} | types)


def before(place: Place, suffix: str, *, shape: Shape, result: FixedPoint | None = None) -> Place:
    """Return the place of a helper node `<name>.<suffix>` that reads what the layer reads and puts out `shape`."""
    held = result or place.arriving_types[0]
    return replace(place, name=f"{place.name}{PART}{suffix}", shape=shape, result=held, readers=("",), is_output=False)


def after(place: Place, nodes: list[HlsLayer], *, shape: Shape) -> Place:
    """Return the layer's place as one that reads the last of `nodes`, which puts out `shape`."""
    last = nodes[-1]
    kind = last.precision["result"]
    return replace(place, sources=(last.name,), source_kinds=("",), arriving=(shape,), arriving_types=(kind,))


def cast(place: Place) -> HlsLayer:
    """Return the node that does no more than bring a value into the layer's result type."""
    return place.node("Activation", {"activation": "linear", "n_in": place.n_values})


def reaching(place: Place, *, casts: bool) -> tuple[list[HlsLayer], Place]:
    """Return the place with types that have a bit of half a step of its result, and the nodes that this takes.

    Where a value is always below half a step, Xilinx' types look for the bit that rounds it beyond its last, and stop
    the C simulation. `casts` says that the layer brings what it reads into its result type by itself.
    """
    least = -place.result.fraction
    if place.result.rounding == "TRN" or not place.sources:
        return [], place
    lacking = max(0, least - place.before.integer)
    place = replace(place, before=_widened(place.before, place.before.integer + lacking))
    if not casts:
        return [], place
    # A product reaches as far as its factors together, so that the first one takes what is lacking.
    reach = [max(kind.integer, least) for kind in place.arriving_types]
    reach[0] = max(reach[0], place.arriving_types[0].integer + lacking)
    nodes: dict[int, HlsLayer] = {}
    for index, (kind, integer) in enumerate(zip(place.arriving_types, reach, strict=True)):
        if integer > kind.integer:
            nodes[index] = _wider(place, index, replace(_widened(kind, integer), rounding="TRN", overflow="WRAP"))
    names, kinds, types = list(place.sources), list(place.source_kinds), list(place.arriving_types)
    for index, node in nodes.items():
        names[index], kinds[index], types[index] = node.name, "", node.precision["result"]
    own = replace(place, sources=tuple(names), source_kinds=tuple(kinds), arriving_types=tuple(types))
    return [*nodes.values()], own


def _wider(place: Place, index: int, kind: FixedPoint) -> HlsLayer:
    """Return the node that brings one source of a layer into a wider type."""
    shape, suffix = place.arriving[index], f"reaching{index or ''}"
    node = cast(replace(before(place, suffix, shape=shape, result=kind), arriving=(shape,)))
    return replace(node, attributes=node.attributes | {"inputs": [place.sources[index]]})


def _widened(kind: FixedPoint, integer: int) -> FixedPoint:
    """Return the type with more integer bits; a value in it is the same."""
    return replace(kind, width=integer + kind.fraction, integer=integer)


def fixed(kind: FixedPoint) -> Any:
    """Return a type as hls4ml's own object, where it takes no text."""
    from hls4ml.model.types import FixedPrecisionType

    return FixedPrecisionType(kind.width, kind.integer, kind.signed, kind.rounding, kind.overflow)
