"""Structures: attention heads and whole blocks reach over several layers and are therefore choices of their own."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from hepprune.errors import NetworkError
from hepprune.network import Network
from hepprune.pruning import masks, structured
from hepprune.pruning.importance import Criterion
from hepprune.pruning.importance.combined import group_scores
from hepprune.pruning.structure import blocks
from hepprune.pruning.structure.coupling import cuts
from hepprune.search.plans.choices import Option
from hepprune.task.sample import Sample


@dataclass(frozen=True)
class Heads:
    """The heads of a group, which leave in this order; a choice of them is named `heads:` and the group."""

    group: str
    order: tuple[int, ...]

    granularity = "head"

    @property
    def name(self) -> str:
        """What the choice is called."""
        return f"heads:{self.group}"

    @property
    def options(self) -> tuple[Option, ...]:
        """The ways to have them, all first; one stays."""
        n = len(self.order)
        return Option(), *(Option(granularity="head", sparsity=gone / n) for gone in range(1, n))

    def without(self, network: Network, option: Option) -> Network:
        """Return the network with heads masked; a block that has left took its own along."""
        try:
            known = {group.name: group for group in structured.prunable(network, "head")}
        except NetworkError:  # none is left
            return network
        if self.group not in known:
            return network
        goes = self.order[: round(option.sparsity * len(self.order))]
        return masks.apply(network, cuts(known[self.group], goes))


@dataclass(frozen=True)
class BlockChoice:
    """A block that can leave, known by the layer it ends in; the choice is named `block:` and that layer."""

    end: str

    granularity = "layer"

    @property
    def name(self) -> str:
        """What the choice is called."""
        return f"block:{self.end}"

    @property
    def options(self) -> tuple[Option, ...]:
        """To stay, and to leave."""
        return Option(), Option(granularity="layer", sparsity=1.0)

    def without(self, network: Network, option: Option) -> Network:
        """Return the network without the block."""
        return blocks.without(network, self.end)


Structure = Heads | BlockChoice
GRANULARITIES = (Heads.granularity, BlockChoice.granularity)


def find(network: Network, criterion: Criterion, data: Sample) -> dict[str, Structure]:
    """Return the heads and blocks of a network by the names of their choices.

    Heads leave in the order of how little they matter, and are not a choice where the criterion cannot tell.
    """
    try:
        groups = structured.prunable(network, "head")
        scores = group_scores(network, groups, criterion, data=data)
    except NetworkError:  # there are no heads, or the criterion scores none
        groups, scores = [], []
    orders = (tuple(torch.argsort(each, stable=True).tolist()) for each in scores)
    found: list[Structure] = [Heads(group.name, order) for group, order in zip(groups, orders, strict=True)]
    found += [BlockChoice(block.end) for block in blocks.blocks(network)]
    return {structure.name: structure for structure in found}


def without(network: Network, chosen: Mapping[Structure, Option], granularity: str) -> Network:
    """Return the network without the structures of one granularity that are chosen to leave."""
    for structure, option in chosen.items():
        if structure.granularity == granularity and option.sparsity:
            network = structure.without(network, option)
    return network
