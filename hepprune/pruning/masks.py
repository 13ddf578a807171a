"""Cuts: what is taken from a layer, and the masked network in which shapes are still as they were."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from hepprune import digits
from hepprune.errors import NetworkError, unknown
from hepprune.fixed import FixedPoint
from hepprune.network import Layer, Network, Recurrent, Weighted
from hepprune.network.quantise import weight_integers

GRANULARITIES = ("neuron", "weight", "digit")
_MORE = ("input", "recurrent_weight")


@dataclass(frozen=True)
class Cut:
    """Units taken from one layer: neurons by index, or weights by row-major index, removed or one signed digit shorter.

    A neuron that is cut goes on as the constant `constants` gives it (its mean activation), 0 where none is given. A
    layer whose "input" is cut no longer reads it, and its bias takes over what weights of that constant would add. The
    "recurrent_weight"s of a recurrent layer are those between its states.
    """

    layer: str
    granularity: str
    units: tuple[int, ...]
    constants: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a granularity that does not exist, and constants that do not match the neurons."""
        if self.granularity not in (*GRANULARITIES, *_MORE):
            raise NetworkError(unknown("granularity", self.granularity, (*GRANULARITIES, *_MORE)))
        if self.constants and len(self.constants) != len(self.units):
            raise NetworkError(
                f"a cut of layer '{self.layer}' has {len(self.units)} units and {len(self.constants)} constants"
            )


Plan = tuple[Cut, ...]


def apply(network: Network, plan: Iterable[Cut]) -> Network:
    """Return a masked copy: same shapes, cut weights at zero, cut neurons constant, cut inputs unread.

    Raises:
        NetworkError: a cut names no layer with weights, a unit outside it, or would leave it without a neuron.
    """
    masked = network.clone()
    for cut in plan:
        apply_to(masked[cut.layer], cut)
    return masked


def with_cut(layer: Weighted, cut: Cut) -> Weighted:
    """Return a copy of one layer with its cut made."""
    copied = copy.deepcopy(layer)
    apply_to(copied, cut)
    return copied


@torch.no_grad()
def apply_to(layer: Layer, cut: Cut) -> None:
    """Cut one layer in place; for callers that own the copy."""
    if not isinstance(layer, Weighted | Recurrent):
        raise NetworkError(f"layer '{cut.layer}' has no weights to cut")
    limit = _limit(layer, cut.granularity)
    sizes = {"neuron": layer.n_out, "input": layer.weight.shape[-1]}
    size = sizes.get(cut.granularity, limit.numel())
    if cut.units and not 0 <= min(cut.units) <= max(cut.units) < size:
        outside = min(cut.units) if min(cut.units) < 0 else max(cut.units)
        raise NetworkError(f"layer '{layer.name}' has {size} units, none has index {outside}")
    if cut.granularity in sizes and len(set(cut.units)) == size:
        raise NetworkError(f"layer '{layer.name}' would be left with no {cut.granularity}")
    units = torch.tensor(cut.units, dtype=torch.long)
    if cut.granularity == "neuron":
        _silence(layer, units, torch.tensor(cut.constants or (0.0,) * len(units), dtype=layer.bias.dtype))
    elif cut.granularity == "input":
        _deafen(layer, units, torch.tensor(cut.constants, dtype=layer.bias.dtype))
    elif cut.granularity != "digit" or not isinstance(layer, Weighted):
        limit.view(-1)[units] = 0
    else:
        fewer = (digit_counts(layer).view(-1)[units] - 1).clamp(min=0)
        limit.view(-1)[units] = fewer.to(limit.dtype)


def _limit(layer: Weighted | Recurrent, granularity: str) -> Tensor:
    """Return the digit limits of the kernel that a cut takes from."""
    if granularity != "recurrent_weight":
        return layer.digit_limit
    if not isinstance(layer, Recurrent):
        raise NetworkError(f"layer '{layer.name}' is not recurrent, it has no weights between its states")
    return layer.recurrent_digit_limit


def _silence(layer: Weighted | Recurrent, units: Tensor, constants: Tensor) -> None:
    """Leave neurons without weights; a recurrent one without those that read it in the next step either."""
    if isinstance(layer, Weighted):
        layer.digit_limit[units], layer.bias[units] = 0, constants
        return
    if constants.any():
        raise NetworkError(f"layer '{layer.name}' is recurrent: none of its neurons can go on as a constant")
    rows = (torch.arange(len(layer.weight) // layer.n_out)[:, None] * layer.n_out + units).flatten()
    layer.digit_limit[rows], layer.recurrent_digit_limit[rows] = 0, 0
    layer.recurrent_digit_limit[:, units] = 0
    layer.bias[rows], layer.recurrent_bias[rows] = 0, 0


def _deafen(layer: Weighted | Recurrent, units: Tensor, constants: Tensor) -> None:
    """Leave inputs unread, the bias in their place."""
    if constants.any():
        used = layer.used_weight() if isinstance(layer, Weighted) else layer.used("weight")
        layer.bias.add_(used[..., units].reshape(len(used), -1, len(units)).sum(dim=1) @ constants)
    layer.digit_limit[..., units] = 0


@torch.no_grad()
def digit_counts(layer: Weighted) -> Tensor:
    """Return the signed digits that each quantised weight has, (n_out, n_in) int64."""
    if not isinstance(layer.weight_type, FixedPoint):
        raise NetworkError(f"layer '{layer.name}' is not in fixed point, and only there are digits")
    integers = weight_integers(layer.weight, layer.weight_type, layer.digit_limit)
    return torch.as_tensor(digits.count(integers.cpu().numpy()))


@torch.no_grad()
def nonzero_weights(network: Network) -> int:
    """Return how many weights act after quantisation."""
    return sum(int(torch.count_nonzero(kernel.used_weight())) for kernel in network.kernels)
