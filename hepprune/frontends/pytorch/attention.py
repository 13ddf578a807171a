"""Attention of torch written back: what its modules cannot be without after a removal stands there as zeros.

A MultiheadAttention has as many values in all its heads as it has channels, and a packed `in_proj` as many for queries
and keys as for values. Where a network has fewer, zeros are added to it, which change no output.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hepprune.errors import NetworkError
from hepprune.frontends.pytorch.building import Slot
from hepprune.network import BatchNorm, Dense, Layer, Network, Reshape

logger = logging.getLogger(__name__)
_TENSORS = {  # of a MultiheadAttention, and which rows of a packed one they are
    "query": ("q_proj_weight", 0),
    "key": ("k_proj_weight", 1),
    "value": ("v_proj_weight", 2),
}
_ROLES = tuple(_TENSORS)
Heads = tuple[int, int]  # how many, and how wide each is


@dataclass(frozen=True)
class Attention:
    """An attention in a network: its dense layers by role, and what splits them into heads or joins these again."""

    title: str
    dense: Mapping[str, str]
    shaping: Mapping[str, str]
    packed: bool

    def heads(self, network: Network, role: str) -> Heads:
        """Return the heads that a network has of queries, keys or values."""
        *_, count, width = network.shapes[self.shaping[role]]
        return count, width

    def grown(self, network: Network, heads: Heads) -> dict[str, Layer]:
        """Return the layers with zeros for the heads, and the values of each, that are missing."""
        found: dict[str, Layer] = {}
        for role in _ROLES:
            rows = _places(self.heads(network, role), heads)
            positions = network.shapes[self.shaping[role]][0]
            found[self.dense[role]] = _spread(network[self.dense[role]], rows, heads[0] * heads[1], axis=0)
            found[self.shaping[role]] = network[self.shaping[role]].rebuilt(target=(positions, *heads))
        columns, size = _places(self.heads(network, "value"), heads), heads[0] * heads[1]
        positions = network.shapes[self.shaping["output"]][0]
        found[self.dense["output"]] = _spread(network[self.dense["output"]], columns, size, axis=1)
        found[self.shaping["output"]] = network[self.shaping["output"]].rebuilt(target=(positions, size))
        return found


def _places(now: Heads, then: Heads) -> Tensor:
    """Return where the values of the first heads are among those of more and wider ones."""
    return torch.cat([torch.arange(now[1]) + head * then[1] for head in range(now[0])])


@torch.no_grad()
def _spread(layer: Layer, places: Tensor, size: int, *, axis: int) -> Layer:
    """Return a dense layer whose rows or columns are at these places, with zeros between them."""
    if not isinstance(layer, Dense):
        raise NetworkError(f"layer '{layer.name}' is no dense layer of an attention")
    arrays: dict[str, Any] = {"weight": layer.used_weight(), "digit_limit": layer.digit_limit}
    if axis == 0:
        arrays["bias"] = layer.used_bias()
    spread = {key: _with_zeros(array, places, size, axis) for key, array in arrays.items()}
    return layer.rebuilt(weight_type=None, bias_type=None, **spread)


def _with_zeros(array: Tensor, places: Tensor, size: int, axis: int) -> Tensor:
    shape = list(array.shape)
    shape[axis] = size
    found: Tensor = array.new_zeros(shape).index_copy(axis, places, array)
    return found


def attentions(network: Network, slots: tuple[Slot, ...]) -> list[Attention]:
    """Return the attentions of a network whose arrays are those of torch's modules, as slots tell."""
    readers: dict[str, list[str]] = {}
    for name, sources in network.sources.items():
        for source in sources:
            readers.setdefault(source, []).append(name)
    titles = dict.fromkeys(
        slot.target.rpartition(".")[0] for slot in slots if slot.target.endswith(("in_proj_weight", "q_proj_weight"))
    )
    found = (_attention(network, slots, title, readers) for title in titles)
    return [each for each in found if each is not None]


def _attention(
    network: Network, slots: tuple[Slot, ...], title: str, readers: Mapping[str, list[str]]
) -> Attention | None:
    prefix = f"{title}." if title else ""
    packed = sorted(
        (slot for slot in slots if slot.target == f"{prefix}in_proj_weight" and slot.rows is not None),
        key=lambda slot: 0 if slot.rows is None else int(slot.rows.numbers[0]),
    )
    alone = {slot.target.removeprefix(prefix): slot.layer for slot in slots if slot.target.startswith(prefix)}
    named = {role: alone.get(tensor) for role, (tensor, _) in _TENSORS.items()}
    if len(packed) == len(_ROLES):
        named = {role: packed[place].layer for role, (_, place) in _TENSORS.items()}
    dense = {role: name for role, name in {**named, "output": alone.get("out_proj.weight")}.items() if name}
    shaping = {role: reader for role in _ROLES if (reader := _split(network, readers, dense.get(role)))}
    joined = network.sources.get(dense.get("output", ""), ("",))[0]
    if joined in network.layers and isinstance(network[joined], Reshape):
        shaping["output"] = joined
    complete = len(dense) == len(shaping) == len(_ROLES) + 1
    return Attention(title, dense, shaping, packed=bool(packed)) if complete else None


def _split(network: Network, readers: Mapping[str, list[str]], dense: str | None) -> str | None:
    """Return what splits a dense layer's values into heads, behind a factor for all of them at most."""
    found = readers.get(dense or "", [])
    while len(found) == 1 and isinstance(factor := network[found[0]], BatchNorm) and len(factor.scale) == 1:
        found = readers.get(found[0], [])
    split = found[0] if len(found) == 1 and isinstance(network[found[0]], Reshape) else None
    return split if split and len(network.shapes[split]) == 3 else None


def padded(network: Network, slots: tuple[Slot, ...], wanted: Callable[[Network, Attention], Heads | None]) -> Network:
    """Return a network of the same outputs with the heads that are wanted of each attention, None for those it has.

    Raises:
        NetworkError: it has more of them.
    """
    changed: dict[str, Layer] = {}
    for each in attentions(network, slots):
        heads = wanted(network, each)
        if heads is not None:
            changed |= each.grown(network, heads)
    return network.replacing(changed) if changed else network


def of_module(like: nn.Module) -> Callable[[Network, Attention], Heads | None]:
    """Return what says which heads a module's attentions must have: as many values in all as channels."""

    def wanted(network: Network, attention: Attention) -> Heads | None:
        part = like.get_submodule(attention.title)
        if not isinstance(part, nn.MultiheadAttention):
            return None
        now = [attention.heads(network, role) for role in _ROLES]
        layer, width = network[attention.dense["query"]], part.embed_dim // part.num_heads
        channels = layer.n_in if isinstance(layer, Dense) else 0
        count = channels // width
        if channels % width or max(heads for heads, _ in now) > count:
            raise NetworkError(
                f"layer '{attention.title}' is a MultiheadAttention with heads of {width} values, which needs a "
                f"multiple of {width} channels with room for all {now[0][0]} of its heads, and now has {channels}; "
                "keep its channels, or give a path that ends in .pt2 or .npz"
            )
        if set(now) == {(count, width)}:
            return None
        logger.warning("layer '%s' is a MultiheadAttention, which keeps zeros for what was removed", attention.title)
        return count, width

    return wanted


def of_program(network: Network, attention: Attention) -> Heads | None:
    """Return the heads that a packed attention of a program must have: all of the same width."""
    now = [attention.heads(network, role) for role in _ROLES]
    if not attention.packed or len(set(now)) == 1:
        return None
    return max(count for count, _ in now), max(width for _, width in now)
