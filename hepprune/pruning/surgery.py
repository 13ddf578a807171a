"""Surgery: really remove what is dead, so that shapes change and no output moves by a single bit."""

import logging
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hepprune.network import (
    Activation,
    BatchNorm,
    Conv,
    Crop,
    Dense,
    GlobalPool,
    Layer,
    Network,
    Pool,
    PReLU,
    ReLU,
    Reshape,
    Shared,
    UpSample,
    Weighted,
)
from hepprune.network.ranges import intervals
from hepprune.quantisers import taken

logger = logging.getLogger(__name__)

# What hands each channel on by itself, so that a channel can leave without its neighbours noticing.
_CHANNELWISE = (ReLU, Activation, BatchNorm, PReLU, Pool, GlobalPool, Crop, UpSample)


def shrink(network: Network) -> Network:
    """Return an equal network without its dead neurons and filters, bit for bit the same on every input.

    One is dead when what it hands on is constant over all possible inputs (its constant is folded into the next
    biases), or when nothing reads it. A constant that the next bias cannot hold exactly keeps its neuron, and the log
    says so. Every layer keeps at least one neuron. In float only constants of zero are folded, which is exact.
    """
    while True:
        smaller = network
        for layer in network.weighted_layers:
            smaller = _shrink_layer(smaller, layer.name)
        if smaller.widths == network.widths:
            return smaller
        network = smaller


@dataclass(frozen=True)
class _Path:
    """A layer with weights, the channel-wise layers after it, and the layers with weights that read the last of them.

    `positions` is how many values of each channel a flatten lays side by side, 1 where there is none.
    """

    layers: tuple[Layer, ...]
    readers: tuple[Weighted, ...]
    positions: int

    def columns(self, per_channel: Tensor) -> Tensor:
        """Return what holds for each channel for each value that a reader takes."""
        return per_channel.repeat(self.positions)

    def channels(self, per_column: Tensor) -> Tensor:
        """Return per channel whether it holds for all its values that a reader takes."""
        return per_column.reshape(self.positions, -1).all(dim=0)


def _path(network: Network, layer: Layer) -> _Path | None:
    """Return the way from a layer to those that read it, None where channels cannot leave it alone."""
    shared = {node.of for node in network if isinstance(node, Shared)}
    layers, positions = [layer], 1
    while layers[-1].name not in (*network.outputs, *shared):
        readers = network.readers(layers[-1])
        weighted = tuple(reader for reader in readers if isinstance(reader, Weighted) and _mixes_channels(reader))
        if weighted and len(weighted) == len(readers):
            return None if shared & {reader.name for reader in readers} else _Path(tuple(layers), weighted, positions)
        if len(readers) != 1 or not isinstance(readers[0], (*_CHANNELWISE, Reshape)):
            return None
        if isinstance(readers[0], Reshape):
            before, after = (network.shapes[node.name] for node in (layers[-1], readers[0]))
            if len(after) != 1:
                return None
            positions = math.prod(before[:-1])
        layers.append(readers[0])
    return None


def _mixes_channels(layer: Layer) -> bool:
    return isinstance(layer, Dense) or (isinstance(layer, Conv) and layer.groups == 1)


@torch.no_grad()
def _shrink_layer(network: Network, name: str) -> Network:
    layer = network[name]
    path = _path(network, layer)
    if not isinstance(layer, Weighted) or path is None or (isinstance(layer, Conv) and layer.groups != 1):
        return network
    constant = _constants(network, path)
    unread = path.channels(torch.stack([_unread(reader) for reader in path.readers]).all(dim=0))
    dead = unread | path.channels(~torch.isnan(constant)) & _foldable(path, constant)
    if dead.all():
        dead[-1] = False  # an empty matrix is no layer; the last, because the others' constants were taken without it
    if not dead.any():
        return network
    changed: dict[str, Layer] = {node.name: _without_channels(node, ~dead) for node in path.layers}
    columns = path.columns(dead)
    for reader in path.readers:
        changed[reader.name] = _without_columns(reader, columns, torch.nan_to_num(constant))
    return network.replacing(changed)


def _unread(reader: Weighted) -> Tensor:
    """Return which values a reader has no weight for, (n_in,)."""
    return (reader.used_weight() == 0).flatten(0, -2).all(dim=0)


def _constants(network: Network, path: _Path) -> Tensor:
    """Return the constant of each value the readers take, (n_in,) float64, NaN where it can change."""
    handed = intervals(network, open_ended=True)[path.layers[-1].name][1]
    low, high = (torch.as_tensor(end).reshape(-1, end.shape[-1]) for end in (handed.low, handed.high))
    same = (low == high).all(dim=0) & (low == low[0]).all(dim=0)
    return torch.where(same, low[0], _zeros(network, path))


