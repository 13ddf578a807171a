"""Gradients of the kernels of recurrent layers, jet by jet, through all steps (Werbos 1990).

A kernel acts at every step, and what it reads there depends on it, so that no product of gradient and arriving value
is enough: each jet is given a copy of the kernels, whose gradient is that of the jet.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from hepprune.errors import DataError
from hepprune.network import Recurrent
from hepprune.network.layers.recurrent import KERNELS
from hepprune.pruning import taps
from hepprune.pruning.taps import Taps

_MAX_VALUES = 2**24  # of the copies of one layer's kernels at a time


def sums(seen: Taps, labels: Tensor, terms: Sequence[Callable[[Tensor], Tensor]]) -> dict[str, list[Tensor]]:
    """Return per kernel, by its name in `Network.kernels`, the sums over jets of each term of its gradients.

    Raises:
        DataError: a gradient is not finite.
    """
    layers = [layer for layer in taps.heard(seen.network) if isinstance(layer, Recurrent)]
    loss = nn.functional.cross_entropy(seen.logits, labels, reduction="sum")
    found: dict[str, list[Tensor]] = {}
    for layer in layers:
        points = [seen.totals[use] for use in seen.uses(layer)]
        slopes = torch.autograd.grad(loss, points, retain_graph=True, materialize_grads=True)
        if not all(bool(torch.isfinite(slope).all()) for slope in slopes):
            raise DataError("gradients are not finite; the network or its features hold NaN or infinite values")
        for gradients in _by_jet(seen, layer, slopes):
            for kind, gradient in zip(KERNELS, gradients, strict=True):
                before = found.get(f"{layer.name}.{kind}", [torch.zeros(())] * len(terms))
                now = [total + term(gradient).sum(dim=0) for total, term in zip(before, terms, strict=True)]
                found[f"{layer.name}.{kind}"] = now
    return found


def _by_jet(seen: Taps, layer: Recurrent, slopes: Sequence[Tensor]) -> Iterator[tuple[Tensor, ...]]:
    """Yield the gradients of both kernels, (n_jets, *kernel), some jets at a time."""
    sources = [seen.network.sources[use][0] for use in seen.uses(layer)]
    chunk = max(1, _MAX_VALUES // (layer.weight.numel() + layer.recurrent_weight.numel()))
    parts = zip(*(torch.split(seen.values[name].detach(), chunk) for name in sources), strict=True)
    for arriving, own in zip(parts, zip(*(torch.split(slope, chunk) for slope in slopes), strict=True), strict=True):
        copies = [layer.used(kind).detach().expand(len(own[0]), -1, -1).requires_grad_() for kind in KERNELS]
        totals = [layer.run(values, *copies, quantised=True) for values in arriving]
        yield torch.autograd.grad(totals, copies, own)
