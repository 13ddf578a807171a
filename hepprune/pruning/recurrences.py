"""Gradients of the kernels of recurrent layers, jet by jet, through all steps (Werbos 1990).

A kernel acts at every step: the gradient for one jet is the sum over steps of what each of its products gets back
times what it read there, for a GRU gate by gate.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from hepprune.errors import DataError
from hepprune.network import Recurrent
from hepprune.network.layers.recurrent import KERNELS
from hepprune.pruning import taps
from hepprune.pruning.taps import Taps

_MAX_VALUES = 2**24  # of one layer's per-jet gradients at a time


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


def _by_jet(seen: Taps, layer: Recurrent, slopes: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Yield the gradients of both kernels, (n_jets, *kernel), some jets at a time."""
    sources = [seen.network.sources[use][0] for use in seen.uses(layer)]
    chunk = max(1, _MAX_VALUES // (layer.weight.numel() + layer.recurrent_weight.numel()))
    parts = zip(*(torch.split(seen.values[name].detach(), chunk) for name in sources), strict=True)
    for arriving, own in zip(parts, zip(*(torch.split(slope, chunk) for slope in slopes), strict=True), strict=True):
        tape = _Tape(layer)
        totals = [layer.run(values, tape, quantised=True) for values in arriving]
        yield tape.gradients(totals, own)


class _Tape:
    """What applies a layer's kernels, and keeps what each of their rows read and put out."""

    def __init__(self, layer: Recurrent) -> None:
        self.product = layer.product(quantised=True)
        self.kept: dict[tuple[str, int | None], list[tuple[Tensor, Tensor]]] = {}

    def __call__(self, kind: str, values: Tensor, rows: slice) -> Tensor:
        """Return what the rows of a kernel put out."""
        made = self.product(kind, values, rows)
        self.kept.setdefault((kind, rows.start), []).append((values.detach(), made))
        return made

    def gradients(self, totals: Sequence[Tensor], slopes: Sequence[Tensor]) -> list[Tensor]:
        """Return the gradients of both kernels for each jet from those of what the layer put out."""
        made = [each for pairs in self.kept.values() for _, each in pairs]
        found = iter(torch.autograd.grad(totals, made, slopes))
        gates: dict[str, list[Tensor]] = {kind: [] for kind in KERNELS}
        for (kind, _), pairs in self.kept.items():
            gradient, read = (taps.rows(each) for each in ([next(found) for _ in pairs], [read for read, _ in pairs]))
            gates[kind].append(taps.per_jet(gradient, read)[:, 0])
        return [torch.cat(parts, dim=1) for parts in gates.values()]
