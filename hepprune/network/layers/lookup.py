"""Functions of one value that are learned, each a table of its own."""

import numpy as np
import torch
from torch import Tensor

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint, Quantiser
from hepprune.fixed.quantisers import FixedPoints, spread
from hepprune.network import quantise
from hepprune.network.layers.base import Layer, Shape, layer


@layer
class Lookup(Layer):
    """What a table has for each value, a table for each channel or value.

    `table` (*values, n_entries) has the outputs for all arguments of `argument_type`, from the least on; those of a
    narrower type than others end with the last one again. `numbers` say what each channel is in the file that it is of.
    """

    takes = ("argument_type",)

    def __init__(
        self,
        name: str,
        table: Tensor,
        argument_type: Quantiser,
        result: Quantiser | None = None,
        *,
        numbers: Tensor | None = None,
    ) -> None:
        super().__init__(name, result)
        if table.ndim < 2 or not torch.isfinite(table).all():
            raise NetworkError(f"layer '{name}' has a table of shape {tuple(table.shape)}, or not of finite numbers")
        if not isinstance(argument_type, FixedPoint | FixedPoints):
            raise NetworkError(f"layer '{name}' looks up a {type(argument_type).__name__}, no fixed-point type")
        table = table[..., : 2 ** int(np.max(argument_type.width))]  # no argument has more values
        channels = torch.arange(table.shape[-2]) if numbers is None else numbers
        self.argument_type = argument_type
        self.register_buffer("table", table.detach().clone())
        self.register_buffer("numbers", channels.detach().clone())
        self.table: Tensor
        self.numbers: Tensor

    def compute(self, arriving: Tensor, *, quantised: bool) -> Tensor:
        """Return the entries at the values; beyond the ends those of the ends.

        A gradient goes through with the slope between the entries on both sides.
        """
        kind = self.argument_type
        step, least = (torch.as_tensor(np.asarray(each)).to(arriving) for each in (kind.step, kind.minimum))
        found = torch.round((arriving - least) / step).nan_to_num().clamp(0, self.table.shape[-1] - 1).long()
        table = self.table.expand(*arriving.shape, -1)

        def entries(places: Tensor) -> Tensor:
            return table.gather(-1, places.clamp(0, table.shape[-1] - 1)[..., None])[..., 0].to(arriving.dtype)

        if not arriving.requires_grad:
            return entries(found)
        return quantise.sloped(arriving, entries(found), (entries(found + 1) - entries(found - 1)) / (2 * step))

    def shape(self, *arriving: Shape) -> Shape:
        """Return the shape as it comes in, and refuse tables that do not fit it."""
        before, tables = self.only(arriving), tuple(self.table.shape[:-1])
        if len(tables) > len(before) or any(n not in {1, size} for n, size in zip(tables[::-1], before[::-1])):  # noqa: B905
            raise NetworkError(f"layer '{self.name}' has tables of shape {tables}, not for {before}")
        return before

    def singles(self, shape: Shape) -> list["Lookup"]:
        """Return the function of every value of a shape, row by row, as a layer of its own."""
        tables = self.table.expand(*shape, -1).reshape(-1, 1, self.table.shape[-1])
        kinds = spread(self.argument_type, shape)
        bit, pairs = FixedPoint(1, 1, signed=False), zip(tables, kinds, strict=True)
        return [Lookup(self.name, table if kind else table[..., :1], kind or bit) for table, kind in pairs]
