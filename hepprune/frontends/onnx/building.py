"""A network under construction from an ONNX graph, and which of its quantisers are which nodes."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from hepprune.errors import NetworkError, refused
from hepprune.fixed import FixedPoint, Quantiser
from hepprune.fixed.quantisers import to_json
from hepprune.frontends.onnx.arrays import FileConstant
from hepprune.frontends.onnx.fitting import GraphFit, SettingPlace
from hepprune.frontends.onnx.quantisation import Quantisation
from hepprune.frontends.pytorch.building import Assembly
from hepprune.frontends.pytorch.operators.registry import unchanged
from hepprune.frontends.pytorch.program import Call
from hepprune.frontends.pytorch.values import Constant, Value
from hepprune.network import Activation, Layer, Permute, Reshape, Shared, Weighted

# Holds zero, which is all that a layer without a bias adds, in training too.
_NO_BIAS = FixedPoint(1, 1, True, "RND", "SAT")


@dataclass(frozen=True, eq=False, kw_only=True)
class OnnxNode:
    """One operator; `name` is its own or that of its first output."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]

    @property
    def key(self) -> str:
        """The first output that it has, which no other node makes."""
        return next(filter(None, self.outputs), "")

    def call(self, operator: str) -> Call:
        """Return the call of torch's operator that computes the same."""
        return Call(name=self.name, target=operator, args=(), kwargs={})


@dataclass(frozen=True, kw_only=True)
class Site:
    """A node that quantises: `kind` is the quantiser of `layer` that it is.

    `native` brings one number per value that is quantised into the shape that the node sees; the node's own scale is
    1 along the axes where `scale_shape` is.
    """

    node: str
    layer: str
    kind: str
    scale_shape: tuple[int, ...]
    native: Callable[[Any, Tensor], Tensor]


