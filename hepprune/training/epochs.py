"""Whole epochs of a chain of dense layers in one call of compiled code, where a C++ compiler is there.

What the network puts out on the way is bit for bit what torch computes, as float32 holds every sum of the chains taken
here; gradients are summed in another order.
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

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hepprune.fixed import MANTISSA, FixedPoint, Quantiser
from hepprune.fixed.quantisers import FixedPoints
from hepprune.task import Classes
from hepprune.task.sample import Sample
from hepprune.training.acting import ActingArray, Fixed
from hepprune.training.chains import Chain, ChainStep, Placed, Rectified
from hepprune.training.optimiser import EPSILON, SQUARES, Rate

log = logging.getLogger(__name__)

LEAST = 64  # steps of a training: in fewer, compiling (0.7 s, once per process) is not earned back
MOST = 50_000  # parameters: products of larger layers are as fast in torch, or faster
SHARED_FROM = 100_000  # parameters: products of such layers are faster in torch, which shares them among all cores
_SOURCE = Path(__file__).with_name("epoch.cpp")
_OPTIONS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-std=c++17", "-shared", "-fPIC")
_ROUNDINGS = {"TRN": 0, "RND": 1}
_LONG, _REAL, _PLACE = ctypes.c_int64, ctypes.c_double, ctypes.c_void_p


@cache
def _compiled() -> ctypes.CDLL | None:
    """Return the compiled code, once per process; None where nothing compiles or loads it."""
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        return None
    try:
        with tempfile.TemporaryDirectory(prefix="hepprune-") as folder:
            library = str(Path(folder) / "epoch.so")
            command = [compiler, *_OPTIONS, "-o", library, str(_SOURCE)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise OSError(done.stderr.strip().partition("\n")[0])  # noqa: TRY301 -- as one that is not loaded
            found = ctypes.CDLL(library)
    except OSError as problem:  # as where nothing in the temporary folder may be executed
        log.warning("training goes on without compiled code: %s", problem)
        return None
    found.epoch.restype = _REAL
    found.epoch.argtypes = [_LONG, *[_PLACE] * 6]
    found.outputs.restype = None
    found.outputs.argtypes = [_LONG, *[_PLACE] * 5, _LONG, _PLACE]
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


class PreparedJets:
    """Jets as compiled code reads them, made anew where they, or what is done to features first, are not as before."""

    def __init__(self) -> None:
        self._source: tuple[Sample, tuple[ChainStep, ...]] | None = None
        self._arrays: tuple[Tensor, Tensor] | None = None

    def __call__(self, chain: Chain, jets: Sample) -> tuple[Tensor, Tensor]:
        """Return features that have entered (n_jets, n_features) and the probability of each class."""
        same = self._source is not None and self._source[0] is jets and self._source[1] == chain.entry
        if self._arrays is None or not same:
            self._source = self._arrays = None  # not both in memory at once
            given = cast("Tensor", jets.y)
            y = given if given.ndim > 1 else nn.functional.one_hot(given, len(chain.acting.parts[-1].values))
            self._arrays = chain.enter(jets).features.contiguous(), y.float().contiguous()
            self._source = jets, chain.entry
        return self._arrays


@dataclass(frozen=True, kw_only=True)
class Epochs:
    """A chain, ready to be trained on jets for whole epochs."""

    chain: Chain
    x: Tensor
    y: Tensor
    values: _Values
    acting: _Acting

    @classmethod
    def of(cls, chain: Chain, jets: Sample, read: PreparedJets) -> "Epochs | None":
        """Return a chain of hidden layers of ReLUs in fixed point that tells classes apart; None of any other."""
        fixed, own = chain.acting.fixed, chain.optimiser.values
        fits = own.device.type == "cpu" and own.dtype == torch.float32 and len(own) < MOST
        classes = type(jets.task) is Classes and jets.weight is None and isinstance(jets.y, Tensor)
        if not (fits and classes) or fixed is None or fixed.rounding not in _ROUNDINGS:
            return None
        *hidden, last = chain.steps
        kinds = [kind for steps in hidden if (kind := _kind(steps, own)) is not None]
        if last or len(kinds) < len(hidden) or not kinds:
            return None
        # float32 has to hold every sum of every layer, in whatever order, as types tell
        arriving = [chain.entry[-1].kind if chain.entry else None, *(each.kind for each in kinds)]
        parts = chain.acting.parts
        if not all(map(_holds, arriving, parts[::2], parts[1::2])) or _compiled() is None:
            return None
        x, y = read(chain, jets)
        return cls(chain=chain, x=x, y=y, values=_values(chain, kinds), acting=_acting(chain, fixed))

    def __call__(self, order: Tensor, batch_size: int, rates: Iterator[Rate]) -> Tensor:
        """Take the steps of an epoch, and return their mean loss."""
        own = self.chain.optimiser
        steps = list(islice(rates, -(-len(order) // batch_size)))
        schedule = torch.tensor([(rate.learning_rate, rate.momentum) for rate in steps], dtype=torch.float64)
        sizes = self._sizes()
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

    def raw(self) -> Tensor:
        """Return what the chain puts out for the jets, (n_jets, n_out)."""
        sizes = self._sizes()
        found = torch.empty(len(self.x), int(sizes[-1]))
        places = [each.data_ptr() for each in (self.chain.optimiser.values, self.x)]
        kinds = [ctypes.addressof(each) for each in (self.acting, self.values)]
        compiled = cast("ctypes.CDLL", _compiled())
        compiled.outputs(len(sizes) - 1, sizes.data_ptr(), *kinds, *places, len(self.x), found.data_ptr())
        return found

    def _sizes(self) -> Tensor:
        return torch.tensor([self.x.shape[1], *(len(part.values) for part in self.chain.acting.parts[::2])])


def _kind(steps: Sequence[ChainStep], like: Tensor) -> Placed | None:
    """Return the types of the values of a layer behind its ReLU, which code is written for if they saturate."""
    match steps:
        case [Rectified(math.inf, None), Placed() as found]:
            pass
        case [Rectified(math.inf, FixedPoint(signed=False, overflow="SAT" | "SAT_SYM") as kind)]:
            found = Placed.of(kind, like)
        case _:
            return None
    return found if found.kind.rounding in _ROUNDINGS else None


def _holds(read: Quantiser | None, weight: ActingArray, bias: ActingArray) -> bool:
    """Return whether the largest sum that types allow is within the mantissa, in units of its last place."""
    if not (isinstance(read, FixedPoint | FixedPoints) and weight.kind and bias.kind):
        return False
    most = np.broadcast_to(_most(read), weight.values.shape[1])
    finest = np.where(most > 0, read.step, np.inf).min()  # a value without bits is zero, whatever its last place
    largest = most.sum() * _most(weight.kind) + _most(bias.kind)
    return bool(largest <= 2**MANTISSA * min(finest * weight.kind.step, bias.kind.step))


def _most(kind: FixedPoint | FixedPoints) -> NDArray[np.float64]:
    """Return the largest magnitude of each value."""
    return np.maximum(kind.maximum, np.negative(kind.minimum))


def _values(chain: Chain, kinds: Sequence[Placed]) -> _Values:
    """Return the types of all hidden values as arrays; what a ReLU stops has no gradient, whatever its type holds."""
    names = ("unit", "inverse", "low", "high", "least", "most")
    sizes = [len(part.values) for part in chain.acting.parts[::2]]
    columns = [
        (each.step, 1 / each.step, each.low, each.high, each.ends[0].clamp(min=0), each.ends[1]) for each in kinds
    ]
    spread = [[array.expand(size) for array in column] for column, size in zip(columns, sizes, strict=False)]
    arrays = {name: torch.cat(parts) for name, parts in zip(names, zip(*spread, strict=True), strict=True)}
    return _Values(**arrays, rounding=torch.tensor([_ROUNDINGS[each.kind.rounding] for each in kinds]))


def _acting(chain: Chain, fixed: Fixed) -> _Acting:
    start = torch.full_like(chain.optimiser.values, -1, dtype=torch.int64)
    table = torch.zeros(1)
    if fixed.limited is not None:
        start[fixed.limited.places], table = fixed.limited.starts.long(), fixed.limited.table
    ends = {"least": chain.acting.low, "most": chain.acting.high}
    own = {"unit": fixed.unit, "inverse": fixed.inverse, "low": fixed.low, "high": fixed.high}
    return _Acting(**own, **ends, start=start, table=table, rounding=_ROUNDINGS[fixed.rounding])
