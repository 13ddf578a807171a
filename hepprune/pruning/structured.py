"""Structured pruning: whole neurons, filters, channels, states, heads and blocks, with all that is coupled to them."""

import torch
from torch import Tensor

from hepprune.errors import NetworkError
from hepprune.network import Conv, Network, Recurrent
from hepprune.pruning import selection
from hepprune.pruning.importance import Criterion
from hepprune.pruning.importance.combined import block_scores, group_scores
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
def make(
    network: Network,
    data: Sample | None = None,
    *,
    criterion: Criterion,
    sparsity: float | None,
    granularity: str,
    scope: str = "global",
    normalisation: str = "none",
    keep: int = 0,
    seed: int = 0,
) -> Cuts:
    """Return the cuts of the least important units, round(sparsity x units) of them, whole groups at a time.

    With jets the biases of those that read a unit take over its mean. Units that are cut already count and go first.

    Raises:
        NetworkError: as `selection.select` does, or the criterion has no meaning for such units.
        DataError: a gradient is not finite.
    """
    selection.check(sparsity, scope, normalisation)
    groups = prunable(network, granularity)
    with torch.enable_grad():
        found = group_scores(network, groups, criterion, data=data, seed=seed)
    pairs = zip(groups, found, strict=True)
    ranks = [selection.ranked(each, _alive(network, group), normalisation, keep=keep) for group, each in pairs]
    # a bias can take over no means of a grouped convolution, which reads several inputs as one
    grouped = {layer.name for layer in network if isinstance(layer, Conv) and layer.groups > 1}
    read = {} if data is None else unit_gradients.input_means(network, data)
    means = None if data is None else {name: mean for name, mean in read.items() if name not in grouped}
    plan: list[Cut] = []
    for group, goes in zip(groups, selection.lowest(ranks, sparsity, scope), strict=True):
        if goes.all():
            raise NetworkError(f"'{group.name}' would be left empty; lower the sparsity, use scope 'local' or keep > 0")
        plan += coupling.cuts(group, torch.nonzero(goes).flatten().tolist(), means) if goes.any() else ()
    return tuple(plan)


def _alive(network: Network, group: Group) -> Tensor:
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
