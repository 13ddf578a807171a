"""Settings of a program, such as bounds of slices and sizes of views, brought to the sizes that a network has now.

A program is read once more with the network's tensors in it. Each operator that holds a setting asks here what it
must be: bounds are those of the network's own Slice, sizes follow from what arrives. Calls with other settings are
kept, to take the places of the old ones.
"""

import itertools
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from hepprune.errors import NetworkError
from hepprune.frontends.pytorch.program import Call, Program, Ref, named
from hepprune.network import Network, Shape, Slice

Bounds = tuple[int, int, int]
_MAX_SHAPES = 64


@dataclass
class Traces:
    """What a program's operators did when it was read.

    `cuts` are the Slices of parts that were taken, in order, "" for a part that was all and None for one that needs
    none; `sizes` are shapes in and out of a call, `factors` what attention multiplies its scores with. `typed` says of
    a module that quantises values which layer does so, where they are in that layer's for one jet, and their shape.
    """

    cuts: list[str | None] = field(default_factory=list)
    sizes: dict[str, tuple[Shape, Shape]] = field(default_factory=dict)
    factors: dict[str, float] = field(default_factory=dict)
    typed: dict[str, tuple[str, Tensor, Shape]] = field(default_factory=dict)


@dataclass(kw_only=True)
class Fitting:
    """A program being read with a network's sizes; `before` is what it did with its own."""

    network: Network
    before: Traces
    choices: tuple[int, ...] = ()
    calls: dict[str, Call] = field(default_factory=dict)
    places: dict[str, tuple[str, Tensor]] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    open: list[int] = field(default_factory=list)

    def cut(self, number: int) -> Slice | None:
        """Return the network's Slice that part number so and so of a value is, None where there is none."""
        name = self.before.cuts[number] or ""
        layer = self.network[name] if name in self.network.layers else None
        return layer if isinstance(layer, Slice) else None

    def bounds(self, number: int, size: int, given: Bounds) -> Bounds:
        """Return the bounds that part number so and so of a value must have now."""
        if self.before.cuts[number] == "":
            return 0, size, 1
        layer = self.cut(number)
        return given if layer is None else (layer.start, layer.stop, layer.step)

    def sizes(self, call: Call, now: Shape, jets: Collection[int] = ()) -> Shape | None:
        """Return the shape that a call must give, None where its arguments say it still; axes of `jets` stay."""
        before, after = self.before.sizes.get(call.name, (now, now))
        if before == now:
            return None
        found = candidates(before, after, now, jets)
        if not found:
            raise NetworkError(f"'{call.name}' ({call.target}) cannot bring {now} into a shape like {after}")
        choice = self.choices[len(self.open)] if len(self.open) < len(self.choices) else 0
        self.open.append(len(found))
        return found[choice]

    def rewrite(self, call: Call, title: str, *, target: str | None = None, **settings: Any) -> None:
        """Keep a call with other settings, by the names of its operator's schema."""
        given = named(call, call.args, call.kwargs)
        first = next(iter(given))
        kept = {key: value for key, value in given.items() if target is None or key in {first, "dim"}} | settings
        self.calls[call.name] = replace(call, target=target or call.target, args=(kept.pop(first),), kwargs=kept)
        self.titles[call.name] = title

    def constant(self, call: Call, values: Sequence[int]) -> Ref:
        """Return a reference to a new constant of the program, the places that an index takes."""
        key = f"{call.name}_places"
        self.places[key] = (key, torch.tensor(list(values)))
        return Ref(key)

    def program(self, program: Program) -> Program:
        """Return the program with the settings that were found."""
        calls = tuple(self.calls.get(call.name, call) for call in program.calls)
        return replace(program, calls=calls, constants=program.constants | self.places)

    def following(self) -> tuple[int, ...] | None:
        """Return the next choice among sizes that are possible, None after the last."""
        taken = [*self.choices, *(0,) * len(self.open)][: len(self.open)]
        while taken:
            if taken[-1] + 1 < self.open[len(taken) - 1]:
                return (*taken[:-1], taken[-1] + 1)
            taken.pop()
        return None


def candidates(before: Shape, after: Shape, now: Shape, kept: Collection[int] = ()) -> list[Shape]:
    """Return the shapes that a reshape from `before` to `after` can have when `now` arrives, the likeliest first.

    Axes that are `kept` are as long as after.
    """
    if len(before) != len(now):
        return []
    found = [
        _block([after[o] for o in outs], math.prod(now[i] for i in ins), [o - outs.start for o in outs if o in kept])
        if [before[i] for i in ins] != [now[i] for i in ins]
        else [tuple(after[o] for o in outs)]
        for ins, outs in blocks(before, after)
    ]
    return [tuple(itertools.chain(*parts)) for parts in itertools.islice(itertools.product(*found), _MAX_SHAPES)]


def _block(after: Sequence[int], total: int, kept: Collection[int]) -> list[Shape]:
    """Return the sizes of axes that hold `total` values now, one of them another than before."""
    found: list[Shape] = []
    for axis in sorted(set(range(len(after))) - set(kept), key=lambda a: (-after[a], a)):
        rest = math.prod(size for other, size in enumerate(after) if other != axis)
        if total % rest == 0:
            found.append(tuple(total // rest if a == axis else size for a, size in enumerate(after)))
    return list(dict.fromkeys(found))


def blocks(before: Shape, after: Shape) -> Iterator[tuple[range, range]]:
    """Yield the axes of both shapes that hold the same values, as few at a time as possible."""
    i = o = 0
    while i < len(before) or o < len(after):
        first, start = i, o
        left = right = 1
        while True:
            if left <= right and i < len(before):
                left, i = left * before[i], i + 1
            elif o < len(after):
                right, o = right * after[o], o + 1
            elif i < len(before):
                left, i = left * before[i], i + 1
            if (left == right and i > first and o > start) or (i == len(before) and o == len(after)):
                break
        yield range(first, i), range(start, o)
