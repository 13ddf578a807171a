"""A Network's layers in hls4ml's own terms: what each is, and in which types it computes."""

from typing import Any

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint
from hepprune.network import Argmax, Dense, Input, Layer, Network, ReLU, Softmax
from hepprune.network.ranges import accumulators

_PROBABILITY = FixedPoint(18, 1, signed=False, rounding="RND", overflow="SAT")
_ONE_HOT = FixedPoint(1, 1, signed=False)
_MAX_TABLE_BITS = 12


def described(network: Network) -> list[dict[str, Any]]:
    """Return hls4ml's layer list: classes, shapes, edges and the constants that act."""
    types = accumulators(network)
    return [_described(layer, network, types) for layer in network.clone().double()]


def settings(network: Network, strategy: str | None) -> dict[str, dict[str, Any]]:
    """Return hls4ml's `LayerName` settings: precision of every type, strategy and reuse factor of matrix layers."""
    types = accumulators(network)
    return {layer.name: {"Trace": True} | _settings(layer, types, strategy) for layer in network}


def _described(layer: Layer, network: Network, types: dict[str, FixedPoint]) -> dict[str, Any]:
    if isinstance(layer, Input):
        return {"class_name": "InputLayer", "name": layer.name, "input_shape": [layer.n_features]}
    source = network.source(layer).name
    common = {"name": layer.name, "inputs": [source], "n_in": network.widths[source], "data_format": "channels_last"}
    if isinstance(layer, Dense):
        constants = {"weight_data": layer.used_weight().numpy().T.copy(), "bias_data": layer.used_bias().numpy()}
        return common | constants | {"class_name": "Dense", "n_out": layer.n_out}
    if isinstance(layer, ReLU):
        return common | {"class_name": "Activation", "activation": "relu"}
    if isinstance(layer, Argmax):
        return common | {"class_name": "Softmax", "activation": "softmax", "axis": -1, "implementation": "argmax"}
    if isinstance(layer, Softmax):
        logits = network[source].fixed_result or types[source]
        tables = _tables(logits, network.widths[source])
        return common | tables | {"class_name": "Softmax", "activation": "softmax", "axis": -1}
    raise NetworkError(f"layer '{layer.name}' ({type(layer).__name__}) has no hls4ml form here; fold it first")


def _settings(layer: Layer, types: dict[str, FixedPoint], strategy: str | None) -> dict[str, Any]:
    if layer.is_head:
        return {"Precision": {"result": str(layer.result or (_ONE_HOT if isinstance(layer, Argmax) else _PROBABILITY))}}
    result = str(layer.result or types[layer.name])
    if not isinstance(layer, Dense):
        return {"Precision": {"result": result}}
    precision = {"weight": layer.weight_type, "bias": layer.bias_type, "accum": types[layer.name]}
    texts = {kind: str(of) for kind, of in precision.items()} | {"result": result}
    return {"Precision": texts, "Strategy": strategy or layer.strategy, "ReuseFactor": layer.reuse_factor}


def _tables(logits: FixedPoint, n_classes: int) -> dict[str, Any]:
    """Return the tables of a softmax whose largest output belongs to the largest logit.

    hls4ml's own table of exp(x - max) is addressed by a type half as wide as the difference, which wraps for logits
    far apart. Here the difference saturates at 8 (exp(-8) = 0.0003) and keeps the logits' last place while 12 bits
    allow it.
    """
    difference_bits = min(max(logits.fraction, 1) + 3, _MAX_TABLE_BITS)
    sum_bits = n_classes.bit_length()
    return {
        "implementation": "stable",
        "inp_norm_t": _type(FixedPoint(difference_bits, 3, False, "TRN", "SAT")),
        "exp_table_t": _type(_PROBABILITY),
        "exp_table_size": 2**difference_bits,
        "accum_t": _type(FixedPoint(17 + sum_bits, sum_bits, False)),
        "inv_inp_t": _type(FixedPoint(10, sum_bits, False, "RND", "SAT")),
        "inv_table_t": _type(_PROBABILITY),
        "inv_table_size": 2**10,
    }


def _type(kind: FixedPoint) -> Any:
    from hls4ml.model.types import FixedPrecisionType

    return FixedPrecisionType(kind.width, kind.integer, kind.signed, kind.rounding, kind.overflow)
