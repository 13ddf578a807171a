"""A network under construction: layers are added one by one, values put into the order that each of them needs."""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from hepprune.errors import NetworkError, refused
from hepprune.frontends.names import identifiers
from hepprune.frontends.pytorch.fitting import Fitting, Traces
from hepprune.frontends.pytorch.program import Call
from hepprune.frontends.pytorch.values import Axes, Constant, Rows, Value, axes_of, by_place, in_order, jets_axis
from hepprune.network import BatchNorm, Layer, Network, Permute, Reshape, Shape, Shared

Held = Literal["scale", "shift"]
Factor = Tensor | float
_MAX_INDEX = 2**26


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A tensor of the model that comes from a layer: `native` gives it in the model's shape.

    With `rows` the layer has only these of it. A tensor of several axes that
    lie on one in the layer is, once that is shorter, `shaped` after a value of the network.
    """

    target: str
    layer: str
    native: Callable[[Any], Tensor]
    rows: Rows | None = None
    shaped: Callable[[Tensor, Network], Tensor] | None = None

    def tensor(self, network: Network) -> Tensor:
        """Return the tensor that a network's layer has now."""
        found = self.native(network[self.layer])
        return (found if self.shaped is None else self.shaped(found, network)).contiguous()


@dataclass(kw_only=True)
class Assembly:
    """Layers so far, and which tensor of the model each of their arrays came from."""

    n_jets: int
    layers: list[Layer] = field(default_factory=list)
    sources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    slots: list[Slot] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)
    in_scope: Counter[str] = field(default_factory=Counter)
    placed: dict[Hashable, str] = field(default_factory=dict)
    packed: dict[str, tuple[Constant, Constant | None]] = field(default_factory=dict)
    readers: dict[str, list[Call]] = field(default_factory=dict)
    traces: Traces = field(default_factory=Traces)
    fitting: Fitting | None = None
    calls: dict[str, Call] = field(default_factory=dict)

    def rewrite(self, call: Call, *, target: str | None = None, **settings: Any) -> None:
        """Keep other settings for a call where the program is being fitted to a network."""
        if self.fitting is not None:
            self.fitting.rewrite(call, self.title(call), target=target, **settings)

    def name(self, title: str) -> str:
        """Return an identifier of its own for a title such as "encoder.0"."""
        unique, number = title, 2
        while unique in self.titles:
            unique, number = f"{title}.{number}", number + 1
        self.titles.append(unique)
        return identifiers(self.titles)[unique]

    def title(self, call: Call, weight: Constant | None = None) -> str:
        """Return what a layer is called in the model: its weight's owner, its module, or the operator."""
        if weight is not None and weight.origin:
            owner, _, last = weight.origin.rpartition(".")
            stem = last.removesuffix("_orig").split("_l0")[0].removesuffix("weight_ih").removesuffix("weight")
            return ".".join(filter(None, (owner, stem.rstrip("_")))) or call.name
        owner, kind = call.scope
        plain = owner.split(".parametrizations")[0].split("@")[0]
        if not plain or not kind.startswith(("torch.nn.modules", "pquant.", "hepprune.")):
            return call.name
        return plain if self.in_scope[owner] <= 1 else f"{plain}.{call.name}"

    def add(self, layer: Layer, *sources: str) -> str:
        """Add a layer and return its name."""
        computing = self.layer(layer.of) if isinstance(layer, Shared) else layer
        self.shapes[layer.name] = computing.shape(*(self.shapes[source] for source in sources))
        shape = self.shapes[layer.name]
        if min(shape, default=1) < 1 or self.n_jets * math.prod(shape) > _MAX_INDEX:
            raise refused(layer.name, f"would put out the shape {shape}")
        self.layers.append(layer)
        if sources:
            self.sources[layer.name] = tuple(sources)
        return layer.name

    def layer(self, name: str) -> Layer:
        """Return the layer of that name."""
        return next(layer for layer in self.layers if layer.name == name)

    def value(self, layer: str, axes: Axes | None = None, shape: Iterable[int] | None = None) -> Value:
        """Return a layer's value as torch sees it: with its axes in the order `axes` undoes, reshaped to `shape`."""
        sizes = (self.n_jets, *self.shapes[layer])
        index = torch.arange(math.prod(sizes)).view(sizes)
        if axes is not None:
            index = index.permute(tuple(torch.argsort(torch.tensor(axes)).tolist()))
        return Value(layer, index if shape is None else index.reshape(tuple(shape)))

    def split(self, value: Value) -> Value:
        """Return the value with an axis of jets of its own."""
        index = with_jets_axis(value.index, self.n_jets)
        if index is None:
            raise NetworkError(f"the values of layer '{value.layer}' mix jets with each other")
        return value.moved(index)

    def jets(self, value: Value) -> int:
        """Return the axis of jets."""
        axis = jets_axis(value.index, self.n_jets)
        if axis is None:
            raise NetworkError(f"the values of layer '{value.layer}' mix jets with each other")
        return axis

    def axes(self, value: Value, *last: int) -> Axes:
        """Return the order of torch's axes to give a layer: as they lie if that suits, `last` at the end."""
        lying = axes_of(value.index, (self.n_jets, *self.shapes[value.layer]))
        if lying is not None and lying[0] == self.jets(value) and lying[len(lying) - len(last) :] == last:
            return lying
        jets = self.jets(value)
        rest = [axis for axis in range(value.index.ndim) if axis != jets and axis not in last]
        return (jets, *by_place(value.index, rest), *last)

    def place(self, value: Value, axes: Sequence[int], title: str) -> str:
        """Return the layer that holds the value with its axes in this order, reshaped or permuted if need be."""
        return self.laid(value, value.index.permute(tuple(axes)), title)

    def laid(self, value: Value, wanted: Tensor, title: str) -> str:
        """Return the layer whose values are those of `wanted`, an index (n_jets, *shape), in order."""
        shape = tuple(wanted.shape[1:])
        key = (value.layer, shape, wanted[0].numpy().tobytes())
        if key in self.placed:
            return self.placed[key]
        title = value.moved_by or title
        name = value.layer
        if not in_order(wanted):
            found = moves(wanted[0].reshape(-1))
            if found is None:
                raise refused(value.layer, "puts out values in an order that no permutation of axes gives")
            sizes, axes = found
            name = self.reshaped(name, sizes, f"{title}.split")
            name = self.add(Permute(self.name(f"{title}.permute"), axes), name)
        self.placed[key] = self.reshaped(name, shape, title)
        return self.placed[key]

    def reshaped(self, layer: str, shape: Shape, title: str) -> str:
        """Return the layer that holds these values under another shape."""
        if self.shapes[layer] == tuple(shape):
            return layer
        return self.add(Reshape(self.name(title), tuple(shape)), layer)

    def flat(self, value: Value, title: str) -> tuple[str, Tensor]:
        """Return the layer that holds a value's numbers on one axis, and where each of a jet's numbers is in it."""
        place = value.index.select(self.jets(value), 0)
        return self.laid(value, torch.arange(value.index.numel()).view(self.n_jets, -1), title), place

    def lying(self, value: Value, numbers: Tensor) -> Tensor:
        """Return numbers that broadcast to a value as they lie in its layer, (*shape)."""
        laid = torch.empty(value.index.numel(), dtype=numbers.dtype)
        laid[value.index.flatten()] = numbers.expand(value.shape).flatten()
        return laid.view(self.n_jets, *self.shapes[value.layer])[0]

    def sizes_of(self, value: Value) -> Callable[[Network], Sequence[int]]:
        """Return what gives the shape that torch's value has in a network of other sizes, the jets' axis included."""
        axes = axes_of(value.index, (self.n_jets, *self.shapes[value.layer]))

        def sizes(network: Network) -> Sequence[int]:
            if axes is None or value.layer not in network.shapes:
                raise NetworkError(f"the values of layer '{value.layer}' lie on other axes than in the model")
            found = (self.n_jets, *network.shapes[value.layer])
            return [found[axes.index(axis)] for axis in range(len(axes))]

        return sizes

    def affine(self, layer: str, scale: Factor, shift: Factor, title: str, *, held: Held | None = None) -> str:
        """Add scale * x + shift, numbers or one of each per value of the last axis.

        Both are constants of the model, but for a product or a sum with a parameter, where the other one is `held`.
        """
        factors, offsets = (torch.as_tensor(v, dtype=torch.float32).reshape(-1) for v in (scale, shift))
        n_values = max(len(factors), len(offsets))
        factors, offsets = factors.expand(n_values), offsets.expand(n_values)
        norm = BatchNorm(self.name(title), factors.contiguous(), offsets.contiguous(), fixed=held is None, held=held)
        return self.add(norm, layer)

    def stored(
        self,
        layer: str,
        constant: Constant | None,
        native: Callable[[Any], Tensor],
        *,
        kept: Callable[[Any], Tensor] | None = None,
        sizes: Callable[[Network], Sequence[int]] | None = None,
    ) -> None:
        """Remember that a layer's array, by `native` in the shape of the constant, is a tensor of the model.

        `kept` says in the same shape which of its values are not pruned.
        """
        if constant is None or constant.origin is None:
            return

        rank = constant.tensor.ndim

        def whole(at: Any) -> Tensor:
            values = native(at)
            return constant.native(values) if values.ndim == rank else values

        def shaped(values: Tensor, network: Network) -> Tensor:
            if sizes is None or values.ndim == rank:
                return values
            return constant.native(values.reshape(*sizes(network)))

        self.slots.append(Slot(target=constant.origin, layer=layer, native=whole, shaped=shaped, rows=constant.rows))
        if constant.mask is not None and kept is not None:
            mask = lambda at: constant.native(kept(at).float())  # noqa: E731
            self.slots.append(Slot(target=constant.mask, layer=layer, native=mask))


