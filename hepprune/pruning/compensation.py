"""Optimal Brain Surgeon layer by layer: the weights that stay make up for those that go, in the least-squares sense.

Removing weights of one output changes it by (w' - w) x. With the second moments S = E[x x^T] of what arrives (and a 1
for the bias, which stays and helps) the mean squared change is (w' - w)^T S (w' - w), a quadratic whose optimum under
w'_q = 0 is known in closed form (Hassibi and Stork 1993; for layers: Frantar et al., arXiv:2208.11580).

S has 1e-8 of its mean diagonal added to it. Inputs that depend on each other have an inverse then, and of all optima of
equal quality the one is found that changes the weights least.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hepprune.errors import NetworkError, refused
from hepprune.network import Layer, Network, Recurrent, Weighted
from hepprune.network.layers.recurrent import KERNELS
from hepprune.pruning import masks, statistics
from hepprune.pruning.masks import Cut
from hepprune.pruning.statistics import recorded, recurrences, teacher_forcing
from hepprune.pruning.statistics.recorded import Recorded
from hepprune.task.sample import Sample

_IN_TURN_UP_TO = 512  # weights of one output; above, as many updates of an inverse for each output take too long
_LATER = 1 + 1e-12  # what has its turn later scores more, even where it has become the cheaper one
_DAMPING = 1e-8  # of the mean second moment, so that inputs that depend on each other have an inverse
_MAX_VALUES = 2**24  # of what arrives at one layer, or of the inverses of its outputs, at a time


@torch.no_grad()
def moments(network: Network, sample: Sample | Tensor, *, batch_size: int = 4096) -> dict[str, Tensor]:
    """Return E[z z^T] of what arrives at each layer, z = [x; 1], float64 (groups, n_weights + 1, n_weights + 1).

    n_weights is that of one output. Targets are not needed, so that features (n_jets, *shape) alone will do. Of a
    recurrent layer there is one for each of its parts, by their names, over all steps of the jets: see
    `teacher_forcing.LinearRows.reads` for what its z are.

    Raises:
        DataError: there are no jets, or a value is not finite.
    """
    if isinstance(sample, Tensor):
        sample = Sample((sample,), sample)
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    # as many jets at a time as keep what arrives at the parts of recurrent layers in bounds
    one = recorded.run(network, sample.first(1).x)
    read = (teacher_forcing.reads(one, cell) for cell in recurrences.contributing(network))
    sizes = [part.numel() for parts in read for part in parts.values()]
    for jets in sample.batches(min(batch_size, max(1, _MAX_VALUES // max(sizes, default=1)))):
        for layer, name, arriving in _arriving(recorded.run(network, jets.x)):
            values = arriving.double().flatten(0, 1)
            sums[name] = sums.get(name, torch.zeros(())) + torch.einsum("ngk,ngl->gkl", values, values)
            counts[name] = counts.get(name, 0) + len(values)
            recorded.check_finite([sums[name]], f"what arrives at layer '{layer}' is")
    return {name: total / counts[name] for name, total in sums.items()}


def _arriving(seen: Recorded) -> Iterator[tuple[str, str, Tensor]]:
    """Yield by layer and name what weights and biases multiply, (n_jets, n_places, groups, n_weights + n_biases)."""
    for layer in recorded.contributing(seen.network):
        if isinstance(layer, Recurrent):
            yield from ((layer.name, name, values) for name, values in teacher_forcing.reads(seen, layer).items())
        elif isinstance(layer, Weighted):
            values = seen.arriving(layer)
            yield layer.name, layer.name, torch.cat([values, values.new_ones(*values.shape[:-1], 1)], dim=-1)


@dataclass(frozen=True)
class _Rows:
    """Outputs that are linear in weights and biases, (n_out, n_weights) and (n_out, n_biases)."""

    weight: Tensor
    biases: Tensor
    alive: Tensor


def _rows(layer: Layer) -> dict[str, _Rows]:
    """Return the outputs of a layer by the names of their moments."""
    if isinstance(layer, Recurrent):
        parts = teacher_forcing.parts(layer)
        return {each.name: _Rows(each.weights(layer), each.biases(layer), each.limits(layer) > 0) for each in parts}
    if not isinstance(layer, Weighted):
        raise refused(layer.name, "has no weights that could make up for others")
    weight = layer.used_weight().flatten(1)
    return {layer.name: _Rows(weight, layer.used_bias()[:, None], layer.digit_limit.flatten(1) > 0)}


def rises(network: Network, sample: Sample, *, batch_size: int = 4096) -> dict[str, Tensor]:
    """Return the `scores` of every kernel, by its name in `Network.kernels`.

    Raises:
        DataError: there are no jets, or a value is not finite.
    """
    moment = moments(network, sample, batch_size=batch_size)
    found = {layer.name: scores(layer, moment[layer.name]) for layer in statistics.scored(network)}
    for cell in recurrences.contributing(network):
        rows = torch.cat([_rises(rows, moment[name]) for name, rows in _rows(cell).items()])
        pair = torch.split(rows, [cell.n_in, cell.n_out], dim=1)
        found |= {f"{cell.name}.{kind}": own for kind, own in zip(KERNELS, pair, strict=True)}
    return found


@torch.no_grad()
def scores(layer: Weighted, moment: Tensor) -> Tensor:
    """Return the rise of half the mean squared change of an output when each weight goes, like the weights.

    Up to 512 weights an output, weights go one after the other, the cheapest first, the others compensating each time;
    the score is the rise at a weight's turn, w_q^2 / (2 [H^-1]_qq) with H what the turns before have left, so that any
    number of lowest scores is a greedy optimum. Above, all scores are those of the first turn. What is pruned already
    makes up for nothing.
    """
    return _rises(_rows(layer)[layer.name], moment).reshape(layer.weight.shape)


@torch.no_grad()
def _rises(rows: _Rows, moment: Tensor) -> Tensor:
    in_turn = rows.weight.shape[-1] <= _IN_TURN_UP_TO
    solve, n_rows = (_in_turn, max(1, _MAX_VALUES // moment[0].numel())) if in_turn else (_first_turn, len(rows.weight))
    each = zip(_by_group(rows.weight.double(), moment), ~_by_group(rows.alive, moment), _damped(moment), strict=True)
    blocks = ((w, p, s) for *both, s in each for w, p in zip(*(part.split(n_rows) for part in both), strict=True))
    return torch.cat([solve(*block) for block in blocks])


def _first_turn(weight: Tensor, pruned: Tensor, moment: Tensor) -> Tensor:
    """Return scores (n_out, n_weights) of single removals, H over what is alive and the biases."""
    patterns, which = torch.unique(pruned, dim=0, return_inverse=True)
    pivots = moment.new_ones(len(patterns), len(moment))
    for pivot, pattern in zip(pivots, patterns, strict=True):
        stays = torch.cat([~pattern, pattern.new_ones(len(moment) - len(pattern))])
        pivot[stays] = _inverse(moment[stays][:, stays]).diagonal()
    return weight**2 / (2 * pivots[which, : weight.shape[1]])


def _in_turn(weight: Tensor, pruned: Tensor, moment: Tensor) -> Tensor:
    """Return scores (n_out, n_weights) of one removal after the other, all outputs side by side."""
    n_out, n_weights = weight.shape
    everyone = torch.arange(n_out)
    inverse = _inverse(moment).repeat(n_out, 1, 1)
    left = torch.cat([weight, weight.new_zeros(n_out, len(moment) - n_weights)], dim=1)
    found, alive, least = torch.zeros_like(weight), torch.ones_like(weight, dtype=torch.bool), weight.new_zeros(n_out)
    for _ in range(n_weights):
        pivots = inverse.diagonal(dim1=1, dim2=2)[:, :n_weights]
        rise = torch.where(pruned, -1.0, left[:, :n_weights] ** 2 / (2 * pivots))  # what is gone has its turn first
        goes = torch.where(alive, rise, torch.inf).argmin(dim=1)
        least = torch.maximum(least * _LATER, rise[everyone, goes])
        found[everyone, goes], alive[everyone, goes] = least, False
        column = inverse[everyone, :, goes]
        pivot = column[everyone, goes]
        left = left - column * (left[everyone, goes] / pivot)[:, None]
        inverse.baddbmm_(column[:, :, None], (column / pivot[:, None])[:, None, :], alpha=-1)
        left[everyone, goes] = 0.0
        inverse[everyone, goes, goes] = 1.0  # the row and column are zero now; a pivot that is never used again
    return found


@torch.no_grad()
def compensate(network: Network, plan: Iterable[Cut], moment: Mapping[str, Tensor]) -> Network:
    """Return the network with the plan's weights at zero and those that stay, biases too, at their new optimum.

    Moments come from the network before the cuts: each layer is fitted to what it put out there, on what arrived there.
    Quantisers round the new weights at their next use. An output takes time as the cube of the weights that go, or of
    those that stay, whichever are fewer.

    Raises:
        NetworkError: a cut takes digits or neurons, for which there is no least-squares optimum here.
    """
    cuts = list(plan)
    for cut in cuts:
        if cut.granularity != "weight":
            raise NetworkError(f"only cuts of weights can be compensated, not one of granularity '{cut.granularity}'")
    masked = masks.apply(network, cuts)
    for name in {network.kernel(cut.layer).layer.name for cut in cuts if cut.units}:
        layer, before = masked[name], _rows(network[name])
        new = {key: _solved(before[key], rows, moment[key]) for key, rows in _rows(layer).items()}
        if isinstance(layer, Recurrent):
            for part in teacher_forcing.parts(layer):
                part.write(layer, *new[part.name])
        elif isinstance(layer, Weighted):
            weight, biases = new[layer.name]
            layer.weight.copy_(weight.reshape(layer.weight.shape))
            layer.bias.copy_(biases[:, 0])
    return masked


def _solved(before: _Rows, after: _Rows, moment: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights and biases of the outputs at their optimum, where those that are not alive any more are 0."""
    n_weights = before.weight.shape[1]
    weight = torch.cat([before.weight, before.biases], dim=1).double()
    keep = torch.cat([after.alive, torch.ones_like(before.biases, dtype=torch.bool)], dim=1)
    each = zip(_by_group(weight, moment), _by_group(keep, moment), _damped(moment), strict=True)
    new = torch.cat([_optimum(*part) for part in each])
    return new[:, :n_weights], new[:, n_weights:]


