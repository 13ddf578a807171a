"""Modules with tensors of other sizes: a copy whose layers' sizes follow those of their tensors."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hepprune.errors import NetworkError, refused
from hepprune.frontends.pytorch import pquant


def resized(module: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Return a copy of a module with other tensors, its layers' sizes after theirs."""
    made = copied(module)
    parameters: dict[int, nn.Parameter] = {}
    for name, tensor in _tied(made, tensors).items():
        owner_name, _, last = name.rpartition(".")
        owner = made.get_submodule(owner_name)
        # By these dictionaries: a layer of PQuantML has properties of the same names.
        held: dict[str, Any] = owner._buffers if last in owner._buffers else owner._parameters  # noqa: SLF001
        old = held[last]
        new = tensor.detach().to(old.dtype).clone()
        if old.shape != new.shape:
            _resize(owner, owner_name, last, new.shape)
        if isinstance(old, nn.Parameter):
            parameters.setdefault(id(old), nn.Parameter(new, requires_grad=old.requires_grad))
            held[last] = parameters[id(old)]
        else:
            held[last] = new
    for name, part in made.named_modules():
        pquant.fit_heads(name, part)
        if isinstance(part, nn.RNNBase):
            part._init_flat_weights()  # noqa: SLF001 -- the list of what the layer computes with is torch's own
    return made


def _tied(module: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by all names that a module has for each of them."""
    names: dict[int, list[str]] = {}
    parameters, buffers = (of(remove_duplicate=False) for of in (module.named_parameters, module.named_buffers))
    for name, own in (*parameters, *buffers):
        names.setdefault(id(own), []).append(name)
    found = dict(tensors)
    for same in names.values():
        first, *others = [name for name in same if name in tensors] or [same[0]]
        odd = [name for name in others if not torch.equal(tensors[name], tensors[first])]
        if odd:
            raise NetworkError(f"'{first}' and '{odd[0]}' are one weight in the model and would no longer be equal")
        if first in tensors:
            found |= dict.fromkeys(same, tensors[first])
    return found


def copied(module: nn.Module) -> nn.Module:
    """Return an independent copy.

    `torch.nn.utils.prune` leaves tensors in modules that deepcopy alone refuses, and a copied TransformerDecoderLayer
    puts a ReLU before an activation that is a module.
    """
    tensors = (value for part in module.modules() for value in vars(part).values() if isinstance(value, Tensor))
    made = copy.deepcopy(module, {id(t): t.detach().clone() for t in tensors if not t.is_leaf})
    for part, twin in zip(module.modules(), made.modules(), strict=True):
        for name in vars(twin).keys() & twin._modules.keys() - vars(part).keys():  # noqa: SLF001
            del vars(twin)[name]
    return made


def _resize(owner: nn.Module, name: str, tensor: str, shape: torch.Size) -> None:
    """Set a layer's sizes after the new shape of one of its tensors."""
    stem = tensor.removesuffix("_orig").removesuffix("_mask").removeprefix("_")  # which PQuantML's names begin with
    if isinstance(owner, nn.MultiheadAttention):
        _resize_attention(owner, name, tensor, shape)
    elif isinstance(owner, nn.Linear) and stem == "weight":
        owner.out_features, owner.in_features = shape
    elif isinstance(owner, nn.Conv1d | nn.Conv2d) and stem == "weight":
        if owner.groups == owner.in_channels > 1:  # depthwise
            owner.groups = owner.groups * shape[0] // owner.out_channels
        owner.out_channels, owner.in_channels = shape[0], shape[1] * owner.groups
    elif isinstance(owner, nn.BatchNorm1d | nn.BatchNorm2d):
        (owner.num_features,) = shape
    elif isinstance(owner, nn.LayerNorm):
        owner.normalized_shape = tuple(shape)
    elif isinstance(owner, nn.PReLU):
        (owner.num_parameters,) = shape
    elif isinstance(owner, nn.RNNBase) and stem in {"weight_ih_l0", "weight_hh_l0"}:
        owner.hidden_size = shape[0] // {"LSTM": 4, "GRU": 3}.get(owner.mode, 1)
        owner.input_size = shape[1] if stem == "weight_ih_l0" else owner.input_size


def _resize_attention(owner: nn.MultiheadAttention, name: str, tensor: str, shape: torch.Size) -> None:
    """Set an attention's sizes; its heads stay as wide as they are, and there are as many as fill its channels."""
    width = owner.embed_dim // owner.num_heads if tensor.startswith(("in_proj_weight", "q_proj_weight")) else 0
    if width:
        channels = shape[1]
        if channels % width or shape[0] != channels * (3 if tensor.startswith("in_proj") else 1):
            raise refused(name, f"has heads of {width} values and cannot have {tensor} of shape {tuple(shape)}")
        owner.embed_dim, owner.num_heads = channels, channels // width
        owner.head_dim = width
    if tensor.startswith(("in_proj_weight", "k_proj_weight")):
        owner.kdim = shape[1]
    if tensor.startswith(("in_proj_weight", "v_proj_weight")):
        owner.vdim = shape[1]
