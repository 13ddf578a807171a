"""Small networks in float64 in which several layers read one value: residual sums, products, cells on the same states."""

import torch
from torch import Tensor

from hepprune.network import Activation, Dense, Input, Layer, Merge, Network, Recurrent, ReLU, Reshape, Shared
from tests.pruning import cells

N_CLASSES = 3


class _Drawn:
    """Layers with random weights."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(1)

    def array(self, *shape: int) -> Tensor:
        return 0.6 * torch.randn(*shape, generator=self.generator)

    def dense(self, name: str, n_out: int, n_in: int) -> Dense:
        return Dense(name, self.array(n_out, n_in), 0.3 * self.array(n_out))

    def cell(self, name: str, form: str, *, sequences: bool = True, **options: bool) -> Recurrent:
        arrays = {key: self.array(*like.shape) for key, like in cells.arrays(form).items()}
        kind, after = form.removesuffix("_before"), not form.endswith("before")
        return Recurrent(name, kind, **arrays, reset_after=after, return_sequences=sequences, **options)


def residual() -> Network:
    """Two sums in a row, the first of whose values three layers read, the second of a raw and a rectified one."""
    draw = _Drawn()
    layers: list[Layer] = [
        *(Input("x", 4), draw.dense("a", 4, 4), Activation("act", "tanh"), draw.dense("b", 4, 4), ReLU("relu")),
        *(draw.dense("c", 4, 4), Merge("sum", "add"), draw.dense("d", 4, 4), Merge("again", "add")),
        draw.dense("out", N_CLASSES, 4),
    ]
    edges = {"a": "x", "act": "a", "b": "act", "relu": "b", "c": "act", "sum": ("c", "relu"), "d": "sum"}
    return Network(layers, edges | {"again": ("d", "act"), "out": "again"}).double()


def product() -> Network:
    """A product and a sum that read a value which they were made of."""
    draw = _Drawn()
    layers: list[Layer] = [
        *(Input("x", 5), draw.dense("a", 4, 5), draw.dense("b", 4, 4), Activation("act", "tanh")),
        *(Merge("times", "multiply"), Merge("sum", "add"), draw.dense("out", N_CLASSES, 4)),
    ]
    edges = {"a": "x", "b": "a", "act": "b", "times": ("act", "a"), "sum": ("times", "a"), "out": "sum"}
    return Network(layers, edges).double()


def shared() -> Network:
    """A layer that runs three times, once on a sum of what it made before."""
    draw = _Drawn()
    layers: list[Layer] = [
        *(Input("x", 4), draw.dense("a", 4, 4), Activation("act", "tanh"), Shared("second", "a")),
        *(Merge("sum", "add"), Shared("third", "a"), ReLU("relu"), draw.dense("out", N_CLASSES, 4)),
    ]
    edges = {"a": "x", "act": "a", "second": "act", "sum": ("second", "act"), "third": "sum", "relu": "third"}
    return Network(layers, edges | {"out": "relu"}).double()


def same_states(form: str) -> Network:
    """Two cells that read the states of a third, which a sum reads too; one of the two runs backwards."""
    draw, width = _Drawn(), cells.N_STEPS * cells.N_OUT
    layers: list[Layer] = [
        *(Input("x", (cells.N_STEPS, cells.N_IN)), draw.cell("first", form), draw.cell("second", "gru")),
        *(draw.cell("third", form, backwards=True, in_order=True), Merge("times", "multiply"), Merge("sum", "add")),
        *(Reshape("flat", (width,)), draw.dense("out", N_CLASSES, width)),
    ]
    edges = {"first": "x", "second": "first", "third": "first", "times": ("second", "third"), "sum": ("times", "first")}
    return Network(layers, edges | {"flat": "sum", "out": "flat"}).double()


def twice(form: str) -> Network:
    """A cell that runs on the input and on its own states, and a sum of both."""
    draw, width = _Drawn(), cells.N_STEPS * cells.N_OUT
    layers: list[Layer] = [
        *(Input("x", (cells.N_STEPS, cells.N_IN)), draw.cell("first", form), Shared("second", "first")),
        *(Merge("sum", "add"), Reshape("flat", (width,)), draw.dense("out", N_CLASSES, width)),
    ]
    edges = {"first": "x", "second": "first", "sum": ("first", "second"), "flat": "sum", "out": "flat"}
    return Network(layers, edges).double()


NETWORKS = {"residual": residual(), "product": product(), "shared": shared()}
NETWORKS |= {f"same states, {form}": same_states(form) for form in cells.FORMS}
NETWORKS |= {f"twice, {form}": twice(form) for form in cells.FORMS}


def jets(network: Network, n_jets: int = 12) -> tuple[Tensor, Tensor]:
    """Return jets and their classes."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(n_jets, *network.input.features_shape, generator=generator, dtype=torch.float64)
    return x, torch.randint(N_CLASSES, (n_jets,), generator=generator)
