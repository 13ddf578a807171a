"""Second derivatives of the loss by each weight and each neuron, exact: the diagonal of the Hessian.

For one jet the loss depends on a weight through the totals of its layer alone, so e_q^T H e_q is the second derivative
of the loss along what the weight adds to them: a Hessian-vector product at the totals (Pearlmutter 1994), for all jets
at once. Where each jet has one total per neuron, one product serves all weights of a neuron; else each weight has its
own. Where everything behind the layer is piecewise linear, the Hessian is the Gauss-Newton matrix (Schraudolph 2002),
which takes one backward pass per class.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from hepprune.network import Network, layers
from hepprune.network.layers.recurrent import KERNELS
from hepprune.pruning import statistics
from hepprune.pruning.statistics import recorded, recurrences, unrolling
from hepprune.pruning.statistics.recorded import Recorded
from hepprune.task.sample import Sample

_MAX_VALUES = 2**24  # of one layer's gradients by logit, per class, at a time
_GRAPH = 16  # values that autograd keeps for each row of a recurrent layer, at a step
_POOLS = (layers.Pool, layers.GlobalPool)
_LINEAR = (layers.Dense, layers.Conv, layers.ReLU, layers.PReLU, layers.BatchNorm, *_POOLS, *layers.MOVING)


@dataclass(frozen=True)
class Curvature:
    """For one layer: the mean over jets of d2L/dw2, shaped like the weights, and of d2L/dm2 per neuron, (n_out,).

    The output of the neuron moves along its deviation from its mean, m times: m = -1 leaves the mean. The rows of a
    recurrent layer's kernel are not neurons: there `neuron` is empty.
    """

    weight: Tensor
    neuron: Tensor


def hessian(network: Network, sample: Sample, *, batch_size: int = 8192) -> dict[str, Curvature]:
    """Return the diagonal of the Hessian of the loss over the jets of a sample.

    It is that of every kernel, by its name in `Network.kernels`. Quantisers pass derivatives straight through, as in
    training.

    Raises:
        DataError: there are no jets, or a derivative is not finite.
    """
    curved = [layer for layer in statistics.scored(network) if _is_curved(network, layer)]
    return _gather(network, sample, batch_size=batch_size, curved=curved) | _of_cells(network, sample, linear=False)


def gauss_newton(network: Network, sample: Sample, *, batch_size: int = 8192) -> dict[str, Curvature]:
    """Return the diagonal of J^T H J, J the derivatives of raw outputs and H the Hessian of the loss by those.

    It is never negative where H is not, and it is the Hessian itself behind which all is piecewise linear.

    Raises:
        DataError: there are no jets, or a derivative is not finite.
    """
    linear = _gather(network, sample, batch_size=batch_size, curved=[])
    return linear | _of_cells(network, sample, batch_size=batch_size, linear=True)


def _is_curved(network: Network, layer: layers.Layer) -> bool:
    """Return whether the logits are curved in the weights of a layer."""
    if any(isinstance(node, layers.Shared) for node in network):
        return True
    used = network.preceding(network.raw_outputs)
    behind = (network[name] for name in network.following(layer.name) if name in used)
    products = (node for node in behind if not isinstance(node, _LINEAR))
    return any(not isinstance(node, layers.Merge) or node.operation == "multiply" for node in products)


def _gather(network: Network, sample: Sample, batch_size: int, curved: list[layers.Weighted]) -> dict[str, Curvature]:
    means = statistics.means(network, sample)
    weighted = statistics.scored(network)
    sums = {la.name: [torch.zeros_like(la.weight.detach()), torch.zeros_like(la.bias.detach())] for la in weighted}
    # gradients of single jets, and the graphs of recurrent steps, stay in bounds
    one = recorded.run(network, sample.first(1).x)
    sizes = [la.weight.numel() for la in statistics.scored(network) if one.arriving(la).shape[1] > 1]
    sizes += [_GRAPH * _n_steps(network, cell) * len(cell.weight) for cell in recurrences.contributing(network)]
    for jets in sample.batches(min(batch_size, max(1, _MAX_VALUES // max(sizes, default=1)))):
        seen = recorded.run(network, jets.x)
        for layer in weighted:
            find = _by_products if layer in curved else _by_logits
            pairs = zip(sums[layer.name], find(seen, layer, jets, means[layer.name]), strict=True)
            sums[layer.name] = [total + term.reshape(total.shape) for total, term in pairs]
    return {name: _finished(name, terms, len(sample)) for name, terms in sums.items()}


def _finished(name: str, terms: list[Tensor], n_jets: int) -> Curvature:
    recorded.check_finite(terms, f"second derivatives of layer '{name}' are")
    return Curvature(*(term / n_jets for term in terms))


def _of_cells(network: Network, sample: Sample, *, linear: bool, batch_size: int = 8192) -> dict[str, Curvature]:
    """Return the curvature by both kernels of every recurrent layer, of linearised logits or the Hessian's."""
    found: dict[str, Curvature] = {}
    for cell in recurrences.contributing(network):
        repeats = sum(network.runs(node) is cell for node in network) > 1
        find = _cell_by_logits if linear else _cell_by_products if repeats else _cell_by_steps
        size = batch_size if linear else min(batch_size, unrolling.fitting(cell, _n_steps(network, cell)))
        sums = [torch.zeros_like(kernel.detach()) for kernel in (cell.weight, cell.recurrent_weight)]
        for jets in sample.batches(size):
            terms = find(recorded.run(network, jets.x), cell, jets)
            sums = [total + term.detach() for total, term in zip(sums, terms, strict=True)]
        for kind, total in zip(KERNELS, sums, strict=True):
            found[f"{cell.name}.{kind}"] = _finished(cell.name, [total, total.new_zeros(0)], len(sample))
    return found


