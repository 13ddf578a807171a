"""The Network: typed layers in topological order that run themselves, bit-accurate under their quantisers."""

import copy
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hepprune.errors import NetworkError, unknown
from hepprune.network import quantise
from hepprune.network.layers import MAX_VALUES, Dense, Input, Layer, Recurrent, Shape, Shared, Weighted
from hepprune.quantisers import to_json

MAX_LAYERS = 2000
Sources = Mapping[str, str | Sequence[str]]


class Network(nn.Module):
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
        if len(chain) > MAX_LAYERS:
            raise NetworkError(f"a network of {len(chain)} layers is no trigger network; it has at most {MAX_LAYERS}")
        if repeated := [name for name, count in Counter(names).items() if count > 1]:
            raise NetworkError(f"two layers share the name '{repeated[0]}'")
        if not chain or not isinstance(chain[0], Input):
            raise NetworkError("a network starts with an Input layer")
        self.layers = nn.ModuleDict({layer.name: layer for layer in chain})
        given = dict(zip(names[1:], names, strict=False)) if sources is None else sources
        self.sources = {name: (source,) if isinstance(source, str) else tuple(source) for name, source in given.items()}
        self._check_types()
        self.shapes = self._shapes()
        self._readers = self._read_by()
        self.outputs = tuple(outputs or names[-1:])
        for name in self.outputs:
            _ = self[name]

    def _shapes(self) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {}
        total = 0
        for layer in self:
            shapes[layer.name] = layer.shape() if isinstance(layer, Input) else self._shape(layer, shapes)
            total += math.prod(shapes[layer.name])
            if total > MAX_VALUES:
                raise NetworkError(f"up to layer '{layer.name}' a jet has {total} values, more than {MAX_VALUES}")
        return shapes

    def _shape(self, layer: Layer, shapes: Mapping[str, Shape]) -> Shape:
        """Return the shape that a layer puts out, from those of the layers before it."""
        sources = self.sources.get(layer.name, ("",))
        for source in sources:
            if source not in shapes:
                raise NetworkError(f"layer '{layer.name}' reads " + unknown("layer", source, shapes))
        if isinstance(layer, Shared) and (layer.of not in shapes or isinstance(self[layer.of], Input | Shared)):
            raise NetworkError(f"layer '{layer.name}' shares '{layer.of}', which is no layer that ran before it")
        return self.runs(layer).shape(*(shapes[source] for source in sources))

    def _read_by(self) -> dict[str, list[str]]:
        """Return which layers read each, in the order they run."""
        readers: dict[str, list[str]] = {}
        for layer in self:
            for source in dict.fromkeys(self.sources.get(layer.name, ())):
                readers.setdefault(source, []).append(layer.name)
        return readers

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
    def dense_layers(self) -> list[Dense]:
        """The dense layers, in the order they run."""
        return [layer for layer in self if isinstance(layer, Dense)]

    @property
    def weighted_layers(self) -> list[Weighted]:
        """The layers with a kernel, in the order they run."""
        return [layer for layer in self if isinstance(layer, Weighted)]

    @property
    def kernels(self) -> list[Weighted]:
        """The layers with a kernel and, as dense layers, both kernels of each recurrent one, in the order they run."""
        found: list[Weighted] = []
        for layer in self:
            found += layer.kernels if isinstance(layer, Recurrent) else [layer] if isinstance(layer, Weighted) else []
        return found

    @property
    def logits_name(self) -> str:
        """The layer whose value is the logits: the output, or what its head reads."""
        layer = self.output
        while layer.is_head:
            layer = self.source(layer)
        return layer.name

    @property
    def body(self) -> list[Layer]:
        """The layers without the heads that only turn logits into probabilities or a class."""
        heads = {name for name in self.outputs if self[name].is_head and not self.readers(self[name])}
        return [layer for layer in self if layer.name not in heads]

    def runs(self, layer: Layer) -> Layer:
        """Return the layer whose computation a node runs: its own, or that of the layer it shares."""
        while isinstance(layer, Shared):
            layer = self[layer.of]
        return layer

    def source(self, layer: Layer) -> Layer:
        """Return the only layer that feeds `layer`."""
        sources = self.sources.get(layer.name, ())
        if len(sources) != 1:
            raise NetworkError(f"layer '{layer.name}' reads {len(sources)} layers where one is expected")
        return self[sources[0]]

    def readers(self, layer: Layer) -> list[Layer]:
        """Return the layers fed by `layer`."""
        return [self[name] for name in self._readers.get(layer.name, ())]

    def activations(
        self,
        features: Tensor | Sequence[Tensor],
        *,
        quantised: bool = True,
        until: str | None = None,
        known: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Return every layer's value for features (n_jets, *shape), one tensor per Input, up to and with layer `until`.

        Layers whose value is `known` are not run again, so that a change late in the network costs only what follows.
        """
        arriving = iter((features,) if isinstance(features, Tensor) else features)
        values: dict[str, Tensor] = {}
        for layer in self:
            own = [next(arriving)] if isinstance(layer, Input) else [values[n] for n in self.sources[layer.name]]
            if known is not None and layer.name in known:
                values[layer.name] = known[layer.name]
            else:
                values[layer.name] = self._run(layer, own, quantised=quantised)
            if layer.name == until:
                break
        return values

    def _run(self, layer: Layer, values: list[Tensor], *, quantised: bool) -> Tensor:
        value: Tensor = self.runs(layer)(*values, quantised=quantised)
        again = layer.result if isinstance(layer, Shared) and quantised else None
        return quantise.activations(value, again) if again else value

    def forward(self, features: Tensor | Sequence[Tensor], *, quantised: bool = True) -> Tensor:
        """Return the output (n_jets, *shape) for features (n_jets, *shape), fixed-point or float."""
        return self.activations(features, quantised=quantised)[self.output.name]

    def logits(self, features: Tensor | Sequence[Tensor], *, quantised: bool = True) -> Tensor:
        """Return the output without its softmax or argmax head, (n_jets, n_classes)."""
        return self.activations(features, quantised=quantised, until=self.logits_name)[self.logits_name]

    def clone(self) -> "Network":
        """Return an independent copy."""
        return copy.deepcopy(self)

    def replacing(self, changed: Mapping[str, Layer]) -> "Network":
        """Return a copy in which the named layers are others; widths are checked again."""
        layers = [changed.get(layer.name, layer) for layer in self]
        return Network(copy.deepcopy(layers), self.sources, self.outputs)

    def structure(self) -> dict[str, Any]:
        """Return layers, settings and edges as JSON values; arrays are in `state_dict`."""
        layers = [{"layer": type(layer).__name__, **layer.settings()} for layer in self]
        return {"layers": [_plain(layer) for layer in layers], "sources": self.sources, "outputs": self.outputs}


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    quantisers = {key: to_json(value) for key, value in settings.items() if key == "result" or key.endswith("_type")}
    return settings | quantisers


@torch.no_grad()
def exact_activations(network: Network, features: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """Return every layer's value before any head, bit for bit as the firmware computes it.

    Float64 sums of fixed-point values are exact while every partial sum fits in 53 bits; that is checked, not hoped.
    Features have shape (n_jets, n_features).

    Raises:
        NetworkError: a layer has no quantiser, or its accumulator is too wide.
    """
    _check_exact(network)
    double = network.clone().double()
    inputs = torch.as_tensor(np.asarray(features, dtype=np.float64))
    return {name: v.numpy() for name, v in double.activations(inputs, until=network.logits_name).items()}


def exact_logits(network: Network, features: NDArray[Any]) -> NDArray[np.float64]:
    """Return the logits (n_jets, n_classes) bit for bit as the firmware computes them."""
    return exact_activations(network, features)[network.logits_name]


def _check_exact(network: Network) -> None:
    from hepprune.network.ranges import accumulators

    if network.input.result is None:
        raise NetworkError(f"layer '{network.input.name}' has no fixed-point type, so it has no exact value")
    accumulators(network)
