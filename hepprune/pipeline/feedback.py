"""The loop: search, build, check, synthesise, calibrate, and search again until the measured design fits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from hepprune import metrics
from hepprune.errors import BudgetMissedError, ReportError
from hepprune.firmware.routes import Built
from hepprune.hardware import calibration
from hepprune.hardware.calibration import Calibration, Pair
from hepprune.hardware.resources import Budget, Estimate, Measurement, figure
from hepprune.hardware.targets.files import HardLimits
from hepprune.metrics.scores import Difference, headline
from hepprune.network import Network
from hepprune.pipeline import evidence
from hepprune.pipeline.context import Context
from hepprune.pipeline.pricing import price_at
from hepprune.pipeline.taggers import Samples
from hepprune.search import greedy, moves
from hepprune.search.moves import Proposal
from hepprune.search.sensitivity import SensitivityCurve
from hepprune.search.stages import Outcome, Price, Problem, Stage

_SLACK = 0.99  # a turn that goes on from a miss aims this far below the limit
_AIM = 0.97  # of the LUT allowed, in the first turn: by such a little many designs miss, and each miss is a synthesis
_TRIM, _SETTLE = 1, 2  # stages of a search that goes on: the last alone, which trims, or one long training

# Builds a network, and returns it with what a tool measured of it.
Measure = Callable[[Network], Built]
# Returns every (estimate, measurement) known so far.
MeasuredPairs = Callable[[], list[tuple[Estimate, Measurement]]]


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One turn of the loop: what was predicted of a network, and what was built of it and measured.

    Nothing is `met` or missed before there is a measurement; `known` is what those before taught the estimate.
    """

    built: Built
    stages: tuple[Stage, ...]
    estimate: Estimate
    met: bool | None
    known: Calibration | None = None

    @property
    def measurement(self) -> Measurement | None:
        """What a tool measured, None where that is awaited of another machine."""
        return self.built.measurement

    @property
    def network(self) -> Network:
        """The network that the search ended with."""
        return self.built.network


@dataclass(frozen=True, kw_only=True)
class Start:
    """What the loop starts from: the baseline and its jets, how each layer reacts, and the budget to meet.

    The search goes on from `pruned`, where the recipe asks for a method before it, and learns from the `tagger`.
    """

    tagger: Network
    jets: Samples
    curves: tuple[SensitivityCurve, ...]
    budget: Budget
    pruned: Network | None = None

    @property
    def network(self) -> Network:
        """What the search starts from."""
        return self.tagger if self.pruned is None else self.pruned


def asked(context: Context) -> Budget:
    """Return the recipe's budget without its share of the baseline; what it leaves open is the target's."""
    own = {*HardLimits.model_fields}
    return context.target.budget.holding(context.recipe.budget.model_dump(include=own, exclude_none=True))


def resolve(context: Context, baseline_lut: float) -> Budget:
    """Return the recipe's budget, its share of the baseline's LUT worked out; see `Limits` for what those are."""
    budget, share = asked(context), context.recipe.budget.lut_of_baseline
    if share is None:
        return budget
    return replace(budget, resources=replace(budget.resources, lut=float(int(share * baseline_lut))))


def learned(pairs: Sequence[Pair]) -> Calibration | None:
    """Return what pairs of an estimate and its measurement teach, None where there are none."""
    return calibration.fit(pairs) if pairs else None


def until_measured(context: Context, start: Start, *, stage: str, measure: Measure, pairs: MeasuredPairs) -> list[Turn]:
    """Return the turns of the loop, the last of which is measured at `stage` to meet the budget, or awaits that.

    Raises:
        BudgetMissedError: no cut is left, the turns allowed are over, or the evidence says that more of them would not
            help; the state is kept.
        ReportError: the tool leaves out a figure that the budget limits.
    """
    turns: list[Turn] = []
    network, before, raw = start.network, pairs(), price_at(context, stage)
    least, allowed = evidence.least(network, raw), context.recipe.max_losses
    unsettled = network
    for _ in range(context.recipe.synthesis.max_iterations):
        own = [(raw(turn.network), turn.measurement) for turn in turns if turn.measurement is not None]
        known = learned([*before, *own])
        evidence.check(start.budget, least, known, own)
        price = price_at(context, stage, known)
        limits = _anchored(start.budget, price(network), own[-1][1]) if own else start.budget
        propose = moves.PerKernel.of(start.curves, context.recipe.granularities)
        problem = problem_of(context, start.jets, start.tagger, budget=limits, price=price, propose=propose)
        go = partial(_again, unsettled=unsettled) if turns else _first
        outcome = go(context, network, problem)
        built = measure(outcome.network)
        met = None if built.measurement is None else start.budget.met_by(complete(start.budget, built.measurement))
        turn = Turn(built=built, stages=outcome.stages, estimate=price(outcome.network), met=met, known=known)
        turns.append(turn)
        if met is not False:
            return turns
        network, unsettled = outcome.network, unsettled if len(turns) > 1 else outcome.unsettled
        evidence.check_losses(network, start.tagger, start.jets.validation, allowed=allowed)
    raise _missed(start.budget, turns)


