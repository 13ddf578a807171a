"""Which signed digits a network keeps: all are ranked by what each is worth, and the best that a budget pays for stay.

A weight is written with its most valuable digits first. The worth of one more is the squared residual it removes times
the weight's empirical Fisher information, per LUT that a digit of its layer takes: the loss that rounding it away is
predicted to cost (LeCun, Denker and Solla, NeurIPS 1989, on digits instead of weights).
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor

from hepprune.fixed import FixedPoint, digits
from hepprune.fixed.quantisers import FixedPoints
from hepprune.fixed.quantisers.per_value import like
from hepprune.hardware.cost import matrices
from hepprune.hardware.resources import Budget, Estimate
from hepprune.network import Kernel, Network, quantise
from hepprune.pruning.statistics import Statistics
from hepprune.search.moves import missed
from hepprune.search.stages import Price
from hepprune.training import Prepare

_TIGHTENING = 0.6  # the part of a training over which the digits are chosen


def tightening(network: Network, price: Price, budget: Budget, *, gather: Callable[[Network], Statistics]) -> Prepare:
    """Return what chooses digits anew before each epoch of a training until the budget is met, and then holds them.

    What may be used falls along a cubic from what `network` uses (Zhu and Gupta, arXiv:1710.01878). In the end
    `prepare` raises BudgetMissedError where even one digit a layer is too much.
    """
    start = budget.usage(price(network))
    held = False

    def prepare(training: Network, passed: float) -> bool:
        nonlocal held
        if not held:
            limits = goals(start, passed / _TIGHTENING)
            allocate(training, gather(training), price, fits=lambda figures: within(budget.usage(figures), limits))
            held = passed >= _TIGHTENING
            if held and not budget.met_by(figures := price(training)):
                raise missed(budget, figures, training)
        return held

    return prepare


def goals(start: Mapping[str, float], passed: float) -> dict[str, float]:
    """Return what may be used of each limit, as a fraction of it, once a part of the tightening has passed."""
    remaining = max(0.0, 1 - passed) ** 3
    if remaining == 0:
        return dict.fromkeys(start, 1.0)  # also of a limit of nothing, of which any use is infinite
    return {name: 1 + max(used - 1, 0.0) * remaining for name, used in start.items()}


def within(used: Mapping[str, float], goals: Mapping[str, float]) -> bool:
    """Return whether no more is used of any limit than its goal."""
    return all(used[name] <= goal for name, goal in goals.items())


@torch.no_grad()
def allocate(network: Network, gathered: Statistics, price: Price, *, fits: Callable[[Estimate], bool]) -> None:
    """Limit the digits of every weight, in place, so that the most valuable ones stay that fit.

    Weights that had been cut compete again, unless their whole kernel was. Each layer is left one digit, whether it
    fits or not. Weights of other than fixed-point types stay as they are.
    """
    fixed = [kernel for kernel in network.kernels if isinstance(kernel.type, FixedPoint | FixedPoints)]
    kernels = [kernel for kernel in fixed if bool((kernel.digit_limit > 0).any())]
    per_digit = _per_digit(network, fixed, price)
    # A digit that brings the weight no nearer to what training wants is worth nothing, and no digit is worth more than
    # one before it. The step squared is left out, so layers of different steps are ranked unevenly: with it all results
    # would change.
    each = [saved(k) * gathered[k.name].weight_fisher.double() / per_digit[k.name] for k in kernels]
    worths = [leaving_one(torch.cummin(worth, dim=0).values) for worth in each]
    flat = torch.cat([worth.flatten() for worth in worths])
    ranked = torch.sort(flat[(flat > 0) & flat.isfinite()]).values

    def fits_above(index: int) -> bool:
        threshold = float(ranked[index - 1]) if index else 0.0
        for kernel, worth in zip(kernels, worths, strict=True):
            kernel.digit_limit.copy_((worth > threshold).sum(dim=0))
        return fits(price(network))

    fits_above(bisect_left(range(len(ranked)), True, key=fits_above))


def _per_digit(network: Network, fixed: Sequence[Kernel], price: Price) -> dict[str, float]:
    """Return what a digit of each kernel costs in LUT.

    A chain of dense layers is nothing but digits. Elsewhere layers hold products, tables and roundings that no digit
    frees, and the difference is taken that fewer digits make.
    """
    figures = price(network)
    if matrices.covers(network):
        costs = {layer.layer: layer.resources.lut or 0.0 for layer in figures.layers}
        kernels = {kernel.name: kernel for kernel in fixed}
        return {name: max(costs[name], 1e-9) / max(int(k.digit_counts().sum()), 1) for name, k in kernels.items()}
    whole, found = figures.resources.lut or 0.0, {}
    for kernel in fixed:
        fewer, counts = network.clone(), kernel.digit_counts()
        # every weight loses one, or every second weight goes
        limit = counts.clamp(max=digits.UNLIMITED) - (counts > 1).long()
        if not bool((counts > 1).any()):
            limit.view(-1)[torch.nonzero(counts.flatten()).flatten()[::2]] = 0
        fewer.kernel(kernel.name).digit_limit.copy_(limit)
        freed = max(whole - (price(fewer).resources.lut or 0.0), 1e-9)
        found[kernel.name] = freed / max(int((counts - limit).sum()), 1)
    return found


def saved(kernel: Kernel) -> Tensor:
    """Return by how much each digit brings each weight nearer to what training wants, in squared steps."""
    kind = cast("FixedPoint | FixedPoints", kernel.type)
    steps, least, most = (like(each, kernel.weight) for each in (kind.step, kind.minimum, kind.maximum))
    wanted = torch.minimum(torch.maximum((kernel.weight / steps).double(), least / steps), most / steps)
    limits = (torch.full_like(kernel.digit_limit, limit) for limit in range((int(np.max(kind.width)) + 2) // 2 + 1))
    nearest = [quantise.weight_integers(kernel.weight, kind, limit).double() for limit in limits]
    residuals = torch.stack([(wanted - each) ** 2 for each in nearest])
    return (residuals[:-1] - residuals[1:]).clamp(min=0)


def leaving_one(worth: Tensor) -> Tensor:
    """Make the first digit of one weight worth anything: a layer without a digit would end the network."""
    worth[0].view(-1)[worth[0].argmax()] = torch.inf
    return worth
