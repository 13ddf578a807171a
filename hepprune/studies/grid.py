"""The grid of a latency study: every combination of model, bits, sparsity, strategy, knobs and clock."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch

from hepprune.errors import RecipeError, unknown
from hepprune.fixed import FixedPoint
from hepprune.network import Conv, Layer, Network, Recurrent, Weighted, precision
from hepprune.network.layers import STRATEGIES
from hepprune.network.precision import Precision, activation_type
from hepprune.pruning import plan

SHARING = ("resource", "resource_unrolled")  # what is built as under latency where the reuse factor is 1


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One point of a grid: a network, how it is built, and its clock; None leaves what the model has.

    `bits` are those of weights, activations and, where the model has no type for them, inputs; `sparsity` is the
    fraction of weights cut, the smallest of all layers first.
    """

    model: str
    bits: int | None = None
    sparsity: float = 0.0
    strategy: str = "latency"
    reuse_factor: int | None = None
    parallelization: int | None = None
    clock_ns: float

    @property
    def network(self) -> tuple[str, int | None, float]:
        """What the jets see of it: model, bits and sparsity."""
        return self.model, self.bits, self.sparsity

    @property
    def name(self) -> str:
        """What tables and folders call it, and no other setting, such as "tagger 6b 50% latency r2 2.5ns"."""
        parts = (
            self.model,
            f"{self.bits}b" if self.bits else "",
            f"{100 * self.sparsity:.12g}%" if self.sparsity else "",
            self.strategy,
            f"r{self.reuse_factor}" if self.reuse_factor else "",
            f"p{self.parallelization}" if self.parallelization else "",
            f"{self.clock_ns:.12g}ns",
        )
        return " ".join(part for part in parts if part)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The values of every axis, clock periods in ns; None is what the model, or the target, has."""

    clocks_ns: tuple[float | None, ...] = (None,)
    strategies: tuple[str, ...] = ("latency", "resource", "distributed_arithmetic")
    reuse_factors: tuple[int | None, ...] = (None,)
    bits: tuple[int | None, ...] = (None,)
    sparsities: tuple[float, ...] = (0.0,)
    parallelizations: tuple[int | None, ...] = (None,)

    def __post_init__(self) -> None:
        """Refuse values that no point can have.

        Raises:
            RecipeError: an axis has none, or one of them is out of range or unknown.
        """
        ranges: tuple[tuple[str, tuple[Any, ...], float, float], ...] = (
            ("clock period in ns", self.clocks_ns, 1e-3, 1e6),
            ("reuse factor", self.reuse_factors, 1, 2**31),
            ("width in bits", self.bits, 2, 32),
            ("sparsity", self.sparsities, 0, 0.999),
            ("parallelization factor", self.parallelizations, 1, 2**31),
        )
        for name, values, low, high in ranges:
            if not values:
                raise RecipeError(f"a study needs at least one {name}")
            if wrong := [value for value in values if value is not None and not low <= value <= high]:
                raise RecipeError(f"a {name} of {wrong[0]:g} is not between {low:g} and {high:g}")
        if not self.strategies:
            raise RecipeError("a study needs at least one strategy")
        if strange := [name for name in self.strategies if name not in STRATEGIES]:
            raise RecipeError(unknown("strategy", strange[0], STRATEGIES))

    def settings(self, model: str, clock_ns: float) -> Iterator[Setting]:
        """Yield every combination for one model, legal or not; `clock_ns` stands where the axis has None.

        Those of the same network follow each other, and of these the ones that are built alike.
        """
        axes: dict[str, Iterable[Any]] = {
            "bits": self.bits,
            "sparsity": self.sparsities,
            "strategy": self.strategies,
            "reuse_factor": self.reuse_factors,
            "parallelization": self.parallelizations,
            "clock_ns": (clock_ns if clock is None else clock for clock in self.clocks_ns),
        }
        for values in product(*map(dict.fromkeys, axes.values())):
            yield Setting(model=model, **dict(zip(axes, values, strict=True)))

    def refusal(self, setting: Setting, network: Network) -> str | None:
        """Return why a combination is none of its own, whatever the network's sizes; None where nothing is wrong."""
        each = [layer.reuse_factor for layer in network if isinstance(layer, Weighted | Recurrent)]
        largest = max(each, default=1) if setting.reuse_factor is None else setting.reuse_factor
        if setting.strategy == "distributed_arithmetic" and largest > 1:
            return "strategy distributed_arithmetic has no multipliers to share, so no reuse factor but 1"
        if setting.strategy in SHARING and largest == 1 and "latency" in self.strategies:
            return f"strategy {setting.strategy} at reuse factor 1 is unrolled as under latency, a point already"
        if (setting.parallelization or 1) > 1 and not any(isinstance(layer, Conv) for layer in network):
            return "there is no convolution to set a parallelization factor of"
        return None


def variant(network: Network, features: Any, *, bits: int | None, sparsity: float) -> Network:
    """Return a network with the smallest weights cut, and then with types of so many bits.

    Shapes stay, since reuse factors depend on them, and nothing is trained. Features (n_jets, *shape), one array for
    each input, choose the integer bits.

    Raises:
        NetworkError: a layer would be left empty, or gets no types.
        DataError: the features are not what the network takes.
    """
    cut = plan.prune(network, sparsity=sparsity) if sparsity else network
    if bits is not None:
        kinds = {
            layer.name: layer.result
            if isinstance(layer.result, FixedPoint)
            else activation_type(torch.as_tensor(jets), bits, "SAT")
            for layer, jets in zip(cut.inputs, features, strict=True)
        }
        cut = precision.quantise(cut, features, Precision(inputs=kinds, weight_bits=bits, activation_bits=bits))
    return cut


def built(network: Network, setting: Setting) -> Network:
    """Return a network whose layers have the reuse and parallelization factors of a setting."""
    changed: dict[str, Layer] = {}
    for layer in network:
        knobs: dict[str, int] = {}
        if setting.reuse_factor is not None and isinstance(layer, Weighted | Recurrent):
            knobs["reuse_factor"] = setting.reuse_factor
        if setting.parallelization is not None and isinstance(layer, Conv):
            knobs["parallelization_factor"] = setting.parallelization
        if knobs:
            changed[layer.name] = layer.rebuilt(**knobs)
    return network.replacing(changed) if changed else network
