"""Replay: what follows a changed layer, run for many changes in one call and for a few jets at a time.

Three things make it faster than running the network once for each change. What comes before the changed layer is
computed once. The changed layer's variants are stacked into one matrix product, and everything after them runs on
(jets x variants) rows. The jets go through in chunks whose values stay in the processor's cache, on all of torch's
threads at once, in kernels that write as little as they can (`search.sensitivity.kernels`).
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
from hepprune.network import Input, Layer, Network, Shared
from hepprune.search.sensitivity import kernels
from hepprune.search.sensitivity.kernels import Compute

T = TypeVar("T")

_CHUNK_BYTES = 2**22  # of the widest value of all variants together: small enough for a cache, few enough calls
_STACK_BYTES = 2**28  # of stacked weights that are kept at once
_CHUNK_JETS = (128, 4096)


@dataclass(frozen=True)
class LayerVariants:
    """Variants of one layer, of its name, each with other weights or another type, and the same shape of result."""

    layers: tuple[Layer, ...]

    @property
    def name(self) -> str:
        """The layer they stand in for."""
        return self.layers[0].name

    def __len__(self) -> int:
        """Return the number of variants."""
        return len(self.layers)


@dataclass(frozen=True)
class Replayed:
    """Logits of one chunk of jets: of the network (n_jets, n_classes), and of each group's variants.

    The rows of `stacked[g]` are (n_jets x len(group g), n_classes), the variants of one jet together.
    """

    jets: slice
    logits: Tensor
    stacked: tuple[Tensor, ...]


def run(
    network: Network, x: Tensor, groups: Sequence[LayerVariants], use: Callable[[Replayed], T]
) -> Iterator[tuple[tuple[LayerVariants, ...], list[T]]]:
    """Yield groups together, with what `use` makes of each chunk of jets x (n_jets, *shape), in the order of the jets.

    `use` is called from several threads. Groups are taken together as long as their stacked weights stay small.

    Raises:
        NetworkError: a group names no layer before the logits.
    """
    for some in _batches(groups):
        plan = _Plan.of(network, some)
        widest = 4 * max(network.widths.values()) * max(len(group) for group in some)
        fewest, most = _CHUNK_JETS
        chunk = min(max(_CHUNK_BYTES // widest, fewest), most)
        slices = [slice(start, min(start + chunk, len(x))) for start in range(0, len(x), chunk)]
        with _single_threads() as map_in_order:
            found: list[T] = list(map_in_order(partial(_run_chunk, plan, x, use), slices))
        yield some, found


def _batches(groups: Sequence[LayerVariants]) -> Iterator[tuple[LayerVariants, ...]]:
    batch: list[LayerVariants] = []
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


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """A network prepared to run: a kernel per layer, a stacked one per group, and the layers that follow each group.

    A value may be kept in units of its type's step; then the kernels around it are scaled to match. A layer whose
    weights are shared changes in several places, so for its variants the `whole` network is run.
    """

    groups: tuple[LayerVariants, ...]
    sources: Mapping[str, tuple[str, ...]]
    single: dict[str, Compute]
    stacked: tuple[Compute, ...]
    following: tuple[tuple[str, ...], ...]
    whole: Mapping[int, tuple[Network, ...]]

    @classmethod
    @torch.no_grad()
    def of(cls, network: Network, groups: tuple[LayerVariants, ...]) -> "_Plan":
        """Prepare a network and the groups that stand in for some of its layers."""
        order = tuple(layer.name for layer in network)
        order = order[: order.index(network.raw_output) + 1]
        for group in groups:
            if group.name not in order:
                raise NetworkError(f"layer '{group.name}' does not come before the logits, so nothing follows it")
        sources = {layer.name: () if isinstance(layer, Input) else network.sources[layer.name] for layer in network}
        units = kernels.units(network, order)
        needed = {source for group in groups for source in sources[group.name]}
        single = {name: kernels.single(network, network[name], units, needed) for name in order}
        stacked = tuple(kernels.stacked(network, group.layers, units) for group in groups)
        following = tuple(tuple(n for n in network.following(group.name) if n in order) for group in groups)
        shared = {layer.of for layer in network if isinstance(layer, Shared)}
        whole = {
            index: tuple(network.replacing({group.name: layer}) for layer in group.layers)
            for index, group in enumerate(groups)
            if group.name in shared
        }
        return cls(groups=groups, sources=sources, single=single, stacked=stacked, following=following, whole=whole)

    @property
    def logits(self) -> str:
        """The last layer that is run."""
        return next(reversed(self.single))

    def base(self, x: Tensor) -> dict[str, Tensor]:
        """Return the values of the network as it is."""
        values: dict[str, Tensor] = {}
        for name, compute in self.single.items():
            values[name] = compute(*([values[source] for source in self.sources[name]] or [x]))
        return values

    def after(self, index: int, x: Tensor, base: Mapping[str, Tensor]) -> Tensor:
        """Return the logits of a group's variants, (n_jets x n, n_classes)."""
        group = self.groups[index]
        if index in self.whole:
            return torch.stack([network.logits(x) for network in self.whole[index]], dim=1).flatten(0, 1)
        arriving = [base[source] for source in self.sources[group.name]] or [x]
        values = {group.name: self.stacked[index](*arriving)}
        for name in self.following[index]:
            before = self.sources[name]
            own = [values[s] if s in values else base[s].repeat_interleave(len(group), dim=0) for s in before]
            values[name] = self.single[name](*own)
        return values[self.logits]