@dataclass(kw_only=True)
class Graph(Assembly):
    """Layers so far, and what the graph's tensors have become."""

    opset: int = 0
    fitting: GraphFit | None = None
    values: dict[str, Any] = field(default_factory=dict)
    readers_of: dict[str, list[OnnxNode]] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    sites: list[Site] = field(default_factory=list)
    changes: dict[SettingPlace, Any] = field(default_factory=dict)

    def title(self, call: Call, weight: Constant | None = None) -> str:
        """Return the layer's name: its weight's owner as torch names it ("encoder.0"), else its node's."""
        owner = (weight.origin or "").rpartition(".")[0] if weight is not None else ""
        return owner or call.name

    def is_read(self, tensor: str) -> bool:
        """Return whether a node reads a tensor, or the graph puts it out."""
        return tensor in self.readers_of or tensor in self.outputs

    def only_reader(self, tensor: str) -> OnnxNode | None:
        """Return the one node that reads a tensor; None where several do, or the graph puts it out."""
        readers = self.readers_of.get(tensor, [])
        return readers[0] if len(readers) == 1 and tensor not in self.outputs else None

    def change(self, node: OnnxNode, place: int | str, setting: Any) -> None:
        """Note what an input or attribute of a node has to be in the file; None leaves it out."""
        self.changes[node.key, place] = setting

    def before(self, node: OnnxNode, x: Any) -> tuple[int, ...]:
        """Return the shape that a node's first input had before units left, its own where none did."""
        known = self.fitting.values.get(node.inputs[0]) if self.fitting is not None else None
        return tuple(x.shape) if known is None else known.shape

    def typed(self, value: Value, **arrays: Constant | None) -> Value:
        """Give the layer that was just added the quantisers of its arrays, by their names."""
        layer = self.layer(value.layer)
        own = self.layer(layer.of) if isinstance(layer, Shared) else layer
        for name, array in arrays.items():
            if not isinstance(array, FileConstant) or array.quantisation is None:
                continue
            kind = self._quantiser(own, name, array)
            if layer is not own and to_json(kind) != to_json(getattr(own, f"{name}_type")):
                raise refused(layer.name, f"shares the weights of '{own.name}', quantised differently")
            setattr(own, f"{name}_type", kind)
        if isinstance(own, Weighted) and own.weight_type is not None and arrays.get("bias") is None:
            own.bias_type = _NO_BIAS
        return value

    def _quantiser(self, layer: Layer, name: str, array: FileConstant) -> Quantiser:
        given = array.quantisation
        if given is None or (array.origin is None and given.scale.numel() > 1):
            raise refused(layer.name, f"has computed values in {name}, quantised by several scales")
        if array.origin is None:
            return given.of(given.scale.numpy())
        like, kind = getattr(layer, name), f"{name}_type"
        slot = next(slot for slot in reversed(self.slots) if (slot.layer, slot.target) == (layer.name, array.origin))

        def native(at: Any, numbers: Tensor) -> Tensor:
            limits = {"digit_limit": None} if isinstance(at, Weighted) else {}
            return slot.native(at.rebuilt(**{name: numbers, kind: None}, **limits))

        # Numbered values show where in the layer each value of the file has come to lie.
        places = native(layer, torch.arange(like.numel(), dtype=torch.float64).view(like.shape)).long()
        scale = torch.empty(like.numel(), dtype=torch.float64)
        scale[places.reshape(-1)] = array.native(given.scale.double().expand(array.tensor.shape)).reshape(-1)
        self.sites.append(Site(node=given.node, layer=layer.name, kind=kind, scale_shape=given.shape, native=native))
        return given.of(compressed(scale.view(like.shape)).numpy())

    def quantised(self, value: Value, given: Quantisation, title: str) -> Value:
        """Quantise a value of the jets."""
        scale = given.scale.double()
        if scale.numel() > 1:
            if value.index.numel() != self.n_jets * math.prod(self.shapes[value.layer]):
                raise NetworkError(f"quantiser '{title}' has several scales for a value that is there several times")
            scale = compressed(self.lying(value, scale))
        name = self.add(Activation(self.name(title), "linear", result=given.of(scale.numpy())), value.layer)
        native = _of_jets(value, self.n_jets)
        self.sites.append(Site(node=given.node, layer=name, kind="result", scale_shape=given.shape, native=native))
        return unchanged(value, name)

    def merge_quantisers(self, outputs: list[str]) -> list[str]:
        """Let a layer that only a quantiser reads put out quantised values itself; return the outputs' layers."""
        for layer in list(self.layers):
            if isinstance(layer, Activation) and layer.function == "linear" and layer.result is not None:
                before = self._quantising(layer, outputs)
                if before is not None:
                    before.result = layer.result
                    outputs = self._without(layer, before, outputs)
        return outputs

    def _quantising(self, layer: Layer, outputs: list[str]) -> Layer | None:
        """Return the layer that can quantise in the place of this one, before values are moved where that is equal."""
        read = Counter(name for names in self.sources.values() for name in names) + Counter(outputs)
        read += Counter(node.of for node in self.layers if isinstance(node, Shared))
        found, before = None, self.layer(self.sources[layer.name][0])
        while read[before.name] == 1 and before.result is None:
            found = before
            if not isinstance(before, Reshape | Permute) or not isinstance(layer.result, FixedPoint):
                break
            before = self.layer(self.sources[before.name][0])
        return found

    def _without(self, layer: Layer, before: Layer, outputs: list[str]) -> list[str]:
        (source,) = self.sources.pop(layer.name)
        self.layers.remove(layer)
        for name, names in self.sources.items():
            self.sources[name] = tuple(source if n == layer.name else n for n in names)
        self.sites = [replace(site, layer=before.name) if site.layer == layer.name else site for site in self.sites]
        return [source if name == layer.name else name for name in outputs]


def compressed(scale: Tensor) -> Tensor:
    """Return an array with size 1 along the axes where it does not change; a number of its own if nowhere."""
    for axis in range(scale.ndim):
        first = scale.narrow(axis, 0, 1)
        scale = first if torch.equal(first.expand_as(scale), scale) else scale
    return scale.reshape(()) if scale.numel() == 1 else scale


def _of_jets(value: Value, n_jets: int) -> Callable[[Any, Tensor], Tensor]:
    """Return what brings a number for each value of a layer into the shape of the graph's tensor."""

    def native(_at: Any, numbers: Tensor) -> Tensor:
        if numbers.numel() * n_jets == value.index.numel():
            return numbers.expand(n_jets, *numbers.shape).reshape(-1)[value.index]
        channels = numbers.reshape(-1, numbers.shape[-1])[0]  # for another size, until the graph is read again
        return channels.view(*(-1 if axis == 1 else 1 for axis in range(value.index.ndim)))

    return native
