"""The Network: typed layers in topological order that run themselves, bit-accurate under their quantisers."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hepprune.errors import NetworkError, unknown
from hepprune.network.layers import Dense, Input, Layer


class Network(nn.Module):
    """A graph of layers, channels last, from one Input to one output.

    `sources[name]` is the layer that feeds layer `name`; without it the layers form a chain.

    Raises:
        NetworkError: names repeat, a source comes after its reader, or widths do not fit.
    """

    def __init__(self, layers: Iterable[Layer], sources: Mapping[str, str] | None = None) -> None:
        super().__init__()
        chain = list(layers)
        names = [layer.name for layer in chain]
        if len(set(names)) != len(names):
            raise NetworkError(f"two layers share the name '{next(n for n in names if names.count(n) > 1)}'")
        if not chain or not isinstance(chain[0], Input):
            raise NetworkError("a network starts with one Input layer")
        self.layers = nn.ModuleDict({layer.name: layer for layer in chain})
        self.sources = dict(sources) if sources is not None else dict(zip(names[1:], names, strict=False))
        self.widths = self._widths()

    def _widths(self) -> dict[str, int]:
        widths: dict[str, int] = {}
        for layer in self:
            if isinstance(layer, Input):
                widths[layer.name] = layer.n_features
                continue
            source = self.sources.get(layer.name, "")
            if source not in widths:
                raise NetworkError(f"layer '{layer.name}' reads " + unknown("layer", source, widths))
            widths[layer.name] = layer.width(widths[source])
        return widths

    def __iter__(self) -> Iterator[Layer]:
        """Yield the layers in the order they run."""
        yield from self.layers.values()  # type: ignore[misc]

    def __getitem__(self, name: str) -> Layer:
        """Return the layer of that name."""
        if name not in self.layers:
            raise NetworkError(unknown("layer", name, self.layers))
        return self.layers[name]  # type: ignore[return-value]

    @property
    def input(self) -> Input:
        """The layer that receives the features."""
        return next(iter(self))  # type: ignore[return-value]

    @property
    def output(self) -> Layer:
        """The last layer."""
        return list(self)[-1]

    @property
    def dense_layers(self) -> list[Dense]:
        """The layers with weights, in the order they run."""
        return [layer for layer in self if isinstance(layer, Dense)]

    @property
    def logits_name(self) -> str:
        """The layer whose value is the logits: the last one that is no head."""
        return [layer.name for layer in self if not layer.is_head][-1]

    def source(self, layer: Layer) -> Layer:
        """Return the layer that feeds `layer`."""
        return self[self.sources[layer.name]]

    def readers(self, layer: Layer) -> list[Layer]:
        """Return the layers fed by `layer`."""
        return [reader for reader in self if self.sources.get(reader.name) == layer.name]

    def activations(
        self,
        features: Tensor,
        *,
        quantised: bool = True,
        until: str | None = None,
        known: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Return every layer's value for features (n_jets, n_features), up to and with layer `until`.

        Layers whose value is `known` are not run again, so that a change late in the network costs only what follows.
        """
        values: dict[str, Tensor] = {}
        for layer in self:
            if known is not None and layer.name in known:
                values[layer.name] = known[layer.name]
            else:
                arriving = features if isinstance(layer, Input) else values[self.sources[layer.name]]
                values[layer.name] = layer(arriving, quantised=quantised)
            if layer.name == until:
                break
        return values

    def forward(self, features: Tensor, *, quantised: bool = True) -> Tensor:
        """Return the output (n_jets, n_out) for features (n_jets, n_features), fixed-point or float."""
        return self.activations(features, quantised=quantised)[self.output.name]

    def logits(self, features: Tensor, *, quantised: bool = True) -> Tensor:
        """Return the output without its softmax or argmax head, (n_jets, n_classes)."""
        return self.activations(features, quantised=quantised, until=self.logits_name)[self.logits_name]

    def clone(self) -> "Network":
        """Return an independent copy."""
        return copy.deepcopy(self)

    def replacing(self, changed: Mapping[str, Layer]) -> "Network":
        """Return a copy in which the named layers are others; widths are checked again."""
        layers = [changed.get(layer.name, layer) for layer in self]
        return Network(copy.deepcopy(layers), self.sources)

    def structure(self) -> dict[str, Any]:
        """Return layers, settings and edges as JSON values; arrays are in `state_dict`."""
        layers = [{"kind": type(layer).__name__, **layer.settings()} for layer in self]
        return {"layers": layers, "sources": self.sources}


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
