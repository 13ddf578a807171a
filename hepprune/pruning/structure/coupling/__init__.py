"""Coupling: what must shrink together through the graph, in groups that say so before anything is cut.

Importance, group and cut are three things (Fang et al., DepGraph, arXiv:2301.12900): a criterion scores the units of a
group, `cuts` says what taking some of them means layer by layer, and `surgery.shrink` takes them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from torch import Tensor

from hepprune.network import Network
from hepprune.pruning.masks import Cut, Cuts
from hepprune.pruning.structure.coupling.rules import whole_groups
from hepprune.pruning.structure.coupling.units import COUPLING, PLACES, Ids, Units, follow

__all__ = ["COUPLING", "Group", "Member", "Units", "cuts", "follow", "groups", "whole_groups"]
_NAMES = {"made": "outputs", "read": "inputs", "carried": "channels", "states": "states", "summed": "terms"}


@dataclass(frozen=True)
class Member:
    """What of one layer moves with a group: for each unit its indices, all of one of the layer's `PLACES`."""

    layer: str
    place: str
    indices: tuple[tuple[int, ...], ...]

    def __str__(self) -> str:
        """Return the layer, what of it, and which indices."""
        ids = [index for unit in self.indices for index in unit]
        each = len(ids) // len(self.indices)
        return f"{self.layer} {_NAMES[self.place]} {_ranges(ids)}" + (f", {each} for each unit" if each > 1 else "")


@dataclass(frozen=True, kw_only=True)
class Group:
    """Units of one kind, and all that moves with them; `kept` says why they cannot leave, where they cannot."""

    name: str
    ids: tuple[int, ...]
    members: tuple[Member, ...]
    kept: str = ""
    heads: bool = False

    def __len__(self) -> int:
        """Return the number of units."""
        return len(self.ids)

    def __str__(self) -> str:
        """Return which indices of which layers move together."""
        kind = "heads" if self.heads else "units"
        fate = f", which stay: {self.kept}" if self.kept else ""
        return "\n  ".join([f"{self.name}: {len(self)} {kind}{fate}", *map(str, self.members)])

    def of(self, place: str) -> list[Member]:
        """Return the members of one of the places, "made" or "read" for two."""
        return [member for member in self.members if member.place == place]


def groups(network: Network, units: Units | None = None) -> tuple[Group, ...]:
    """Return the groups that must shrink together, in the order in which their first layers run."""
    found = units or follow(network)
    every = ((place, name, ids) for place in PLACES for name, ids in getattr(found, place).items())
    where = {(place, name): _indices(ids) for place, name, ids in every if ids.any()}
    held: dict[int, list[tuple[object, ...]]] = {}
    for key, indices in where.items():
        for unit, own in indices.items():
            held.setdefault(unit, []).append((*key, len(own)))
    alike: dict[tuple[object, ...], list[int]] = {}
    for unit in sorted(held):
        alike.setdefault((*held[unit], found.fixed.get(unit, ""), unit in found.heads), []).append(unit)
    order = {layer.name: number for number, layer in enumerate(network)}
    grouped = []
    for ids in alike.values():
        held_by = [(layer, place, at) for (place, layer), at in where.items() if ids[0] in at]
        members = [Member(layer, place, tuple(map(at.__getitem__, ids))) for layer, place, at in held_by]
        members.sort(key=lambda member: (order[member.layer], PLACES.index(member.place)))
        name = " + ".join(member.layer for member in members if member.place == "made")
        kept, heads = found.fixed.get(ids[0], ""), found.heads.issuperset(ids)
        grouped.append(Group(name=name, ids=tuple(ids), members=tuple(members), kept=kept, heads=heads))
    return tuple(sorted(grouped, key=lambda group: order[group.members[0].layer]))


def _indices(ids: Ids) -> dict[int, tuple[int, ...]]:
    """Return the indices of each unit."""
    order = np.argsort(ids, kind="stable").tolist()
    units, starts = np.unique(ids, return_counts=True)
    ends = [0, *np.cumsum(starts).tolist()]
    spans = zip(units.tolist(), pairwise(ends), strict=True)
    return {unit: tuple(order[start:stop]) for unit, (start, stop) in spans if unit}


def cuts(group: Group, chosen: Sequence[int], means: Mapping[str, Tensor] | None = None) -> Cuts:
    """Return the cuts that take some of a group's units: nothing makes them, and nothing reads them any more.

    `means` holds for a layer the mean of each of its inputs, (n_in,), which its biases take over.
    """
    plan = []
    for member in group.members:
        indices = tuple(index for unit in chosen for index in member.indices[unit])
        if member.place == "made":
            plan.append(Cut(member.layer, "neuron", indices))
        elif member.place == "read":
            mean = None if means is None else means.get(member.layer)
            constants = () if mean is None else tuple(mean[list(indices)].tolist())
            plan.append(Cut(member.layer, "input", indices, constants))
    return tuple(plan)


def _ranges(ids: Sequence[int]) -> str:
    """Return indices in a few words, neighbours as from-to."""
    ordered = sorted(ids)
    starts = [0, *(k for k in range(1, len(ordered)) if ordered[k] != ordered[k - 1] + 1), len(ordered)]
    runs = [ordered[start:stop] for start, stop in pairwise(starts)]
    text = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return ", ".join(text if len(text) <= 8 else [*text[:4], "...", *text[-2:]])
