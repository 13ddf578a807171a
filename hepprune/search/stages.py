"""Stages: what a search that trains between its cuts is given, its price too, and what it tells of each stage."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from hepprune.hardware.cost import hls, matrices
from hepprune.hardware.resources import Budget, Estimate
from hepprune.metrics.scores import Difference, Stated, primary
from hepprune.network import Network
from hepprune.pruning.structure import surgery
from hepprune.search.moves import Proposal, knobs
from hepprune.task.sample import Sample
from hepprune.training import Fit

_AGAIN = 4  # a resumed allocation trains for this part of its epochs: it begins close to where it is to end
Price = Callable[[Network], Estimate]


@dataclass(frozen=True)
class Phase:
    """One stage as planned: its kind, the training in it, and what it may use of each limit, as a fraction of it.

    "cut" takes the best moves and trains, "settle" chooses digits while it trains, "narrow" bits of values too, "trim"
    cuts what is left over.
    """

    kind: Literal["cut", "settle", "narrow", "trim"]
    fit: Fit
    goal: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a search goes: its stages, the fraction of a layer's units per move, and the training in between.

    `fine_tune` follows each stage, `settle` the last but one, `trim` those from the last on. With `digits` the network
    settles while they are chosen, and if it then meets the budget there is no last stage. With `allocate` one training
    takes the place of all stages but the last: digits are chosen from the whole network on, with `bits` those of values
    too. Of one stage are searches that are resumed: they trim, or where bits are chosen allocate again first.
    """

    stages: int = 12
    step: float = 0.05
    digits: bool = True
    bits: bool = False
    allocate: Fit | None = None
    statistics_jets: int = 16384
    fine_tune: Fit = field(default_factory=lambda: Fit(epochs=2))
    settle: Fit = field(default_factory=lambda: Fit(epochs=20))
    trim: Fit = field(default_factory=lambda: Fit(epochs=5, learning_rate=2.5e-4))

    def phases(self, start: Mapping[str, float]) -> tuple[Phase, ...]:
        """Return the phases that are always run; goals fall geometrically from what is used at the start."""
        if self.allocate is not None and (self.allocates or self.bits):
            part = 1 if self.allocates else _AGAIN
            fit = replace(self.allocate, epochs=-(-self.allocate.epochs // part))
            return (Phase("narrow" if self.bits else "settle", fit, dict.fromkeys(start, 1.0)),)
        shares = [index / max(self.stages - 1, 1) for index in range(1, self.stages)]
        goals = [{name: max(used, 1.0) ** (1 - share) for name, used in start.items()} for share in shares]
        cuts = [Phase("cut", self.fine_tune, goal) for goal in goals[:-1]]
        long = [Phase("settle" if self.digits else "cut", self.settle, goal) for goal in goals[-1:]]
        return (*cuts, *long) if self.digits and long else (*cuts, *long, self.trimming(start))

    def trimming(self, start: Mapping[str, float]) -> Phase:
        """Return the phase that is run until the limits hold, should those before it miss them."""
        return Phase("trim", self.trim, dict.fromkeys(start, 1.0))

    @property
    def allocates(self) -> bool:
        """Whether one training takes the place of the stages."""
        return self.allocate is not None and self.stages > 1

    @property
    def objective(self) -> str:
        """What decides which epoch of a training is kept, and which moves are taken: the loss, or a metric."""
        return self.fine_tune.monitor

    @property
    def epochs(self) -> int:
        """The epochs of the phases that are always run."""
        return sum(phase.fit.epochs for phase in self.phases({}))


@dataclass(frozen=True, kw_only=True)
class Step:
    """One move taken: where, what, how many units, the loss predicted, the share of the broken limits it freed."""

    layers: tuple[str, ...]
    kind: str
    n_units: int
    predicted_loss: float
    gain: float


@dataclass(frozen=True, kw_only=True)
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
    """The network a search ended with, its stages, and the network that its longest training, the last, began with."""

    network: Network
    stages: tuple[Stage, ...]
    unsettled: Network


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What a search is given: jets to train and validate on, a budget, a price, and where moves come from.

    With a `teacher`, fine-tuning distils it: the pruned network learns its class probabilities too. One that `trims`
    cuts as gently as may be.
    """

    train: Sample
    validation: Sample
    budget: Budget
    price: Price
    propose: Proposal
    settings: Settings = field(default_factory=Settings)
    seed: int = 0
    teacher: Network | None = None
    trims: bool = False


def of_graphs(price: Price) -> Price:
    """Return a price that counts no dead neurons; adder graphs have none, whatever else is priced has.

    What they feed, activations, pools and products, is priced by the size of values, whatever is in them.
    """

    def alive(network: Network) -> Estimate:
        found = price(network)
        is_graph = found.strategy == "distributed_arithmetic" and found.stage != hls.STAGE
        return found if is_graph or matrices.covers(network) else without_dead(network, price=price)

    return alive


def without_dead(network: Network, *, price: Price) -> Estimate:
    """Return the price of what is left of a masked network."""
    acts = [kernel.digit_limit.flatten(1) > 0 for kernel in network.kernels]
    rows, columns = (each.any(dim=1) for each in acts), (each.any(dim=0) for each in acts[1:])  # features stay unread
    # surgery takes long to find no neuron that is left without weights, or is read by none
    is_whole = all(bool(alive.all()) for alive in (*rows, *columns))
    return price(knobs.settled(network if is_whole else surgery.shrink(network, warn=False)))
