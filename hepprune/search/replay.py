"""Replay: what follows a changed layer, run for many changes in one call and for a few jets at a time.

Three things make it faster than running the network once for each change. What comes before the changed layer is
computed once. The changed layer's stand-ins are stacked into one matrix product, and everything after them runs on
(jets x stand-ins) rows. The jets go through in chunks whose values stay in the processor's cache, on all of torch's
threads at once, and a quantised activation is two passes in place there: the steps of its type, powers of two, are
moved exactly into the weights around it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint, Quantiser
from hepprune.network import Dense, Input, Layer, Network, ReLU, Shared

T = TypeVar("T")
Kernel = Callable[..., Tensor]

_CHUNK_BYTES = 2**22  # of the widest value of all stand-ins together: small enough for a cache, few enough calls
_STACK_BYTES = 2**28  # of stacked weights that are kept at once
_CHUNK_JETS = (128, 4096)
# A product in the widest vectors of any processor, which torch itself asks for only in compiled code; the library it
# asks otherwise takes twice as long where the processor is of another maker.
_ONEDNN_LINEAR = getattr(torch.ops.mkldnn, "_linear_pointwise", None)


@dataclass(frozen=True)
class Group:
    """Stand-ins for one layer, of its name, each with other weights or another type, and the same shape of result."""

    layers: tuple[Layer, ...]

    @property
    def name(self) -> str:
        """The layer they stand in for."""
        return self.layers[0].name

    def __len__(self) -> int:
        """Return the number of stand-ins."""
        return len(self.layers)


@dataclass(frozen=True)
class Replayed:
    """Logits of one chunk of jets: of the network (n_jets, n_classes), and of each group's stand-ins.

    The rows of `stacked[g]` are (n_jets x len(group g), n_classes), the stand-ins of one jet together.
    """

    jets: slice
    logits: Tensor
    stacked: tuple[Tensor, ...]


def run(
    network: Network,
    x: Tensor,
    groups: Sequence[Group],
    use: Callable[[Replayed], T],
    *,
    advance: Callable[[int], None] = lambda _: None,
) -> Iterator[tuple[tuple[Group, ...], list[T]]]:
    """Yield groups together, with what `use` makes of each chunk of jets x (n_jets, *shape), in the order of the jets.

    `use` is called from several threads. Groups are taken together as long as their stacked weights stay small;
    `advance(1)` is called for each group done.

    Raises:
        NetworkError: a group names no layer before the logits.
    """
    for some in _batches(groups):
        plan = _Plan.of(network, some)
        chunk = _chunk_jets(network, some)
        slices = [slice(start, min(start + chunk, len(x))) for start in range(0, len(x), chunk)]
        with _single_threads() as map_in_order:
            found: list[T] = list(map_in_order(partial(_run_chunk, plan, x, use), slices))
        yield some, found
        advance(len(some))


def _batches(groups: Sequence[Group]) -> Iterator[tuple[Group, ...]]:
    batch: list[Group] = []
    size = 0
    for group in groups:
        own = sum(4 * parameter.numel() for layer in group.layers for parameter in layer.parameters())
        if batch and size + own > _STACK_BYTES:
            yield tuple(batch)
            batch, size = [], 0
        batch.append(group)
        size += own
    if batch:
        yield tuple(batch)


def _chunk_jets(network: Network, groups: Iterable[Group]) -> int:
    widest = 4 * max(network.widths.values()) * max(len(group) for group in groups)
    fewest, most = _CHUNK_JETS
    return min(max(_CHUNK_BYTES // widest, fewest), most)


@contextmanager
def _single_threads() -> Iterator[Callable[..., Iterable[Any]]]:
    """Yield a map over as many threads as torch has, each of which computes alone.

    Products of this size are too small to be shared, but each thread can have its own jets.
    """
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool.map
    finally:
        torch.set_num_threads(n_threads)


@torch.no_grad()
def _run_chunk(plan: "_Plan", x: Tensor, use: Callable[[Replayed], T], jets: slice) -> T:
    values = plan.base(x[jets])
    stacked = tuple(plan.after(index, x[jets], values) for index in range(len(plan.groups)))
    return use(Replayed(jets, values[plan.logits], stacked))


@dataclass(frozen=True)
class _Plan:
    """A network prepared to run: a kernel per layer, a stacked one per group, and the layers that follow each group.

    A value may be kept in units of its type's step; then the kernels around it are scaled to match. A layer whose
    weights are shared changes in several places, so for its stand-ins the `whole` network is run.
    """

    groups: tuple[Group, ...]
    order: tuple[str, ...]
    sources: Mapping[str, tuple[str, ...]]
    kernels: Mapping[str, Kernel]
    stacked: tuple[Kernel, ...]
    following: tuple[tuple[str, ...], ...]
    logits: str
    whole: Mapping[int, tuple[Network, ...]]

    @classmethod
    @torch.no_grad()
    def of(cls, network: Network, groups: tuple[Group, ...]) -> "_Plan":
        """Prepare a network and the groups that stand in for some of its layers."""
        order = tuple(layer.name for layer in network)
        order = order[: order.index(network.logits_name) + 1]
        for group in groups:
            if group.name not in order:
                raise NetworkError(f"layer '{group.name}' does not come before the logits, so nothing follows it")
        sources = {layer.name: () if isinstance(layer, Input) else network.sources[layer.name] for layer in network}
        units = _units(network, order)
        needed = {source for group in groups for source in sources[group.name]}
        kernels = {name: _kernel(network, network[name], units, needed) for name in order}
        stacked = tuple(_stack(network, group, units) for group in groups)
        following = tuple(_following(order, sources, group.name) for group in groups)
        shared = {layer.of for layer in network if isinstance(layer, Shared)}
        whole = {
            index: tuple(network.replacing({group.name: layer}) for layer in group.layers)
            for index, group in enumerate(groups)
            if group.name in shared
        }
        return cls(groups, order, sources, kernels, stacked, following, network.logits_name, whole)

    def base(self, x: Tensor) -> dict[str, Tensor]:
        """Return the values of the network as it is."""
        values: dict[str, Tensor] = {}
        for name in self.order:
            own = [values[source] for source in self.sources[name]] or [x]
            values[name] = self.kernels[name](*own)
        return values

    def after(self, index: int, x: Tensor, base: Mapping[str, Tensor]) -> Tensor:
        """Return the logits of a group's stand-ins, (n_jets x n, n_classes)."""
        group = self.groups[index]
        if index in self.whole:
            return torch.stack([network.logits(x) for network in self.whole[index]], dim=1).flatten(0, 1)
        values = {group.name: self.stacked[index](*(base[source] for source in self.sources[group.name]))}
        for name in self.following[index]:
            own = [
                values[s] if s in values else base[s].repeat_interleave(len(group), dim=0) for s in self.sources[name]
            ]
            values[name] = self.kernels[name](*own)
        return values[self.logits]


