"""TimeDistributed of Keras, around layers that treat every position alike."""

from collections.abc import Mapping
from dataclasses import replace

from hepprune.frontends.keras.registry import LAYERS, Native, Parts, only, register, rewrapped
from hepprune.network import Layer, Shape

# Layers that treat every position alike, so that running them on all at once is the same.
POSITIONWISE = frozenset(
    {
        *("Dense", "QDense", "Activation", "QActivation", "ReLU", "LeakyReLU", "ELU", "Dropout"),
        *("BatchNormalization", "QBatchNormalization", "LayerNormalization"),
    }
)


def _inner(native: Native) -> Native:
    entry = native.config.get("layer")
    kind = str(entry.get("class_name")) if isinstance(entry, dict) else "nothing"
    if not isinstance(entry, dict) or kind not in POSITIONWISE or kind not in LAYERS:
        raise native.refuse(f"wraps {kind[:60]}; known are {', '.join(sorted(POSITIONWISE & LAYERS.keys()))}")
    return replace(native, kind=kind, config=entry["config"])


def _fill_time_distributed(native: Native, layers: Mapping[str, Layer]) -> Native:
    inner = _inner(native)
    filled = LAYERS[inner.kind].fill(inner, layers)
    return native.filled(filled.weights, layer=rewrapped(native.config["layer"], filled))


@register("TimeDistributed", fill=_fill_time_distributed, groups=("layer",))
def _time_distributed(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    inner, shape = _inner(native), only(native, arriving)
    if len(shape) < 2:
        raise native.refuse(f"is called on the shape {shape}, which has no positions")
    return LAYERS[inner.kind].lower(inner, (shape[1:],))
