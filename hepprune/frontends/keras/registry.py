"""The contract between a native Keras layer and the layers of a Network: `LAYERS[class name]` is a `LayerKind`.

`Kind.lower(native, arriving)` returns the `Part`s that one native layer becomes, in the order they run; the value of
the last one is the native layer's value. `arriving` holds the shapes (channels last, without the axis of jets) of the
values the native layer is called on. A Part's sources are numbers (0 is the first arriving value) or names of earlier
parts. No parts at all means that the layer vanishes (dropout): its value is what arrives.

`Kind.fill(native, layers)` is the inverse: it returns the native layer with the sizes in `config` and the arrays in
`weights` that the Network's layers have now; `layers` maps names of parts to layers. What it does not name stays.
It is only called for a layer that changed, and the writer lowers what it returns again and compares. Before it is
called, the weight of every Weighted or Recurrent layer is settled: pruned entries are zero, and where the native layer
keeps another quantiser than the Network's the weights are those that act.

Names: the part that holds the kernel is called `native.name`, the others `native.part("relu")` and so on.
A layer class of another package registers itself with `@register("QDense", fill=...)` on its lowering, and calls the
plain `Form` (`weighted.DENSE.lower(native, arriving)`) before it adds quantisers to the layers in its parts.
Weights are float64 arrays in the order of Keras' own `get_weights()`; `config` is the layer's own JSON. A `.keras` file
may hold more arrays (quantisers of HGQ2, seeds): all of them are in `stored` by their place below the layer's group,
"vars/0" or "kq/quantizer/vars/0"; a `fill` may change them there, and `weights` win where both name one.
Which groups of a `.keras` file make up `weights` is said by `register(..., groups=("cell",))`.
Every refusal is `native.refuse("reason")`, which names the layer.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hepprune.errors import NetworkError
from hepprune.network import Layer, Shape

Floats = NDArray[np.float64]
L = TypeVar("L", bound=Layer)


@dataclass(frozen=True, kw_only=True)
class Native:
    """One layer as its file has it: `name` in the Network, `path` in the file (outer/inner), class, config, weights."""

    name: str
    path: str
    kind: str
    config: Mapping[str, Any]
    weights: tuple[Floats, ...] = ()
    keras: int = 2
    taken: frozenset[str] = frozenset()
    stored: Mapping[str, Floats] = field(default_factory=dict)  # every array of the layer by its place in the file
    arguments: tuple[str | None, ...] = ()  # the keyword by which each arriving value is passed, None by position
    call: Mapping[str, Any] = field(default_factory=dict)  # the call's other keyword arguments
    arriving: tuple[Shape, ...] = ()  # the shapes of the values that it is called on
    place: str = ""  # of a layer inside another: where in that one's group its arrays are
    shapes: Mapping[str, Shape] = field(default_factory=dict)  # to be filled with: of the values of its parts

    def part(self, suffix: str) -> str:
        """Return the name of a part beside the main one, free of the names of other native layers."""
        number, name = 2, f"{self.name}_{suffix}"
        while name in self.taken:
            name, number = f"{self.name}_{suffix}_{number}", number + 1
        return name

    @property
    def rank(self) -> int:
        """Over how many axes of positions the layer works, as its class name says."""
        return next((rank for rank in (1, 3) if f"{rank}D" in self.kind.upper()), 2)

    def refuse(self, reason: str) -> NetworkError:
        """Return the error that names this layer; the caller raises it."""
        return NetworkError(f"layer '{self.path}' ({self.kind}) {reason}")

    def refuse_set(self, *keys: str) -> None:
        """Refuse settings that are on and change what a layer computes."""
        for key in keys:
            if self.config.get(key):
                raise self.refuse(f"has {key} set, which cannot be taken over")

    def expect(self, *shapes: Sequence[int]) -> tuple[Tensor, ...]:
        """Return the weights as float64 tensors, and refuse another number of them or other shapes."""
        found, wanted = [tuple(array.shape) for array in self.weights], [tuple(shape) for shape in shapes]
        if found != wanted:
            raise self.refuse(f"has weights of shapes {found} where its config needs {wanted}")
        return tuple(torch.as_tensor(array) for array in self.weights)

    def size(self, key: str, default: int | None = None) -> int:
        """Return a whole number of the config, at least 1."""
        value = self.config.get(key, default)
        if not _is_size(value):
            raise self.refuse(f"has {key} = {str(value)[:40]}, which is not a size")
        return int(value)

    def sizes(self, key: str, rank: int, default: int | None = None) -> tuple[int, ...]:
        """Return `rank` whole numbers of the config, each at least 1; one number stands for all."""
        value = self.config.get(key, default)
        entries = [value] * rank if isinstance(value, int) else value
        if not isinstance(entries, list | tuple) or len(entries) != rank or not all(map(_is_size, entries)):
            raise self.refuse(f"has {key} = {str(value)[:40]}, which are not {rank} sizes")
        return tuple(entries)

    def number(self, key: str, default: float) -> float:
        """Return a finite number of the config."""
        value = self.config.get(key, default)
        value = value.get("config", {}).get("value") if isinstance(value, dict) else value  # a serialised numpy array
        if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
            raise self.refuse(f"has {key} = {str(value)[:40]}, which is not a number")
        return float(value)

    def holding(self, layers: Mapping[str, Layer], kind: type[L], name: str | None = None) -> L:
        """Return the layer that it is to hold, its own or one of another name, and refuse one of another kind."""
        layer = layers[name or self.name]
        if not isinstance(layer, kind):
            raise self.refuse(f"cannot hold a {type(layer).__name__}")
        return layer

    def filled(self, weights: Iterable[Tensor | Floats] | None = None, **config: Any) -> "Native":
        """Return the layer with other weights and other entries of its config."""
        arrays = self.weights if weights is None else tuple(np.asarray(array, dtype=np.float64) for array in weights)
        return replace(self, weights=arrays, config={**self.config, **config})


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**27


@dataclass(frozen=True)
class Part:
    """A layer of the Network, and what it reads: the arriving values by number, earlier parts by name."""

    layer: Layer
    sources: tuple[int | str, ...] = (0,)


Parts = list[Part]
Lower = Callable[[Native, tuple[Shape, ...]], Parts]
Layers = Mapping[str, Layer]
Fill = Callable[[Native, Layers], Native]


def keep(native: Native, _layers: Mapping[str, Layer]) -> Native:
    """Fill nothing: a layer without sizes or arrays of its own."""
    return native


@dataclass(frozen=True, kw_only=True)
class LayerKind:
    """How a layer class is lowered and filled, and where a Keras 3 file keeps its weights, in Keras' order.

    A `typed` one is filled with the types of its parts too. An operation takes constants where it is called, and with
    `several` each of its parts is a value of its own. One that `pads` gets zeros or constants for what it keeps.
    """

    lower: Lower
    fill: Fill = keep
    groups: tuple[str, ...] = ("",)
    typed: bool = False
    is_operation: bool = False
    several: bool = False
    pads: bool = False


LAYERS: dict[str, LayerKind] = {}


def register(
    *kinds: str, fill: Fill = keep, groups: tuple[str, ...] = ("",), quantisers: Container[str] = ()
) -> Callable[[Lower], Lower]:
    """Return a decorator that enters a lowering under the names of its layer classes.

    A layer with a quantiser that is not among those that the lowering reads is refused: it is one of another package.
    """

    def enter(lower: Lower) -> Lower:
        def strict(native: Native, arriving: tuple[Shape, ...]) -> Parts:
            for key, value in native.config.items():
                if key.endswith("_quantizer") and value is not None and key not in quantisers:
                    raise native.refuse(f"has a {key[:60]}, which is not known of a layer of this class")
            return lower(native, arriving)

        LAYERS.update(dict.fromkeys(kinds, LayerKind(lower=strict, fill=fill, groups=groups)))
        return lower

    return enter


def lowered(native: Native) -> Parts:
    """Return what a layer inside another becomes, given what it says that arrives."""
    return LAYERS[native.kind].lower(native, native.arriving)


def after(parts: Parts, *layers: Layer | None) -> Parts:
    """Return the parts with more layers, each of which reads the last before it (what arrives where there is none)."""
    for layer in layers:
        if layer is not None:
            parts = [*parts, Part(layer, (parts[-1].layer.name if parts else 0,))]
    return parts


def reading(parts: Parts, source: int | str) -> Parts:
    """Return parts of which those that read the first arriving value read another one."""
    return [replace(part, sources=tuple(source if s == 0 else s for s in part.sources)) for part in parts]


def then(parts: Parts, more: Parts) -> Parts:
    """Return parts and those behind them, which read the last one where they read what arrives."""
    return [*parts, *(reading(more, parts[-1].layer.name) if parts else more)]


def only(native: Native, arriving: tuple[Shape, ...]) -> Shape:
    """Return the one shape that arrives, and refuse several."""
    if len(arriving) != 1:
        raise native.refuse(f"is called on {len(arriving)} values where one is expected")
    return arriving[0]


def single(values: Tensor) -> Tensor:
    """Return float32 values, as layers hold them."""
    return values.to(torch.float32)


def channels_last(native: Native, shape: Shape) -> None:
    """Refuse a layer over axes of positions that keeps its channels first, or that is given another shape."""
    if native.config.get("data_format") not in (None, "channels_last"):
        raise native.refuse("keeps channels first; only channels_last can be taken over")
    if len(shape) != native.rank + 1:
        raise native.refuse(f"works on {native.rank} axes of positions and is given the shape {shape}")


def wrapped(native: Native, known: Container[str], otherwise: str) -> Native:
    """Return the layer that a wrapper holds, and refuse one of a class that is not known."""
    entry = native.config.get("layer")
    kind = str(entry.get("class_name")) if isinstance(entry, dict) else "nothing"
    if not isinstance(entry, dict) or kind not in known:
        raise native.refuse(f"wraps {kind[:60]}{otherwise}")
    return replace(native, kind=kind, config=entry.get("config", {}))


def rewrapped(entry: Mapping[str, Any], filled: Native) -> dict[str, Any]:
    """Return the description of a wrapped layer with the config it is filled with; Keras works its shapes out again."""
    return {key: value for key, value in entry.items() if key != "build_config"} | {"config": dict(filled.config)}


def inside(native: Native, place: str, **changes: Any) -> Native:
    """Return the layer that keeps its arrays below a place; only quantisers that the file has arrays for act."""
    spelt = next((p for p in (place, f"_{place}") if any(k.startswith(f"{p}/") for k in native.stored)), place)
    stored = {k.removeprefix(f"{spelt}/"): a for k, a in native.stored.items() if k.startswith(f"{spelt}/")}
    weights = tuple(stored[key] for key in numbered(stored))
    return replace(native, stored=stored, weights=weights, place=spelt, **changes)


def outer(native: Native, filled: Iterable[Native], **config: Any) -> Native:
    """Return a layer with other entries of its config and the arrays of those inside it, at their places."""
    stored = dict(native.stored)
    for each in filled:
        arrays = {**each.stored, **dict(zip(numbered(each.stored), each.weights, strict=True))}
        stored = {key: array for key, array in stored.items() if not key.startswith(f"{each.place}/")}
        stored |= {f"{each.place}/{key}": array for key, array in arrays.items()}
    return replace(native, stored=stored, config={**native.config, **config})


def numbered(stored: Iterable[str], prefix: str = "vars/") -> list[str]:
    """Return the places of arrays that have only a number behind a prefix, in order."""
    found = [place for place in stored if place.startswith(prefix) and place.removeprefix(prefix).isdecimal()]
    return sorted(found, key=lambda place: int(place.removeprefix(prefix)))