def _following(order: tuple[str, ...], sources: Mapping[str, tuple[str, ...]], changed: str) -> tuple[str, ...]:
    """Return the layers whose value depends on the changed one, in order."""
    reached = {changed}
    for name in order:
        if reached & set(sources[name]):
            reached.add(name)
    return tuple(name for name in order if name in reached and name != changed)


def _units(network: Network, order: tuple[str, ...]) -> dict[str, float]:
    """Return the unit each value is kept in: its type's step where only dense layers read it, else 1.

    A dense layer before a ReLU puts out what the ReLU keeps.
    """
    units: dict[str, float] = dict.fromkeys(order, 1.0)
    for name in reversed(order):
        layer, readers = network[name], network.readers(network[name])
        if not readers or name in {network.logits_name, *network.outputs}:
            continue
        if isinstance(layer, ReLU) and isinstance(layer.result, FixedPoint):
            if all(isinstance(reader, Dense) for reader in readers):
                units[name] = layer.result.step
        elif isinstance(layer, Dense) and layer.result is None and isinstance(readers[0], ReLU) and len(readers) == 1:
            units[name] = units[readers[0].name]
    return units


def _kernel(network: Network, layer: Layer, units: Mapping[str, float], needed: set[str]) -> Kernel:
    """Return what computes a layer's value, in its unit, from values in theirs."""
    unit = units[layer.name]
    before = [units[source] for source in network.sources.get(layer.name, ())] or [1.0]
    if isinstance(layer, Dense) and layer.result is None:
        weight, bias = layer.used_weight() * (before[0] / unit), layer.used_bias() / unit
        return partial(_by_class if layer.name == network.logits_name else linear, weight, bias)
    if isinstance(layer, ReLU):
        (source,) = network.sources[layer.name]
        only = len(network.readers(network[source])) == 1 and source not in needed
        fresh = only and isinstance(network[source], Dense)
        if before[0] == unit and layer.maximum is None:
            return _relu(layer.result, unit, in_place=fresh)
    return _in_units(_plain(network, layer), before, unit)


