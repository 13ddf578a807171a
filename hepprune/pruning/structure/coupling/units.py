"""Units: which indices of which values can only leave a network together, followed through the graph layer by layer.

Every output of a layer with weights is a unit of its own at first. What hands it on carries it along its axis; what
combines two values index by index, a residual sum for one, makes one unit of two; what reads it through weights ends
it. An index that belongs to no unit, a feature or a position, is 0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from hepprune.network import Layer, Network, Node, Rules, Weighted

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Axis:
    """The units along one axis of a value, and whether a unit whose weights are all zero arrives there as zeros."""

    units: Ids
    silent: bool = True

    @classmethod
    def plain(cls, size: int) -> "Axis":
        """Return an axis of features or positions, which are not units."""
        return cls(np.zeros(size, np.int64))

    def __len__(self) -> int:
        """Return the size of the axis."""
        return len(self.units)


ValueAxes = tuple[Axis, ...]


def loud(axes: Sequence[Axis]) -> ValueAxes:
    """Return axes along which units without weights may arrive as something else than zeros."""
    return tuple(replace(axis, silent=False) for axis in axes)


@dataclass(frozen=True, kw_only=True)
class Units:
    """Where every unit of a network is: ids per axis of each layer's value, and per index of its arrays.

    A layer's outputs are `made`, its inputs `read`, its channel-wise arrays `carried`, the `states` it reads again,
    and a contraction's terms `summed`. `fixed` says of a unit why it has to stay; `heads` are those a softmax attends
    with.
    """

    values: dict[str, tuple[Ids, ...]]
    made: dict[str, Ids]
    read: dict[str, Ids]
    carried: dict[str, Ids]
    states: dict[str, Ids]
    summed: dict[str, Ids]
    fixed: dict[int, str]
    heads: frozenset[int]

    @property
    def count(self) -> int:
        """The number of ids, 0 included."""
        return 1 + max((int(ids.max()) for ids in self.made.values()), default=0)

    @property
    def free(self) -> NDArray[np.bool_]:
        """Of each id, whether it is a unit that may leave."""
        found = np.zeros(self.count, bool)
        for ids in self.made.values():
            found[ids] = True
        found[[0, *self.fixed]] = False
        return found


def read_by_constants(network: Network, units: Units) -> set[int]:
    """Return the units that fixed kernels read: what those put out is not a unit, so that no path leads there."""
    fixed = [layer for layer in network if isinstance(layer, Weighted) and layer.fixed]
    sources = [source for layer in fixed for source in network.sources[layer.name]]
    return {int(unit) for source in sources for ids in units.values[source] for unit in ids} - {0}


PLACES = ("made", "read", "carried", "states", "summed")
# How units go through each kind of layer: `rule(layer, *arriving, walk=)` returns the axes of what it puts out.
COUPLING: Rules[Callable[..., ValueAxes]] = Rules(
    lacks="has no rule for what shrinks with it",
    fix="all that it reads stays; give its kind one in `hepprune.pruning.structure.coupling.rules`",
)


def follow(network: Network) -> Units:
    """Return the units of a network.

    Where a reshape splits the outputs of a layer into two axes, units lie along the first of them, as attention heads
    do, or along the last where they could not leave the first.
    """
    walk = Walk(network=network)
    units = walk.run()
    stuck = {name for name, axis in walk.split.items() if not units.free[units.values[name][axis]].any()}
    if not stuck:
        return units
    other = Walk(network=network, inner=frozenset(stuck)).run()
    return other if other.free.sum() > units.free.sum() else units


@dataclass(kw_only=True)
class Walk:
    """One walk through the graph; ids that are tied on the way become one at its end.

    `inner` names the reshapes whose units lie along the last axis of a split; `split` is the axis that each one chose.
    """

    network: Network
    inner: frozenset[str] = frozenset()
    split: dict[str, int] = field(default_factory=dict)
    heads: list[Ids] = field(default_factory=list)
    _values: dict[str, ValueAxes] = field(default_factory=dict)
    _arrived: dict[str, list[ValueAxes]] = field(default_factory=dict)
    _places: dict[str, dict[str, Ids]] = field(default_factory=lambda: {place: {} for place in PLACES})
    _ties: list[tuple[Ids, Ids]] = field(default_factory=list)
    _stays: list[tuple[Ids, str]] = field(default_factory=list)
    _n_ids: int = 1

    def run(self) -> Units:
        """Return the units of the network."""
        self._values = self.network.interpret(lambda node, *arriving: self._through(node, list(arriving)))
        for name in self.network.outputs:
            self.stay(self._values[name], "it is an output of the network")
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        one, other = (np.concatenate([np.zeros(1, np.int64), *(pair[k] for pair in self._ties)]) for k in (0, 1))
        graph = coo_array((np.ones(len(one)), (one, other)), shape=(self._n_ids, self._n_ids))
        component = connected_components(graph, directed=False)[1]
        ids = np.unique(component, return_index=True)[1][component]
        fixed: dict[int, str] = {}
        for stay, why in self._stays:
            for unit in np.unique(ids[stay[stay > 0]]).tolist():
                fixed.setdefault(unit, why)
        places = {place: {name: ids[own] for name, own in found.items()} for place, found in self._places.items()}
        values = {name: tuple(ids[axis.units] for axis in axes) for name, axes in self._values.items()}
        heads = frozenset(int(unit) for own in self.heads for unit in ids[own]) - {0}
        return Units(values=values, **places, fixed=fixed, heads=heads)

    def _through(self, node: Node, arriving: list[ValueAxes]) -> ValueAxes:
        layer = node.layer
        self._tie_uses(layer, arriving)
        if layer not in COUPLING:
            for axes in arriving:
                self.stay(axes, str(COUPLING.refusal(layer)))
            return tuple(Axis.plain(size) for size in node.shape)
        axes = COUPLING.find(layer)(layer, *arriving, walk=self)
        return loud(axes) if any(np.asarray(result(np.zeros(1))).any() for result in node.results) else axes

    def _tie_uses(self, layer: Layer, arriving: list[ValueAxes]) -> None:
        """Tie what arrives at a layer to what arrived where it ran before, so that it can change for both."""
        if layer.name not in self._arrived:
            self._arrived[layer.name] = arriving
            return
        for before, now in zip(self._arrived[layer.name], arriving, strict=True):
            for one, other in zip(before, now, strict=True):
                if len(one) == len(other):
                    self.tie(one.units, other.units, f"'{layer.name}' runs at another place too")
                else:
                    self.stay((one, other), f"'{layer.name}' runs on values of another size too")

    def new(self, layer: Layer, count: int) -> Ids:
        """Return the units that a layer makes, the same ones at each of its places."""
        made = self._places["made"]
        if layer.name not in made:
            made[layer.name] = np.arange(self._n_ids, self._n_ids + count)
            self._n_ids += count
        return made[layer.name]

    def put(self, place: str, layer: Layer, ids: Ids) -> None:
        """Note which units the indices of one of a layer's arrays belong to."""
        self._places[place].setdefault(layer.name, ids)

    def tie(self, one: Ids, other: Ids, why: str) -> None:
        """Make one unit of two, index by index; a unit that is tied to none stays."""
        if not one.any() and not other.any():
            return
        one, other = (ids.ravel() for ids in np.broadcast_arrays(one, other))
        both = (one > 0) & (other > 0)
        self._ties.append((one[both], other[both]))
        self._stays.append(((one + other)[~both], why))

    def stay(self, axes: Sequence[Axis], why: str) -> None:
        """Note why units cannot leave."""
        self._stays += [(axis.units, why) for axis in axes]
