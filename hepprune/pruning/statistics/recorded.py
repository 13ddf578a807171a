"""What each kernel of a network sees: the values that reach its weights, and the totals it puts out, jet by jet.

A kernel that is applied many times to one jet (a convolution, a dense layer over positions, a shared layer) has one row
for each place, so that the gradient of its weights is a sum over places of total's gradient x arriving value.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hepprune.errors import DataError
from hepprune.network import Layer, Network, Node, ReLU, Weighted
from hepprune.network.node import as_tuple

MAX_VALUES = 2**24  # of one layer's per-jet gradients at a time


@dataclass(frozen=True)
class Recorded:
    """All values of a network for one batch: of every layer by name, and before its result quantiser (`totals`)."""

    network: Network
    values: dict[str, Tensor]
    totals: dict[str, Tensor]

    @property
    def raw(self) -> tuple[Tensor, ...]:
        """Every output before its head, (n_jets, *shape) each."""
        return tuple(self.values[name] for name in self.network.raw_outputs)

    def uses(self, layer: Layer) -> list[str]:
        """Return the nodes that apply the layer's kernel: its own, and those that share it."""
        return [node.name for node in self.network if node.name in self.values and self.network.runs(node) is layer]

    def arriving(self, layer: Weighted) -> Tensor:
        """Return what the weights multiply, (n_jets, n_places, groups, weights of one output)."""
        names = [self.network.sources[use][0] for use in self.uses(layer)]
        return torch.cat([layer.matrix.reads(self.values[name].detach()) for name in names], dim=1)

    def outputs(self, layer: Weighted) -> list[Tensor]:
        """Return the totals of every use of the layer, in the graph of autograd."""
        return [self.totals[use] for use in self.uses(layer)]

    def activations(self, layer: Weighted) -> list[Tensor]:
        """Return the outputs of the neurons, in the graph of autograd: their activation where they have one."""
        return [self.values[handed_on(self.network, use)] for use in self.uses(layer)]


def run(network: Network, x: Tensor | Sequence[Tensor]) -> Recorded:
    """Run the network up to its outputs before their heads, on jets (n_jets, *shape), one tensor for each input."""
    totals: dict[str, Tensor] = {}

    def rule(node: Node, *arriving: Tensor) -> Tensor:
        totals[node.name] = node.layer.compute(*arriving, quantised=True)
        return node.quantised(totals[node.name])

    return Recorded(network, network.interpret(rule, as_tuple(x), until=network.raw_outputs), totals)


def contributing(network: Network) -> list[Layer]:
    """Return the layers that the outputs depend on."""
    used = network.preceding(network.raw_outputs)
    return [layer for layer in network if layer.name in used]


def handed_on(network: Network, name: str) -> str:
    """Return the node whose value is the output of a neuron of `name`: its activation where it has one."""
    readers = network.readers(network[name])
    return readers[0].name if len(readers) == 1 and isinstance(readers[0], ReLU) else name


def rows(tensors: Sequence[Tensor], groups: int = 1) -> Tensor:
    """Return values (n_jets, *places, n_out) of all uses as (n_jets, n_places, groups, n_out / groups)."""
    n_out = tensors[0].shape[-1]
    return torch.cat([tensor.reshape(len(tensor), -1, groups, n_out // groups) for tensor in tensors], dim=1)


def per_jet(gradient: Tensor, arriving: Tensor) -> Tensor:
    """Return the gradient of each weight for each jet, (n_jets, groups, n_out / groups, weights of one output)."""
    return torch.einsum("npgf,npgk->ngfk", gradient, arriving)


def sum_over_jets(gradient: Tensor, arriving: Tensor, term: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the sum over jets of a term of each weight's gradient for each jet, some jets at a time."""
    chunk = max(1, MAX_VALUES // (gradient[0, 0].numel() * arriving.shape[-1]))
    pairs = zip(torch.split(gradient, chunk), torch.split(arriving, chunk), strict=True)
    return torch.stack([term(per_jet(*pair)).sum(dim=0) for pair in pairs]).sum(dim=0)


def summed(parts: Iterable[tuple[str, list[Tensor]]]) -> dict[str, list[Tensor]]:
    """Return the sums, term by term, of what has the same name, as it comes from one batch after the other."""
    sums: dict[str, list[Tensor]] = {}
    for name, terms in parts:
        sums[name] = [a + b for a, b in zip(sums[name], terms, strict=True)] if name in sums else terms
    return sums


def check_finite(values: Iterable[Tensor], what: str = "gradients are") -> None:
    """Refuse values that are not finite.

    Raises:
        DataError: there are some.
    """
    if not all(bool(torch.isfinite(each).all()) for each in values):
        raise DataError(f"{what} not finite; the network or its features hold NaN or infinite values")
