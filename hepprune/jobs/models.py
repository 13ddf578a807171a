"""Jobs on a model alone: what its layers are, what can only be removed together, and the model without what is dead."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hepprune import frontends
from hepprune.errors import EquivalenceError
from hepprune.firmware.hls import IO_TYPES
from hepprune.firmware.layers import refusals
from hepprune.fixed import Quantiser
from hepprune.frontends.checking import features, is_exact
from hepprune.jobs import sources
from hepprune.network import Layer, Network, Shared, Weighted
from hepprune.pruning.structure import surgery
from hepprune.report.layers import LayerDescription

_VECTORS = 10_000
_MAX_VALUES = 2**26  # of one value of the network, over all vectors


@dataclass(frozen=True, kw_only=True)
class Shrunk:
    """What surgery did to a model: where the new one is, sizes before and after, and the proof that both agree.

    `exact` says whether the network computes in fixed point, where outputs agree bit for bit; in float they agree to
    the rounding of sums, `difference` at most.
    """

    path: Path
    parameters_before: int
    parameters: int
    removed: dict[str, int]
    vectors: int
    exact: bool
    difference: float


def shrink(model: Any, path: Path) -> Shrunk:
    """Remove the dead structure of a model, prove that outputs stay as they are, and write it as the same kind of file.

    Raises:
        NetworkError: the model cannot be read or written.
        EquivalenceError: an output differs; nothing is written.
    """
    sources.check_another_file(model, path)
    network = frontends.read(model)
    smaller = surgery.shrink(network)
    exact, vectors, difference = _compare(network, smaller)
    frontends.write(smaller, path, like=model)
    removed = {name: n_out - smaller.sizes[name] for name, n_out in network.sizes.items()}
    return Shrunk(
        path=path,
        parameters_before=_parameters(network),
        parameters=_parameters(smaller),
        removed={name: count for name, count in removed.items() if count},
        vectors=vectors,
        exact=exact,
        difference=difference,
    )


def _parameters(network: Network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@torch.no_grad()
def _compare(network: Network, smaller: Network) -> tuple[bool, int, float]:
    exact = is_exact(network)
    largest = max(network.widths.values())
    vectors = max(1, min(_VECTORS, _MAX_VALUES // largest))
    generator = torch.Generator().manual_seed(0)
    given = [features(layer, vectors, generator) for layer in network.inputs]
    before, after = (net.clone().double().activations(given) for net in (network, smaller))
    difference = max(float((before[name] - after[name]).abs().max()) for name in network.outputs)
    scale = max(float(before[name].abs().max()) for name in network.outputs)
    if not difference <= (0.0 if exact else 1e-9 * max(scale, 1.0)):
        raise EquivalenceError(f"the smaller network differs by {difference:g} on random inputs; nothing was written")
    return exact, vectors, difference


def describe(network: Network) -> tuple[LayerDescription, ...]:
    """Return the description of every layer in the order they run."""
    smaller = surgery.shrink(network, warn=False)  # what surgery would keep is not news here
    refused = {io_type: refusals(network, io_type=io_type) for io_type in IO_TYPES}
    return tuple(_describe(network, layer, smaller, _reasons(refused, layer.name)) for layer in network)


def _reasons(refused: Mapping[str, Mapping[str, str]], name: str) -> tuple[str, ...]:
    """Return why firmware cannot be made of a layer, each reason with the way of passing values that it is for."""
    found = {io_type: reasons[name] for io_type, reasons in refused.items() if name in reasons}
    if len(found) == len(refused) and len(set(found.values())) == 1:
        return tuple(set(found.values()))
    return tuple(f"{io_type}: {reason}" for io_type, reason in found.items())


@torch.no_grad()
def _describe(network: Network, layer: Layer, smaller: Network, refused: tuple[str, ...]) -> LayerDescription:
    kernels = (layer.matrix,) if isinstance(layer, Weighted) else layer.kernels  # a fixed one has a matrix too
    return LayerDescription(
        name=layer.name,
        kind=f"{type(layer).__name__} {layer.of}" if isinstance(layer, Shared) else type(layer).__name__,
        reads=network.sources.get(layer.name, ()),
        shape=network.shapes[layer.name],
        parameters=sum(parameter.numel() for parameter in layer.parameters()),
        nonzero_float=sum(int(torch.count_nonzero(kernel.weight)) for kernel in kernels),
        nonzero=sum(int(torch.count_nonzero(kernel.used())) for kernel in kernels),
        weight_bits=_bits(getattr(layer, "weight_type", None)),
        result_bits=_bits(layer.result),
        dead=network.sizes.get(layer.name, 0) - smaller.sizes.get(layer.name, 0),
        refused=refused,
    )


def _bits(quantiser: Quantiser | None) -> float | None:
    return None if quantiser is None else float(quantiser.bits)
