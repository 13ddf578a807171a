"""What depends on constants alone is computed by torch, as far as the operators are known to be harmless."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from hepprune.errors import NetworkError
from hepprune.frontends.pytorch.operators import MOVES, SAME
from hepprune.frontends.pytorch.program import Call, aten
from hepprune.frontends.pytorch.values import Constant, Rows, axes_of, inverse

# Computed by torch where all that they take is constant.
FOLDED = MOVES | SAME | {
    "add", "arange", "cat", "chunk", "div", "exp", "expand", "eye", "full", "log", "mul", "neg", "new_zeros", "norm",
    "ones", "ones_like", "pow", "reciprocal", "repeat", "rsqrt", "select", "sigmoid", "slice", "split", "sqrt", "stack",
    "sub", "sum", "tanh", "unbind", "zeros", "zeros_like", "_weight_norm", "linalg_vector_norm", "softmax", "softplus",
    "floor", "matmul", "round", "split_with_sizes", "tril", "triu",
}  # fmt: skip
SPLITS = {"chunk", "split", "split_with_sizes"}
_MAX_CONSTANT = 2**26


@torch.no_grad()
def folded(call: Call, args: Any, options: dict[str, Any]) -> Any:
    """Return the constant that an operator makes of constants."""
    given = [entry for entry in tree_leaves((args, options)) if isinstance(entry, Constant)]
    if call.operator not in FOLDED:
        raise NetworkError(f"'{call.name}' uses {call.target} on constants, which is not known")
    if call.operator in SAME and given:
        return given[0]
    plain = tree_map_only(Constant, lambda entry: entry.tensor.detach().cpu(), (args, options))
    blank = tree_map_only(Tensor, lambda tensor: tensor.to("meta"), plain)
    on_meta = {"device": "meta"} if "device" in options or not given else {}
    shaped = aten(call)(*blank[0], **blank[1] | on_meta)
    if any(isinstance(leaf, Tensor) and leaf.numel() > _MAX_CONSTANT for leaf in tree_leaves(shaped)):
        raise NetworkError(f"'{call.name}' makes a constant of more than 2**26 numbers")
    plain[1].pop("device", None)
    result, fixed = aten(call)(*plain[0], **plain[1]), all(entry.fixed for entry in given)
    if isinstance(result, list | tuple):
        return [replace(part, fixed=fixed) for part in _parts(call, args, given, result)]
    return replace(_traced(call, args, given, result), fixed=fixed)


def _parts(call: Call, args: Any, given: list[Constant], result: Sequence[Tensor]) -> list[Constant]:
    """Return what a tensor is split into; whole rows of one of the model's still know which they are."""
    first = given[0]
    is_part = len(given) > 1 or not first.origin or first.axes or first.mask or first.rows is not None
    if is_part or call.operator not in SPLITS:
        return [Constant(tensor=tensor) for tensor in result]
    places = torch.arange(len(first.tensor)).view(-1, *(1,) * (first.tensor.ndim - 1)).expand(first.tensor.shape)
    plain = [places if entry is first else entry for entry in args]
    rows = [part.flatten(1)[:, 0] if part.ndim > 1 else part for part in aten(call)(*plain)]
    if any(tensor.shape != (len(n), *first.tensor.shape[1:]) for tensor, n in zip(result, rows, strict=True)):
        return [Constant(tensor=tensor) for tensor in result]
    parts = zip(result, (Rows(numbers, first.tensor) for numbers in rows), strict=True)
    return [Constant(tensor=tensor, origin=first.origin, rows=own) for tensor, own in parts]


def _traced(call: Call, args: Any, given: list[Constant], result: Tensor) -> Constant:
    """Return a constant that still knows its tensor of the model, after a mask of torch's pruning or a transpose."""
    if any(entry.rows is not None for entry in given):
        return Constant(tensor=result)
    masks = [entry for entry in given if (entry.origin or "").endswith("_mask")]
    if call.operator == "mul" and len(given) == 2 and len(masks) == 1:
        (other,) = (entry for entry in given if entry is not masks[0])
        if (other.origin or "") == masks[0].origin.removesuffix("_mask") + "_orig":  # type: ignore[union-attr]
            mask = masks[0]
            return Constant(tensor=result, origin=other.origin, axes=None, mask=mask.origin, kept=mask.tensor != 0)
    if call.operator in {"t", "transpose", "permute"} and given[0].axes is None and given[0].origin:
        order = torch.arange(result.numel()).view(given[0].tensor.shape)
        axes = axes_of(aten(call)(order, *args[1:]), tuple(order.shape))
        if axes:
            kept = None if given[0].kept is None else given[0].kept.permute(inverse(axes))
            return Constant(tensor=result, origin=given[0].origin, axes=axes, mask=given[0].mask, kept=kept)
    return Constant(tensor=result)
