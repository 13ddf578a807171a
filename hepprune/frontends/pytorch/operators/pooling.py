"""Pooling over windows, means, sums and maxima over axes, upsampling, padding and copies."""

import math
from typing import Any

from hepprune.errors import refused
from hepprune.frontends.pytorch.building import Assembly
from hepprune.frontends.pytorch.operators.registry import jets_value, operator
from hepprune.frontends.pytorch.operators.shaping import joined, shape_before
from hepprune.frontends.pytorch.operators.weighted import several
from hepprune.frontends.pytorch.program import Call
from hepprune.frontends.pytorch.values import Value
from hepprune.network import GlobalPool, Pad, Pool, Shape, UpSample

Pairs = tuple[tuple[int, int], ...]


def windows(
    built: Assembly, call: Call, x: Any, *, size: Shape, strides: Shape, pads: Pairs, ceil: bool, counted: bool = False
) -> Value:
    """Pool channels-first values; with `ceil` a last window that is not full counts too, with `counted` the padding."""
    source, title, rank = jets_value(x, call), built.title(call), len(size)
    if source.index.ndim != rank + 2:
        raise refused(title, f"pools values of shape {source.shape}")
    axes = (0, *range(2, rank + 2), 1)
    layer = built.place(source, axes, f"{title}.arranged")
    borders = tuple(map(_ceiled, source.shape[2:], size, strides, pads)) if ceil else pads
    if counted and any(map(any, pads)):
        if ceil and any(low != high for low, high in borders):
            raise refused(title, "rounds the number of windows up and counts its padding; leave one out")
        layer = built.add(Pad(built.name(f"{title}.pad"), borders), layer)
        borders = ((0, 0),) * rank
    kind = "max" if "max" in call.operator else "average"
    return built.value(built.add(Pool(built.name(title), kind, size, strides=strides, padding=borders), layer), axes)


