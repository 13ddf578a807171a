"""Modules of PQuantML in memory, known by the path of their classes: traced as the package itself computes them.

Before it is traced, a copy gets the weights that act, pruned and quantised, and an operator of its own in the place of
every quantiser of values, which becomes a layer with that type.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hepprune.errors import refused
from hepprune.fixed import OVERFLOW, ROUNDING
from hepprune.fixed.quantisers import FixedPoints
from hepprune.fixed.quantisers.per_value import FOLDED
from hepprune.network.layers.activation import FUNCTIONS

_QUANTISER = "pquant.core.torch.quantizer.Quantizer"
_ATTENTION = "pquant.core.torch.layers.PQMultiheadAttention"
_SOFTMAX = "pquant.core.torch.activations.PQSoftmax"
_TABLES = {"decay": "rate", "reciprocal": "epsilon"}  # the functions of a softmax' tables, and their parameters
LOOKED_UP = "hepprune.looked_up.default"


@torch.library.custom_op("hepprune::looked_up", mutates_args=())
def looked_up(values: Tensor, types: Tensor, modes: str, function: str, parameter: float | None) -> Tensor:
    """Return a function of values, by its name and its only parameter, as fixed-point types hold it."""
    found: Tensor = FUNCTIONS[function](values, **options_of(function, parameter))
    return fixed_points(types, modes)(found).to(values.dtype).clone()


@looked_up.register_fake
def _same_shape(values: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(values)


def options_of(function: str, parameter: float | None) -> dict[str, float]:
    """Return the only parameter of a function by its name, nothing where it has none."""
    return {} if parameter is None else {_TABLES[function]: parameter}


def fixed_points(types: Tensor, modes: str) -> FixedPoints:
    """Return the types of an array (width, integer, signed) of arrays, and of "rounding/overflow"."""
    rounding, _, overflow = modes.partition("/")
    width, integer, signed = types.detach().cpu().numpy()
    return FixedPoints(width=width, integer=integer, signed=signed > 0, rounding=rounding, overflow=overflow)


class _Quantiser(nn.Module):
    """A quantiser of values, its types as a buffer, or a function of them between the quantisers of a table."""

    def __init__(
        self,
        kind: FixedPoints,
        function: str = "linear",
        parameter: float | None = None,
        incoming: FixedPoints | None = None,
    ) -> None:
        super().__init__()
        self.input_quantizer = nn.Identity() if incoming is None else _Quantiser(incoming)
        self.function, self.parameter = function, parameter
        types = np.stack([kind.width, kind.integer, kind.signed.astype(np.int64)])
        self.register_buffer("types", torch.as_tensor(types))
        self.modes = f"{kind.rounding}/{kind.overflow}"

    def forward(self, values: Tensor) -> Tensor:
        """Return what the values become."""
        given = self.input_quantizer(values)
        found: Tensor = looked_up(given, self.types, self.modes, self.function, self.parameter)
        return found


def _path(part: nn.Module) -> str:
    """Return the path of a module's class, or of the class of PQuantML that it derives from."""
    kinds = [kind for kind in type(part).__mro__ if kind.__module__.startswith("pquant.")] or [type(part)]
    return f"{kinds[0].__module__}.{kinds[0].__qualname__}"


def is_own(part: nn.Module) -> bool:
    """Return whether a module is one of PQuantML's."""
    return _path(part).startswith("pquant.")


def fit_heads(name: str, part: Any) -> None:
    """Set how many heads an attention of PQuantML has; they stay as wide as they are.

    Raises:
        NetworkError: its projections have other sizes than whole heads.
    """
    if _path(part) != _ATTENTION:
        return
    sizes = [projection.out_features for projection in (part.q_proj, part.k_proj, part.v_proj)]
    channels = sizes[0]
    if channels % part.head_dim or len(set(sizes)) > 1:
        said = f"{part.head_dim} values each and would have {' and '.join(map(str, dict.fromkeys(sizes)))} in all"
        raise refused(name, f"has heads of {said}; give a path that ends in .npz, or write the network unshrunk")
    part.embed_dim, part.num_heads = channels, channels // part.head_dim


def is_quantiser(part: Any) -> bool:
    """Return whether a module is a quantiser of PQuantML that was built."""
    return _path(part) == _QUANTISER and (not part.use_hgq or bool(part.quantizer.built))


def copies(module: nn.Module) -> set[str]:
    """Return the tensors in which HGQ's quantisers keep their bits again: in their shape, once compressed for good."""
    own = (name for name, part in module.named_modules() if _path(part) == _QUANTISER and part.use_hgq)
    return {f"{name}.{key}" for name in own for key in "kifb"}


def is_compressed(module: nn.Module) -> bool:
    """Return whether a module has layers of PQuantML."""
    return any(_path(part).startswith("pquant.") for part in module.modules())


def prepared(module: nn.Module, examples: tuple[Tensor, ...]) -> tuple[nn.Module, Mapping[str, FixedPoints]]:
    """Change a copy of a module so that it can be traced; return it and the types of its weights by their names.

    The examples are values for it, of its own dtype and on its device.

    Raises:
        NetworkError: a quantiser is of a kind that no type is.
    """
    with torch.no_grad():
        module(*examples)  # builds what is built on the first values
        module.eval()
        found = {name: kind for name, part in module.named_modules() for name, kind in _weights(name, part).items()}
        for name, part in list(module.named_modules()):
            if _path(part).startswith("pquant."):
                _settle(name, part)
    return module, found


