"""Early exits and gated channels, trained on a recipe's jets: scores against mean and worst-case cost."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import numpy as np

from hepprune import metrics, training
from hepprune import recipe as recipes
from hepprune.errors import RecipeError, check_known
from hepprune.files import write_json
from hepprune.hardware import cost, targets
from hepprune.jobs.sources import by_recipe
from hepprune.jobs.trainings import StudyResult
from hepprune.metrics.scores import Stated, label, means
from hepprune.network import Network, precision
from hepprune.pipeline import taggers
from hepprune.pipeline.context import Context, Track, silent
from hepprune.pipeline.taggers import Samples
from hepprune.pruning import dynamic
from hepprune.pruning.dynamic import Work
from hepprune.report.plots import curves
from hepprune.report.plots.curves import Line
from hepprune.task import Classes
from hepprune.training import passes

KINDS = ("exits", "threshold", "top_k")
CONFIDENCES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.1)
STRENGTHS = (0.0, 0.1, 0.3, 1.0)  # of the penalty that closes threshold gates
FRACTIONS = (0.25, 0.5, 0.75)  # of the channels that top-k gates let through
_TYPE_JETS = 20_000


@dataclass(frozen=True, kw_only=True)
class DynamicTrial:
    """One network of one seed at one setting: scores on the test jets, and what a jet costs it.

    The setting is a confidence (exits), the strength of a penalty (threshold) or a fraction of channels (top_k).
    `shares` are the fractions of jets that leave at each exit, `latency_ns` what firmware is predicted to take to each.
    """

    seed: int
    setting: float
    scores: dict[str, Stated]
    work: Work
    shares: tuple[float, ...] = ()
    latency_ns: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DynamicMeans:
    """The means over seeds at one setting; errors are those of the means, None where there is one seed."""

    setting: float
    scores: dict[str, Stated]
    mean: float
    largest: float
    worst_case: float


@dataclass(frozen=True, kw_only=True)
class DynamicResult(StudyResult):
    """What was found for one kind; `plain` is the same network without exits or gates."""

    kind: str
    quantised: bool
    plain: DynamicMeans
    points: list[DynamicMeans]
    trials: list[DynamicTrial]


@by_recipe("file")
def study(
    file: Path, kind: str, build: Path, *, seeds: Sequence[int] = (1, 2, 3), epochs: int = 15, track: Track = silent
) -> DynamicResult:
    """Train a recipe's tagger with early exits or gates for each seed, and measure scores against cost.

    Exits are trained in float and then under the recipe's quantisers; gates in float. Networks, JSON and plot land in
    `build`; what is there already is used.

    Raises:
        RecipeError: the recipe cannot be followed, or the kind is unknown.
    """
    check_known("kind of dynamic pruning", kind, KINDS, RecipeError)
    recipe = recipes.load(file)
    if kind == "exits" and not isinstance(recipe.meaning, Classes):
        raise RecipeError("jets leave early by the probability of a class; exits are for the task classes alone")
    taggers.check_plain(recipe)
    context = Context(recipe=recipe, target=targets.load(recipe.target), build=build, track=track)
    jets = taggers.read_jets(context)
    n_networks = {"exits": 1, "threshold": len(STRENGTHS), "top_k": len(FRACTIONS)}[kind]
    plain, trials = [], []
    with track(f"training, {kind}", len(seeds) * (1 + n_networks)) as advance:
        for seed in seeds:
            bench = _Bench(context, jets, seed, epochs)
            plain.append(bench.plain(quantised=kind == "exits"))
            advance(1)
            trials += bench.exits() if kind == "exits" else bench.gates(kind)
            advance(n_networks)
    setting = attrgetter("setting")
    points = [_mean(list(each)) for _, each in groupby(sorted(trials, key=setting), setting)]
    files = plot(kind, _mean(plain), points, build / f"dynamic_{kind}")
    result = DynamicResult(
        name=recipe.name,
        kind=kind,
        quantised=kind == "exits",
        n_train=len(jets.train),
        n_test=len(jets.test),
        plain=_mean(plain),
        points=points,
        trials=trials,
        files=files,
    )
    write_json(build / f"dynamic_{kind}.json", asdict(result))
    return result


@dataclass(frozen=True)
class _Bench:
    """One seed of a study: trains each network once and keeps it."""

    context: Context
    jets: Samples
    seed: int
    epochs: int

    def start(self) -> Network:
        """Return the float network that all kinds start from."""
        return taggers.dense(self.context.recipe, seed=self.seed)

    def train(self, network: Network, penalty: passes.Penalty | None, label: str, *, quantised: bool) -> Network:
        """Return the network trained in float, and under the recipe's quantisers if asked."""
        recipe = self.context.recipe
        bits = recipe.model.bits.precision()

        def run() -> Network:
            found = network
            for in_fixed_point in (False, True)[: 1 + quantised]:
                if in_fixed_point:
                    found = precision.quantise(found, self.jets.train.first(_TYPE_JETS).arrays, bits)
                settings = recipe.model.training.fit(self.epochs, quantised=in_fixed_point)
                parts = self.jets.train, self.jets.validation
                found, _ = training.fit(found, *parts, settings=settings, seed=self.seed, penalty=penalty)
            return found

        key = [recipe.model.model_dump(), self.jets.key, self.seed, self.epochs, label, quantised]
        return self.context.store.network("dynamic", key, run)

    def plain(self, *, quantised: bool) -> DynamicTrial:
        """Return the trial of the network as it is."""
        network = self.train(self.start(), None, "plain", quantised=quantised)
        total = float(sum(dynamic.multiplications(network).values()))
        logits = training.evaluate(network, self.jets.test)
        return self.trial(0.0, logits, Work(total, total, total))

    def exits(self) -> list[DynamicTrial]:
        """Return the trials of early exits after every hidden layer but the last, at each confidence."""
        start = self.start()
        after = [f"relu_{index}" for index in range(1, len(self.context.recipe.model.hidden))]
        branched = dynamic.with_exits(start, after, seed=self.seed)
        network = self.train(branched.network, dynamic.losses(branched), "exits", quantised=True)
        trained = replace(branched, network=network)
        price = partial(cost.estimate, target=self.context.target, strategy=self.context.recipe.strategy)
        latencies = tuple(price(network.upto([end])).latency_ns for end in trained.ends)
        found = []
        for confidence in CONFIDENCES:
            left = dynamic.leave(trained, self.jets.test.features, confidence=confidence)
            logits = left.logits.double().numpy()
            found.append(self.trial(confidence, logits, left.work, shares=left.shares, latency_ns=latencies))
        return found

    def gates(self, kind: str) -> list[DynamicTrial]:
        """Return the trials of gates on every hidden layer but the first, whose gate would cost as much as it saves."""
        hidden = self.context.recipe.model.hidden
        layers = [f"dense_{index}" for index in range(2, len(hidden) + 1)]
        found = []
        for setting in STRENGTHS if kind == "threshold" else FRACTIONS:
            k = None if kind == "threshold" else max(1, round(setting * min(hidden[1:])))
            gated = dynamic.with_gates(self.start(), layers, k=k, seed=self.seed)
            penalty = dynamic.penalty(gated, setting) if kind == "threshold" else None
            network = self.train(gated.network, penalty, f"{kind} {setting:g}", quantised=False)
            logits = training.evaluate(network, self.jets.test)
            work = dynamic.gated_work(replace(gated, network=network), self.jets.test.features)
            found.append(self.trial(setting, logits, work))
        return found

    def trial(self, setting: float, logits: metrics.Floats, work: Work, **of_exits: tuple[float, ...]) -> DynamicTrial:
        """Return the trial of logits on the test jets; of exits with their shares and latencies."""
        scores = metrics.stated(self.jets.test.judged((logits,)))
        return DynamicTrial(seed=self.seed, setting=setting, scores=scores, work=work, **of_exits)


def _mean(trials: Sequence[DynamicTrial]) -> DynamicMeans:
    works = [(trial.work.mean, trial.work.largest, trial.work.worst_case) for trial in trials]
    scores = means([trial.scores for trial in trials])
    mean, largest, worst = np.mean(works, axis=0).tolist()
    return DynamicMeans(setting=trials[0].setting, scores=scores, mean=mean, largest=largest, worst_case=worst)


def plot(kind: str, plain: DynamicMeans, points: Sequence[DynamicMeans], path: Path) -> dict[str, str]:
    """Draw the primary metric against mean and worst-case multiplications, and return the files."""
    metric, whole = next(iter(plain.scores.items()))
    scores = [point.scores[metric] for point in points]
    lines = [
        Line("mean over jets", [point.mean for point in points], scores),
        Line("worst case", [point.worst_case for point in points], scores),
        Line("without, mean = worst case", [plain.mean], [whole]),
    ]
    level = f"{label(metric)} without", whole
    x_label, y_label = f"multiplications per jet, {kind}", f"test {label(metric)}"
    drawn = curves.draw(lines, path, x_label=x_label, y_label=y_label, level=level)
    return {file.suffix[1:]: str(file) for file in drawn}
