"""Tensors of a model that several layers have rows of, such as the `in_proj_weight` of an attention."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hepprune.errors import NetworkError
from hepprune.frontends.pytorch.building import Slot
from hepprune.frontends.pytorch.values import Rows


def packed(slot: Slot, part: Tensor, parts: Sequence[Rows | None], found: Mapping[str, Tensor]) -> Tensor:
    """Return a tensor with the part that is a layer's, beside those `found` so far; `parts` are of all its layers.

    Where layers have all rows, as many each, they may all have as many others.

    Raises:
        NetworkError: the layer has another number of rows, or longer or shorter ones, than the others.
    """
    rows = slot.rows
    if rows is None:
        return part
    sizes = {0 if other is None else len(other.numbers) for other in parts}
    n_rows, numbers = len(rows.whole), rows.numbers
    complete = len(_numbers(parts)) == n_rows
    if complete and len(sizes) == 1 and len(part) != len(numbers):
        numbers = int(numbers[0]) // len(numbers) * len(part) + torch.arange(len(part))
        n_rows = len(parts) * len(part)
    blank = torch.zeros(n_rows, *part.shape[1:]) if complete else rows.whole.detach().float().clone()
    whole = found.get(slot.target, blank)
    if part.shape[1:] != whole.shape[1:] or len(part) != len(numbers) or len(whole) != n_rows:
        raise NetworkError(
            f"layer '{slot.layer}' is part of '{slot.target}', whose parts are all of one size; give a path that ends "
            "in .npz"
        )
    whole[numbers] = part
    return whole


def _numbers(parts: Sequence[Rows | None]) -> set[int]:
    return {number for rows in parts if rows is not None for number in rows.numbers.tolist()}