def with_jets_axis(index: Tensor, n_jets: int) -> Tensor | None:
    """Return the index with an axis of jets, split off one that holds more than jets."""
    if jets_axis(index, n_jets) is not None:
        return index
    if n_jets == 1:
        return index.unsqueeze(0)
    for axis, size in enumerate(index.shape):
        if size % n_jets == 0 and size > n_jets:
            for sizes in ((n_jets, size // n_jets), (size // n_jets, n_jets)):
                split = index.reshape(*index.shape[:axis], *sizes, *index.shape[axis + 1 :])
                if jets_axis(split, n_jets) is not None:
                    return split
    return None


def moves(order: Tensor) -> tuple[tuple[int, ...], Axes] | None:
    """Return the sizes to reshape to and the axes to permute by that bring a jet's values into `order`, if any do.

    Every order that reshapes and permutations make counts up in steps, level by level, like the digits of a clock.
    """
    sizes: list[int] = []
    steps: list[int] = []
    while len(order) > 1:
        changes = order.diff()
        other = torch.nonzero(changes != changes[0])
        run = int(other[0]) + 1 if len(other) else len(order)
        if len(order) % run or changes[0] < 1:
            return None
        rows = order.view(-1, run)
        if not torch.equal(rows - rows[:, :1], (rows[0] - rows[0, 0]).expand_as(rows)):
            return None
        sizes, steps, order = [run, *sizes], [int(changes[0]), *steps], rows[:, 0]
    ranks = sorted(range(len(steps)), key=lambda level: -steps[level])
    expected = [math.prod(sizes[later] for later in ranks[k + 1 :]) for k in range(len(ranks))]
    if [steps[level] for level in ranks] != expected:
        return None
    return tuple(sizes[level] for level in ranks), tuple(ranks.index(level) for level in range(len(sizes)))