def complete(budget: Budget, measured: Measurement) -> Measurement:
    """Return a measurement that tells every figure the budget limits.

    Raises:
        ReportError: it leaves one out, so that no design could be seen to meet the budget.
    """
    if lacking := budget.unreported(measured):
        raise ReportError(
            f"{measured.tool} at stage {measured.stage} tells no {' and no '.join(lacking)}, which the budget limits; "
            "take that limit out, or measure with a tool that tells it"
        )
    return measured


def problem_of(
    context: Context, jets: Samples, teacher: Network, *, budget: Budget, price: Price, propose: Proposal
) -> Problem:
    """Return what a search of a recipe is given."""
    return Problem(
        train=jets.train,
        validation=jets.validation,
        budget=budget,
        price=price,
        propose=propose,
        settings=context.recipe.settings(),
        seed=context.recipe.seed,
        teacher=teacher,
    )


def _first(context: Context, network: Network, problem: Problem) -> Outcome:
    """Return what a search finds a little below the LUT allowed, or where it finds nothing there, within them."""
    aimed = replace(problem.budget, resources=problem.budget.resources.scaled({"lut": _AIM}))
    try:
        return _search(context, network, replace(problem, budget=aimed))
    except BudgetMissedError:
        return _search(context, network, problem)


def _search(context: Context, network: Network, problem: Problem) -> Outcome:
    with context.step("search", problem.settings.epochs) as advance:

        def tell(stage: Stage) -> None:
            noise = "" if stage.significant else ", change within its error"
            advance(0, f"{stage.estimate.resources.lut or 0:,.0f} LUT, {headline(stage.scores)}{noise}")

        return greedy.search(network, problem, state=context.state / "search", advance=tell, trained=advance)


def _again(context: Context, network: Network, problem: Problem, *, unsettled: Network) -> Outcome:
    """Return what a design leads to that measured too much: trimmed, or where that loses, trained long anew.

    What is over the budget is most often little, and a few short epochs after a trim make up for it. Where they do not,
    the larger network that its long training began with settles again, under what the measurement has taught; of both
    the better on the validation jets is returned.

    Raises:
        BudgetMissedError: no cut is left.
    """
    of_stages = {n: replace(problem, settings=context.recipe.settings(stages=n)) for n in (_SETTLE, _TRIM)}
    settle = partial(_search, context, unsettled, of_stages[_SETTLE])
    try:
        trimmed = _search(context, network, of_stages[_TRIM])
    except BudgetMissedError as missed:
        return _or(settle, missed)
    before, after = (greedy.scored(each, problem) for each in (network, trimmed.network))
    lost = _lost(after, before)
    if lost.value <= lost.error:
        return trimmed
    settled = _or(settle, trimmed)
    return settled if _lost(greedy.scored(settled.network, problem), after).value < 0 else trimmed


def _or(search: Callable[[], Outcome], otherwise: Outcome | BudgetMissedError) -> Outcome:
    """Return what a search finds, or where it misses the budget what there is without it; an error is raised."""
    try:
        return search()
    except BudgetMissedError:
        if isinstance(otherwise, Outcome):
            return otherwise
    raise otherwise


def _lost(after: Mapping[str, metrics.Score], before: Mapping[str, metrics.Score]) -> Difference:
    name = next(iter(before))
    change = metrics.difference(after[name], before[name])
    return Difference(metrics.lost(name, change.value), change.error)


def _anchored(budget: Budget, predicted: Estimate, measured: Measurement) -> Budget:
    """Return the limits in the price's own terms: less where it says less of the last design than was measured.

    A calibration averages over all designs; the one at hand is known better, and the next lies close to it.
    """
    said, seen = predicted.resources.known(), measured.resources.known()
    shares = {name: _SLACK * min(1.0, said[name] / seen[name]) for name in said.keys() & seen.keys() if seen[name] > 0}
    latency = budget.latency_ns
    if latency is not None and measured.latency_ns:
        latency *= min(1.0, predicted.latency_ns / measured.latency_ns)
    return Budget(latency, budget.interval_cycles, budget.resources.scaled(shares))


def _missed(budget: Budget, turns: list[Turn]) -> BudgetMissedError:
    measured = [turn.measurement for turn in turns if turn.measurement is not None]
    closest = min(measured, key=lambda figures: max(budget.usage(figures).values()))
    name = next(iter(budget.exceeded(closest)))
    return BudgetMissedError(
        f"the measured design is still over budget after {len(turns)} turns: {name} binds, {budget.limits()[name]:g} "
        f"allowed, {figure(closest, name):g} measured at the closest; the state is kept, allow more turns to go on"
    )
