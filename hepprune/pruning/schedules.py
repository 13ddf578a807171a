"""Schedules: the sparsity to reach after each round, from where the network is to the target."""

from collections.abc import Callable, Sequence

from hepprune.errors import NetworkError, check_known

# (target, rounds, start) to the sparsity after each round; the last is the target.
Schedule = Callable[[float, int, float], tuple[float, ...]]


def one_shot(target: float, rounds: int = 1, start: float = 0.0) -> tuple[float, ...]:  # noqa: ARG001
    """Return the target alone, however many rounds."""
    return (target,)


def linear(target: float, rounds: int, start: float = 0.0) -> tuple[float, ...]:
    """Return s_k = start + (target - start) k / rounds: the same number of weights each round."""
    return tuple(start + (target - start) * k / rounds for k in range(1, rounds + 1))


def geometric(target: float, rounds: int, start: float = 0.0) -> tuple[float, ...]:
    """Return s_k with 1 - s_k = (1 - start) ((1 - target) / (1 - start))^(k / rounds).

    Each round takes the same fraction of what remains (Frankle and Carbin, arXiv:1803.03635).
    """
    if start == 1:
        return (target,) * rounds
    left = (1 - target) / (1 - start)
    return (*(1 - (1 - start) * left ** (k / rounds) for k in range(1, rounds)), target)


def polynomial(target: float, rounds: int, start: float = 0.0) -> tuple[float, ...]:
    """Return s_k = target + (start - target) (1 - k / rounds)^3: fast first, slow last (arXiv:1710.01878)."""
    return tuple(target + (start - target) * (1 - k / rounds) ** 3 for k in range(1, rounds + 1))


SCHEDULES: dict[str, Schedule] = {each.__name__: each for each in (one_shot, linear, geometric, polynomial)}


def sparsities(kind: str | Sequence[float], target: float | None = None, *, rounds: int = 1) -> tuple[float, ...]:
    """Return the sparsity after each round, by the name of a schedule and its target, or as the user gives them.

    Raises:
        NetworkError: the name is unknown, there is no round, or the sparsities leave [0, 1] or fall.
    """
    if not isinstance(kind, str):
        steps = tuple(float(step) for step in kind)
        _check(steps)
    else:
        if target is None:
            raise NetworkError(f"the schedule '{kind}' needs a target sparsity")
        _check((target,) * rounds)
        check_known("schedule", kind, SCHEDULES, NetworkError)
        steps = SCHEDULES[kind](target, rounds, 0.0)
    if list(steps) != sorted(steps):
        raise NetworkError(f"a schedule never falls, this one does: {', '.join(f'{step:g}' for step in steps)}")
    return steps


def _check(steps: Sequence[float]) -> None:
    if not steps:
        raise NetworkError("a schedule has at least one round")
    for step in steps:
        if not 0 <= step <= 1:
            raise NetworkError(f"a sparsity lies between 0 and 1, {step:g} does not")
