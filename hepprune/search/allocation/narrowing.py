"""One long training from the whole network in which digits and bits compete, ever fewer of them, and are then held.

Nothing is cut for good before: a weight, a neuron or a bit that was left out is as free to come back as any other, as
long as they are chosen. What may be used falls along a cubic (Zhu and Gupta, arXiv:1710.01878).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from hepprune.hardware.resources import Budget
from hepprune.network import Network
from hepprune.pruning.statistics import values
from hepprune.pruning.statistics.values import Worths
from hepprune.sample import Sample
from hepprune.search.allocation import bits, competition, goals, within
from hepprune.search.moves import missed
from hepprune.search.prices import Price

_FROM, _UNTIL = 0.05, 0.65  # the parts of a training between which digits and bits are chosen
_CHOICES = 48  # at most, in a training: in between the network trains with what was chosen last
_NEWEST = 0.3  # the share of the newest measurement in the running mean of what everything is worth
_JETS = 4096  # that everything is measured on before each epoch


@dataclass(kw_only=True)
class Narrowing:
    """What chooses digits and bits before each epoch of a training, as `training.fit` has it prepared.

    `finest` is what `bits.opened` says of the network in training.
    """

    train: Sample
    price: Price
    budget: Budget
    finest: Mapping[str, int]
    held: bool = False
    _turn: int | None = None
    _start: Mapping[str, float] = field(default_factory=dict)
    _worths: Worths | None = None

    def __call__(self, network: Network, passed: float) -> bool:
        """Choose anew, in place, until no more may be used than the budget; return whether the choice is held.

        Raises:
            BudgetMissedError: even one digit a layer is too much.
        """
        turn = math.floor(_CHOICES * (passed - _FROM) / (_UNTIL - _FROM))
        if self.held or (turn == self._turn and passed < _UNTIL):
            return self.held
        self._turn = turn
        some = self.train.first(_JETS)
        newest = values.worths(network, some)
        self._worths = newest if self._worths is None else self._worths.mixed(newest, _NEWEST)
        if passed >= _FROM:
            self.held = passed >= _UNTIL
            seen = self.train if self.held else some
            bits.calibrate(network, seen, overflow="WRAP")  # as it will be built, and so priced
            self._choose(network, self._worths, passed)
            bits.calibrate(network, seen, spare=0 if self.held else 1)
        return self.held

    def _choose(self, network: Network, worths: Worths, passed: float) -> None:
        self._start = self._start or self.budget.usage(self.price(network))
        limits = goals(self._start, (passed - _FROM) / (_UNTIL - _FROM))
        competition.settle(
            network,
            worths,
            self.price,
            finest=self.finest,
            fits=lambda figures: within(self.budget.usage(figures), limits),
        )
        if self.held and not self.budget.met_by(figures := self.price(network)):
            raise missed(self.budget, figures, network)
