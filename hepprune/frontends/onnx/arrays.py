"""Constants of an ONNX model: their values, how they are quantised, and how changed values go back into the file."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hepprune.frontends.onnx.quantisation import Quantisation
from hepprune.frontends.pytorch.values import Constant, inverse

Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False, kw_only=True)
class FileConstant(Constant):
    """A constant; `origin` is the key of its initialiser, `undo` gives values in the initialiser's shape."""

    undo: Change | None = None
    quantisation: Quantisation | None = None

    @property
    def factor(self) -> "FileConstant":
        """The array as a factor of a product: fixed where it projects, of 0, 1 and -1 only and without a quantiser."""
        projects = bool(self.tensor.any()) and bool((self.tensor == self.tensor.sign()).all())
        return replace(self, fixed=True) if projects and self.quantisation is None else self

    def native(self, values: Tensor) -> Tensor:
        """Return values shaped as `tensor` in the shape that the file stores."""
        ordered = super().native(values)
        return ordered if self.undo is None else self.undo(ordered)

    @property
    def acting(self) -> Tensor:
        """The values that act, quantised."""
        if self.quantisation is None:
            return self.tensor
        return self.quantisation.of(self.quantisation.scale.numpy())(self.tensor)

    def settled(self) -> "FileConstant":
        """Return the values that act as a plain constant."""
        return self if self.quantisation is None else replace(self, tensor=self.acting)

    def changed(self, change: Change, back: Change) -> "FileConstant":
        """Return the array after a change of numbers; `back` undoes it."""
        return replace(self, tensor=change(self.tensor), undo=lambda values: self.native(back(values)), axes=None)

    def moved(self, move: Change, back: Change) -> "FileConstant":
        """Return the array after a move that keeps every value, its quantisation moved along."""
        found = self.changed(move, back)
        if self.quantisation is None or self.quantisation.scale.numel() == 1:
            return found
        scale = move(self.quantisation.scale.expand(self.tensor.shape))
        return replace(found, quantisation=replace(self.quantisation, scale=scale))

    def transposed(self, order: tuple[int, ...]) -> "FileConstant":
        """Return the array with its axes in another order."""
        return self.moved(lambda values: values.permute(order), lambda values: values.permute(inverse(order)))

    def reshaped(self, shape: tuple[int, ...]) -> "FileConstant":
        """Return the array under another shape."""
        before = tuple(self.tensor.shape)
        return self.moved(lambda values: values.reshape(shape), lambda values: fitted(values, before))


def fitted(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return values under a shape whose longest axis takes another length where their number is another."""
    if values.numel() == torch.Size(shape).numel():
        return values.reshape(shape)
    longest = max(range(len(shape)), key=lambda axis: shape[axis])
    return values.reshape(tuple(-1 if axis == longest else size for axis, size in enumerate(shape)))
