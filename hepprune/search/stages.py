"""Stages: what a search that trains between its cuts is given, and what it tells of each of its stages."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hepprune.hardware.resources import Budget, Estimate
from hepprune.network import Network
from hepprune.sample import Sample
from hepprune.scores import Difference, Stated, primary
from hepprune.search.moves import Price, Proposal
from hepprune.training import Fit


@dataclass(frozen=True)
class Settings:
    """How a search goes: its stages, the fraction of a layer's units per move, and the training in between.

    `fine_tune` follows each stage, `settle` the last but one, `trim` those from the last on. With `digits` the network
    settles while they are chosen, and if it then meets the budget there is no last stage.
    """

    stages: int = 12
    step: float = 0.05
    digits: bool = True
    statistics_jets: int = 16384
    fine_tune: Fit = field(default_factory=lambda: Fit(epochs=2))
    settle: Fit = field(default_factory=lambda: Fit(epochs=20))
    trim: Fit = field(default_factory=lambda: Fit(epochs=5, learning_rate=2.5e-4))

    def fit(self, index: int) -> Fit:
        """Return the training after a stage, counted from 1."""
        return self.trim if index >= self.stages else self.settle if index == self.stages - 1 else self.fine_tune

    @property
    def least(self) -> int:
        """The stages that are always run."""
        return max(self.stages - self.digits, 1)

    @property
    def epochs(self) -> int:
        """The epochs of the stages that are always run."""
        return sum(self.fit(index).epochs for index in range(1, self.least + 1))

    def settles(self, index: int) -> bool:
        """Return whether a stage, counted from 1, is the long one in which digits are chosen."""
        return self.digits and index == self.stages - 1

    def goals(self, start: Mapping[str, float], index: int) -> dict[str, float]:
        """Return what a stage may use of each limit, as a fraction of it; they tighten geometrically from `start`."""
        remaining = max(0.0, 1 - index / max(self.stages - 1, 1))
        return {name: max(used, 1.0) ** remaining for name, used in start.items()}


@dataclass(frozen=True)
class Step:
    """One move taken: where, what, how many units, the loss predicted, the share of the broken limits it freed."""

    layers: tuple[str, ...]
    kind: str
    n_units: int
    predicted_loss: float
    gain: float


@dataclass(frozen=True)
class Stage:
    """What one stage did, what is left, and the scores' changes since the last, paired on validation jets."""

    index: int
    steps: tuple[Step, ...]
    estimate: Estimate
    usage: dict[str, float]
    layer_sizes: tuple[int, ...]
    nonzero_weights: int
    scores: dict[str, Stated]
    changes: dict[str, Difference]
    seconds: float

    @property
    def significant(self) -> bool:
        """Whether the change of the primary metric exceeds its statistical error; a smaller one is noise."""
        return primary(self.changes).significant


@dataclass(frozen=True)
class Outcome:
    """The network a search ended with, and its stages."""

    network: Network
    stages: tuple[Stage, ...]


@dataclass(frozen=True)
class Problem:
    """What a search is given: jets to train and validate on, a budget, a price, and where moves come from.

    With a `teacher`, fine-tuning distils it: the pruned network learns its class probabilities too.
    """

    train: Sample
    validation: Sample
    budget: Budget
    price: Price
    propose: Proposal
    settings: Settings = field(default_factory=Settings)
    seed: int = 0
    teacher: Network | None = None
