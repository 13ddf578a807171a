"""Structures: attention heads and whole blocks, which reach over several layers and are therefore choices of their own.

A choice of heads is named `heads:` and the group, a block `block:` and the layer it ends in.
"""

from collections.abc import Iterator, Mapping

import torch

from hepprune.errors import NetworkError
from hepprune.network import Network
from hepprune.pruning import blocks, masks, structured
from hepprune.pruning.coupling import Group, cuts
from hepprune.pruning.importance import Criterion
from hepprune.pruning.importance.combined import group_scores
from hepprune.sample import Sample
from hepprune.search.plans.choices import Option

HEADS, BLOCK = "heads:", "block:"
GRANULARITIES = ("head", "layer")


def is_structure(name: str) -> bool:
    """Return whether a choice is one of heads or of a block."""
    return name.startswith((HEADS, BLOCK))


def head_order(network: Network, criterion: Criterion, data: Sample) -> dict[str, tuple[int, ...]]:
    """Return for each group of heads which of them matter least, first; nothing where the criterion cannot tell."""
    try:
        groups = structured.prunable(network, "head")
        scores = group_scores(network, groups, criterion, data=data)
    except NetworkError:  # there are no heads, or the criterion scores none
        return {}
    orders = (tuple(torch.argsort(each, stable=True).tolist()) for each in scores)
    return {group.name: order for group, order in zip(groups, orders, strict=True)}


def options(
    network: Network, granularities: tuple[str, ...], order: Mapping[str, tuple[int, ...]]
) -> Iterator[tuple[str, tuple[Option, ...]]]:
    """Yield the choices of heads and blocks that a network has; the first option of each leaves it as it is."""
    if "head" in granularities:
        for name, heads in order.items():
            yield HEADS + name, (Option(), *(Option("head", n / len(heads)) for n in range(1, len(heads))))
    if "layer" in granularities:
        for block in blocks.blocks(network):
            yield BLOCK + block.end, (Option(), Option("layer", 1.0))


def without_blocks(network: Network, chosen: Mapping[str, Option]) -> Network:
    """Return the network without the blocks that are chosen to leave."""
    for name, option in chosen.items():
        if option.granularity == "layer":
            network = blocks.without(network, name.removeprefix(BLOCK))
    return network


def without_heads(network: Network, chosen: Mapping[str, Option], order: Mapping[str, tuple[int, ...]]) -> Network:
    """Return the network with the heads masked that are chosen to leave; a block that has left took its own along."""
    for name, option in chosen.items():
        group = name.removeprefix(HEADS)
        if option.granularity == "head" and group in (known := _groups(network)):
            goes = order[group][: round(option.sparsity * len(order[group]))]
            network = masks.apply(network, cuts(known[group], goes))
    return network


def _groups(network: Network) -> dict[str, Group]:
    try:
        return {group.name: group for group in structured.prunable(network, "head")}
    except NetworkError:  # none is left
        return {}
