"""Surgery: really remove what is dead, so that shapes change and no output moves by a single bit."""

import logging

import numpy as np
import torch
from torch import Tensor

from hepprune.errors import NetworkError
from hepprune.network import BatchNorm, Dense, Layer, Network, ReLU
from hepprune.network.ranges import Interval, intervals

logger = logging.getLogger(__name__)


def shrink(network: Network) -> Network:
    """Return an equal network without its dead neurons, bit for bit the same on every input.

    A neuron is dead when what it hands on is constant over all possible inputs (its constant is folded into the next
    biases), or when nothing reads it. A constant that the next bias type cannot hold exactly keeps its neuron, and the
    log says so.
    Every layer keeps at least one neuron. The network must be quantised.
    """
    while True:
        smaller = network
        for layer in network.dense_layers:
            smaller = _shrink_layer(smaller, layer.name)
        if smaller.widths == network.widths:
            return smaller
        network = smaller


@torch.no_grad()
def _shrink_layer(network: Network, name: str) -> Network:
    layer = network[name]
    path = _path_to_readers(network, layer)
    if not isinstance(layer, Dense) or path is None:
        return network
    readers = [reader for reader in network.readers(path[-1]) if isinstance(reader, Dense)]
    handed = intervals(network)[path[-1].name][1]
    constant = torch.as_tensor(_constants(handed))
    unread = torch.stack([(reader.used_weight() == 0).all(dim=0) for reader in readers]).all(dim=0)
    dead = unread | (~torch.isnan(constant) & _foldable(readers, constant))
    if dead.all():
        dead[-1] = False  # an empty matrix is no layer; the last, because the others' constants were taken without it
    if not dead.any():
        return network
    changed: dict[str, Layer] = {name: _without_rows(layer, dead)}
    for reader in readers:
        changed[reader.name] = _without_columns(reader, dead, torch.nan_to_num(constant))
    return network.replacing(changed)


def _path_to_readers(network: Network, layer: Layer) -> list[Layer] | None:
    """Return the layer and the element-wise ones after it up to where only dense layers read; None if none do."""
    path = [layer]
    while True:
        readers = network.readers(path[-1])
        if readers and all(isinstance(reader, Dense) for reader in readers):
            return path
        if len(readers) != 1 or not isinstance(readers[0], ReLU):
            return None
        path.append(readers[0])


def _constants(handed: Interval) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return each neuron's constant (n_out,), NaN where its value can change."""
    return np.where(handed.low == handed.high, handed.low, np.nan)


def _foldable(readers: list[Dense], constant: Tensor) -> Tensor:
    """Return which neurons' constants every reader's bias type takes exactly, on top of those already taken."""
    foldable = torch.ones_like(constant, dtype=torch.bool)
    totals = [reader.used_bias().double() for reader in readers]
    for neuron in torch.nonzero(~torch.isnan(constant)).flatten().tolist():
        columns = [reader.used_weight()[:, neuron].double() for reader in readers]
        after = [total + column * constant[neuron] for total, column in zip(totals, columns, strict=True)]
        full = [reader for reader, total in zip(readers, after, strict=True) if not _holds(reader, total)]
        for reader in full:
            logger.warning("layer '%s' cannot hold a dead neuron's constant in %s: kept", reader.name, reader.bias_type)
        foldable[neuron] = not full
        totals = totals if full else after
    return foldable


def _holds(layer: Dense, bias: Tensor) -> bool:
    """Return whether a layer can keep this bias (n_out,) exactly, in its fixed-point type and in its array."""
    stored = bias.to(layer.bias.dtype).double() == bias
    return layer.bias_type is None or bool((layer.bias_type.holds(bias) & stored).all())


def _rebuilt(layer: Dense, weight: Tensor, bias: Tensor, digit_limit: Tensor) -> Dense:
    return Dense(
        layer.name,
        weight,
        bias,
        weight_type=layer.weight_type,
        bias_type=layer.bias_type,
        digit_limit=digit_limit,
        result=layer.result,
        strategy=layer.strategy,
        reuse_factor=layer.reuse_factor,
    )


def _without_rows(layer: Dense, dead: Tensor) -> Dense:
    return _rebuilt(layer, layer.weight[~dead], layer.bias[~dead], layer.digit_limit[~dead])


def _without_columns(layer: Dense, dead: Tensor, constant: Tensor) -> Dense:
    """Drop the columns of dead neurons and fold weight x constant into the bias."""
    folded = layer.used_weight().double()[:, dead] @ constant[dead]
    bias = layer.bias if not folded.any() else (layer.used_bias().double() + folded).to(layer.bias.dtype)
    return _rebuilt(layer, layer.weight[:, ~dead], bias, layer.digit_limit[:, ~dead])


@torch.no_grad()
def fold_batch_norm(network: Network) -> Network:
    """Return a float-equal network in which every batch norm is part of the dense layer before it.

    Jacob et al., arXiv:1712.05877.

    Raises:
        NetworkError: a batch norm does not directly follow a dense layer that feeds only it.
    """
    changed: dict[str, Layer] = {}
    sources = dict(network.sources)
    for norm in [layer for layer in network if isinstance(layer, BatchNorm)]:
        dense = network.source(norm)
        if not isinstance(dense, Dense) or len(network.readers(dense)) != 1:
            raise NetworkError(f"batch norm '{norm.name}' must follow a dense layer that feeds nothing else")
        weight, bias = norm.scale[:, None] * dense.weight, norm.scale * dense.bias + norm.shift
        changed[dense.name] = _rebuilt(dense, weight, bias, dense.digit_limit)
        removed = sources.pop(norm.name)
        sources = {reader: removed if source == norm.name else source for reader, source in sources.items()}
    kept = [changed.get(layer.name, layer) for layer in network if not isinstance(layer, BatchNorm)]
    return Network(kept, sources).clone()
