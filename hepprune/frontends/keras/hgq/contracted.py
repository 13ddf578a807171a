"""Table layers of HGQ2 over any axes: a QEinsumDenseT is a QDenseT between moves of the axes.

Axes of input, kernel and result give each position functions of its own.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from hepprune.errors import explained
from hepprune.frontends.keras.hgq.filling import fill_tables
from hepprune.frontends.keras.hgq.tables import MAX_ENTRIES, norm_names, places_of, tables
from hepprune.frontends.keras.hgq.values import ends, value_bits, value_quantiser
from hepprune.frontends.keras.layers.activations import activation
from hepprune.frontends.keras.layers.einsum import Contraction, between_moves, contraction, output_shape
from hepprune.frontends.keras.registry import Floats, Native, Parts, after
from hepprune.network import Layer, Shape


@dataclass(frozen=True)
class _Layout:
    """How arrays lie in the file, an axis for each letter, and for a QDenseT: positions, inputs, outputs."""

    axes: Contraction

    @property
    def before(self) -> str:
        """The axes of what is summed, as HGQ2 lays them out."""
        return self.axes.reads + self.axes.new

    @property
    def groups(self) -> list[str]:
        """The axes of a QDenseT."""
        return [*self.axes.free, *self.axes.shared, self.axes.summed, self.axes.new]

    def rows(self, array: Floats, letters: str) -> Floats:
        """Return an array whose first axes have letters for a QDenseT; values that all places share stay one."""
        held, rest = dict(zip(letters, array.shape, strict=False)), array.shape[len(letters) :]
        order = [c for c in "".join(self.groups) if c in letters]
        turned = np.transpose(array, [letters.index(c) for c in order] + list(range(len(letters), array.ndim)))
        spread, sizes = [], []
        for group in self.groups:
            whole = any(held.get(c, 1) > 1 for c in group)
            spread += [self.axes.sizes[c] if whole else 1 for c in group]
            sizes.append(self.axes.size(group) if whole else 1)
        if math.prod((*sizes, *rest)) > max(array.size, MAX_ENTRIES):  # before they are laid out in memory
            raise ValueError(f"{array.shape} for functions of shape {tuple(sizes)}, which are not small tables")
        each = [held.get(c, 1) for c in "".join(self.groups)]
        return np.broadcast_to(turned.reshape(*each, *rest), (*spread, *rest)).reshape(*sizes, *rest).copy()

    def back(self, rows: Floats, letters: str, old: Floats) -> Floats:
        """Return an array of a QDenseT as the file has it, where `old` was in its place."""
        shared, rest = dict(zip(letters, old.shape, strict=False)), rows.shape[len(self.groups) :]
        each = [
            (c, self.axes.sizes[c] if size > 1 else 1)
            for group, size in zip(self.groups, rows.shape, strict=False)
            for c in group
        ]
        first = tuple(slice(1) if shared.get(c, 1) == 1 else slice(None) for c, _ in each)
        kept = rows.reshape(*(size for _, size in each), *rest)[first]
        order = [c for c, _ in each if c in letters]
        laid = kept.reshape(*(dict(each)[c] if shared[c] > 1 else 1 for c in order), *rest)
        found: Floats = np.transpose(laid, [order.index(c) for c in letters] + list(range(len(order), laid.ndim)))
        return found


def _layout(native: Native) -> _Layout:
    """Return the layout, the sizes taken from what arrives and from the last kernel of the functions."""
    kernel = native.stored.get(places_of(native)[-1][0])
    if kernel is None or not kernel.ndim:
        raise native.refuse("has no kernel of its functions")
    bare = native.filled([np.broadcast_to(np.zeros(1), kernel.shape[:-1])], bias_axes=None)
    return _Layout(contraction(bare))


def _letters(native: Native, layout: _Layout) -> dict[str, str]:
    """Return the letters of the axes of every array by its place; those of a quantiser have the jets before them."""
    axes, before = layout.axes, layout.before
    biased = before[min(before.index(c) for c in axes.kernel) :]
    found = dict[str, str]()
    for kernel, bias in places_of(native):
        found |= {kernel: axes.kernel, bias: biased}
    # HGQ2 lays them out as the axes of what is summed lie, in whatever order it names them
    named = str(native.config.get("normalize_axes") or axes.neurons)
    found |= dict.fromkeys(_norms(native), "".join(sorted(named, key=before.index)))
    quantisers = [key for key, array in native.stored.items() if array.ndim == len(before) + 1]
    found |= {key: before for key in quantisers if key.startswith(("iq/", "toq/"))}
    return {key: letters for key, letters in found.items() if key in native.stored}


def _norms(native: Native) -> dict[str, str]:
    """Return where the arrays of a batch normalisation are, and where a QDenseT has them."""
    names = norm_names(native) if native.config.get("batch_norm") else []
    return {f"vars/{number}": f"bn_module/vars/{number}" for number in range(len(names))}


def _as_dense(native: Native, layout: _Layout) -> Native:
    """Return the layer as the QDenseT that stands between the moves."""
    axes, norms, stored = layout.axes, _norms(native), dict[str, Floats]()
    for key, letters in _letters(native, layout).items():
        array = native.stored[key]
        jets = array.ndim == len(letters) + 1 and key.startswith(("iq/", "toq/"))
        with explained(native.refuse, f"has an array at {key} that cannot be taken over:", ValueError):
            rows = layout.rows(array[0] if jets else array, letters)
        inside = rows if jets or key in norms else rows.reshape(rows.shape[len(axes.free) :])
        stored[norms.get(key, key)] = inside[None] if jets else inside
    first = places_of(native)[0][0]
    if native.config.get("n_hl"):  # HGQ2 gives the first kernel as many inputs as the next one, which are all the same
        stored[first] = torch.as_tensor(stored[first]).float().sum(dim=-2, keepdim=True).double().numpy()
    positions = [stored[key].shape[:-2] for key in norms.values()]
    config: dict[str, Any] = {
        "n_out": axes.size(axes.new),
        "use_bias": native.config.get("bias_axes") is not None and not norms,
        "shared": axes.shape(axes.shared),
        "positions": np.broadcast_shapes(axes.shape(axes.shared), *positions),
        "activation": None,
        "oq_conf": None,
    }
    inner = replace(native, kind="QDenseT", stored=stored, weights=(), arriving=(_flat(axes),))
    return inner.filled(**config)


def _flat(axes: Contraction) -> Shape:
    return (*axes.shape(axes.free + axes.shared), axes.size(axes.summed))


def contracted(native: Native, _arriving: tuple[Shape, ...]) -> Parts:
    """Return a QDenseT, what moves the axes around it, and the function and the quantiser of what goes out."""
    layout = _layout(native)
    axes, inner = layout.axes, _as_dense(native, layout)
    flat = _flat(axes)
    parts = between_moves(native, axes, tables(inner, inner.arriving), flat, (*flat[:-1], axes.size(axes.new)))
    return after(parts, activation(native), *value_quantiser(native, ends(native)[1]))


def fill_contracted(native: Native, layers: Mapping[str, Layer]) -> Native:
    """Return the native layer with the functions of the inputs, outputs and edges that the network has now."""
    layout = _layout(native)
    axes = layout.axes
    filled = fill_tables(_as_dense(native, layout), layers)
    n_in, n_out = filled.stored[places_of(native)[-1][0]].shape[len(axes.shared) :][:2]
    now = axes.resized(n_out * axes.size(axes.shared), n_in, axes.size(axes.shared))
    if now is None:
        raise native.refuse("would keep a part of several axes at once, which its kernels cannot")
    norms, stored, after_it = _norms(native), dict(native.stored), _Layout(now)
    for key, letters in _letters(native, layout).items():
        rows, old = filled.stored[norms.get(key, key)], native.stored[key]
        if key.startswith(("iq/", "toq/")):
            stored[key] = after_it.back(rows[0], letters, old[0])[None]
        else:
            rows = rows if key in norms else rows.reshape(*(1,) * len(axes.free), *rows.shape)
            if key == places_of(native)[0][0] and native.config.get("n_hl"):
                missing = old.shape[-2] - rows.shape[-2]
                rows = np.pad(rows, [*[(0, 0)] * (rows.ndim - 2), (0, missing), (0, 0)])
            stored[key] = after_it.back(rows, letters, old)
    stored |= value_bits(native, layers, ends(native)[1])
    weights = tuple(stored[f"vars/{number}"] for number in range(len(native.weights)))
    sized = native.filled(output_shape=output_shape(native, now.shape(now.puts)))
    return replace(sized, stored=stored, weights=weights)
