"""Operators that put out more values than come in: copies, and borders of zeros."""

from typing import Any

from hepprune.errors import refused
from hepprune.frontends.pytorch.building import Assembly
from hepprune.frontends.pytorch.operators.registry import jets_value, operator
from hepprune.frontends.pytorch.operators.shaping import joined, shape_before
from hepprune.frontends.pytorch.program import Call
from hepprune.frontends.pytorch.values import Value
from hepprune.network import Pad, UpSample

_MAX_COPIED = 2**26


@operator("expand", "repeat", "tile")
def copied(built: Assembly, call: Call, x: Any, **options: Any) -> Value:
    """Values once more along some axes."""
    found, title = jets_value(x, call), built.title(call)
    sizes = next(sizes for key, sizes in options.items() if key in {"size", "repeats", "dims"})
    found = found.moved(found.index.reshape((1,) * (len(sizes) - found.index.ndim) + found.shape))
    before = shape_before(built, call, found)
    if call.operator == "expand" and before != found.shape:
        sizes = [-1 if size > 1 else n for n, size in zip(sizes, before, strict=True)]
        built.rewrite(call, size=sizes)
    for axis, (n, size) in enumerate(zip(sizes, found.shape, strict=True)):
        copies = n if call.operator != "expand" else 1 if n in {-1, size} else n
        if copies * found.index.numel() > _MAX_COPIED:
            raise refused(title, f"would put out {copies} copies of {found.shape}")
        if copies > 1:
            found = joined(built, [found] * copies, axis, title=title)
    return found


@operator("pad", "constant_pad_nd")
def padded(built: Assembly, call: Call, x: Any, *, pad: list[int], mode: str = "constant", value: Any = None) -> Value:
    """Zeros around some axes."""
    source, title = jets_value(x, call), built.title(call)
    if mode != "constant" or value or min(pad) < 0:
        raise refused(title, "pads with something else than zeros, or crops")
    rank = source.index.ndim
    pairs = {rank - 1 - i // 2: (pad[i], pad[i + 1]) for i in range(0, len(pad), 2)}
    pairs = {axis: pair for axis, pair in pairs.items() if any(pair)}
    if built.jets(source) in pairs:
        raise refused(title, "pads the axis of jets")
    free = [axis for axis in range(rank) if axis not in pairs and axis != built.jets(source)]
    wide = source.moved(source.index.unsqueeze(-1))
    axes = built.axes(source, free[0]) if free else built.axes(wide, rank)
    layer = built.place(source if free else wide, axes, f"{title}.arranged")
    layer = built.add(Pad(built.name(title), tuple(pairs.get(axis, (0, 0)) for axis in axes[1:-1])), layer)
    return built.value(layer, axes, [size + sum(pairs.get(axis, (0, 0))) for axis, size in enumerate(source.shape)])


@operator("upsample_nearest1d", "upsample_nearest2d")
def upsample(built: Assembly, call: Call, x: Any, **sizes: Any) -> Value:
    """Every position repeated."""
    source, title = jets_value(x, call), built.title(call)
    before = source.shape[2:]
    after = sizes.get("output_size") or [int(n * s) for n, s in zip(before, sizes["scale_factors"], strict=True)]
    if any(new % old for new, old in zip(after, before, strict=True)):
        raise refused(title, f"brings {before} positions to {tuple(after)}; whole multiples are known")
    axes = (0, *range(2, source.index.ndim), 1)
    layer = built.place(source, axes, f"{title}.arranged")
    factors = tuple(new // old for new, old in zip(after, before, strict=True))
    return built.value(built.add(UpSample(built.name(title), factors), layer), axes)
