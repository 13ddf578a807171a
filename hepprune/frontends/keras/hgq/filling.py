"""Table layers of HGQ2 written back: what is gone takes its functions with it, and dead edges are functions of zero."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hepprune.frontends.keras.hgq.tables import Edges, norm_names, places_of, sizes
from hepprune.frontends.keras.hgq.types import without_bits
from hepprune.frontends.keras.hgq.values import ends, value_bits
from hepprune.frontends.keras.registry import Floats, Native
from hepprune.network import Layer, Lookup, Weighted

Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """Which inputs and outputs of the file are left, and which of all edges act, and which read their input."""

    before: Edges
    inputs: Integers
    outputs: Integers
    alive: NDArray[np.bool_]
    reading: NDArray[np.bool_]

    def cut(self, array: NDArray[Any], *, first: int = 0) -> NDArray[Any]:
        """Return an array with axes of all inputs and all outputs, from one on, without those that are gone."""
        return array.take(self.inputs, axis=first).take(self.outputs, axis=first + 1)

    def only(self, edges: NDArray[np.bool_], array: Floats) -> Floats:
        """Return an array of the edges that are left, of zeros where they are none of these."""
        rest = array.ndim - 2 - len(self.before.shared)
        return np.where(self.cut(edges).reshape(len(self.inputs), len(self.outputs), *(1,) * rest), array, 0)


@torch.no_grad()
def fill_tables(native: Native, layers: Mapping[str, Layer]) -> Native:
    """Return the native layer with the functions of the inputs, outputs and edges that the network has now."""
    kept = _kept(native, layers)
    (*hidden, last), stored = places_of(native), dict(native.stored)
    for place in [each for places in (*hidden, last) for each in places if each in stored]:
        stored[place] = kept.cut(stored[place], first=len(kept.before.shared))
    first = (*hidden, last)[0][0]
    stored[first] = kept.only(kept.reading, stored[first])  # a function of zero, whatever comes
    for place in (each for each in last if each in stored):
        stored[place] = kept.only(kept.alive, stored[place])
    stored |= _normalised(native, kept) | _quantised(native, kept)
    counted: dict[str, Any] = {"n_out" if native.kind == "QDenseT" else "filters": len(kept.outputs)}
    stored |= value_bits(replace(native, stored=stored), layers, ends(native)[1])
    return replace(native.filled(**counted), stored=stored)


def _kept(native: Native, layers: Mapping[str, Layer]) -> _Kept:
    before = sizes(native, native.arriving[0])
    handing, lookup, total = (layers[name] for name in (native.part("edges"), native.part("tables"), native.name))
    if not (isinstance(handing, Weighted) and isinstance(lookup, Lookup) and isinstance(total, Weighted)):
        raise native.refuse(f"cannot hold a {type(lookup).__name__}")
    numbers = lookup.numbers
    acts, reads = total.used_weight().any(dim=0), handing.used_weight().flatten(1).any(dim=1)
    columns = handing.weight.reshape(len(numbers), -1, handing.weight.shape[-1]).any(dim=1)
    window = before.n_in // before.channels
    channels = _named(columns.T, numbers // before.n_out % before.channels, before.channels)
    inputs = (np.arange(window)[:, None] * before.channels + channels).ravel()
    outputs = _named(total.weight != 0, numbers % before.n_out, before.n_out)
    alive, reading = np.zeros((2, before.n_in, before.n_out), bool)
    alive.flat[numbers[acts].numpy()] = True
    reading.flat[numbers[reads].numpy()] = True
    if np.delete(alive, inputs, axis=0).any():
        raise native.refuse("has no place for the constants that functions of an input that is gone put out")
    return _Kept(before=before, inputs=inputs, outputs=outputs, alive=alive, reading=reading)


def _named(belongs: Tensor, names: Tensor, count: int) -> Integers:
    """Return the name that each row's edges bear, a free one where it has no edge."""
    found = [int(names[row][0]) if bool(row.any()) else -1 for row in belongs.bool()]
    free = iter(sorted(set(range(count)) - set(found)))
    return np.array([next(free) if name < 0 else name for name in found], dtype=np.int64)


def _normalised(native: Native, kept: _Kept) -> dict[str, Floats]:
    """Return the batch normalisation of the outputs left; HGQ2 divides it by the root of the inputs that there are."""
    if not native.config.get("batch_norm"):
        return {}
    names = norm_names(native)
    factor = np.sqrt(len(kept.inputs) / kept.before.n_in)
    if factor != 1 and names[:2] != ["scale", "center"]:
        raise native.refuse("divides by the root of its inputs, and has no scale or shift that would make up for some")
    found = {}
    for number, name in enumerate(names):
        place = f"bn_module/vars/{number}"
        array = native.stored[place]
        found[place] = array[kept.outputs] if array.ndim == 1 else _cut_edges(kept, array)
        found[place] = found[place] * (factor if name in ("scale", "center") else 1.0)
    return found


def _cut_edges(kept: _Kept, array: Floats) -> Floats:
    """Return an array of edges, last, without those that are gone; one for all stays one."""
    sizes = zip((kept.inputs, kept.outputs), array.shape[-2:], strict=True)
    inputs, outputs = (keep if size > 1 else np.zeros(1, int) for keep, size in sizes)
    cut: Floats = array[..., inputs, :][..., outputs]
    return cut


def _quantised(native: Native, kept: _Kept) -> dict[str, Floats]:
    """Return the bit widths of the edges left; what a batch norm makes of a dead one has none."""
    found = {}
    for place, array in native.stored.items():
        if place.startswith(("iq/", "toq/")) and array.ndim >= 2:
            found[place] = _cut_edges(kept, array)
    alive = kept.cut(kept.alive)
    if native.config.get("batch_norm") and not alive.all():
        found |= without_bits(replace(native, stored=found), "toq_conf", "toq", alive=alive)
    return found
