"""Attention of torch written back: what its modules cannot be without after a removal stands there as zeros.

A MultiheadAttention has as many values in all its heads as it has channels, and a packed `in_proj` as many for queries
and keys as for values. Where a network has fewer, zeros are added to it, which change no output.
"""

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hepprune.errors import refused
from hepprune.frontends.pytorch.building import Slot
from hepprune.network import BatchNorm, Dense, Einsum, Layer, Network, Permute, Reshape

logger = logging.getLogger(__name__)
# Of a MultiheadAttention; a packed one has their rows in this order.
_TENSORS = {"query": "q_proj_weight", "key": "k_proj_weight", "value": "v_proj_weight"}
_ROLES = tuple(_TENSORS)
Readers = Mapping[str, list[str]]
HeadCounts = tuple[int, int]  # how many, and how wide each is


@dataclass(frozen=True)
class HeadAxes:
    """The layer whose value has heads and their values on these axes; no axis of heads where there is only one."""

    layer: str
    head: int | None
    value: int

    def heads(self, network: Network) -> HeadCounts:
        """Return how many heads there are, and how wide each is."""
        shape = network.shapes[self.layer]
        return 1 if self.head is None else shape[self.head], shape[self.value]


@dataclass(frozen=True, kw_only=True)
class AttentionLayers:
    """An attention in a network: its dense layers by role, what splits them into heads, and what joins these again.

    `joined` is the layer whose value has those of all heads on one axis, `axis`.
    """

    title: str
    dense: Mapping[str, str]
    splits: Mapping[str, HeadAxes]
    joined: str
    axis: int
    packed: bool

    def grown(self, network: Network, heads: HeadCounts) -> dict[str, Layer]:
        """Return the layers with zeros for the heads, and the values of each, that are missing.

        Raises:
            NetworkError: it has more heads, or wider ones.
        """
        for count, width in (split.heads(network) for split in self.splits.values()):
            if count > heads[0] or width > heads[1]:
                raise refused(self.title, f"has {count} heads of {width} values, too many for {heads[0]} of {heads[1]}")
        size = heads[0] * heads[1]
        found: dict[str, Layer] = {}
        for role, split in self.splits.items():
            rows = _places(split.heads(network), heads)
            found[self.dense[role]] = _spread(network[self.dense[role]], rows, size, axis=0)
            sizes = {split.value: heads[1]} | ({} if split.head is None else {split.head: heads[0]})
            found |= _reshaped(network, split.layer, sizes)
        columns = _places(self.splits["value"].heads(network), heads)
        found[self.dense["output"]] = _spread(network[self.dense["output"]], columns, size, axis=1)
        return found | _reshaped(network, self.joined, {self.axis: size})


def _reshaped(network: Network, name: str, sizes: Mapping[int, int]) -> dict[str, Layer]:
    """Return a Reshape with other sizes of these axes; nothing for a layer of another kind, which follows by itself."""
    if not isinstance(network[name], Reshape):
        return {}
    shape = tuple(sizes.get(axis, size) for axis, size in enumerate(network.shapes[name]))
    return {name: network[name].rebuilt(target=shape)}


def _places(now: HeadCounts, then: HeadCounts) -> Tensor:
    """Return where the values of the first heads are among those of more and wider ones."""
    return torch.cat([torch.arange(now[1]) + head * then[1] for head in range(now[0])])


@torch.no_grad()
def _spread(layer: Layer, places: Tensor, size: int, *, axis: int) -> Layer:
    """Return a dense layer whose rows or columns are at these places, with zeros between them."""
    if not isinstance(layer, Dense) or layer.weight.shape[axis] != len(places):
        raise refused(layer.name, f"is not a dense layer of the {len(places)} values of all heads")
    arrays: dict[str, Any] = {"weight": layer.used_weight(), "digit_limit": layer.digit_limit}
    if axis == 0:
        arrays["bias"] = layer.used_bias()
    for key, array in arrays.items():
        shape = (*array.shape[:axis], size, *array.shape[axis + 1 :])
        arrays[key] = array.new_zeros(shape).index_copy(axis, places, array)
    return layer.rebuilt(weight_type=None, bias_type=None, **arrays)


def attentions(network: Network, slots: tuple[Slot, ...]) -> list[AttentionLayers]:
    """Return the attentions of a network whose arrays are those of torch's modules, as slots tell."""
    readers = defaultdict[str, list[str]](list)
    for name, source in ((name, source) for name, sources in network.sources.items() for source in sources):
        readers[source].append(name)
    projections = (slot.target for slot in slots if slot.target.endswith(("in_proj_weight", "q_proj_weight")))
    titles = dict.fromkeys(target.rpartition(".")[0] for target in projections)
    found = (_attention(network, slots, title, readers) for title in titles)
    return [each for each in found if each is not None]