def _weights(name: str, part: nn.Module) -> dict[str, FixedPoints]:
    """Give a layer the weights that act, and return their types."""
    found: dict[str, FixedPoints] = {}
    if not _path(part).startswith("pquant.") or "_weight" not in part._parameters:  # noqa: SLF001 -- PQuantML's name
        return found
    for own in ("weight", "bias"):
        acts, kept = getattr(part, own), part._parameters.get(f"_{own}")  # noqa: SLF001
        if kept is None:
            continue
        kind = type_of(name, getattr(part, f"{own}_quantizer"), acts)
        kept.data = acts.detach().clone()
        if kind is not None and torch.equal(kind(acts.double()), acts.double()):
            found[f"{name}._{own}" if name else f"_{own}"] = kind
    part.final_compression_done.fill_(True)  # type: ignore[operator]
    return found


def _settle(name: str, part: nn.Module) -> None:
    """Leave a layer nothing that depends on data or changes: flags as plain values, no pruning, typed quantisers."""
    for key, buffer in list(part._buffers.items()):  # noqa: SLF001
        if buffer is not None and buffer.dtype == torch.bool and not buffer.ndim:
            del part._buffers[key]  # noqa: SLF001
            setattr(part, key, bool(buffer))
    if hasattr(part, "pruning_method"):
        part.pruning_method = ""  # type: ignore[assignment]
    if _path(part) == _SOFTMAX:
        _look_up(name, part)
    for key, child in list(part.named_children()):
        if _path(child) == _QUANTISER:
            kind = type_of(f"{name}.{key}", child)
            setattr(part, key, nn.Identity() if kind is None else _Quantiser(kind))


def _look_up(name: str, softmax: Any) -> None:
    """Give a softmax tables of known functions in the place of those that it computes by code of its own."""
    sign = 1.0 if softmax.stable else -1.0
    parameters = {"exp_table": sign * float(softmax.input_scaler), "inv_table": float(softmax.epsilon)}
    for (key, parameter), function in zip(parameters.items(), _TABLES, strict=True):
        table = getattr(softmax, key)
        ends = [
            type_of(f"{name}.{key}.{end}_quantizer", getattr(table, f"{end}_quantizer"))
            if table.enable_quantization and getattr(table, f"quantize_{end}")
            else None
            for end in ("input", "output")
        ]
        if ends[1] is None:
            raise refused(name, "has tables that are not quantised; torch's own softmax can be read")
        setattr(softmax, key, _Quantiser(ends[1], function, parameter, ends[0]))


def type_of(name: str, quantiser: Any, weights: Tensor | None = None) -> FixedPoints | None:
    """Return the types of a quantiser, for weights where there are any; None where it was never built."""
    fine = bool(quantiser.use_hgq)
    if fine and not quantiser.quantizer.built:
        return None
    overflow, rounding = str(quantiser.overflow).upper(), str(quantiser.round_mode).upper().removeprefix("S_")
    if overflow not in (*OVERFLOW, FOLDED) or rounding not in ROUNDING:
        raise refused(name, f"rounds by {rounding[:40]} and overflows by {overflow[:40]}, unknown here")
    bits = [np.asarray(array.detach().cpu().numpy(), np.float64) for array in quantiser.get_quantization_bits()]
    if any((array != np.round(array)).any() for array in bits):
        raise refused(name, "has a quantiser of bits that are not whole numbers")
    sign, integer, fraction = (array.astype(np.int64) for array in np.broadcast_arrays(*bits))
    if not fine:
        integer = np.maximum(integer, -fraction)
    used = sign + integer + fraction > 0
    if overflow == FOLDED and not (fine or used.all()):
        raise refused(name, f"has a quantiser without a bit, of which {FOLDED} makes two values")
    if fine and overflow == "WRAP" and weights is not None:
        sign, integer, overflow = np.ones_like(sign), _holding(weights, integer, fraction), "SAT"
    width = np.where(used, sign + integer + fraction, 0)
    if overflow == "SAT_SYM":  # a sign alone holds nothing but zero
        width = np.where(integer + fraction > 0, width, 0)
    sign = np.where(width > 0, sign, 0)
    return FixedPoints(width=width, integer=sign + integer, signed=sign > 0, rounding=rounding, overflow=overflow)


def _holding(weights: Tensor, integer: Any, fraction: Any) -> Any:
    """Return integer bits that hold weights, no fewer than there are: HGQ's that wrap keep whatever range they have."""
    sizes = np.abs(weights.detach().cpu().double().numpy()) + np.exp2(-fraction.astype(np.float64))
    shared = tuple(axis for axis in range(sizes.ndim) if integer.ndim != sizes.ndim or integer.shape[axis] == 1)
    needed = np.ceil(np.log2(sizes)).astype(np.int64).max(axis=shared, keepdims=integer.ndim == sizes.ndim)
    return np.maximum(integer, needed)
