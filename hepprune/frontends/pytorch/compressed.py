"""Modules of PQuantML written back: weights that act, quantisers with the bits of the network's types."""

from collections.abc import Collection
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hepprune.errors import refused
from hepprune.fixed import FixedPoint, Quantiser
from hepprune.fixed.quantisers import FixedPoints
from hepprune.frontends.pytorch import pquant
from hepprune.frontends.pytorch.lowering import Lowered
from hepprune.network import Network, Shape

QuantiserBits = list[Tensor]  # sign, integer and fraction


@torch.no_grad()
def fit(
    module: nn.Module, like: nn.Module, network: Network, written: Collection[str], lowered: Lowered | None
) -> None:
    """Give a module the network's types, its layers with `written` tensors compressed for good.

    `like` is the module as it was, and `lowered` says where in the network each quantiser is; before that is known,
    each has one type.

    Raises:
        NetworkError: a quantiser keeps one width where the network has several, or types of another kind.
    """
    for name, part in module.named_modules():
        if pquant.is_own(part) and _is_written(name, written):
            _compress(part)
    for name, part in list(module.named_modules()):
        owner, _, end = name.rpartition(".")
        of_weights = end in {"weight_quantizer", "bias_quantizer"}
        if not pquant.is_quantiser(part) or (of_weights and not _is_written(owner, written)):
            continue
        old = like.get_submodule(name)
        new = _first(_bits(old)) if lowered is None else _now(name, old, network=network, known=lowered)
        if new is not None:
            _set(part, new)


def _is_written(name: str, written: Collection[str]) -> bool:
    return any(f"{name}.{own}".removeprefix(".") in written for own in ("_weight", "_bias"))


def measured(module: nn.Module, examples: tuple[Tensor, ...]) -> None:
    """Let layers know the sizes of what they are given now, of which their cost is worked out."""

    def note(part: Any, given: tuple[Tensor, ...]) -> None:
        part.input_shape = (1, *given[0].shape[1:])
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            vars(part)["_shape"] = tuple(size if axis == 1 else 1 for axis, size in enumerate(given[0].shape))

    parts = [part for part in module.modules() if pquant.is_own(part) and hasattr(part, "input_shape")]
    hooks = [part.register_forward_pre_hook(note) for part in parts]
    with torch.no_grad():
        module(*examples)
    for hook in hooks:
        hook.remove()


def _compress(part: Any) -> None:
    """Let a layer take its weights as they are: pruned and quantised already."""
    part.final_compression_done.fill_(value=True)
    if hasattr(part, "enable_pruning"):
        part.enable_pruning = False
    for own in ("weight", "bias"):  # a batch norm has those of torch's beside its own
        kept, acts = part._parameters.get(own), part._parameters.get(f"_{own}")  # noqa: SLF001
        if kept is not None and acts is not None and kept.shape != acts.shape:
            kept.data = acts.detach().clone()


def _bits(quantiser: Any) -> QuantiserBits:
    return [array.detach().float() for array in quantiser.get_quantization_bits()]


def _first(bits: QuantiserBits) -> QuantiserBits | None:
    if all(array.numel() == 1 for array in bits):
        return None
    return [array.flatten()[:1].reshape((1,) * array.ndim) for array in bits]


def _now(name: str, quantiser: Any, *, network: Network, known: Lowered) -> QuantiserBits | None:
    """Return the bits that a quantiser has now, None where it is read by nothing or stays as it is."""
    owner, _, end = name.rpartition(".")
    old = _bits(quantiser)
    if name in known.traces.typed:
        layer, index, shape = known.traces.typed[name]
        spread = _spread(name, network[layer].result, network.shapes[layer])
        arrays = [array.flatten()[index].unsqueeze(0) for array in spread]
        shape = (1, *shape)
    else:
        own = end.removesuffix("_quantizer")
        slot = next((slot for slot in known.slots if slot.target == f"{owner}._{own}"), None)
        if slot is None:
            return _first(old)
        layer_ = network[slot.layer]
        held = getattr(layer_, f"{own}_type", None)
        if held is None:
            return _first(old)
        spread = _spread(name, held, tuple(getattr(layer_, own).shape))
        # what stands in for the layer has bits as its weights or biases
        arrays = [slot.native(SimpleNamespace(**{f"used_{own}": partial(torch.clone, array)})) for array in spread]
        shape = tuple(arrays[0].shape)
    return _shared(name, arrays, _sizes(old, len(shape)))


def _spread(name: str, kind: Quantiser | None, shape: Shape) -> QuantiserBits:
    """Return sign, integer and fraction bits of types, one of each per value of a shape."""
    if not isinstance(kind, FixedPoint | FixedPoints):
        raise refused(name, "would have no fixed-point type, or one of another kind")
    arrays = (np.broadcast_to(np.asarray(array), shape) for array in (kind.width, kind.integer, kind.signed))
    width, integer, signed = (torch.as_tensor(np.array(array, np.float32)) for array in arrays)
    used = width > 0
    signs = signed * used
    return [signs, torch.where(used, integer - signs, 0.0), torch.where(used, width - integer, 0.0)]


def _sizes(bits: QuantiserBits, rank: int) -> list[int | None]:
    """Return the sizes of a quantiser's widths for values of so many axes, None for an axis that it does not know."""
    sizes = max((list(array.shape) for array in bits), key=len)
    return [None] * (rank - len(sizes)) + sizes


def _shared(name: str, arrays: QuantiserBits, sizes: list[int | None]) -> QuantiserBits:
    """Return bits in the shape in which a quantiser keeps them, with one for all values along an axis it shares."""
    axes = [axis for axis, size in enumerate(sizes) if size in {None, 1}]
    found = []
    for array in arrays:
        low, high = (end(array, dim=axes, keepdim=True) if axes else array for end in (torch.amin, torch.amax))
        if not torch.equal(low, high):
            raise refused(name, "keeps one width where the network has several")
        found.append(high.reshape(high.shape[sizes.count(None) :]))
    return found


def _set(quantiser: Any, bits: QuantiserBits) -> None:
    """Give a quantiser its bits, where it acts and where PQuantML mirrors them."""
    sign, integer, fraction = (array.clone() for array in bits)
    if quantiser.use_hgq:
        inner = quantiser.quantizer
        inner._k = sign  # noqa: SLF001 -- where PQuantML keeps them
        inner._f = nn.Parameter(fraction)  # noqa: SLF001
        if inner.overflow_mode == "WRAP":
            inner._i_raw = integer  # noqa: SLF001
        else:
            inner._i = nn.Parameter(integer)  # noqa: SLF001
        if not quantiser.final_compression_done:
            return
    for key, array in {"k": sign, "i": integer, "f": fraction, "b": sign + integer + fraction}.items():
        getattr(quantiser, key).data = array
