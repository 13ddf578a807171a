"""Whole epochs of a chain of dense layers in one call of compiled code, where a C++ compiler is there.

What the network puts out on the way is bit for bit what torch computes; gradients are summed in another order.
"""

import ctypes
import logging
import math
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from hepprune.fixed import FixedPoint
from hepprune.sample import Sample
from hepprune.task import Classes
from hepprune.training.acting import Fixed
from hepprune.training.chains import Chain, Placed, Rectified, Step
from hepprune.training.optimiser import EPSILON, SQUARES, Rate

log = logging.getLogger(__name__)

LEAST = 1000  # steps of a training: in fewer, compiling is not earned back
_SOURCE = Path(__file__).with_name("epoch.cpp")
_OPTIONS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-std=c++17", "-shared", "-fPIC")
_ROUNDINGS = {"TRN": 0, "RND": 1}
_LONG, _REAL, _PLACE = ctypes.c_int64, ctypes.c_double, ctypes.c_void_p


@cache
def _compiled() -> ctypes.CDLL | None:
    """Return the compiled code, once per process; None where nothing compiles it."""
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory(prefix="hepprune-") as folder:
        library = Path(folder) / "epoch.so"
        done = subprocess.run(
            [compiler, *_OPTIONS, "-o", str(library), str(_SOURCE)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            log.warning("training goes on without compiled code: %s", done.stderr.strip().partition("\n")[0])
            return None
        found = ctypes.CDLL(str(library))
    found.epoch.restype = _REAL
    found.epoch.argtypes = [_LONG, *[_PLACE] * 6]
    return found


class _Struct(ctypes.Structure):
    """Numbers, and places of tensors that it keeps."""

    def __init__(self, **given: Tensor | float) -> None:
        super().__init__()
        self.kept = given
        for name, value in given.items():
            setattr(self, name, value.data_ptr() if isinstance(value, Tensor) else value)


class _Acting(_Struct):
    _fields_ = (
        *((name, _PLACE) for name in ("unit", "inverse", "low", "high", "least", "most", "start", "table")),
        ("rounding", _LONG),
    )


class _Values(_Struct):
    _fields_ = tuple((name, _PLACE) for name in ("unit", "inverse", "low", "high", "least", "most", "rounding"))


class _State(_Struct):
    _fields_ = (
        *((name, _PLACE) for name in ("values", "mean", "squares")),
        ("n_steps", _LONG),
        *((name, _REAL) for name in ("decay", "kept_squares", "epsilon")),
    )


class _Jets(_Struct):
    _fields_ = (*((name, _PLACE) for name in ("x", "y", "order")), ("n_jets", _LONG), ("batch", _LONG))


@dataclass(frozen=True, kw_only=True)
class Epochs:
    """A chain, ready to be trained on jets for whole epochs."""

    chain: Chain
    x: Tensor
    y: Tensor
    values: _Values
    acting: _Acting

    @classmethod
    def of(cls, chain: Chain, jets: Sample) -> "Epochs | None":
        """Return a chain of hidden layers of ReLUs in fixed point that tells classes apart; None of any other."""
        targets, values = _targets(jets, len(chain.acting.parts[-1].values)), _values(chain)
        fixed, own = chain.acting.fixed, chain.optimiser.values
        fits = own.device.type == "cpu" and own.dtype == torch.float32
        if (
            not fits
            or _compiled() is None
            or fixed is None
            or fixed.rounding not in _ROUNDINGS
            or targets is None
            or values is None
        ):
            return None
        x, acting = chain.enter(jets).features.contiguous(), _acting(chain, fixed)
        return cls(chain=chain, x=x, y=targets, values=values, acting=acting)

    def __call__(self, order: Tensor, batch_size: int, rates: Iterator[Rate]) -> Tensor:
        """Take the steps of an epoch, and return their mean loss."""
        own = self.chain.optimiser
        steps = list(islice(rates, -(-len(order) // batch_size)))
        schedule = torch.tensor([(rate.learning_rate, rate.momentum) for rate in steps], dtype=torch.float64)
        sizes = torch.tensor([self.x.shape[1], *(len(part.values) for part in self.chain.acting.parts[::2])])
        state = _State(
            values=own.values,
            mean=own.mean,
            squares=own.squares,
            n_steps=own.n_steps,
            decay=own.weight_decay,
            kept_squares=SQUARES,
            epsilon=EPSILON,
        )
        jets = _Jets(x=self.x, y=self.y, order=order, n_jets=len(order), batch=batch_size)
        places = [ctypes.addressof(each) for each in (self.acting, self.values, state, jets)]
        compiled = cast("ctypes.CDLL", _compiled())
        loss = compiled.epoch(len(sizes) - 1, sizes.data_ptr(), *places, schedule.data_ptr())
        own.n_steps += len(steps)
        return torch.tensor(loss, dtype=torch.float64)


def _targets(jets: Sample, n_classes: int) -> Tensor | None:
    """Return the probability of each class for each jet, (n_jets, n_classes); None where jets have weights."""
    if type(jets.task) is not Classes or jets.weight is not None or not isinstance(jets.y, Tensor):
        return None
    y = jets.y if jets.y.ndim > 1 else nn.functional.one_hot(jets.y, n_classes)
    return y.float().contiguous()


def _values(chain: Chain) -> _Values | None:
    """Return the types of all hidden values, None where a layer has none or another one than code is written for."""
    *hidden, last = chain.steps
    kinds = [_kind(steps) for steps in hidden]
    found = [each for each in kinds if each is not None]
    if last or len(found) < len(kinds) or not found:
        return None
    names = ("unit", "inverse", "low", "high", "least", "most")
    sizes = [len(part.values) for part in chain.acting.parts[::2]]
    columns = [(each.step, 1 / each.step, each.low, each.high, *each.ends) for each in found]
    spread = [[array.expand(size) for array in column] for column, size in zip(columns, sizes, strict=False)]
    arrays = {name: torch.cat(parts) for name, parts in zip(names, zip(*spread, strict=True), strict=True)}
    return _Values(**arrays, rounding=torch.tensor([_ROUNDINGS[each.rounding] for each in found]))


def _kind(steps: Sequence[Step]) -> Placed | None:
    """Return the types of the values of a layer behind its ReLU, which code is written for if they saturate."""
    match steps:
        case [Rectified(math.inf, None), Placed() as found]:
            pass
        case [Rectified(math.inf, FixedPoint(signed=False, overflow="SAT" | "SAT_SYM") as kind)]:
            found = Placed.of(kind, torch.zeros(()))
        case _:
            return None
    return found if found.rounding in _ROUNDINGS else None


def _acting(chain: Chain, fixed: Fixed) -> _Acting:
    """Return parameters as they act."""
    start = torch.full_like(chain.optimiser.values, -1, dtype=torch.int64)
    table = torch.zeros(1)
    if fixed.limited is not None:
        start[fixed.limited.places], table = fixed.limited.starts.long(), fixed.limited.table
    ends = {"least": chain.acting.low, "most": chain.acting.high}
    own = {"unit": fixed.unit, "inverse": fixed.inverse, "low": fixed.low, "high": fixed.high}
    return _Acting(**own, **ends, start=start, table=table, rounding=_ROUNDINGS[fixed.rounding])
