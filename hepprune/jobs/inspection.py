"""What a network is made of, layer by layer: shapes, parameters, bits, what of it is dead and what moves together."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from hepprune.firmware.hls import IO_TYPES
from hepprune.firmware.layers import refusals
from hepprune.fixed import Quantiser
from hepprune.network import Layer, Network, Shared, Weighted
from hepprune.pruning.structure import blocks, coupling, surgery
from hepprune.pruning.structure.blocks import Block
from hepprune.pruning.structure.coupling import Group
from hepprune.report.layers import LayerDescription


@dataclass(frozen=True)
class Coupled:
    """What can only leave a network together: groups of neurons, heads and channels, and whole blocks of layers."""

    groups: tuple[Group, ...]
    blocks: tuple[Block, ...]


def coupled(network: Network) -> Coupled:
    """Return what moves together in a network."""
    return Coupled(coupling.groups(network), blocks.blocks(network))


def describe(network: Network) -> tuple[LayerDescription, ...]:
    """Return the description of every layer in the order they run."""
    level = logging.getLogger(surgery.__name__).level
    logging.getLogger(surgery.__name__).setLevel(logging.ERROR)  # what surgery would keep is no news here
    try:
        smaller = surgery.shrink(network)
    finally:
        logging.getLogger(surgery.__name__).setLevel(level)
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
