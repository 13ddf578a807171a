"""Variants: the layers that an option stands for, and the network that a plan makes of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from hepprune.errors import RecipeError
from hepprune.fixed import FixedPoint
from hepprune.hardware.cost import reuse
from hepprune.network import Conv, Input, Kernel, Layer, Network, ReLU, Weighted, identity
from hepprune.network.precision import weight_type
from hepprune.pruning import granularity as granularities
from hepprune.pruning import importance, masks, selection, statistics
from hepprune.pruning.structure import surgery
from hepprune.search.plans import structures
from hepprune.search.plans.choices import Option
from hepprune.search.plans.structures import Structure
from hepprune.task.sample import Sample

_KEPT = 2**16  # weights of a layer whose variants are kept in memory
ROWS = ("dsp_row", "bram_row")  # what depends on the reuse factor


@dataclass(frozen=True, kw_only=True)
class ChoiceGrid:
    """What a search may choose: fractions to cut at each granularity, reuse factors, bits of weights and of values.

    Without reuse factors or bits every layer keeps its own. Values of a layer have one type.
    """

    sparsities: tuple[float, ...] = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 0.95)
    granularities: tuple[str, ...] = ("weight", "neuron")
    reuse_factors: tuple[int, ...] = ()
    weight_bits: tuple[int, ...] = ()
    activation_bits: tuple[int, ...] = ()
    input_bits: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no option can be."""
        for granularity in self.granularities:
            granularities.parse(granularity)
        for name, values, low, high in (
            ("a sparsity", self.sparsities, 0, 1),
            ("a reuse factor", self.reuse_factors, 1, 2**31),
            ("weight bits", self.weight_bits, 2, 16),
            ("activation bits", self.activation_bits, 1, 16),
            ("input bits", self.input_bits, 1, 16),
        ):
            if wrong := [value for value in values if not low <= value <= high]:
                raise RecipeError(f"{name} of {wrong[0]:g} is not between {low} and {high}")