def _ceiled(positions: int, size: int, stride: int, pads: tuple[int, int]) -> tuple[int, int]:
    """Return padding for which a last window that begins inside is full."""
    n_windows = -(-(positions + sum(pads) - size) // stride) + 1
    n_windows -= (n_windows - 1) * stride >= positions + pads[0]
    return pads[0], max((n_windows - 1) * stride + size - positions - pads[0], 0)


def _window(
    rank: int, *, kernel_size: Any, stride: Any = (), padding: Any = 0, ceil_mode: bool = False
) -> dict[str, Any]:
    size, pads = several(kernel_size, rank), tuple((n, n) for n in several(padding, rank))
    return {"size": size, "strides": several(stride, rank) if stride else size, "pads": pads, "ceil": ceil_mode}


@operator("max_pool1d", "max_pool2d", "max_pool1d_with_indices", "max_pool2d_with_indices")
def max_pool(built: Assembly, call: Call, x: Any, *, dilation: Any = 1, **window: Any) -> Any:
    """The largest value of each window."""
    rank = 1 if "1d" in call.operator else 2
    if set(several(dilation, rank)) != {1}:
        raise refused(built.title(call), "pools dilated windows, which no Network does")
    found = windows(built, call, x, **_window(rank, **window))
    return [found, None] if call.operator.endswith("_indices") else found


@operator("avg_pool1d", "avg_pool2d")
def mean_pool(
    built: Assembly, call: Call, x: Any, *, count_include_pad: bool = True, divisor_override: Any = None, **window: Any
) -> Value:
    """The mean value of each window."""
    if divisor_override is not None:
        raise refused(built.title(call), f"divides by {divisor_override} instead of the window's size")
    return windows(built, call, x, **_window(1 if "1d" in call.operator else 2, **window), counted=count_include_pad)


@operator(*(f"adaptive_{kind}_pool{rank}d" for kind in ("avg", "max") for rank in (1, 2)), "_adaptive_avg_pool2d")
def adaptive(built: Assembly, call: Call, x: Any, *, output_size: list[int]) -> Any:
    """As many windows as asked for, where they divide the positions evenly."""
    source, title, largest = jets_value(x, call), built.title(call), "max" in call.operator
    before = source.shape[2:]
    wanted: list[Any] = [*several(output_size, len(before))]
    after = [n if size is None else size for n, size in zip(before, wanted, strict=True)]
    if any(n % size for n, size in zip(before, after, strict=True)):
        raise refused(title, f"pools {before} positions to {tuple(after)}, which is not an even division")
    kind = "max" if largest else "average"
    if set(after) == {1}:
        axes = (0, *range(2, source.index.ndim), 1)
        layer = built.place(source, axes, f"{title}.arranged")
        found = built.value(built.add(GlobalPool(built.name(title), kind, keep_axes=True), layer), axes)
    else:
        size = tuple(n // m for n, m in zip(before, after, strict=True))
        found = windows(built, call, x, size=size, strides=size, pads=((0, 0),) * len(size), ceil=False)
    return [found, None] if largest else found


@operator("mean", "sum", "amax", "max")
def reduced(built: Assembly, call: Call, x: Any, *, dim: Any = None, keepdim: bool = False, **_: Any) -> Any:
    """The mean, sum or maximum over axes."""
    source, title = jets_value(x, call), built.title(call)
    if dim is None or dim == []:
        raise refused(title, "reduces all jets to one value; name the axes to reduce")
    rank = source.index.ndim
    over = sorted({axis % rank for axis in ([dim] if isinstance(dim, int) else dim)})
    split = built.split(source)
    if split.index.ndim != rank or built.jets(split) in over:
        raise refused(title, "reduces over the jets")
    layer, order = _gathered(built, split, over, title)
    kind = "max" if call.operator in {"amax", "max"} else "average"
    name = built.add(GlobalPool(built.name(title), kind), layer)
    if call.operator == "sum":
        name = built.affine(name, float(math.prod(source.shape[axis] for axis in over)), 0.0, f"{title}.times")
    kept = [1 if axis in over else size for axis, size in enumerate(source.shape)]
    index = built.value(name).index.reshape([source.shape[axis] for axis in order])
    found = Value(name, index.permute([order.index(axis) for axis in sorted(order)]).reshape(kept))
    if not keepdim:
        found = found.moved(found.index.reshape([size for axis, size in enumerate(kept) if axis not in over]))
    return [found, None] if call.target == "aten.max.dim" else found


def _gathered(built: Assembly, x: Value, over: list[int], title: str) -> tuple[str, list[int]]:
    """Return the layer with the axes `over` first and all others on one, and the axes that are left in their order."""
    jets = built.jets(x)
    lying = built.axes(x)
    rest = [axis for axis in lying if axis != jets and axis not in over]
    if len(rest) == 1 and lying[-1] == rest[0]:
        return built.place(x, lying, f"{title}.arranged"), [jets, *rest]
    if not rest:  # whatever their order
        flat, _order = built.flat(x, f"{title}.flatten")
        return built.reshaped(flat, (*built.shapes[flat], 1), f"{title}.arranged"), [jets]
    placed = x.index.permute((jets, *over, *rest))
    wanted = placed.reshape(*(placed.shape[: 1 + len(over)]), -1)
    return built.laid(x, wanted, f"{title}.arranged"), [jets, *rest]


_MAX_COPIED = 2**26


@operator("expand", "repeat", "tile")
def copied(built: Assembly, call: Call, x: Any, **options: Any) -> Value:
    """Values once more along some axes."""
    found, title = jets_value(x, call), built.title(call)
    sizes = next(sizes for key, sizes in options.items() if key in {"size", "repeats", "dims"})
    found = found.moved(found.index.reshape((1,) * (len(sizes) - found.index.ndim) + found.shape))
    if call.operator == "expand" and (before := shape_before(built, call, found)) != found.shape:
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
