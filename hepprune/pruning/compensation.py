"""Optimal Brain Surgeon layer by layer: the weights that stay make up for those that go, in the least-squares sense.

Removing weights of one output changes it by (w' - w) x. With the second moments S = E[x x^T] of what arrives (and a 1
for the bias, which stays and helps) the mean squared change is (w' - w)^T S (w' - w), a quadratic whose optimum under
w'_q = 0 is known in closed form (Hassibi and Stork 1993; for layers: Frantar et al., arXiv:2208.11580).
"""

import logging
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from hepprune.errors import DataError, NetworkError
from hepprune.network import Network, Weighted
from hepprune.pruning import masks, statistics, taps
from hepprune.pruning.masks import Cut

logger = logging.getLogger(__name__)

_EXACT_UP_TO = 256  # weights of one output; above, the sweep shares one inverse among all outputs
_DAMPING = 1e-8  # of the mean second moment, so that inputs that depend on each other have an inverse


@torch.no_grad()
def moments(network: Network, x: Tensor, y: Tensor | None = None, *, batch_size: int = 4096) -> dict[str, Tensor]:
    """Return E[x x^T] of what arrives at each layer and a final 1, float64 (groups, n_weights + 1, n_weights + 1).

    n_weights is that of one output. Classes y are not needed.

    Raises:
        DataError: there are no jets, or a value is not finite.
    """
    sums: dict[str, Tensor] = {}
    for jets, _ in taps.batches(x, x if y is None else y, batch_size):
        seen = taps.run(network, jets)
        for layer in statistics.scored(network):
            arriving = seen.arriving(layer).double().flatten(0, 1)
            one = torch.cat([arriving, arriving.new_ones(*arriving.shape[:-1], 1)], dim=-1)
            sums[layer.name] = sums.get(layer.name, torch.zeros(())) + torch.einsum("ngk,ngl->gkl", one, one)
    found = {name: total / total[0, -1, -1] for name, total in sums.items()}
    for name, matrix in found.items():
        if not torch.isfinite(matrix).all():
            raise DataError(f"what arrives at layer '{name}' is not finite; the network or its features hold NaN")
    return found


@torch.no_grad()
def scores(layer: Weighted, moment: Tensor) -> Tensor:
    """Return the rise of half the mean squared change of an output when each weight goes, like the weights.

    Up to 256 weights an output, weights go one after the other, the cheapest first, the others compensating each time;
    the score is the rise at a weight's turn, w_q^2 / (2 [H^-1]_qq) with H what the turns before have left, so that any
    number of lowest scores is a greedy optimum. Above, all scores are those of the first turn.
    """
    weight = _by_group(layer, layer.used_weight().double())
    pruned = _by_group(layer, layer.digit_limit) == 0
    each = [
        _in_turn(*part) if weight.shape[-1] <= _EXACT_UP_TO else _first_turn(*part)
        for part in zip(weight, pruned, _damped(moment), strict=True)
    ]
    return torch.stack(each).reshape(layer.weight.shape)


def _first_turn(weight: Tensor, pruned: Tensor, moment: Tensor) -> Tensor:
    del pruned
    inverse: Tensor = torch.linalg.inv(moment)
    return weight**2 / (2 * inverse.diagonal()[:-1])


def _in_turn(weight: Tensor, pruned: Tensor, moment: Tensor) -> Tensor:
    """Return scores (n_out, n_weights) of one removal after the other, all outputs side by side."""
    n_out, n_weights = weight.shape
    everyone = torch.arange(n_out)
    inverse = torch.linalg.inv(moment).repeat(n_out, 1, 1)
    left = torch.cat([weight, weight.new_zeros(n_out, 1)], dim=1)
    found, alive, least = torch.zeros_like(weight), torch.ones_like(weight, dtype=torch.bool), weight.new_zeros(n_out)
    for _ in range(n_weights):
        pivots = inverse.diagonal(dim1=1, dim2=2)[:, :-1]
        rise = torch.where(pruned, -1.0, left[:, :-1] ** 2 / (2 * pivots))  # what is gone has its turn first
        goes = torch.where(alive, rise, torch.inf).argmin(dim=1)
        least = torch.maximum(least, rise[everyone, goes])
        found[everyone, goes], alive[everyone, goes] = least, False
        column = inverse[everyone, :, goes]
        pivot = column[everyone, goes]
        left = left - column * (left[everyone, goes] / pivot)[:, None]
        inverse = inverse - column[:, :, None] * (column / pivot[:, None])[:, None, :]
        left[everyone, goes] = 0.0
        inverse[everyone, goes, goes] = 1.0  # the row and column are zero now; a pivot that is never used again
    return found


