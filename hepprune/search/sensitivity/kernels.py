"""Kernels: what computes each layer's value in a replay, with as few passes over memory as give the same numbers.

A value may be kept in units of its type's step, a power of two that is moved exactly into the weights around it; a
quantised activation is then two passes in place. Variants of a dense layer are stacked into one matrix product.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from hepprune.fixed import MANTISSA, FixedPoint, Quantiser
from hepprune.network import Dense, Layer, Network, ReLU

Compute = Callable[..., Tensor]

# A product in the widest vectors of any processor, which torch itself asks for only in compiled code; the library it
# asks otherwise takes twice as long where the processor is of another maker.
_ONEDNN_LINEAR = getattr(torch.ops.mkldnn, "_linear_pointwise", None)


def units(network: Network, order: tuple[str, ...]) -> dict[str, float]:
    """Return the unit each value is kept in: its type's step where only dense layers read it, else 1.

    A dense layer before a ReLU puts out what the ReLU keeps.
    """
    found: dict[str, float] = dict.fromkeys(order, 1.0)
    for name in reversed(order):
        layer, readers = network[name], network.readers(network[name])
        if not readers or name in {*network.raw_outputs, *network.outputs}:
            continue
        if isinstance(layer, ReLU) and isinstance(layer.result, FixedPoint):
            if all(isinstance(reader, Dense) for reader in readers):
                found[name] = layer.result.step
        elif isinstance(layer, Dense) and layer.result is None and isinstance(readers[0], ReLU) and len(readers) == 1:
            found[name] = found[readers[0].name]
    return found


def single(network: Network, layer: Layer, units: Mapping[str, float], needed: set[str]) -> Compute:
    """Return what computes a layer's value, in its unit, from values in theirs."""
    unit = units[layer.name]
    before = [units[source] for source in network.sources.get(layer.name, ())] or [1.0]
    if isinstance(layer, Dense) and layer.result is None:
        weight, bias = layer.used_weight() * (before[0] / unit), layer.used_bias() / unit
        return partial(_by_class if layer.name == network.raw_output else linear, weight, bias)
    if isinstance(layer, ReLU):
        (source,) = network.sources[layer.name]
        only = len(network.readers(network[source])) == 1 and source not in needed
        fresh = only and isinstance(network[source], Dense)
        if before[0] == unit and layer.maximum is None:
            return _relu(layer.result, unit, in_place=fresh)
    node = network.node(layer)  # one that shares another's weights may round once more
    return _in_units(lambda *values: node.quantised(node.layer.compute(*values, quantised=True)), before, unit)


def _in_units(compute: Compute, before: list[float], unit: float) -> Compute:
    """Return a kernel that computes in plain numbers, whatever units its values have."""
    if unit == 1 and all(each == 1 for each in before):
        return compute
    return lambda *values: compute(*(value * each for value, each in zip(values, before, strict=True))) / unit


def linear(weight: Tensor, bias: Tensor, values: Tensor) -> Tensor:
    """Return values (..., n_in) times weight (n_out, n_in), plus bias."""
    if _ONEDNN_LINEAR is not None and values.dim() == 2 and values.dtype == torch.float32:
        found: Tensor = _ONEDNN_LINEAR(values, weight, bias, "none", [], "")
        return found
    return torch.nn.functional.linear(values, weight, bias)


def _by_class(weight: Tensor, bias: Tensor, values: Tensor) -> Tensor:
    """Return the same with the values of one output side by side in memory, as sums over classes want logits."""
    if values.dim() == 2:
        return torch.addmm(bias[:, None], weight, values.t()).t()
    return linear(weight, bias, values)


def _relu(kind: Quantiser | None, unit: float, *, in_place: bool) -> Compute:
    """Return max(x, 0) under a type; rounding down and saturating, the usual one, needs two passes and no copy."""
    quick = (
        isinstance(kind, FixedPoint)
        and (kind.rounding, kind.overflow) == ("TRN", "SAT")
        and kind.width <= MANTISSA
        and unit == kind.step
    )
    if not (kind is None or quick):
        return _in_units(lambda values: kind(values.clamp(min=0)), [unit], unit)
    top = kind.integer_range[1] if isinstance(kind, FixedPoint) else None

    def compute(values: Tensor) -> Tensor:
        clamped = values.clamp_(0, top) if in_place else values.clamp(0, top)
        return clamped.floor_() if quick else clamped

    return compute


def stacked(network: Network, layers: Sequence[Layer], units: Mapping[str, float]) -> Compute:
    """Return what computes the values of all variants of a layer, of its name, (n_jets x n, *shape)."""
    unit = units[layers[0].name]
    before = [units[source] for source in network.sources.get(layers[0].name, ())] or [1.0]
    dense = [layer for layer in layers if isinstance(layer, Dense) and layer.result is None]
    if len(dense) == len(layers):
        weight = torch.cat([layer.used_weight() for layer in dense]) * (before[0] / unit)
        bias = torch.cat([layer.used_bias() for layer in dense]) / unit

        def product(values: Tensor) -> Tensor:
            found = linear(weight, bias, values)
            return found.reshape(*found.shape[:-1], len(layers), -1).movedim(-2, 1).flatten(0, 1)

        return product
    each = [_in_units(layer, before, unit) for layer in layers]
    return lambda *values: torch.stack([kernel(*values) for kernel in each], dim=1).flatten(0, 1)
