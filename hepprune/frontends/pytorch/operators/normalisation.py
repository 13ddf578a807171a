"""Batch norm and layer norm."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hepprune.errors import refused
from hepprune.frontends.pytorch.building import Assembly
from hepprune.frontends.pytorch.operators.registry import array, constant, jets_value, operator, optional, picked
from hepprune.frontends.pytorch.operators.weighted import again
from hepprune.frontends.pytorch.program import Call
from hepprune.frontends.pytorch.values import Constant, Value
from hepprune.network import BatchNorm, LayerNorm

NormTensors = tuple[Constant | None, Constant | None, Constant, Constant]


def per_channel(built: Assembly, x: Value, axis: int, title: str) -> tuple[str, Tensor, Callable[[str], Value]]:
    """Return the layer that has `axis` last, where each channel is on it, and what makes a layer's value of torch's."""
    if x.index.ndim == 2 and built.jets(x) == 0 and axis == 1:
        source, order = built.flat(x, f"{title}.flatten")
        return source, order, lambda layer: Value(layer, x.index)
    shape = x.shape
    axes = built.axes(x, axis)
    source = built.place(x, axes, f"{title}.arranged")
    return source, torch.arange(shape[axis]), lambda layer: built.value(layer, axes, shape)


@operator("batch_norm", "_native_batch_norm_legit_no_training")
def batch_norm(built: Assembly, call: Call, x: Any, *, weight: Any, bias: Any, eps: float, **options: Any) -> Any:
    """Fold the running statistics into scale * x + shift over torch's axis 1."""
    running_mean, running_var = options["running_mean"], options["running_var"]
    named = next((c for c in (weight, running_mean) if isinstance(c, Constant)), None)
    title = (named.origin or call.name).rpartition(".")[0] if named else built.title(call)
    title = title or call.name
    if options.get("training") or running_mean is None or running_var is None:
        raise refused(title, "keeps no running statistics, so it has no fixed form at inference")
    factor, offset = optional(weight, title, "weight"), optional(bias, title, "bias")
    centre, spread = constant(running_mean, title, "mean"), constant(running_var, title, "variance")
    deviation = torch.sqrt(spread.tensor.double() + eps)
    scale = array(factor, deviation, 1.0).double() / deviation
    shift = array(offset, deviation, 0.0).double() - centre.tensor.double() * scale
    if not torch.isfinite(scale).all():
        raise refused(title, "has a variance that is not positive")
    source, order, value_of = per_channel(built, jets_value(x, call), 1, title)
    key = ("batch_norm", centre.key, factor.key if factor else None, tuple(order.tolist()))
    name = again(built, key if centre.origin else None, title, source)
    if name is None:
        inverse = torch.argsort(order)
        if len(scale) != len(inverse):
            raise refused(title, f"takes {len(scale)} channels and is given {len(inverse)}")
        name = built.add(BatchNorm(built.name(title), scale.float()[inverse], shift.float()[inverse]), source)
        _store(built, name, (factor, offset, centre, spread), order=order, epsilon=eps)
        built.placed[key] = name
    found = value_of(name)
    return [found, None, None] if call.operator.startswith("_native") else found


def _store(built: Assembly, name: str, tensors: NormTensors, *, order: Tensor, epsilon: float) -> None:
    """Say how scale and shift go back: as weight and bias over neutral statistics, or as statistics alone."""
    factor, offset, centre, spread = tensors
    if factor is not None and offset is not None:
        built.stored(name, factor, lambda at: picked(at.used_scale(), order))
        built.stored(name, offset, lambda at: picked(at.used_shift(), order))
        built.stored(name, centre, lambda at: torch.zeros_like(at.scale))
        built.stored(name, spread, lambda at: torch.full_like(at.scale, 1 - epsilon))
    else:
        built.stored(name, centre, lambda at: -picked(at.used_shift() / at.used_scale(), order))
        built.stored(name, spread, lambda at: picked(at.used_scale() ** -2.0 - epsilon, order))


@operator("layer_norm", "native_layer_norm")
def layer_norm(
    built: Assembly, call: Call, x: Any, *, normalized_shape: list[int], eps: float = 1e-5, **arrays: Any
) -> Any:
    """Normalise over the last axis, or over all of a jet's values."""
    weight, bias = arrays.get("weight"), arrays.get("bias")
    title = built.title(call, weight if isinstance(weight, Constant) else None)
    values, shape = jets_value(x, call), jets_value(x, call).shape
    factor, offset = optional(weight, title, "weight"), optional(bias, title, "bias")
    if list(shape[-len(normalized_shape) :]) != list(normalized_shape):
        built.rewrite(call, normalized_shape=list(shape[-len(normalized_shape) :]))
    values = built.split(values)
    if len(normalized_shape) == values.index.ndim - 1 and built.jets(values) == 0:
        source, order = built.flat(values, f"{title}.flatten")
        order = order.reshape(-1)

        result: Callable[[str], Value] = lambda layer: Value(layer, values.index)  # noqa: E731
    elif len(normalized_shape) == 1:
        source, order, result = per_channel(built, values, values.index.ndim - 1, title)
    else:
        raise refused(title, f"normalises over {len(normalized_shape)} axes; one, or all of them, are known")
    key = ("layer_norm", factor.key if factor else None, eps, tuple(order.tolist()))
    name = again(built, key if factor and factor.origin else None, title, source)
    if name is None:
        inverse = torch.argsort(order)
        scale, shift = (array(*of).reshape(-1) for of in ((factor, order, 1.0), (offset, order, 0.0)))
        layer = LayerNorm(built.name(title), scale[inverse], shift[inverse], eps)
        name = built.add(layer, source)
        sizes = factor.shape if factor and factor.tensor.ndim > 1 else (-1,)
        built.stored(name, factor, lambda at: picked(at.scale, order).reshape(sizes))
        built.stored(name, offset, lambda at: picked(at.shift, order).reshape(sizes))
        built.placed[key] = name
    found = result(name)
    found = found.moved(found.index.reshape(shape))
    return [found, None, None] if call.operator.startswith("native") else found
