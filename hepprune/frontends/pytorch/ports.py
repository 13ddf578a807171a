"""How values go into a model and come out of it, where the network has their axes in another order."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from hepprune.frontends.checking import RunModel
from hepprune.frontends.pytorch.building import Assembly
from hepprune.frontends.pytorch.values import Axes, Value, axes_of, inverse


@dataclass(frozen=True)
class Ports:
    """How a program's inputs and outputs become the network's: the order of their axes; and how many jets, if set."""

    inputs: tuple[Axes, ...]
    outputs: tuple[Axes, ...]
    n_jets: int | None

    @property
    def batches(self) -> tuple[int, ...]:
        """Numbers of jets to try a model on: two other than it was traced with, or the only one that it takes."""
        return (3, 5) if self.n_jets is None else (self.n_jets,)

    def running(self, model: Callable[[list[Tensor]], Sequence[Tensor]]) -> RunModel:
        """Return what runs a model, which takes and gives values as the program does, on the network's features."""

        def run(given: Sequence[Tensor]) -> list[Tensor]:
            values = [x.permute(inverse(axes)) for x, axes in zip(given, self.inputs, strict=True)]
            found = [y if y.ndim > 1 else y.unsqueeze(1) for y in model(values)]
            return [y.permute(*axes) for y, axes in zip(found, self.outputs, strict=True)]

        return run


def ports(
    built: Assembly, sizes: Mapping[str, tuple[int | None, ...]], inputs: Iterable[Value], outputs: Iterable[Value]
) -> Ports:
    """Return how values go in and out: an input as it lies, an output channels last or in the program's order."""
    given = (axes_of(x.index, (built.n_jets, *built.shapes[x.layer])) for x in inputs)
    taken = tuple(axes or tuple(range(x.index.ndim)) for axes, x in zip(given, inputs, strict=True))
    (size,) = {shape[0] for shape in sizes.values()}
    return Ports(taken, tuple(_output_axes(built, y) for y in outputs), size)


def lies_channels_last(built: Assembly, value: Value) -> bool:
    """Return whether a layer has an output's values with its channels last, which are on axis 1 in the model."""
    index = value.index if value.index.ndim > 1 else value.index.unsqueeze(1)
    lying = axes_of(index.permute(0, *range(2, index.ndim), 1), (built.n_jets, *built.shapes[value.layer]))
    return lying == tuple(range(index.ndim))


def _output_axes(built: Assembly, value: Value) -> Axes:
    rank = max(value.index.ndim, 2)
    return (0, *range(2, rank), 1) if lies_channels_last(built, value) else tuple(range(rank))
