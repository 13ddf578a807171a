"""Structured pruning: whole neurons, filters, channels, states, heads and blocks, with all that is coupled to them."""

from collections.abc import Iterable

import torch
from torch import Tensor

from hepprune.errors import NetworkError
from hepprune.network import Conv, Network, Recurrent
from hepprune.pruning import selection
from hepprune.pruning.importance import Criterion
from hepprune.pruning.importance.combined import block_scores
from hepprune.pruning.masks import Cut, Cuts
from hepprune.pruning.statistics import unit_gradients
from hepprune.pruning.structure import blocks, coupling
from hepprune.pruning.structure.coupling import Group
from hepprune.task.sample import Sample


def prunable(network: Network, granularity: str) -> list[Group]:
    """Return the groups whose units may be cut: heads, or all others ("neuron"), if there is more than one.

    Raises:
        NetworkError: there is none.
    """
    several = (group for group in coupling.groups(network) if not group.kept and len(group) > 1)
    found = [group for group in several if group.heads == (granularity == "head")]
    if not found:
        raise NetworkError(f"the network has nothing to prune at the granularity '{granularity}'")
    return found


@torch.no_grad()
def cuts(network: Network, chosen: Iterable[tuple[Group, Tensor]], data: Sample | None) -> Cuts:
    """Return the cuts of the units of each group that go, a mask (n_units,) of them, whole groups at a time.

    With jets the biases of those that read a unit take over its mean.

    Raises:
        NetworkError: a group would be left empty.
    """
    # a bias can take over no means of a grouped convolution, which reads several inputs as one
    grouped = {layer.name for layer in network if isinstance(layer, Conv) and layer.groups > 1}
    read = {} if data is None else unit_gradients.input_means(network, data)
    means = {name: mean for name, mean in read.items() if name not in grouped}
    plan: list[Cut] = []
    for group, goes in chosen:
        if goes.all():
            raise NetworkError(f"'{group.name}' would be left empty; lower the sparsity, use scope 'local' or keep > 0")
        plan += coupling.cuts(group, torch.nonzero(goes).flatten().tolist(), means) if goes.any() else ()
    return tuple(plan)


def alive(network: Network, group: Group) -> Tensor:
    """Return which units are not cut yet: one of their makers has a weight left."""
    found = torch.zeros(len(group), dtype=torch.bool)
    for member in group.of("made"):
        layer = network[member.layer]
        limit: Tensor = layer.state_dict()["digit_limit"].flatten(1)
        if isinstance(layer, Recurrent):  # of which a state has a row in each gate
            limit = limit.reshape(-1, layer.n_out, layer.n_in).movedim(1, 0).flatten(1)
        found |= (limit > 0).any(dim=1)[torch.tensor(member.indices)].any(dim=1)
    return found


def without_blocks(
    network: Network, data: Sample | None = None, *, criterion: Criterion, sparsity: float | None, seed: int = 0
) -> Network:
    """Return the network without round(sparsity x blocks) of its blocks, the least important first, one by one.

    `loss_change` measures each time anew how much the loss rises; other criteria add up the scores of a block's
    neurons. Without a sparsity, blocks leave as long as one scores zero or less.

    Raises:
        NetworkError: no block can leave, or the criterion needs jets and there are none.
    """
    selection.check(sparsity, "global", "none")
    available = len(blocks.blocks(network))
    if not available:
        raise NetworkError("no block can leave: there is no residual branch, and no layer between equal shapes")
    for _ in range(available if sparsity is None else round(sparsity * available)):
        found = block_scores(network, criterion, data=data, seed=seed)
        if not found:
            break
        end = min(found, key=found.__getitem__)
        if sparsity is None and found[end] > 0:
            break
        network = blocks.without(network, end)
    return network
