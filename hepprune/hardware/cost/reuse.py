"""Which reuse factors hls4ml can build a matrix with; it moves any other silently to the nearest of these."""

from functools import lru_cache

from hepprune.network import Conv, Weighted

UNROLL_LIMIT = 4096  # Vivado and Vitis HLS stop unrolling here ("Stop unrolling loop")


def multipliers(n_in: int, n_out: int, reuse_factor: int) -> int:
    """Return how many multipliers share the products of a matrix."""
    return -(-n_in * n_out // reuse_factor)


def is_legal(n_in: int, n_out: int, reuse_factor: int) -> bool:
    """Return whether hls4ml builds a matrix with exactly this reuse factor."""
    if not 1 <= reuse_factor <= n_in * n_out or n_in * n_out % reuse_factor:
        return False
    if reuse_factor >= n_in:
        return reuse_factor % n_in == 0
    return multipliers(n_in, n_out, reuse_factor) % n_out == 0


@lru_cache(maxsize=1024)
def legal(n_in: int, n_out: int, *, strategy: str = "resource") -> tuple[int, ...]:
    """Return every legal reuse factor, smallest first.

    `resource_unrolled` leaves out the largest, a single multiplier.
    """
    size = n_in * n_out
    low = {divisor for divisor in range(1, int(size**0.5) + 1) if size % divisor == 0}
    divisors = sorted(low | {size // divisor for divisor in low})
    known = tuple(factor for factor in divisors if is_legal(n_in, n_out, factor))
    return known[:-1] if strategy == "resource_unrolled" and len(known) > 1 else known


def neighbours(n_in: int, n_out: int, reuse_factor: int, *, strategy: str = "resource") -> tuple[int, ...]:
    """Return the legal reuse factors next to one, the next below and the next above."""
    known = legal(n_in, n_out, strategy=strategy)
    below, above = (f for f in known if f < reuse_factor), (f for f in known if f > reuse_factor)
    return tuple(f for f in (max(below, default=None), min(above, default=None)) if f is not None)


def nearest(n_in: int, n_out: int, reuse_factor: int, *, strategy: str = "resource") -> tuple[int, ...]:
    """Return the legal reuse factors around one: itself, or its neighbours."""
    if reuse_factor in legal(n_in, n_out, strategy=strategy):
        return (reuse_factor,)
    return neighbours(n_in, n_out, reuse_factor, strategy=strategy)


def taken(n_in: int, n_out: int, reuse_factor: int, *, strategy: str = "resource") -> int:
    """Return the reuse factor that hls4ml builds a matrix with: the nearest legal one, the smaller of two.

    Under `latency` any is taken as it is, and only bounds the multipliers; an adder graph has none to share.
    """
    if strategy in {"latency", "distributed_arithmetic"}:
        return reuse_factor
    near = nearest(n_in, n_out, reuse_factor, strategy=strategy)
    return min(near, key=lambda factor: (abs(factor - reuse_factor), factor))


def size(layer: Weighted) -> tuple[int, int]:
    """Return the inputs and the outputs of a layer's matrix."""
    return layer.weight[0].numel(), layer.n_out


def strategy_of(layer: Weighted, wanted: str, *, streams: bool = False) -> str:
    """Return the strategy that hls4ml builds a layer with: it unrolls a convolution only where that reads a stream."""
    return "resource" if wanted == "resource_unrolled" and isinstance(layer, Conv) and not streams else wanted
