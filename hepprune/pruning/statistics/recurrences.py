"""What the kernels of recurrent layers read at each step, and their gradients jet by jet through all steps.

A kernel acts at every step: the gradient for one jet is the sum over steps of what each of its products gets back
times what it read there, for a GRU gate by gate (Werbos 1990).
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from hepprune.network import Network, Recurrent
from hepprune.network.layers.recurrent import KERNELS
from hepprune.network.layers.tape import Tape
from hepprune.pruning.statistics import recorded
from hepprune.pruning.statistics.recorded import Recorded


def contributing(network: Network) -> list[Recurrent]:
    """Return the recurrent layers that the logits depend on."""
    return [layer for layer in recorded.contributing(network) if isinstance(layer, Recurrent)]


def reads(seen: Recorded, layer: Recurrent) -> dict[str, Tensor]:
    """Return by kernel what its weights multiply, (n_jets, n_steps, groups, weights of one output), of every use.

    The gates of a GRU are groups of their own: without `reset_after` the last one reads what the reset gate lets pass.
    """
    tapes = tapes_of(seen, layer)
    return {kind: torch.cat([tape.read(kind) for tape in tapes], dim=1) for kind in KERNELS}


def tapes_of(seen: Recorded, layer: Recurrent) -> list[Tape]:
    """Return what every use of the layer recorded."""
    tapes = []
    for use in seen.uses(layer):
        tapes.append(Tape(layer))
        layer.run(seen.values[seen.network.sources[use][0]].detach(), tapes[-1], quantised=True)
    return tapes


def sums(seen: Recorded, loss: Tensor, terms: Sequence[Callable[[Tensor], Tensor]]) -> dict[str, list[Tensor]]:
    """Return per kernel, by its name in `Network.kernels`, the sums over jets of each term of a loss's gradients.

    Raises:
        DataError: a gradient is not finite.
    """
    return recorded.summed(
        (f"{layer.name}.{kind}", [term(gradient).sum(dim=0) for term in terms])
        for layer in contributing(seen.network)
        for _, (gradients,) in by_jet(seen, layer, [loss])
        for kind, gradient in zip(KERNELS, gradients, strict=True)
    )


def by_jet(seen: Recorded, layer: Recurrent, targets: Sequence[Tensor]) -> Iterator[tuple[slice, list[list[Tensor]]]]:
    """Yield some jets at a time, and for each target (a sum over jets) its gradients by both kernels, jet by jet.

    Each is (n_jets, *kernel).

    Raises:
        DataError: a gradient is not finite.
    """
    points = [seen.totals[use] for use in seen.uses(layer)]
    found = [torch.autograd.grad(target, points, retain_graph=True, materialize_grads=True) for target in targets]
    recorded.check_finite(slope for slopes in found for slope in slopes)
    arriving = [seen.values[seen.network.sources[use][0]].detach() for use in seen.uses(layer)]
    chunk = max(1, recorded.MAX_VALUES // (len(targets) * (layer.weight.numel() + layer.recurrent_weight.numel())))
    for first in range(0, len(seen.raw[0]), chunk):
        some, tape = slice(first, first + chunk), Tape(layer)
        totals = [layer.run(values[some], tape, quantised=True) for values in arriving]
        yield some, [tape.gradients(totals, [slope[some] for slope in slopes]) for slopes in found]
