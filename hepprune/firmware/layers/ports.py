"""Where values come in and go out, each output its own; heads that turn logits into probabilities or a class."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from hepprune.firmware.layers.base import PARALLEL, HlsLayer, Place, fixed
from hepprune.firmware.names import PART
from hepprune.fixed import FixedPoint
from hepprune.network import Argmax, Input, Softmax

PROBABILITY = FixedPoint(18, 1, signed=False, rounding="RND", overflow="SAT")
ONE_HOT = FixedPoint(1, 1, signed=False)
_MAX_TABLE_BITS = 12


def features(place: Place, _layer: Input) -> list[HlsLayer]:
    """Describe an input."""
    attributes = {"class_name": "InputLayer", "name": place.name, "input_shape": list(place.shape)}
    return [HlsLayer(name=place.name, attributes=attributes, precision={"result": place.result})]


def softmax(place: Place, layer: Softmax) -> list[HlsLayer]:
    """Describe a softmax along one axis, from tables."""
    axis = layer.axis % len(place.arriving[0])
    # The largest output has to belong to the largest logit. hls4ml's own table of exp(x - max) is addressed by a type
    # half as wide as the difference, which wraps for logits far apart. Here the difference saturates at 8 (exp(-8) =
    # 0.0003) and keeps the logits' last place while 12 bits allow it.
    difference_bits = min(max(place.arriving_types[0].fraction, 1) + 3, _MAX_TABLE_BITS)
    sum_bits = place.arriving[0][axis].bit_length()
    tables = dict.fromkeys(("exp_table_t", "inv_table_t"), PROBABILITY)
    tables["accum_t"] = FixedPoint(17 + sum_bits, sum_bits, False)
    tables["inp_norm_t"] = FixedPoint(difference_bits, 3, False, "TRN", "SAT")
    tables["inv_inp_t"] = FixedPoint(10, sum_bits, False, "RND", "SAT")
    attributes = _slices(place, axis) | {name: fixed(kind) for name, kind in tables.items()}
    attributes |= {"implementation": "stable", "exp_table_size": 2**difference_bits, "inv_table_size": 2**10}
    return [replace(place.node("Softmax", attributes), exact=False)]


def argmax(place: Place, _layer: Argmax) -> list[HlsLayer]:
    """Describe the largest logit's place as a one-hot vector."""
    if place.readers and place.is_output:
        raise place.refused("is put out as a number and read, and hls4ml puts out a one-hot vector", "put it out only")
    if place.readers:
        raise place.refused("is read by another layer, which no stream can", fix=PARALLEL)
    slices = _slices(place, len(place.arriving[0]) - 1)
    return [place.node("Softmax", slices | {"implementation": "argmax"})]


def _slices(place: Place, axis: int) -> dict[str, Any]:
    shape = place.arriving[0]
    outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    if place.streams and inner > 1:
        raise place.refused("runs along an axis that io_stream does not bring together", fix="permute it to the end")
    slices = {"n_outer": outer, "n_inner": inner} if outer * inner > 1 else {}
    return {"activation": "softmax", "axis": -1, "n_in": math.prod(shape)} | slices


def distinct(nodes: Iterable[HlsLayer], outputs: Iterable[str]) -> tuple[list[HlsLayer], tuple[str, ...]]:
    """Return the nodes, with a copy of each output that is an input or an earlier output too, and outputs by node."""
    known = {node.name: node for node in nodes}
    taken = {name for name, node in known.items() if node.attributes["class_name"] == "InputLayer"}
    ends: list[str] = []
    for name in outputs:
        # past what hls4ml drops: it only calls a value by another shape or name
        maker = known[name]
        while maker.attributes["class_name"] == "Reshape" or _changes_nothing(known, maker):
            maker = known[maker.attributes["inputs"][0]]
        made_by = maker.name
        if made_by in taken:
            # hls4ml would drop a node of function linear that hands a value on, but not if it is Linear
            own = f"{name}{PART}out{len(ends)}"
            attributes = {"class_name": "Activation", "name": own, "inputs": [name], "activation": "Linear"}
            precision = {"result": known[name].precision["result"]}
            known[own] = replace(known[name], name=own, attributes=attributes, precision=precision, knobs={})
            name = own  # noqa: PLW2901
        taken.add(made_by)
        ends.append(name)
    return list(known.values()), tuple(ends)


def _changes_nothing(known: Mapping[str, HlsLayer], node: HlsLayer) -> bool:
    if node.attributes.get("activation") != "linear":
        return False
    return node.precision["result"] == known[node.attributes["inputs"][0]].precision["result"]