@torch.no_grad()
def compensate(network: Network, plan: Iterable[Cut], moment: Mapping[str, Tensor]) -> Network:
    """Return the network with the plan's weights at zero and those that stay, biases too, at their new optimum.

    Exact up to 256 weights an output; above, weights are made up for by those to their right, in one sweep that shares
    one inverse among all outputs (SparseGPT, Frantar and Alistarh, arXiv:2301.00774). Moments come from the network
    before the cuts. Quantisers round the new weights at their next use.

    Raises:
        NetworkError: a cut takes digits or neurons, for which there is no least-squares optimum here.
    """
    cuts = list(plan)
    for cut in cuts:
        if cut.granularity not in {"weight", "recurrent_weight"}:
            raise NetworkError(f"only cuts of weights can be compensated, not one of granularity '{cut.granularity}'")
    masked = masks.apply(network, cuts)
    for name in {cut.layer for cut in cuts if cut.units}:
        before, layer = network[name], masked[name]
        if isinstance(before, Weighted) and isinstance(layer, Weighted):
            _update(layer, before, moment[name])
        else:
            logger.warning("no weight of recurrent layer '%s' makes up for those that go", name)
    return masked


def _update(layer: Weighted, before: Weighted, moment: Tensor) -> None:
    bias = before.used_bias().double().reshape(len(moment), -1, 1)
    weight = torch.cat([_by_group(before, before.used_weight().double()), bias], dim=-1)
    keep = _by_group(layer, layer.digit_limit) > 0
    keep = torch.cat([keep, torch.ones_like(keep[..., :1])], dim=-1)
    solve = _optimum if weight.shape[-1] <= _EXACT_UP_TO + 1 else _sweep
    new = torch.stack([solve(*part) for part in zip(weight, keep, _damped(moment), strict=True)])
    layer.weight.copy_(new[..., :-1].reshape(layer.weight.shape))
    layer.bias.copy_(new[..., -1].flatten())


def _optimum(weight: Tensor, keep: Tensor, moment: Tensor) -> Tensor:
    """Return argmin of (w' - w)^T S (w' - w) per output under w' = 0 where nothing is kept."""
    mask = keep.double()
    system = mask[:, :, None] * moment * mask[:, None, :] + torch.diag_embed(1 - mask)
    solved: Tensor = torch.linalg.solve(system, mask * (weight @ moment))
    return solved * mask


def _sweep(weight: Tensor, keep: Tensor, moment: Tensor) -> Tensor:
    factor = torch.linalg.cholesky(torch.linalg.inv(moment), upper=True)
    new = weight.clone()
    for column in range(new.shape[1] - 1):
        lost = torch.where(keep[:, column], 0.0, new[:, column] / factor[column, column])
        new[:, column:] -= lost[:, None] * factor[column, column:]
    return new * keep


def _damped(moment: Tensor) -> Tensor:
    mean = moment.diagonal(dim1=1, dim2=2).mean(dim=1)
    return moment + _DAMPING * torch.diag_embed(mean[:, None].expand(moment.shape[:2]))


def _by_group(layer: Weighted, values: Tensor) -> Tensor:
    """Return values shaped like the weights as (groups, n_out / groups, weights of one output)."""
    groups = taps.groups(layer)
    return values.reshape(groups, layer.n_out // groups, -1)
