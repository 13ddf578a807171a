"""Blocks: whole layers that can leave a network, residual branches exactly and plain ones where shapes agree."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hepprune.errors import NetworkError, unknown
from hepprune.network import Activation, Layer, Merge, Network, Shared
from hepprune.network.layers import BatchNorm, LayerNorm, PReLU, ReLU
from hepprune.task.sample import Sample

_FOLLOWING = (ReLU, Activation, PReLU, BatchNorm, LayerNorm)


@dataclass(frozen=True)
class Block:
    """The layers between `start` and `end` that leave together; a residual one ends in the sum that stays."""

    start: str
    layers: tuple[str, ...]
    end: str
    residual: bool

    def __str__(self) -> str:
        """Return what leaves, and what is read in its place."""
        kind = "residual branch" if self.residual else "plain block"
        return f"{self.end}: {kind} {' > '.join(self.layers)}, in whose place '{self.start}' is read"


def blocks(network: Network) -> tuple[Block, ...]:
    """Return the blocks that can leave, in the order they run; none lies within another."""
    found = residual(network)
    inside = {name for block in found for name in block.layers}
    found = [block for block in found if block.end not in inside]
    found += [block for node in network if node.name not in inside for block in _plain(network, node)]
    order = [layer.name for layer in network]
    return tuple(sorted(found, key=lambda block: order.index(block.end)))


def residual(network: Network) -> list[Block]:
    """Return the residual branches, those within others too, in the order they run.

    Each ends in a sum of a value and what a branch makes of it.
    """
    found = []
    for node in network:
        pair = network.sources.get(node.name, ())
        if isinstance(node, Merge) and node.operation == "add" and len(pair) == 2:
            for start, end in (pair, pair[::-1]):
                branch = _between(network, start, end)
                same = network.shapes[start] == network.shapes[node.name]
                if branch and same and _leaves(network, branch, node.name):
                    found.append(Block(start, branch, node.name, residual=True))
                    break
    return found


def _between(network: Network, start: str, end: str) -> tuple[str, ...]:
    """Return the layers that lead from `start` to `end`, `end` with them, if `start` is all that they read."""
    before, found = [end], set()
    while before:
        name = before.pop()
        if name in found or name == start:
            continue
        if not network.sources.get(name):
            return ()
        found.add(name)
        before += network.sources[name]
    return tuple(layer.name for layer in network if layer.name in found)


def _leaves(network: Network, branch: tuple[str, ...], end: str) -> bool:
    """Return whether nobody else needs any of these layers, and there are weights among them."""
    outside = [node for node in network if node.name not in branch]
    read = {name for node in outside if node.name != end for name in network.sources.get(node.name, ())}
    read |= {node.of for node in outside if isinstance(node, Shared)} | set(network.outputs)
    return any(network.runs(network[name]).kernels for name in branch) and not read & set(branch)


def _plain(network: Network, node: Layer) -> list[Block]:
    """Return a layer with weights and what follows it alone, if values of the same shape go in and out."""
    if not node.kernels:
        return []
    (start,) = network.sources[node.name]
    layers: list[Layer] = [node]
    while len(readers := network.readers(layers[-1])) == 1 and isinstance(readers[0], _FOLLOWING):
        layers.append(readers[0])
    names = tuple(layer.name for layer in layers)
    shared = {other.of for other in network if isinstance(other, Shared)}
    stays = shared | {*network.outputs, *network.raw_outputs}
    if network.shapes[start] != network.shapes[names[-1]] or stays & set(names):
        return []
    return [Block(start, names, names[-1], residual=False)]


def without(network: Network, end: str) -> Network:
    """Return the network without the block of that end; what read it reads the value that went into it.

    After a residual branch that ends in zeros this is exact: the sum's result quantiser stays.

    Raises:
        NetworkError: no block that can leave ends there.
    """
    found = {block.end: block for block in blocks(network)}
    if end not in found:
        raise NetworkError("no block can leave at " + unknown("layer", end, found))
    block = found[end]
    stays = network[end].result if block.residual else None
    linear = Activation(end, "linear", result=stays)
    keeps = block.residual and (stays is not None or end in network.outputs)
    gone = {*block.layers, *(() if keeps else (end,))}
    layers = [linear if keeps and node.name == end else node for node in network if node.name not in gone]
    stays_of = {name: read for name, read in network.sources.items() if name not in gone}
    sources = {name: tuple(block.start if one in gone else one for one in read) for name, read in stays_of.items()}
    return Network(layers, sources | ({end: (block.start,)} if keeps else {}), network.outputs).clone()


@torch.no_grad()
def loss_changes(network: Network, sample: Sample) -> Mapping[str, Tensor]:
    """Return by how much the loss rises when each block leaves alone, by the block's end."""

    def loss(of: Network) -> Tensor:
        return sample.loss(of.raw(sample.x))

    before = loss(network)
    return {block.end: (loss(without(network, block.end)) - before)[None] for block in blocks(network)}