def _attention(network: Network, slots: tuple[Slot, ...], title: str, readers: Readers) -> AttentionLayers | None:
    prefix = f"{title}." if title else ""
    rows = {slot.layer: slot.rows for slot in slots if slot.target == f"{prefix}in_proj_weight" and slot.rows}
    packed = sorted(rows, key=lambda layer: int(rows[layer].numbers[0]))
    alone = {slot.target.removeprefix(prefix): slot.layer for slot in slots if slot.target.startswith(prefix)}
    named = {role: alone.get(tensor) for role, tensor in _TENSORS.items()}
    if len(packed) == len(_ROLES):
        named = dict(zip(_ROLES, packed, strict=True))
    dense = {role: name for role, name in {**named, "output": alone.get("out_proj.weight")}.items() if name}
    splits = {role: split for role in _ROLES if (split := _split(network, readers, dense.get(role, ""), role))}
    if len(dense) != len(_ROLES) + 1 or len(splits) != len(_ROLES):
        return None
    joined, axis = _joined(network, dense["output"])
    if network.shapes[joined][axis] != math.prod(splits["value"].heads(network)):
        return None
    return AttentionLayers(title=title, dense=dense, splits=splits, joined=joined, axis=axis, packed=bool(packed))


def _split(network: Network, readers: Readers, dense: str, role: str) -> HeadAxes | None:
    """Return where a dense layer's values arrive as heads at a product of two values; None if they do not.

    The product says which axis is which: shapes do not, where there is one head, position or value of a head.
    """
    name = dense
    while len(found := readers.get(name, [])) == 1 and _keeps(network[found[0]]):
        name = found[0]
    if len(found) != 1 or not isinstance(product := network[found[0]], Einsum):
        return None
    place = network.sources[product.name].index(name)
    own, other, out = product.terms[place], product.terms[1 - place], product.terms[2]
    heads = [axis for axis, label in enumerate(own) if label in other and label in out]
    values = [axis for axis, label in enumerate(own) if (label in out) != (label in other)]
    values = [axis for axis in values if (own[axis] in out) == (role == "value")]
    if len(heads) > 1 or len(values) != 1:
        return None
    split = HeadAxes(name, heads[0] if heads else None, values[0])
    return split if math.prod(split.heads(network)) == network.shapes[dense][-1] else None


def _keeps(layer: Layer) -> bool:
    """Return whether a layer only shapes values, or multiplies all of them by one factor."""
    return isinstance(layer, Reshape) or (isinstance(layer, BatchNorm) and len(layer.scale) == 1)


def _joined(network: Network, dense: str) -> tuple[str, int]:
    """Return the layer that has the values of all heads on one axis, and which, for the dense layer that reads them.

    A Permute may come between them.
    """
    (name,) = network.sources[dense]
    axis = len(network.shapes[name]) - 1
    while isinstance(layer := network[name], Permute):
        (name,), axis = network.sources[name], layer.order[axis]
    return name, axis


def padded(
    network: Network, slots: tuple[Slot, ...], wanted: Callable[[Network, AttentionLayers], HeadCounts | None]
) -> Network:
    """Return a network of the same outputs with the heads that are wanted of each attention, None for those it has.

    Raises:
        NetworkError: it has more of them, or wider ones.
    """
    changed: dict[str, Layer] = {}
    for each in attentions(network, slots):
        heads = wanted(network, each)
        if heads is not None:
            changed |= each.grown(network, heads)
    return network.replacing(changed) if changed else network


def of_module(like: nn.Module) -> Callable[[Network, AttentionLayers], HeadCounts | None]:
    """Return what says which heads a module's attentions must have: as many values in all as channels."""

    def wanted(network: Network, attention: AttentionLayers) -> HeadCounts | None:
        part = like.get_submodule(attention.title)
        if not isinstance(part, nn.MultiheadAttention):
            return None
        now = [attention.splits[role].heads(network) for role in _ROLES]
        layer, width = network[attention.dense["query"]], part.embed_dim // part.num_heads
        channels = layer.n_in if isinstance(layer, Dense) else 0
        count = channels // width
        if channels % width or max(heads for heads, _ in now) > count:
            said = f"with heads of {width} values, which needs a multiple of {width} channels"
            said += f" with room for all {now[0][0]} of its heads, and now has {channels}"
            fix = "keep its channels, or give a path that ends in .pt2 or .npz"
            raise refused(attention.title, f"is a MultiheadAttention {said}; {fix}")
        if set(now) == {(count, width)}:
            return None
        logger.warning("layer '%s' is a MultiheadAttention, which keeps zeros for what was removed", attention.title)
        return count, width

    return wanted


def of_program(network: Network, attention: AttentionLayers) -> HeadCounts | None:
    """Return the heads that an attention of a program must have: all of the same width where they are packed.

    Heads of one value are put in order before they are joined, for which there must be two.
    """
    now = [attention.splits[role].heads(network) for role in _ROLES]
    is_ordered = network.sources[attention.dense["output"]] != (attention.joined,)
    count, width = max(count for count, _ in now), max(width for _, width in now)
    if is_ordered and (count, width) == (1, 1):
        return 2, 1
    return None if not attention.packed or len(set(now)) == 1 else (count, width)