def _plain(network: Network, layer: Layer) -> Kernel:
    """Return what any layer computes; one that shares another's weights may round once more."""
    runs = network.runs(layer)
    if isinstance(layer, Shared) and layer.result is not None:
        again = layer.result
        return lambda *values: again(runs(*values))
    return runs


def _in_units(compute: Kernel, before: list[float], unit: float) -> Kernel:
    """Return a kernel that computes in plain numbers, whatever units its values have."""
    if unit == 1 and all(each == 1 for each in before):
        return compute
    return lambda *values: compute(*(value * each for value, each in zip(values, before, strict=True))) / unit


def linear(weight: Tensor, bias: Tensor, values: Tensor) -> Tensor:
    """Return values (..., n_in) times weight (n_out, n_in), plus bias."""
    if _ONEDNN_LINEAR is not None and values.dim() == 2 and values.dtype == torch.float32:
        found: Tensor = _ONEDNN_LINEAR(values, weight, bias, "none", [], "")
        return found
    return torch.nn.functional.linear(values, weight, bias)


def _by_class(weight: Tensor, bias: Tensor, values: Tensor) -> Tensor:
    """Return the same with the values of one output side by side in memory, as sums over classes want logits."""
    if values.dim() == 2:
        return torch.addmm(bias[:, None], weight, values.t()).t()
    return linear(weight, bias, values)


def _relu(kind: Quantiser | None, unit: float, *, in_place: bool) -> Kernel:
    """Return max(x, 0) under a type; rounding down and saturating, the usual one, needs two passes and no copy."""
    quick = isinstance(kind, FixedPoint) and (kind.rounding, kind.overflow) == ("TRN", "SAT") and unit == kind.step
    if not (kind is None or quick):
        return _in_units(lambda values: kind(values.clamp(min=0)), [unit], unit)
    top = kind.integer_range[1] if isinstance(kind, FixedPoint) else None

    def compute(values: Tensor) -> Tensor:
        clamped = values.clamp_(0, top) if in_place else values.clamp(0, top)
        return clamped.floor_() if quick else clamped

    return compute


def _stack(network: Network, group: Group, units: Mapping[str, float]) -> Kernel:
    """Return what computes the values of all stand-ins, (n_jets x n, *shape)."""
    unit = units[group.name]
    before = [units[source] for source in network.sources[group.name]]
    dense = [layer for layer in group.layers if isinstance(layer, Dense) and layer.result is None]
    if len(dense) == len(group):
        weight = torch.cat([layer.used_weight() for layer in dense]) * (before[0] / unit)
        bias = torch.cat([layer.used_bias() for layer in dense]) / unit
        return partial(_stacked_product, weight, bias, len(group))
    each = [_in_units(layer, before, unit) for layer in group.layers]
    return lambda *values: torch.stack([kernel(*values) for kernel in each], dim=1).flatten(0, 1)


def _stacked_product(weight: Tensor, bias: Tensor, n: int, values: Tensor) -> Tensor:
    product = linear(weight, bias, values)
    shaped = product.reshape(*product.shape[:-1], n, -1)
    return shaped.movedim(-2, 1).flatten(0, 1)
