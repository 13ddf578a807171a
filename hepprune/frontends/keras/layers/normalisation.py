"""Batch and layer normalisation of Keras."""

from collections.abc import Mapping

import torch
from torch import Tensor

from hepprune.frontends.keras.registry import Native, Part, Parts, only, register, single
from hepprune.network import BatchNorm, Layer, LayerNorm, Shape


def check_last_axis(native: Native, shape: Shape) -> None:
    """Refuse a layer that normalises along another axis than the channels."""
    axis = native.config.get("axis", -1)
    axis = axis[0] if isinstance(axis, list | tuple) and len(axis) == 1 else axis
    if axis not in (-1, len(shape)):
        raise native.refuse(f"normalises along axis {str(axis)[:40]} of {shape}, which is not the last one")


def affine(native: Native, *more: str, n: int) -> dict[str, Tensor]:
    """Return gamma and beta, ones and zeros where the layer has none, and the statistics that follow them."""
    has = {"gamma": native.config.get("scale", True), "beta": native.config.get("center", True)}
    names = [*(name for name, there in has.items() if there), *more]
    arrays = dict(zip(names, native.expect(*((n,) for _ in names)), strict=True))
    return {"gamma": torch.ones(n, dtype=torch.float64), "beta": torch.zeros(n, dtype=torch.float64)} | arrays


def scale_and_shift(native: Native, arrays: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the affine map that gamma, beta, mean and variance are, and refuse one that is not finite."""
    scale = arrays["gamma"] / torch.sqrt(arrays["variance"] + native.number("epsilon", 1e-3))
    shift = arrays["beta"] - arrays["mean"] * scale
    if not (torch.isfinite(scale).all() and torch.isfinite(shift).all()):
        raise native.refuse("has a variance that is not positive")
    return scale, shift


def kept_channels(old: tuple[Tensor, Tensor], new: tuple[Tensor, Tensor]) -> list[int] | None:
    """Return which channels, in order, have the scales and shifts that there are now, None where one has changed."""
    found: list[int] = []
    for pair in torch.stack(new, dim=1):
        first = found[-1] + 1 if found else 0
        same = torch.nonzero((torch.stack(old, dim=1)[first:] == pair).all(dim=1))
        if not len(same):
            return None
        found.append(first + int(same[0]))
    return found


def batch_norm(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    """Return the affine map that a batch normalisation is at inference."""
    shape = only(native, arriving)
    check_last_axis(native, shape)
    native.refuse_set("renorm")
    scale, shift = scale_and_shift(native, affine(native, "mean", "variance", n=shape[-1]))
    return [Part(BatchNorm(native.name, single(scale), single(shift)))]


def fill_batch_norm(native: Native, layers: Mapping[str, Layer]) -> Native:
    """Return the native layer with statistics of its own: mean 0 and variance 1 - epsilon where gamma and beta exist.

    Without gamma the variance takes the scale, without beta the mean takes the shift.
    """
    state = layers[native.name].state_dict()
    scale, shift, epsilon = state["scale"].double(), state["shift"].double(), native.number("epsilon", 1e-3)
    scaled, centred = native.config.get("scale", True), native.config.get("center", True)
    variance = torch.full_like(scale, 1 - epsilon) if scaled else scale**-2 - epsilon
    mean = torch.zeros_like(scale) if centred else torch.nan_to_num(-shift / scale)
    if not scaled and ((scale <= 0).any() or (variance < 0).any()):
        raise native.refuse("has no gamma, and no variance gives the scale that the network has")
    return native.filled([*([scale] if scaled else []), *([shift] if centred else []), mean, variance])


register("BatchNormalization", "BatchNormalizationV1", fill=fill_batch_norm)(batch_norm)


def _fill_layer_norm(native: Native, layers: Mapping[str, Layer]) -> Native:
    state = layers[native.name].state_dict()
    scaled = native.config.get("scale", True) or bool((state["scale"] != 1).any())
    centred = native.config.get("center", True) or bool(state["shift"].any())
    weights = [*([state["scale"]] if scaled else []), *([state["shift"]] if centred else [])]
    return native.filled(weights, scale=scaled, center=centred)


@register("LayerNormalization", fill=_fill_layer_norm)
def _layer_norm(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    shape = only(native, arriving)
    check_last_axis(native, shape)
    native.refuse_set("rms_scaling")
    arrays = affine(native, n=shape[-1])
    scale, shift = single(arrays["gamma"]), single(arrays["beta"])
    return [Part(LayerNorm(native.name, scale, shift, epsilon=native.number("epsilon", 1e-3)))]
