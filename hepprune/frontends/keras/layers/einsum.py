"""EinsumDense of Keras: a kernel contracted with a value along any axes, as a dense layer between moves of the axes."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from hepprune.errors import explained
from hepprune.frontends.keras.layers.activations import activated
from hepprune.frontends.keras.layers.weighted import AnyArray, Form, Layout
from hepprune.frontends.keras.registry import Native, Part, Parts, after, register, single, then
from hepprune.network import Conv, Dense, Layer, Permute, Reshape, Shape, Weighted

_EQUATION = re.compile(r"([a-zA-Z]*(?:\.\.\.[a-zA-Z]*)?),([a-zA-Z]*)->([a-zA-Z]*(?:\.\.\.[a-zA-Z]*)?)")
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, kw_only=True)
class Contraction:
    """The axes of an equation without that of the jets, a letter each, the sizes of the letters, and the bias' axes."""

    reads: str
    kernel: str
    puts: str
    sizes: Mapping[str, int]
    biased: str = ""

    @property
    def shared(self) -> str:
        """The axes of all three: each place of them has a kernel of its own."""
        return "".join(c for c in self.kernel if c in self.reads and c in self.puts)

    @property
    def summed(self) -> str:
        """The axes that are summed over."""
        return "".join(c for c in self.kernel if c not in self.puts)

    @property
    def new(self) -> str:
        """The axes that only the kernel and the result have."""
        return "".join(c for c in self.kernel if c not in self.reads)

    @property
    def neurons(self) -> str:
        """The axes along which the kernel puts values out."""
        return self.shared + self.new

    @property
    def free(self) -> str:
        """The axes that the kernel does not have, in the result's order."""
        return "".join(c for c in self.puts if c not in self.kernel)

    @property
    def bias_shape(self) -> Shape:
        """The shape of Keras' bias, from the first axis that it differs along to the last of the result."""
        first = min((self.puts.index(c) for c in self.biased), default=len(self.puts))
        return tuple(self.sizes[c] if c in self.biased else 1 for c in self.puts[first:])

    def shape(self, axes: str) -> Shape:
        """Return the sizes of axes."""
        return tuple(self.sizes[c] for c in axes)

    def size(self, axes: str) -> int:
        """Return the number of places of axes together."""
        return math.prod(self.shape(axes))

    def rows(self, kernel: AnyArray) -> AnyArray:
        """Return a kernel as the Network has it: (n_out, n_in), or (n_out, 1, n_in / groups) where axes are shared."""
        moved = np.transpose(kernel, [self.kernel.index(c) for c in self.neurons + self.summed])
        middle = (1,) if self.shared else ()
        return moved.reshape(self.size(self.neurons), *middle, self.size(self.summed)).copy()

    def columns(self, weight: AnyArray) -> AnyArray:
        """Return a weight of the Network in the layout of Keras."""
        axes = self.neurons + self.summed
        return np.transpose(weight.reshape(self.shape(axes)), [axes.index(c) for c in self.kernel])

    def bias_rows(self, bias: AnyArray) -> AnyArray:
        """Return a bias of Keras, or what goes with it, with one entry for each output of the kernel."""
        held, wanted = (_of(axes, self.biased) for axes in (self.puts, self.neurons))
        kept = np.broadcast_to(bias, self.bias_shape).reshape(self.shape(held))
        moved = np.transpose(kept, [held.index(c) for c in wanted])
        spread = moved.reshape([self.sizes[c] if c in self.biased else 1 for c in self.neurons])
        return np.broadcast_to(spread, self.shape(self.neurons)).reshape(-1).copy()

    def bias_columns(self, bias: AnyArray) -> AnyArray:
        """Return a bias of the Network in the layout of Keras.

        Raises:
            ValueError: it differs along an axis that Keras' does not have.
        """
        spread = bias.reshape(self.shape(self.neurons))
        kept = spread[tuple(slice(None) if c in self.biased else slice(1) for c in self.neurons)]
        if (kept != spread).any():
            raise ValueError("one bias for several")
        held, wanted = (_of(axes, self.biased) for axes in (self.puts, self.neurons))
        moved = np.transpose(kept.reshape(self.shape(wanted)), [wanted.index(c) for c in held])
        return moved.reshape(self.bias_shape)

    def resized(self, n_out: int, n_in: int, groups: int = 1) -> "Contraction | None":
        """Return the contraction for other numbers of outputs, inputs and shared places, None where none fits.

        Where several axes are one in the Network, a part of one of them cannot be told from a part of another.
        """
        sizes = dict(self.sizes)
        for axes, size in ((self.shared, groups), (self.new, n_out // groups), (self.summed, n_in)):
            sizes |= {axes: size} if len(axes) == 1 else {}
        found = replace(self, sizes=sizes)
        same = (found.size(self.shared), found.size(self.neurons), found.size(self.summed)) == (groups, n_out, n_in)
        return found if same else None


def _of(axes: str, some: str) -> str:
    return "".join(c for c in axes if c in some)


def contraction(native: Native) -> Contraction:
    """Return what an EinsumDense contracts, the sizes taken from what arrives and from its kernel.

    Raises:
        NetworkError: its equation is none of a value and a kernel, or does not fit them.
    """
    if len(native.arriving) != 1 or not native.weights:
        raise native.refuse(f"is called on {len(native.arriving)} values and has {len(native.weights)} arrays")
    (shape,), kernel_shape = native.arriving, native.weights[0].shape
    text, biased = (str(native.config.get(key) or "")[:99].replace(" ", "") for key in ("equation", "bias_axes"))
    match = _EQUATION.fullmatch(text)
    if match is None:
        raise native.refuse(f"computes {text[:40]}, which is not a contraction of a value and a kernel")
    reads, kernel, puts = _spelt_out(match[1], match[2], match[3], rank=len(shape) + 1)
    sizes = dict(zip(reads[1:], shape, strict=False)) | dict(zip(kernel, kernel_shape, strict=False))
    if not _is_sound(reads, kernel, puts) or len(reads) != len(shape) + 1:
        raise native.refuse(f"computes {text[:40]} of the shape {shape}, which cannot be taken over")
    found = Contraction(reads=reads[1:], kernel=kernel, puts=puts[1:], sizes=sizes, biased=biased)
    if (len(kernel), found.shape(kernel), found.shape(found.reads)) != (len(kernel_shape), kernel_shape, shape):
        raise native.refuse(f"has a kernel of shape {kernel_shape} that does not fit {text[:40]} of the shape {shape}")
    if not set(biased) <= set(found.neurons):
        raise native.refuse(f"adds a bias along {biased[:40]}, which its kernel does not put out")
    return found


def _spelt_out(reads: str, kernel: str, puts: str, *, rank: int) -> tuple[str, str, str]:
    """Return the terms with letters in the place of an ellipsis."""
    unused = [c for c in _LETTERS if c not in reads + kernel + puts]
    letters = "".join(unused[: max(rank - len(reads) + 3, 0)])
    return reads.replace("...", letters), kernel, puts.replace("...", letters)


def _is_sound(reads: str, kernel: str, puts: str) -> bool:
    """Return whether the jets come first and only there, no term repeats an axis, and every axis comes from somewhere.

    An axis that only the value has would be summed over without a weight.
    """
    jets = bool(puts[1:]) and reads[:1] == puts[:1] and reads[0] not in kernel
    alone = all(len(set(axes)) == len(axes) for axes in (reads, kernel, puts))
    known = set(puts) <= set(reads + kernel) and set(reads) <= set(kernel + puts) and set(kernel) <= set(reads + puts)
    return jets and alone and known


def einsum_dense(native: Native, _arriving: tuple[Shape, ...]) -> Parts:
    """Return the kernel of an EinsumDense and what moves the axes around it, without its activation."""
    axes = contraction(native)
    places = (axes.size(axes.free),) if axes.shared else axes.shape(axes.free)
    flat, split = (*places, axes.size(axes.shared + axes.summed)), (*places, axes.size(axes.neurons))
    return between_moves(native, axes, [Part(_kernel(native, axes))], flat, split)


def between_moves(native: Native, axes: Contraction, parts: Parts, flat: Shape, split: Shape) -> Parts:
    """Return parts that contract, given values of the shape `flat` and putting out `split`, between moves of axes."""
    order, left = axes.free + axes.shared + axes.summed, axes.free + axes.neurons
    before = _moved(native, [], "front", [axes.reads.index(c) for c in order])
    before = _shaped(native, before, "flat", axes.shape(order), flat)
    parts = _shaped(native, then(before, parts), "split", split, axes.shape(left))
    return _moved(native, parts, "back", [left.index(c) for c in axes.puts])


def _moved(native: Native, parts: Parts, suffix: str, order: list[int]) -> Parts:
    """Return the parts with the axes brought into another order."""
    same = order == list(range(len(order)))
    return after(parts, None if same else Permute(native.part(suffix), tuple(order)))


def _shaped(native: Native, parts: Parts, suffix: str, before: Shape, target: Shape) -> Parts:
    """Return the parts with what they put out in another shape."""
    return after(parts, None if before == target else Reshape(native.part(suffix), target))


def _kernel(native: Native, axes: Contraction) -> Weighted:
    """Return the layer with the kernel: grouped over the shared axes, where there are any."""
    shapes = [axes.shape(axes.kernel), *([axes.bias_shape] if axes.biased else [])]
    kernel, *biases = (array.numpy() for array in native.expect(*shapes))
    weight, n_out = single(torch.as_tensor(axes.rows(kernel))), axes.size(axes.neurons)
    bias = single(torch.as_tensor(axes.bias_rows(biases[0]))) if biases else torch.zeros(n_out)
    if axes.shared:
        return Conv(native.name, weight, bias, groups=axes.size(axes.shared))
    return Dense(native.name, weight, bias)


def now(native: Native, layer: Weighted) -> Contraction:
    """Return what a native layer contracts, with the sizes that its layer in the network has now.

    Raises:
        NetworkError: a part of several axes at once was removed.
    """
    groups = layer.groups if isinstance(layer, Conv) else 1
    axes = contraction(native).resized(layer.n_out, layer.weight[0].numel(), groups)
    if axes is None:
        raise native.refuse("would keep a part of several axes at once, which its kernel cannot")
    return axes


def fill_einsum_dense(native: Native, layers: Mapping[str, Layer]) -> Native:
    """Return the native layer with the kernel, bias and sizes the network has now."""
    layer = native.holding(layers, Weighted)
    state = {key: value.double().numpy() for key, value in layer.state_dict().items()}
    if not native.config.get("bias_axes") and state["bias"].any():
        native = native.filled(bias_axes=now(native, layer).neurons)
    axes = now(native, layer)
    with explained(native.refuse, "has one bias for several that the network has", ValueError):
        bias = [axes.bias_columns(state["bias"])] if axes.biased else []
    named = [native.part("back"), native.part("split"), native.name]
    shape = next((native.shapes[name] for name in named if name in native.shapes), axes.shape(axes.puts))
    return native.filled([axes.columns(state["weight"]), *bias], output_shape=output_shape(native, shape))


def output_shape(native: Native, shape: Shape) -> Any:
    """Return what a config says of the shape that is put out, as it says it: the last axes, one, or none of them."""
    before = native.config.get("output_shape")
    listed = before if isinstance(before, list | tuple) else [before]
    sizes = [None if old is None else size for old, size in zip(listed, shape[-len(listed) :], strict=True)]
    return sizes if isinstance(before, list | tuple) else sizes[0]


def _layout(native: Native, layer: Weighted | None) -> Layout:
    axes = contraction(native) if layer is None else now(native, layer)
    return Layout(axes.rows, axes.columns, axes.bias_rows, axes.bias_columns)


EINSUM = Form(einsum_dense, fill_einsum_dense, _layout)
register("EinsumDense", fill=fill_einsum_dense)(activated(einsum_dense))
