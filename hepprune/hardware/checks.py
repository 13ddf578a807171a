"""What would fail or disappoint in HLS, found before anything is built: pure rules on operations, one sentence each."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from hepprune.hardware import devices
from hepprune.hardware.cost import reuse
from hepprune.hardware.cost.operations import Operation
from hepprune.hardware.cost.prices import price, products_at_once
from hepprune.hardware.cost.timing import Clock
from hepprune.hardware.resources import Budget
from hepprune.hardware.targets import Target

IMPOSSIBLE = ("reuse_factor", "unroll_limit", "parallelism")  # kinds of what HLS does not build as it is asked
FEW_ZEROS = 0.05  # of a kernel: fewer are not worth a word
SOFTMAX_INDEX_BITS = 10  # of hls4ml's tables of 1024 entries


@dataclass(frozen=True)
class BuildWarning:
    """One thing to know before building: the layer it is about (None: the design), its kind, and one sentence."""

    layer: str | None
    kind: str
    message: str


def warnings(operations: Iterable[Operation], budget: Budget, *, clock: Clock) -> tuple[BuildWarning, ...]:
    """Return everything worth a warning, in the order of the layers."""
    known = tuple(operations)
    found = [
        BuildWarning(operation.name, kind, f"layer '{operation.name}' {sentence}")
        for operation in known
        for kind, rule in _RULES.items()
        for sentence in rule(operation, budget, clock)
    ]
    at_once = {op.name: op.n_out * (op.positions if op.kind == "matrix" else 1) for op in known if not op.streams}
    crowded = {name: n for name, n in at_once.items() if n > reuse.UNROLL_LIMIT}
    untyped = ", ".join(f"'{operation.name}'" for operation in known if operation.assumed)
    if crowded:
        names, most = ", ".join(f"'{name}'" for name in crowded), max(crowded.values())
        sentence = f"up to {most} values at once in {names}, and HLS stops unrolling at {reuse.UNROLL_LIMIT}"
        found.append(BuildWarning(None, "unroll_limit", f"{sentence}: build with io_stream"))
    if untyped:
        sentence = f"no fixed-point type is known for {untyped}: hls4ml's default ap_fixed<16,6> is priced"
        found.append(BuildWarning(None, "types", sentence))
    return tuple(found)


def of_part(target: Target) -> tuple[BuildWarning, ...]:
    """Return what a target's part leaves unknown of an estimate."""
    found = []
    family = target.family
    if target.part is not None and target.known_device is None:
        kind = f", of family {family} by its name," if family else ""
        sentence = f"what part '{target.part}'{kind} has is not known, so no limit is held against it"
        found.append(f"{sentence}: say so with `device: {{family, lut, ff, dsp, bram18}}` in a YAML target")
    if family in devices.COUNTS_ONLY:
        found.append(
            f"part '{target.part}' is of family {family}, of which only the counts are known: "
            "the prices are those of the cells of UltraScale+"
        )
    return tuple(BuildWarning(None, "part", sentence) for sentence in found)


def _reuse(operation: Operation, _budget: Budget, _clock: Clock) -> Iterator[str]:
    asked, taken = operation.asked_reuse_factor, operation.reuse_factor
    if _takes_turns(operation) and asked != taken:
        legal = reuse.nearest(operation.n_in, operation.n_out, asked, strategy=operation.strategy)
        near = " and ".join(map(str, legal))
        yield (
            f"cannot be built with reuse factor {asked}: the nearest legal ones for {operation.n_in} x "
            f"{operation.n_out} are {near}, and hls4ml would silently take {taken}, which is what is priced"
        )


def _unshared(operation: Operation, _budget: Budget, _clock: Clock) -> Iterator[str]:
    if _takes_turns(operation) and operation.reuse_factor == 1:
        yield f"shares no multiplier under {operation.strategy} at reuse factor 1: it is unrolled as under latency"


def _takes_turns(operation: Operation) -> bool:
    return operation.kind == "matrix" and operation.strategy in {"resource", "resource_unrolled"}


def _unrolling(operation: Operation, _budget: Budget, _clock: Clock) -> Iterator[str]:
    """Warn of more products at once than HLS unrolls; every run of wa-hls4ml beyond the limit failed."""
    at_once = products_at_once(operation)
    if at_once < reuse.UNROLL_LIMIT:
        return
    unrolled = operation.strategy == "latency"
    sizes = operation.n_in, operation.n_out
    factor = next(f for f in reuse.legal(*sizes) if reuse.multipliers(*sizes, f) < reuse.UNROLL_LIMIT)
    strategy = "strategy resource with " if unrolled else ""
    yield (
        f"has {at_once} products at once, and HLS stops unrolling at {reuse.UNROLL_LIMIT}: "
        f"the smallest fix is {strategy}reuse factor {factor}"
    )


