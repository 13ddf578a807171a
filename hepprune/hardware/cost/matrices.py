"""What a cost model sees of a Network: constant matrices, exact input ranges, and the quantisers their sums pass.

A search prices thousands of networks that differ in one layer, so the whole numbers of a layer are kept by content.
"""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import FixedPoints
from hepprune.network import Dense, Input, Network, ReLU
from hepprune.network.quantise import weight_integers
from hepprune.network.ranges import Interval, port, quantise

FixedType = FixedPoint | FixedPoints  # of all values, or of each


@dataclass(frozen=True)
class Following:
    """What the sums pass next: a ReLU or not, then a type (None keeps every bit); `before` is what arrives."""

    before: Interval
    kind: FixedType | None
    relu: bool


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """One constant matrix: whole-number weights (n_out, n_in) and biases (n_out,), what arrives, and what follows.

    Weights that cannot act are zero already: those on constant inputs, and those of neurons that nothing reads.
    `source` names the matrix before, None for the input port.
    """

    name: str
    source: str | None
    weight: NDArray[np.int64]
    weight_type: FixedPoint
    bias: NDArray[np.int64]
    arriving: Interval
    total: Interval
    quantisers: tuple[Following, ...] = ()

    @cached_property
    def alive(self) -> NDArray[np.bool_]:
        """Which neurons still depend on the input, (n_out,)."""
        return (self.weight != 0).any(axis=1)  # type: ignore[no-any-return]

    @property
    def leaving(self) -> Interval:
        """The ranges after the last quantiser."""
        if not self.quantisers:
            return self.total
        last = self.quantisers[-1]
        before = last.before
        if last.relu:
            before = replace(before, low=np.maximum(before.low, 0), high=np.maximum(before.high, 0))
        return quantise(before, last.kind)


@dataclass(frozen=True)
class ConstantMatrices:
    """All matrices of a network in the order they run, and the range of its input port."""

    port: Interval
    matrices: tuple[Matrix, ...]
    output: str | None


def covers(network: Network) -> bool:
    """Return whether a network is of dense layers and ReLUs on single jets, all typed, from one input to one output.

    Whatever else there is, a layer that runs twice, a ReLU that ends at a maximum, is priced by `circuits`.
    """
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        return False
    for layer in network.body[1:]:
        if isinstance(layer, ReLU):
            if layer.maximum is not None or isinstance(network.source(layer), Input):
                return False
        elif not isinstance(layer, Dense) or layer.weight_type is None:
            return False
    single = all(len(network.shapes[layer.name]) == 1 for layer in network.body)
    return single and network.input.result is not None


@torch.no_grad()
def extract(network: Network) -> ConstantMatrices:
    """Return the matrices of a quantised network.

    Raises:
        NetworkError: a layer has no fixed-point form.
    """
    features = port(network.input)
    sources: dict[str, str | None] = {network.input.name: None}
    matrices: dict[str, Matrix] = {}
    for layer in network.body[1:]:
        if len(network.shapes[layer.name]) != 1:
            raise NetworkError(f"layer '{layer.name}' ({type(layer).__name__}) works on positions and has no price yet")
        source = sources[network.source(layer).name]
        arriving = matrices[source].leaving if source else features
        if isinstance(layer, Dense):
            matrices[layer.name] = _matrix(layer, source, arriving)
        elif isinstance(layer, ReLU) and source and layer.maximum is None:
            passed = Following(arriving, layer.result_types, relu=True)
            matrices[source] = replace(matrices[source], quantisers=(*matrices[source].quantisers, passed))
        else:
            raise NetworkError(f"layer '{layer.name}' ({type(layer).__name__}) has no price here; fold it first")
        sources[layer.name] = layer.name if isinstance(layer, Dense) else source
    output = sources[network.raw_output]
    kept: list[Matrix] = []
    for matrix in reversed(matrices.values()):  # neurons that no later matrix reads are zero; the logits are all read
        read = np.full(len(matrix.weight), matrix.name == output)
        for later in kept:
            if later.source == matrix.name:
                read |= later.weight.any(axis=0)
        kept.append(replace(matrix, weight=matrix.weight * read[:, None]))
    return ConstantMatrices(features, tuple(reversed(kept)), output)


def _matrix(layer: Dense, source: str | None, arriving: Interval) -> Matrix:
    weight_type, bias_type = layer.fixed_types
    weight = integers(layer)
    bias = bias_type(layer.bias.detach().double().cpu().numpy())
    positive, negative = (end(weight * weight_type.step, 0) for end in (np.maximum, np.minimum))
    low = positive @ arriving.low + negative @ arriving.high + bias
    high = positive @ arriving.high + negative @ arriving.low + bias
    total = Interval(low, high, max(weight_type.fraction + arriving.fraction, bias_type.fraction))
    return Matrix(
        name=layer.name,
        source=source,
        weight=weight * (arriving.low < arriving.high),
        weight_type=weight_type,
        bias=np.rint(bias * 2.0**bias_type.fraction).astype(np.int64),
        arriving=arriving,
        total=total,
        quantisers=(Following(total, layer.result_types, relu=False),) if layer.result else (),
    )


def integers(layer: Dense) -> NDArray[np.int64]:
    """Return the weights that act as whole numbers of their last place, (n_out, n_in)."""
    weight = layer.weight.detach().cpu().double().numpy()  # double, as the firmware rounds it
    limit = layer.digit_limit.cpu().numpy()
    return _kept_integers(weight.tobytes(), limit.tobytes(), weight.shape, layer.fixed_types[0])


@lru_cache(maxsize=512)
def _kept_integers(weight: bytes, limit: bytes, shape: tuple[int, ...], kind: FixedPoint) -> NDArray[np.int64]:
    values = torch.frombuffer(bytearray(weight), dtype=torch.float64).reshape(shape)
    limits = torch.frombuffer(bytearray(limit), dtype=torch.uint8).reshape(shape)
    whole = weight_integers(values, kind, limits).numpy().astype(np.int64)
    whole.setflags(write=False)
    return whole