def _cell_by_logits(seen: Recorded, cell: layers.Recurrent, jets: Sample) -> list[Tensor]:
    """Return sums over jets of the Gauss-Newton diagonals by both kernels of a recurrent layer."""
    sums = [torch.zeros_like(kernel.detach()) for kernel in (cell.weight, cell.recurrent_weight)]
    for _, found in recurrences.by_jet(seen, cell, [each.sum() for each in jets.directions(seen.raw)]):
        kernels = zip(sums, zip(*found, strict=True), strict=True)
        sums = [total + torch.stack(each).square().sum(dim=(0, 1)) for total, each in kernels]
    return sums


def _cell_by_steps(seen: Recorded, cell: layers.Recurrent, jets: Sample) -> list[Tensor]:
    return unrolling.diagonals(seen, cell, jets.loss(seen.raw, reduction="sum"))


def _cell_by_products(seen: Recorded, cell: layers.Recurrent, jets: Sample) -> list[Tensor]:
    """Return sums over jets of the Hessian's diagonals by both kernels, one product per weight: of a shared layer."""
    loss = jets.loss(seen.raw, reduction="sum")
    return [diagonal(loss, kernel).view_as(kernel) for kernel in (cell.weight, cell.recurrent_weight)]


def _n_steps(network: Network, cell: layers.Recurrent) -> int:
    return network.shapes[network.sources[cell.name][0]][0]


def _by_logits(seen: Recorded, layer: layers.Weighted, jets: Sample, means: Tensor) -> tuple[Tensor, Tensor]:
    """Return sums over jets of the Gauss-Newton diagonals: of squared derivatives along the task's directions."""
    points = [*seen.outputs(layer), *seen.activations(layer)]
    half, groups = len(points) // 2, layer.kernels[0].groups
    along = jets.directions(seen.raw)
    found = [torch.autograd.grad(e.sum(), points, retain_graph=True, materialize_grads=True) for e in along]
    arriving = seen.arriving(layer)
    slopes = torch.stack([recorded.rows(each[:half], groups) for each in found])
    change = recorded.rows(seen.activations(layer)).detach().flatten(2) - means.to(seen.raw[0].dtype)
    by_neuron = torch.stack([(recorded.rows(each[half:]).flatten(2) * change).sum(dim=1) for each in found])
    if slopes.shape[2] == 1:
        weight = torch.einsum("ngf,ngk->gfk", slopes[:, :, 0].square().sum(dim=0), arriving[:, 0] ** 2)
    else:
        weight = torch.stack([recorded.per_jet(slope, arriving) for slope in slopes]).square().sum(dim=(0, 1))
    return weight, by_neuron.square().sum(dim=(0, 1))


def _by_products(seen: Recorded, layer: layers.Weighted, jets: Sample, means: Tensor) -> tuple[Tensor, Tensor]:
    """Return sums over jets of the Hessian's diagonals, by Hessian-vector products."""
    loss = jets.loss(seen.raw, reduction="sum")
    arriving, activations = seen.arriving(layer), _Second(loss, seen.activations(layer))
    change = recorded.rows(seen.activations(layer)).detach().flatten(2) - means.to(seen.raw[0].dtype)
    neurons = torch.stack([activations.along(neuron, change[..., neuron]).sum() for neuron in range(layer.n_out)])
    if arriving.shape[1] > 1:
        return diagonal(loss, layer.weight), neurons
    # one product per neuron, whose weights differ only by what arrives
    totals, groups, reads = _Second(loss, seen.outputs(layer)), layer.kernels[0].groups, arriving[:, 0]
    every = torch.ones_like(reads[:, :1, 0])
    curvatures = [totals.along(neuron, every) for neuron in range(layer.n_out)]
    weights = [curvature @ reads[:, n * groups // layer.n_out] ** 2 for n, curvature in enumerate(curvatures)]
    return torch.stack(weights), neurons


def diagonal(loss: Tensor, kernel: Tensor) -> Tensor:
    """Return the diagonal of a loss's Hessian by values, with one product per value."""
    (slope,) = torch.autograd.grad(loss, kernel, create_graph=True)
    rows = (torch.autograd.grad(entry, kernel, retain_graph=True)[0] for entry in slope.flatten())
    return torch.stack([row.flatten()[index] for index, row in enumerate(rows)])


class _Second:
    """The second derivative of a loss along one channel of values that it depends on."""

    def __init__(self, loss: Tensor, points: list[Tensor]) -> None:
        self.points = points
        self.slope = recorded.rows(torch.autograd.grad(loss, points, create_graph=True)).flatten(2)

    def along(self, channel: int, direction: Tensor) -> Tensor:
        """Return d2L/dt2 per jet for channel += t x direction (n_jets, n_places)."""
        moved = (self.slope[..., channel] * direction).sum()
        found = torch.autograd.grad(moved, self.points, retain_graph=True, materialize_grads=True)
        return (recorded.rows(found).flatten(2)[..., channel] * direction).sum(dim=1)