def _interval(operation: Operation, budget: Budget, clock: Clock) -> Iterator[str]:
    """Warn of a layer that takes a new jet later than the budget asks, and of positions that wait for one another."""
    interval = price(operation, clock=clock).interval_cycles
    limit = budget.interval_cycles
    if limit is not None and interval > limit:
        yield f"takes a new jet every {interval} cycles where the budget says {limit}: {_fix(operation, limit)}"
    elif limit is None and operation.kind == "matrix" and operation.calls > 1 and not operation.streams:
        yield (
            f"works through its {operation.positions} positions in {operation.calls} turns of {operation.copies}, "
            f"so its interval is {interval} cycles: {_fix(operation, 1)}"
        )


def _fix(operation: Operation, limit: int) -> str:
    if operation.streams and operation.positions > 1:
        return "a stream takes one position after the other, so only io_parallel can be faster"
    if operation.calls > 1:
        needed = -(-operation.positions * min(operation.reuse_factor, limit) // limit)
        factor = next(n for n in _divisors(operation.positions) if n >= min(needed, operation.positions))
        return f"set parallelization_factor to {factor}, which hls4ml leaves at 1 by itself"
    if operation.kind == "recurrent":
        return "a recurrent layer takes its steps one after the other; fewer steps or a smaller reuse factor help"
    known = reuse.legal(operation.n_in, operation.n_out) if operation.kind == "matrix" else ()
    legal = [factor for factor in known if factor <= limit]
    if not legal:
        return "no setting of this layer makes it faster"
    return "set reuse factor 1" if legal[-1] == 1 else f"set a reuse factor of at most {legal[-1]}"


def _parallelism(operation: Operation, _budget: Budget, _clock: Clock) -> Iterator[str]:
    if operation.kind == "matrix" and operation.positions % operation.copies:
        known = _divisors(operation.positions)
        near = max(n for n in known if n < operation.copies), min(n for n in known if n > operation.copies)
        yield (
            f"cannot work on {operation.copies} of its {operation.positions} positions at once: the nearest "
            f"parallelization factors are {near[0]} and {near[1]}, and hls4ml would silently take one of them"
        )


def _divisors(n: int) -> list[int]:
    return [each for each in range(1, n + 1) if n % each == 0]


def _tables(operation: Operation, budget: Budget, clock: Clock) -> Iterator[str]:
    found = price(operation, clock=clock)
    bram18 = found.resources.bram18 or 0.0
    if operation.kind == "softmax":
        loses = operation.in_width - SOFTMAX_INDEX_BITS
        cut = f" and looks up {SOFTMAX_INDEX_BITS} of the {operation.in_width} bits that arrive" if loses > 0 else ""
        yield (
            f"is a softmax: it takes about {bram18:.0f} BRAM18 of tables and {found.depth:.0f} cycles{cut}; "
            "logits or an argmax select the same jets without it"
        )
    limit = budget.resources.bram18
    if limit is not None and bram18 > limit:
        yield f"needs {bram18:.0f} BRAM18 for its tables or weights, and the budget holds {limit:.0f}"


def _zeros(operation: Operation, _budget: Budget, _clock: Clock) -> Iterator[str]:
    if operation.kind != "matrix":
        return
    kernel = operation.kernel
    share = kernel.n_zeros / (kernel.n_out * kernel.fan_in)
    if share < FEW_ZEROS:
        return
    if operation.strategy == "latency":
        if operation.asked_reuse_factor > 1:
            yield (
                f"has {share:.0%} zeros that hardly lower its multiplier limit at reuse factor "
                f"{operation.asked_reuse_factor}: use reuse factor 1, or prune whole neurons"
            )
        return
    rows = reuse.multipliers(operation.n_in, operation.n_out, operation.reuse_factor)
    if operation.reuse_factor > 1 and kernel.rows == rows:
        yield (
            f"has {share:.0%} zeros that buy nothing under {operation.strategy}: none of its {rows} DSP rows of "
            f"{operation.reuse_factor} consecutive weights is all zero; prune whole DSP rows or neurons"
        )


_RULES: dict[str, Callable[[Operation, Budget, Clock], Iterator[str]]] = {
    "reuse_factor": _reuse,
    "unshared": _unshared,
    "unroll_limit": _unrolling,
    "parallelism": _parallelism,
    "interval": _interval,
    "tables": _tables,
    "zeros": _zeros,
}
