"""Granularities: which weights go together, as the hardware counts them.

"weight" and "neuron" are cuts of their own; a "head" is all that one attention head is made of, a "layer" a block that
can leave as a whole. A "dsp_row" is one multiplier's share of a layer: as many consecutive weights as the reuse factor,
in the order outputs, positions, inputs. A "bram_row" is the DSP rows that share a 36-bit word of block RAM. "N:M" keeps
N of every M consecutive inputs (Mishra et al., arXiv:2104.08378).
"""

import re

import torch
from torch import Tensor

from hepprune.errors import NetworkError, refused, unknown
from hepprune.network import Kernel

STRUCTURES = ("neuron", "head", "layer")
GRANULARITIES = ("weight", "dsp_row", "bram_row", *STRUCTURES)
_BRAM_BITS = 36


def parse(granularity: str) -> tuple[int, int] | None:
    """Return N and M of "N:M", None for a granularity that has a name.

    Raises:
        NetworkError: it is neither, or not 1 <= N < M.
    """
    if granularity in GRANULARITIES:
        return None
    pattern = re.fullmatch(r"(\d{1,4}):(\d{1,4})", granularity)
    if pattern is None:
        raise NetworkError(unknown("granularity", granularity, (*GRANULARITIES, "N:M (such as 2:4)")))
    kept, of = int(pattern[1]), int(pattern[2])
    if not 1 <= kept < of:
        raise NetworkError(f"the granularity '{granularity}' keeps {kept} of {of} weights; 1 <= N < M is needed")
    return kept, of


def groups(kernel: Kernel, granularity: str) -> Tensor:
    """Return the index of the group that each weight belongs to, (n_weights,) int64.

    Raises:
        NetworkError: the rows of a block RAM are asked for and the weights have no type.
    """
    places = torch.arange(kernel.weight.numel())
    if granularity == "neuron":
        return places // kernel.weight[0].numel()
    size = 1 if granularity == "weight" else kernel.reuse_factor
    if granularity == "bram_row":
        # as many DSP rows as lie side by side in a word of block RAM, or in two where one is not filled
        if kernel.type is None:
            raise refused(kernel.name, "has no weight type, so its weights fill no block RAM")
        bits = max(1, round(float(kernel.type.bits)))
        size *= _BRAM_BITS // bits if _BRAM_BITS % bits == 0 else -(-2 * _BRAM_BITS // bits)
    return places // size


def members(kernel: Kernel, granularity: str, chosen: Tensor) -> Tensor:
    """Return the weights, by row-major index, of the groups that are chosen."""
    return torch.nonzero(torch.isin(groups(kernel, granularity), chosen)).flatten()