def _zeros(network: Network, path: _Path) -> Tensor:
    """Return 0 for values whose channel has no weight and ends as zero, else NaN."""
    layer = path.layers[0]
    value = torch.zeros(1, *network.shapes[layer.name])
    if isinstance(layer, Weighted):
        silent = (layer.used_weight() == 0).flatten(1).all(dim=1)
        value = torch.where(silent, layer.used_bias(), torch.nan).expand_as(value)
    for index, node in enumerate(path.layers):
        value = node(value, quantised=True) if index else value
    ends = value.reshape(-1, value.shape[-1])
    return torch.where((ends == 0).all(dim=0), 0.0, torch.nan).double()


def _foldable(path: _Path, constant: Tensor) -> Tensor:
    """Return which channels' constants every reader's bias takes exactly, on top of those already taken."""
    n_channels = len(constant) // path.positions
    foldable = torch.ones(n_channels, dtype=torch.bool)
    totals = [reader.used_bias().double() for reader in path.readers]
    for channel in torch.nonzero(path.channels(~torch.isnan(constant))).flatten().tolist():
        own = slice(channel, None, n_channels)
        after = [
            total + _heard(reader)[:, own] @ constant[own] for total, reader in zip(totals, path.readers, strict=True)
        ]
        full = [reader for reader, total in zip(path.readers, after, strict=True) if not _holds(reader, total)]
        full += [reader for reader in path.readers if constant[own].any() and (_padded(reader) or not reader.bias_type)]
        for reader in full:
            logger.warning("layer '%s' cannot hold a dead neuron's constant in %s: kept", reader.name, reader.bias_type)
        foldable[channel] = not full
        totals = totals if full else after
    return foldable


def _heard(reader: Weighted) -> Tensor:
    """Return by how much a reader's outputs rise with a value that is the same at every position, (n_out, n_in)."""
    weight = reader.used_weight().double()
    return weight.flatten(1, -2).sum(dim=1) if weight.ndim > 2 else weight


def _padded(reader: Weighted) -> bool:
    """Return whether a reader sees zeros at its borders, where a constant would be none."""
    return isinstance(reader, Conv) and any(size for pair in reader.padding for size in pair)


def _holds(layer: Weighted, bias: Tensor) -> bool:
    """Return whether a layer can keep this bias (n_out,) exactly, in its type and in its array."""
    stored = bias.to(layer.bias.dtype).double() == bias
    return bool(stored.all() and (layer.bias_type is None or (layer.bias_type(bias) == bias).all()))


def _without_channels(layer: Layer, keep: Tensor) -> Layer:
    """Return a layer of a path for the channels that are kept."""
    result = taken(layer.result, keep, axis=-1)
    if isinstance(layer, Weighted):
        rows = {name: getattr(layer, name)[keep] for name in ("weight", "bias", "digit_limit")}
        weight_type = taken(layer.weight_type, keep, axis=-layer.weight.ndim)
        return layer.rebuilt(
            **rows, weight_type=weight_type, bias_type=taken(layer.bias_type, keep, axis=-1), result=result
        )
    if isinstance(layer, BatchNorm) and len(layer.scale) > 1:
        types = {f"{name}_type": taken(getattr(layer, f"{name}_type"), keep, axis=-1) for name in ("scale", "shift")}
        return layer.rebuilt(scale=layer.scale[keep], shift=layer.shift[keep], **types, result=result)
    if isinstance(layer, PReLU) and layer.slope.shape[-1:] == keep.shape:
        return layer.rebuilt(slope=layer.slope[..., keep], result=result)
    if isinstance(layer, Reshape):
        positions = layer.target[0] // len(keep) if layer.target[0] > 0 else 0
        columns = keep.repeat(positions) if positions else keep
        target = (int(columns.sum()),) if positions else layer.target
        return layer.rebuilt(target=target, result=taken(layer.result, columns, axis=-1))
    return layer.rebuilt(result=result)


def _without_columns(layer: Weighted, dead: Tensor, constant: Tensor) -> Weighted:
    """Drop the columns of dead neurons and fold weight x constant into the bias."""
    folded = _heard(layer)[:, dead] @ constant[dead]
    bias = layer.bias if not folded.any() else (layer.used_bias().double() + folded).to(layer.bias.dtype)
    columns = {name: getattr(layer, name)[..., ~dead] for name in ("weight", "digit_limit")}
    return layer.rebuilt(**columns, bias=bias, weight_type=taken(layer.weight_type, ~dead, axis=-1))
