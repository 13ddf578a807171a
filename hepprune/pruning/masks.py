"""Cuts: what is taken from a layer, and the masked network in which shapes are still as they were."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from hepprune.errors import NetworkError, check_known, refused, unknown
from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import FixedPoints
from hepprune.network import Kernel, Layer, Network, Recurrent, Rules, Weighted

L = TypeVar("L", bound=Layer)
GRANULARITIES = ("neuron", "weight", "digit")
BIT = "bit"
_OF_LAYERS = ("neuron", "input")


@dataclass(frozen=True)
class Cut:
    """Units taken from one place: neurons of a layer by index, or weights of a kernel by row-major index.

    Weights are removed, or made one signed "digit" shorter; `layer` then names the kernel. A neuron that is cut goes on
    as the constant `constants` gives it (its mean activation), 0 where none is given. A layer whose "input" is cut no
    longer reads it, and its bias takes over what weights of that constant would add. Values of a layer that lose a
    "bit", by row-major index, lose their last one; where they have one type in common, each then has its own.
    """

    layer: str
    granularity: str
    units: tuple[int, ...]
    constants: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a granularity that does not exist, and constants that do not match the neurons."""
        if self.granularity not in {*GRANULARITIES, *_OF_LAYERS, BIT}:
            raise NetworkError(unknown("granularity", self.granularity, (*GRANULARITIES, "input", BIT)))
        if self.constants and len(self.constants) != len(self.units):
            raise refused(self.layer, f"has a cut of {len(self.units)} units and {len(self.constants)} constants")


Cuts = tuple[Cut, ...]


def apply(network: Network, plan: Iterable[Cut]) -> Network:
    """Return a masked copy: same shapes, cut weights at zero, cut neurons constant, cut inputs unread.

    Raises:
        NetworkError: a cut names no layer with weights, a unit outside it, or would leave it without a neuron.
    """
    masked = network.clone()
    for cut in plan:
        if cut.granularity == BIT and isinstance(kind := masked[cut.layer].result, FixedPoint):
            masked[cut.layer].result = FixedPoints.of(kind, masked.shapes[cut.layer])
        of_layer = cut.granularity in _OF_LAYERS or cut.layer in masked.layers
        apply_to(masked[cut.layer] if of_layer else masked.kernel(cut.layer).layer, cut)
    return masked


def with_cut(layer: L, cut: Cut) -> L:
    """Return a copy of one layer with its cut made."""
    copied = copy.deepcopy(layer)
    apply_to(copied, cut)
    return copied


@torch.no_grad()
def apply_to(layer: Layer, cut: Cut) -> None:
    """Cut one layer in place; for callers that own the copy."""
    if cut.granularity == BIT:
        layer.result = _shortened(layer, cut)
        return
    if cut.granularity not in _OF_LAYERS:
        own = {kernel.name: kernel for kernel in layer.kernels}
        if not own:
            raise refused(cut.layer, "has no weights to cut")
        check_known("kernel", cut.layer, own, NetworkError)
        _prune(own[cut.layer], cut)
        return
    silence = SILENCE.find(layer)
    kernel = layer.kernels[0]
    size: int = kernel.n_columns if cut.granularity == "input" else layer.n_out  # type: ignore[assignment]
    units, constants = _checked(cut, size), torch.tensor(cut.constants, dtype=kernel.weight.dtype)
    if len(set(cut.units)) == size:
        raise refused(layer.name, f"would be left with no {cut.granularity}")
    if cut.granularity == "neuron":
        silence(layer, units, constants if cut.constants else constants.new_zeros(len(units)))
    else:
        if constants.any():
            used = kernel.used()
            added = used[..., units].reshape(len(used), -1, len(units)).sum(dim=1) @ constants
            kernel.layer.get_parameter("bias").add_(added)
        kernel.digit_limit[..., units] = 0


def _shortened(layer: Layer, cut: Cut) -> FixedPoints:
    """Return the types of a layer's values of which those that are cut have one bit less, or none."""
    if not isinstance(layer.result, FixedPoints):
        raise refused(layer.name, "has no types of single values, so none of them can lose a bit")
    width = layer.result.width.copy()
    units = _checked(cut, width.size).numpy()
    width.reshape(-1)[units] = np.maximum(width.reshape(-1)[units] - 1, 0)
    return replace(layer.result, width=width)


def _prune(kernel: Kernel, cut: Cut) -> None:
    units, limit = _checked(cut, kernel.weight.numel()), kernel.digit_limit.view(-1)
    if cut.granularity == "digit":
        limit[units] = (kernel.digit_counts().view(-1)[units] - 1).clamp(min=0).to(limit.dtype)
    else:
        limit[units] = 0


def _checked(cut: Cut, size: int) -> Tensor:
    if cut.units and not 0 <= min(cut.units) <= max(cut.units) < size:
        outside = min(cut.units) if min(cut.units) < 0 else max(cut.units)
        raise refused(cut.layer, f"has {size} units, none has index {outside}")
    return torch.tensor(cut.units, dtype=torch.long)


def _weighted(layer: Weighted, units: Tensor, constants: Tensor) -> None:
    layer.digit_limit[units], layer.bias[units] = 0, constants


def _recurrent(layer: Recurrent, units: Tensor, constants: Tensor) -> None:
    """Leave neurons without the weights that read them in the next step either."""
    if constants.any():
        raise refused(layer.name, "is recurrent: none of its neurons can go on as a constant")
    rows = (torch.arange(len(layer.weight) // layer.n_out)[:, None] * layer.n_out + units).flatten()
    layer.digit_limit[rows], layer.recurrent_digit_limit[rows] = 0, 0
    layer.recurrent_digit_limit[:, units] = 0
    layer.bias[rows], layer.recurrent_bias[rows] = 0, 0


# How neurons of each kind of layer are left without weights: `rule(layer, units, constants)`, in place.
SILENCE: Rules[Callable[..., None]] = Rules(
    lacks="has no weights to cut",
    fix="cut the layers whose values it reads",
    table={Weighted: _weighted, Recurrent: _recurrent},
)


@torch.no_grad()
def nonzero_weights(network: Network) -> int:
    """Return how many weights act after quantisation."""
    return sum(int(torch.count_nonzero(kernel.used())) for kernel in network.kernels)