@dataclass(frozen=True, kw_only=True)
class Variants:
    """A network with what is needed to build variants of its layers: a criterion and what it has gathered on jets.

    `gathered_on` is the key of these jets.
    """

    network: Network
    criterion: importance.Criterion
    gathered_on: str
    gathered: Mapping[str, Any] = field(default_factory=dict)
    means: Mapping[str, Tensor] = field(default_factory=dict)
    structures: Mapping[str, Structure] = field(default_factory=dict)
    _made: dict[tuple[object, ...], Layer] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, network: Network, sample: Sample, *, criterion: str = "fisher") -> "Variants":
        """Gather the criterion's statistics and the neurons' means on jets."""
        method = importance.find(criterion)
        gathered, found = method.gather(network, sample), structures.find(network, method, sample)
        means = statistics.means(network, sample)
        return cls(
            network=network, criterion=method, gathered_on=sample.key, gathered=gathered, means=means, structures=found
        )

    @property
    def key(self) -> tuple[str, ...]:
        """All that the variants depend on besides their options."""
        return identity(self.network), self.criterion.name, self.gathered_on

    def options(self, grid: ChoiceGrid) -> Iterator[tuple[str, tuple[Option, ...]]]:
        """Yield every layer or structure that can be changed, with its options; the first leaves it as it is."""
        scored = {layer.name for layer in statistics.scored(self.network)}
        for layer in self.network:
            if isinstance(layer, Weighted) and layer.name in scored:
                yield layer.name, tuple(self._of_weights(layer, grid))
            elif isinstance(kind := layer.result, FixedPoint) and isinstance(layer, ReLU) and grid.activation_bits:
                fewer = [bits for bits in grid.activation_bits if bits < kind.width]
                yield layer.name, (Option(), *(Option(activation_bits=bits) for bits in fewer))
            elif isinstance(kind, FixedPoint) and isinstance(layer, Input) and grid.input_bits:
                fewer = [bits for bits in grid.input_bits if bits < kind.width]
                yield layer.name, (Option(), *(Option(input_bits=bits) for bits in fewer))
        for name, structure in self.structures.items():
            if structure.granularity in grid.granularities:
                yield name, structure.options

    def _of_weights(self, layer: Weighted, grid: ChoiceGrid) -> Iterator[Option]:
        own = layer.weight_type.width if isinstance(layer.weight_type, FixedPoint) else 0
        bits = (None, *(each for each in grid.weight_bits if each < own))
        size = layer.weight[0].numel(), layer.n_out
        factors = tuple(f for f in grid.reuse_factors if reuse.is_legal(*size, f)) or (None,)
        own_granularities = [name for name in grid.granularities if name not in structures.GRANULARITIES]
        losing = {kernel.name for kernel in selection.prunable(self.network, "neuron")}
        grouped = isinstance(layer, Conv) and layer.groups > 1
        granular = [g for g in own_granularities if g != "neuron" or (layer.name in losing and not grouped)]
        for weight_bits in bits:
            for factor in factors:
                yield Option(weight_bits=weight_bits, reuse_factor=factor)
                for granularity in granular:
                    if granularity in ROWS and (factor or layer.reuse_factor) == 1:
                        continue  # a row is then a weight
                    pattern = granularities.parse(granularity)
                    sparsities = grid.sparsities if pattern is None else (1 - pattern[0] / pattern[1],)
                    for sparsity in sparsities:
                        yield Option(
                            granularity=granularity, sparsity=sparsity, reuse_factor=factor, weight_bits=weight_bits
                        )

    def layer(self, name: str, option: Option) -> Layer:
        """Return the layer that an option stands for; it must not be changed, for a small one is made only once.

        Raises:
            NetworkError: it would be left empty.
        """
        key = name, option.key
        found = self._made.get(key)
        if found is None:
            found = self._layer(name, option)
            if sum(array.numel() for array in found.parameters()) <= _KEPT:
                self._made[key] = found
        return found

    @torch.no_grad()
    def _layer(self, name: str, option: Option) -> Layer:
        layer = self.network[name]
        bits = option.activation_bits if option.input_bits is None else option.input_bits
        if bits is not None:
            kind = layer.fixed_result
            return layer.rebuilt(result=None if kind is None else replace(kind, width=bits))
        if not isinstance(layer, Weighted):
            return layer
        changes: dict[str, Any] = {} if option.reuse_factor is None else {"reuse_factor": option.reuse_factor}
        if option.weight_bits is not None:
            changes["weight_type"] = weight_type(layer.weight, option.weight_bits)
        built = layer.rebuilt(**changes)
        return built if option.sparsity == 0 else masks.with_cut(built, self._cut(built.kernels[0], option))

    def _cut(self, kernel: Kernel, option: Option) -> masks.Cut:
        neurons = option.granularity == "neuron"
        scores = self.criterion(kernel, "neuron" if neurons else "weight", self.gathered.get(kernel.name))
        grouped = granularities.parse(option.granularity) is None
        norm = self.criterion.norm
        ranked = selection.combined(kernel, scores, option.granularity, norm=norm) if grouped else scores
        chosen = selection.of_layer(kernel, ranked, option.sparsity, granularity=option.granularity)
        if not neurons:
            return chosen
        constants = self.means[kernel.name][list(chosen.units)].tolist()
        return masks.Cut(kernel.name, "neuron", chosen.units, tuple(constants))

    def build(self, options: Mapping[str, Option], *, draft: bool = False) -> Network:
        """Return the network with an option for each layer named, dead structure removed (see `surgery.shrink`).

        A `draft` is for pricing and measuring: it may share layers, must not be changed, and the log is silent.
        """
        chosen = {self.structures[name]: option for name, option in options.items() if name in self.structures}
        network = structures.without(self.network, chosen, "layer")
        left = {layer.name for layer in network}
        changed = {name: self.layer(name, option) for name, option in options.items() if name in left}
        network = replaced(network, changed) if draft else network.replacing(changed)
        network = structures.without(network, chosen, "head")  # while all heads have their places
        shrinks = any(option.granularity in {"neuron", "head"} for option in options.values())
        return surgery.shrink(network, warn=not draft) if shrinks else network


def replaced(network: Network, changed: Mapping[str, Layer]) -> Network:
    """Return a network that shares all layers but the changed ones; it is for pricing and must not be trained."""
    return Network([changed.get(layer.name, layer) for layer in network], network.sources, network.outputs)
