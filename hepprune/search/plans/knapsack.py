"""The knapsack: a problem in numbers, as solvers take it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepprune.errors import BudgetMissedError
from hepprune.search.plans.choices import Choice, ChoiceTable, Option, PlanProblem, fixed_of, use_of

Floats = NDArray[np.float64]
_SLACK = 1e-9  # of a limit: what sums of floats may be off


@dataclass(frozen=True, kw_only=True)
class Knapsack:
    """A problem in numbers: per choice the losses (n_options,) and uses (n_options, n_limits) of the options allowed.

    `limits` are what is left beside what is needed in any case. `options[k]` are those options of the problem's choice
    k.
    """

    names: tuple[str, ...]
    losses: tuple[Floats, ...]
    uses: tuple[Floats, ...]
    limits: Floats
    fixed: Floats
    options: tuple[tuple[Option, ...], ...]

    @classmethod
    def of(cls, problem: PlanProblem) -> "Knapsack":
        """Return the numbers of a problem; options that break an interval or use of what there is none are left out.

        Raises:
            BudgetMissedError: a choice has no option left.
        """
        names, limits = tuple(problem.sums), np.array(list(problem.sums.values()))
        losses, uses, options = [], [], []
        for table in problem.tables:
            for choice in table.choices:
                use = np.array([[use_of(name, table.model, option) for name in names] for option in choice.options])
                use = use.reshape(len(choice.options), len(names))
                kept = _allowed(choice, table, names, use, limits)
                losses.append(np.array([choice.options[place].loss for place in kept]))
                uses.append(use[kept])
                options.append(tuple(choice.options[place] for place in kept))
        fixed = np.array([sum(fixed_of(name, table) for table in problem.tables) for name in names])
        return cls(
            names=names, losses=tuple(losses), uses=tuple(uses), limits=limits, fixed=fixed, options=tuple(options)
        )

    @property
    def start(self) -> tuple[int, ...]:
        """The plan of least loss, and of those that use least, one option per choice."""
        pairs = zip(self.losses, self.uses, strict=True)
        return tuple(int(np.lexsort((uses.sum(axis=1), losses))[0]) for losses, uses in pairs)

    def loss(self, picks: Sequence[int]) -> float:
        """Return the loss of a plan given as one option per choice."""
        return float(sum(losses[pick] for losses, pick in zip(self.losses, picks, strict=True)))

    def use(self, picks: Sequence[int]) -> Floats:
        """Return what a plan uses of each limit, (n_limits,)."""
        total: Floats = self.fixed.copy()
        for uses, pick in zip(self.uses, picks, strict=True):
            total += uses[pick]
        return total

    def fits(self, use: Floats, share: float = 1.0) -> NDArray[np.bool_]:
        """Return whether uses (..., n_limits) stay within a share of the limits."""
        return np.asarray((use <= share * self.limits * (1 + _SLACK) + 1e-12).all(axis=-1))

    def worst(self, use: Floats) -> Floats:
        """Return the largest fraction of any limit that uses (..., n_limits) take; 0 where nothing is limited."""
        if not self.names:
            return np.zeros(use.shape[:-1])
        with np.errstate(divide="ignore", invalid="ignore"):
            fractions = np.where(use > 0, use / self.limits, 0.0)
        return fractions.max(axis=-1)  # type: ignore[no-any-return]


def _allowed(choice: Choice, table: ChoiceTable, names: tuple[str, ...], use: Floats, limits: Floats) -> list[int]:
    """Return the options that no limit rules out by themselves."""
    slow, place = table.interval_cycles, f"layer '{choice.layer}' of '{table.model}'"
    quick = [i for i, option in enumerate(choice.options) if slow is None or option.interval_cycles <= slow]
    if slow is not None and not quick:
        fastest = min(option.interval_cycles for option in choice.options)
        raise missed("interval_cycles", slow, fastest, tried=f" ({place})")
    none = limits == 0
    spared = [i for i in quick if np.isfinite(use[i]).all() and not (use[i][none] > 0).any()]
    if not spared:
        least = use[quick].min(axis=0)
        binding = int(np.argmax(~np.isfinite(least) | (none & (least > 0))))
        raise missed(names[binding], limits[binding], least[binding], tried=f" ({place})")
    return spared


def _whole(figure: float) -> str:
    return str(figure) if isinstance(figure, int) else f"{figure:.6g}"


def missed(name: str, limit: float, closest: float, *, tried: str = "") -> BudgetMissedError:
    """Return the error of a budget that cannot be met; `tried` says where, or how far that was looked into."""
    return BudgetMissedError(
        f"the budget cannot be reached: {name} binds, {_whole(limit)} allowed, {_whole(closest)} at the closest "
        f"point{tried}"
    )
