"""Layers of Keras that pool, move or repeat values, and those that do nothing at inference."""

import math
from typing import Any

from hepprune.frontends.keras.registry import Native, Part, Parts, channels_last, only, register
from hepprune.network import Crop, GlobalPool, Pad, Permute, Pool, Reshape, Shape, UpSample, same_padding


def _kind(native: Native) -> str:
    return "max" if "Max" in native.kind else "average"


_DROPOUTS = ("Dropout", *(f"SpatialDropout{rank}D" for rank in (1, 2, 3)), "GaussianDropout", "AlphaDropout")


@register(*_DROPOUTS, "GaussianNoise", "ActivityRegularization", "Identity")
def _vanishing(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    only(native, arriving)
    return []


@register(*(f"{kind}{rank}D" for kind in ("MaxPooling", "AveragePooling", "MaxPool") for rank in (1, 2, 3)))
def _pool(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    shape, rank = only(native, arriving), native.rank
    channels_last(native, shape)
    size = native.sizes("pool_size", rank, 2)
    strides = size if native.config.get("strides") is None else native.sizes("strides", rank)
    kind = native.config.get("padding", "valid")
    if kind not in {"valid", "same"}:
        raise native.refuse(f"has the padding {str(kind)[:40]}; known are valid and same")
    padding = same_padding(shape[:-1], size, strides, (1,) * rank) if kind == "same" else None
    return [Part(Pool(native.name, _kind(native), size=size, strides=strides, padding=padding))]


@register(*(f"Global{kind}Pooling{rank}D" for kind in ("Max", "Average") for rank in (1, 2, 3)))
def _global_pool(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    channels_last(native, only(native, arriving))
    return [Part(GlobalPool(native.name, _kind(native), keep_axes=bool(native.config.get("keepdims"))))]


@register("Flatten")
def _flatten(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    shape = only(native, arriving)
    if native.config.get("data_format", "channels_last") != "channels_last" and len(shape) > 1:
        raise native.refuse("keeps channels first; only channels_last can be taken over")
    return [Part(Reshape(native.name, (math.prod(shape),)))]


@register(
    "Reshape", fill=lambda native, layers: native.filled(target_shape=[*layers[native.name].settings()["target"]])
)
def _reshape(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    target = native.config.get("target_shape")
    if not isinstance(target, list | tuple) or not all(isinstance(n, int) and (n > 0 or n == -1) for n in target):
        raise native.refuse(f"has the target_shape {str(target)[:40]}, which is not a shape")
    worked_out = Reshape(native.name, tuple(target)).shape(only(native, arriving))
    return [Part(Reshape(native.name, worked_out))]


@register("Permute")
def _permute(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    dims = native.sizes("dims", len(only(native, arriving)))
    return [Part(Permute(native.name, tuple(axis - 1 for axis in dims)))]


def _borders(native: Native, key: str) -> Any:
    """Return (before, after) for each axis; Keras allows one number for all, or one for each axis."""
    value, rank = native.config.get(key, 1), native.rank
    pairs = [value] if rank == 1 and isinstance(value, list | tuple) else value
    pairs = [pairs] * rank if isinstance(pairs, int) else pairs
    if not isinstance(pairs, list | tuple) or len(pairs) != rank:
        raise native.refuse(f"has the {key} {str(value)[:40]}, which is not one pair for each axis")
    pairs = [[pair, pair] if isinstance(pair, int) else pair for pair in pairs]
    if not all(isinstance(p, list | tuple) and len(p) == 2 and all(isinstance(n, int) for n in p) for p in pairs):
        raise native.refuse(f"has the {key} {str(value)[:40]}, which are not pairs of sizes")
    return pairs


@register("ZeroPadding1D", "ZeroPadding2D", "Cropping1D", "Cropping2D")
def _pad_or_crop(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    channels_last(native, only(native, arriving))
    if native.kind.startswith("Zero"):
        return [Part(Pad(native.name, _borders(native, "padding")))]
    return [Part(Crop(native.name, _borders(native, "cropping")))]


@register("UpSampling1D", "UpSampling2D")
def _up_sample(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    channels_last(native, only(native, arriving))
    kind = native.config.get("interpolation", "nearest")
    if kind != "nearest":
        raise native.refuse(f"interpolates by {str(kind)[:40]}; only nearest can be taken over")
    return [Part(UpSample(native.name, native.sizes("size", native.rank, 2)))]


@register("RepeatVector")
def _repeat(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    row = Reshape(native.part("row"), (1, *only(native, arriving)))
    return [Part(row), Part(UpSample(native.name, (native.size("n"),)), (row.name,))]
