"""The Network: typed layers in topological order that run themselves, bit-accurate under their quantisers."""

import copy
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from hepprune.errors import NetworkError, check_known, refused, unknown
from hepprune.fixed.quantisers import check_shape, to_json
from hepprune.network.layers import MAX_VALUES, Input, Kernel, Layer, Shape, Shared
from hepprune.network.layers.base import Module
from hepprune.network.node import Features, Node, as_tuple, check_depth

Sources = Mapping[str, str | Sequence[str]]
V = TypeVar("V")


class _Layers(Module, nn.ModuleDict):
    """Layers by name."""


class Network(Module):
    """A graph of layers, channels last, from its Inputs to its outputs.

    `sources[name]` names the layers that feed layer `name`, in order; without it the layers form a chain. `outputs`
    names the layers whose values the network puts out; without it, the last one.

    Raises:
        NetworkError: names repeat, a source comes after its reader, or shapes do not fit.
    """

    def __init__(
        self, layers: Iterable[Layer], sources: Sources | None = None, outputs: Sequence[str] | None = None
    ) -> None:
        super().__init__()
        chain = list(layers)
        names = [layer.name for layer in chain]
        check_depth(len(chain))
        if repeated := [name for name, count in Counter(names).items() if count > 1]:
            raise NetworkError(f"two layers share the name '{repeated[0]}'")
        if not chain or not isinstance(chain[0], Input):
            raise NetworkError("a network starts with an Input layer")
        self.layers = _Layers({layer.name: layer for layer in chain})
        given = dict(zip(names[1:], names, strict=False)) if sources is None else sources
        self.sources = {name: (source,) if isinstance(source, str) else tuple(source) for name, source in given.items()}
        self._check_types()
        self.shapes = self._shapes()
        self._readers: dict[str, list[str]] = {}  # which layers read each, in the order they run
        for layer in self:
            for source in dict.fromkeys(self.sources.get(layer.name, ())):
                self._readers.setdefault(source, []).append(layer.name)
        self._heads: set[str] = set()  # those that nothing but heads reads
        for layer in reversed(list(self)):
            if layer.is_head and self._heads.issuperset(self._readers.get(layer.name, ())):
                self._heads.add(layer.name)
        self.outputs = tuple(outputs or names[-1:])
        for name in self.outputs:
            _ = self[name]

    def _shapes(self) -> dict[str, Shape]:
        """Return what each layer puts out, from those of the layers before it."""
        shapes: dict[str, Shape] = {}
        total = 0
        for layer in self:
            sources = () if isinstance(layer, Input) else self.sources.get(layer.name, ("",))
            for source in sources:
                if source not in shapes:
                    raise refused(layer.name, "reads " + unknown("layer", source, shapes))
            if isinstance(layer, Shared) and (layer.of not in shapes or isinstance(self[layer.of], Input | Shared)):
                raise refused(layer.name, f"shares '{layer.of}', which is not a layer that ran before it")
            shapes[layer.name] = self.runs(layer).shape(*(shapes[source] for source in sources))
            check_shape(layer.name, layer.result, shapes[layer.name])
            for name, array in layer.named_parameters(recurse=False):
                check_shape(layer.name, getattr(layer, f"{name}_type", None), tuple(array.shape))
            total += math.prod(shapes[layer.name])
            if total > MAX_VALUES:
                raise NetworkError(f"up to layer '{layer.name}' a jet has {total} values, more than {MAX_VALUES}")
        return shapes

    def _check_types(self) -> None:
        """Refuse arrays of several floating types, which torch cannot multiply."""
        kinds: dict[torch.dtype, str] = {}
        for name, array in self.named_parameters():
            kinds.setdefault(array.dtype, name)
        if len(kinds) > 1 or not set(kinds) <= {torch.float32, torch.float64}:
            found = ", ".join(f"{name.removeprefix('layers.')} is {kind}" for kind, name in kinds.items())
            raise NetworkError(f"the arrays of a network are all float32 or all float64; here {found}")

    def __iter__(self) -> Iterator[Layer]:
        """Yield the layers in the order they run."""
        yield from self.layers.values()  # type: ignore[misc]

    def __getitem__(self, name: str) -> Layer:
        """Return the layer of that name."""
        if name not in self.layers:
            raise NetworkError(unknown("layer", name, self.layers))
        return self.layers[name]  # type: ignore[return-value]

    @property
    def widths(self) -> dict[str, int]:
        """Values that each layer puts out for one jet."""
        return {name: math.prod(shape) for name, shape in self.shapes.items()}

    @property
    def inputs(self) -> list[Input]:
        """The layers that receive features."""
        return [layer for layer in self if isinstance(layer, Input)]

    @property
    def input(self) -> Input:
        """The only layer that receives features."""
        if len(self.inputs) != 1:
            raise NetworkError(f"the network has {len(self.inputs)} inputs where one is expected")
        return self.inputs[0]

    @property
    def output(self) -> Layer:
        """The only layer whose value the network puts out."""
        if len(self.outputs) != 1:
            raise NetworkError(f"the network has {len(self.outputs)} outputs where one is expected")
        return self[self.outputs[0]]

    @property
    def kernels(self) -> list[Kernel]:
        """The weights that can be cut, matrix by matrix, in the order their layers run."""
        return [kernel for layer in self for kernel in layer.kernels]

    @property
    def sizes(self) -> dict[str, int]:
        """Neurons, filters or states of each layer that has kernels, by its name."""
        return {layer.name: layer.n_out for layer in self if layer.kernels}  # type: ignore[misc]

    def kernel(self, name: str) -> Kernel:
        """Return the kernel of that name."""
        found = {kernel.name: kernel for kernel in self.kernels}
        check_known("kernel", name, found, NetworkError)
        return found[name]

    @property
    def raw_outputs(self) -> tuple[str, ...]:
        """For each output the layer whose value it is before any head (softmax, argmax): of a classifier the logits."""
        found = []
        for layer in map(self.__getitem__, self.outputs):
            while layer.is_head:
                layer = self.source(layer)  # noqa: PLW2901 -- up to the last that is none
            found.append(layer.name)
        return tuple(found)

    @property
    def raw_output(self) -> str:
        """The only one of them."""
        _ = self.output
        return self.raw_outputs[0]

    @property
    def body(self) -> list[Layer]:
        """The layers without the heads that only turn logits into probabilities or a class."""
        return [layer for layer in self if layer.name not in self._heads]

    @property
    def nodes(self) -> list[Node]:
        """The places of the graph in the order they run."""
        return [self.node(layer) for layer in self]

    def node(self, layer: Layer) -> Node:
        """Return the place in the graph that a layer of the network, or one that shares its weights, stands at."""
        runs = self.runs(layer)
        quantisers = (runs.result,) if runs is layer else (runs.result, layer.result)
        results = tuple(quantiser for quantiser in quantisers if quantiser is not None)
        sources = self.sources.get(layer.name, ())
        return Node(name=layer.name, layer=runs, results=results, sources=sources, shape=self.shapes[layer.name])

    def runs(self, layer: Layer) -> Layer:
        """Return the layer whose computation a node runs: its own, or that of the layer it shares."""
        while isinstance(layer, Shared):
            layer = self[layer.of]
        return layer

    def source(self, layer: Layer) -> Layer:
        """Return the only layer that feeds `layer`."""
        sources = self.sources.get(layer.name, ())
        if len(sources) != 1:
            raise refused(layer.name, f"reads {len(sources)} layers where one is expected")
        return self[sources[0]]

    def readers(self, layer: Layer) -> list[Layer]:
        """Return the layers that read `layer`."""
        return [self[name] for name in self._readers.get(layer.name, ())]

    def following(self, name: str) -> tuple[str, ...]:
        """Return the nodes whose value depends on that of the named one, in the order they run."""
        reached = self.interpret(lambda node, *arriving: node.name == name or any(arriving))
        return tuple(other for other, depends in reached.items() if depends and other != name)

    def preceding(self, names: Iterable[str]) -> frozenset[str]:
        """Return the layers that the values of the named ones depend on, those whose weights they share too."""
        found = set(names)
        for node in reversed(self.nodes):
            if node.name in found:
                found |= {node.layer.name, *node.sources}
        return frozenset(found)

    def interpret(
        self,
        rule: Callable[..., V],
        inputs: Sequence[V] = (),
        *,
        known: Mapping[str, V] | None = None,
        until: str | Iterable[str] = (),
    ) -> dict[str, V]:
        """Return what `rule(node, *arriving)` makes of every node, in the order they run: the one walk over the graph.

        What flows is whatever the rule makes: tensors, ranges, units, adder-graph variables. An Input is given its own
        of `inputs`, in order, or nothing where there are none. Nodes that are `known` are not asked for again, and the
        walk ends once all names of `until` have a value; of several outputs none is followed to its heads then.

        Raises:
            NetworkError: there are not as many inputs as the network has.
        """
        if inputs and len(inputs) != len(self.inputs):
            raise NetworkError(f"the network has {len(self.inputs)} inputs and is given {len(inputs)}")
        given = dict(zip((layer.name for layer in self.inputs), inputs, strict=False))
        wanted = {until} if isinstance(until, str) else set(until)
        ends = bool(wanted)
        beyond = self._heads if ends and self._heads.isdisjoint(wanted) else set()
        values: dict[str, V] = {}
        for layer in self:
            name = layer.name
            if name in beyond:
                continue
            if known is not None and name in known:
                values[name] = known[name]
            else:
                node = self.node(layer)
                arriving = [values[source] for source in node.sources] if name not in given else [given[name]]
                values[name] = rule(node, *arriving)
            wanted.discard(name)
            if ends and not wanted:
                break
        return values

    def activations(
        self,
        features: Features,
        *,
        quantised: bool = True,
        until: str | Iterable[str] = (),
        known: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Return every layer's value for features (n_jets, *shape), one tensor per Input, until those named are there.

        Layers whose value is `known` are not run again, so that a change late in the network costs only what follows.
        """

        def run(node: Node, *arriving: Tensor) -> Tensor:
            value = node.layer.compute(*arriving, quantised=quantised)
            return node.quantised(value) if quantised else value

        return self.interpret(run, as_tuple(features), known=known, until=until)

    def forward(self, features: Features, *, quantised: bool = True) -> Tensor:
        """Return the only output (n_jets, *shape) for features (n_jets, *shape), fixed-point or float."""
        return self.activations(features, quantised=quantised)[self.output.name]

    def raw(self, features: Features, *, quantised: bool = True) -> tuple[Tensor, ...]:
        """Return every output before its head, (n_jets, *shape) each, in the order of `outputs`."""
        values = self.activations(features, quantised=quantised, until=self.raw_outputs)
        return tuple(values[name] for name in self.raw_outputs)

    def logits(self, features: Features, *, quantised: bool = True) -> Tensor:
        """Return the only output without its softmax or argmax head, (n_jets, n_classes)."""
        name = self.raw_output
        return self.activations(features, quantised=quantised, until=(name,))[name]

    def clone(self) -> "Network":
        """Return an independent copy."""
        return copy.deepcopy(self)

    def upto(self, ends: Iterable[str]) -> "Network":
        """Return a copy of what the named layers, which are its outputs, depend on."""
        outputs = tuple(dict.fromkeys(ends))
        kept = self.preceding(outputs)
        sources = {name: read for name, read in self.sources.items() if name in kept}
        return Network([layer for layer in self.clone() if layer.name in kept], sources, outputs)

    def replacing(self, changed: Mapping[str, Layer]) -> "Network":
        """Return a copy in which the named layers are others; widths are checked again."""
        return Network(copy.deepcopy([changed.get(layer.name, layer) for layer in self]), self.sources, self.outputs)

    def structure(self) -> dict[str, Any]:
        """Return layers, settings and edges as JSON values; arrays are in `state_dict`."""
        layers = []
        for layer in self:
            settings = layer.settings()
            types = {key: to_json(settings[key]) for key in settings if key == "result" or key.endswith("_type")}
            layers.append({"layer": type(layer).__name__, **settings, **types})
        return {"layers": layers, "sources": self.sources, "outputs": self.outputs}