def _optimum(weight: Tensor, keep: Tensor, moment: Tensor) -> Tensor:
    """Return argmin of (w' - w)^T S (w' - w) for each output, under w' = 0 where nothing is kept."""
    inverse, wanted = _inverse(moment), weight @ moment
    new = torch.zeros_like(weight)
    for row, stays in enumerate(keep):
        goes = ~stays
        if goes.sum() < stays.sum():
            new[row] = weight[row] - inverse[:, goes] @ _solve(inverse[goes][:, goes], weight[row, goes])
        else:
            new[row, stays] = _solve(moment[stays][:, stays], wanted[row, stays])
    return new * keep


def _solve(system: Tensor, wanted: Tensor) -> Tensor:
    return torch.cholesky_solve(wanted[:, None], torch.linalg.cholesky(system))[:, 0]


def _inverse(moment: Tensor) -> Tensor:
    return torch.cholesky_inverse(torch.linalg.cholesky(moment))


def _damped(moment: Tensor) -> Tensor:
    mean = moment.diagonal(dim1=1, dim2=2).mean(dim=1)
    return moment + _DAMPING * torch.diag_embed(mean[:, None].expand(moment.shape[:2]))


def _by_group(values: Tensor, moment: Tensor) -> Tensor:
    """Return values (n_out, n) as (groups, n_out / groups, n)."""
    return values.reshape(len(moment), -1, values.shape[1])
