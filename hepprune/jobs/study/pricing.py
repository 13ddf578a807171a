"""What the points of a study are predicted to cost, and what jets say of their networks."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from hepprune import metrics, training
from hepprune.errors import NetworkError, RecipeError
from hepprune.hardware import checks, cost
from hepprune.hardware.targets import Target
from hepprune.jobs import estimation
from hepprune.metrics.scores import Stated
from hepprune.network import Network, identity
from hepprune.pipeline.context import Track
from hepprune.store import Store
from hepprune.studies.grid import Grid, Setting, built, variant
from hepprune.studies.points import Point
from hepprune.task.sample import Sample

_ASSUMED = ("part", "types")  # kinds of warnings that hold for a whole study
_NOISE_JETS = 256  # jets of noise that choose integer bits where there are no real ones


@dataclass(frozen=True)
class EvaluationJets:
    """Jets that choose types, jets that networks are evaluated on, and by which metric; or none of them."""

    train: Sample | None = None
    judged: Sample | None = None
    metric: str | None = None

    def features(self, network: Network) -> Any:
        """Return jets that choose types, or noise of width one."""
        if self.train is not None:
            return self.train.arrays
        rng = np.random.default_rng(0)
        return tuple(rng.normal(size=(_NOISE_JETS, *layer.features_shape)) for layer in network.inputs)

    def scores(self, network: Network, store: Store) -> dict[str, Stated]:
        """Return the metric of a network, by name."""
        if self.judged is None or self.metric is None:
            return {}
        sample, names = self.judged, [self.metric]

        def make() -> dict[str, Stated]:
            return metrics.stated(training.scores(network, sample, names=names))

        return store.value(dict[str, Stated], "scores", [identity(network), sample.key, names], make)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all points of a study share."""

    networks: dict[str, Network]
    target: Target
    grid: Grid
    io_type: str
    stage: str
    evaluation: EvaluationJets
    store: Store

    def variant(self, setting: Setting) -> Network:
        """Return the network that the jets see of a setting."""
        network = self.networks[setting.model]
        return variant(network, self.evaluation.features(network), bits=setting.bits, sparsity=setting.sparsity)

    def priced(self, track: Track) -> tuple[tuple[Point, ...], dict[str, int], tuple[str, ...]]:
        """Return the legal points, how many combinations are none, by the reason, and what was assumed.

        Raises:
            RecipeError: there is no legal one.
        """
        clock_ns = self.target.period_ns
        settings = [each for name in self.networks for each in self.grid.settings(name, clock_ns)]
        points, illegal, notes = list[Point](), Counter[str](), dict[str, None]()
        with track("pricing", len(settings)) as advance:
            for _, alike in groupby(settings, key=lambda each: each.network):
                group = list(alike)
                points += self._of_network(group, illegal, notes)
                advance(len(group), f"{len(points):,} legal")
        if not points:
            ((worst, n),) = illegal.most_common(1)
            raise RecipeError(f"none of {len(settings):,} combinations is legal; of {n:,} of them: {worst}")
        return tuple(points), dict(illegal), tuple(notes)

    def _of_network(self, settings: list[Setting], illegal: Counter[str], notes: dict[str, None]) -> Iterator[Point]:
        """Yield the points of one network, and count what is none; those built alike differ in their clock alone."""
        try:
            network = self.variant(settings[0])
        except NetworkError as problem:
            illegal[str(problem)] += len(settings)
            return
        scores = self.evaluation.scores(network, self.store)
        for _, alike in groupby(settings, key=lambda each: (each.strategy, each.reuse_factor, each.parallelization)):
            group = list(alike)
            try:
                design = self._legal(group[0], network, notes)
            except (NetworkError, RecipeError) as problem:
                illegal[str(problem)] += len(group)
                continue
            for setting in group:
                try:
                    yield self._point(setting, design, scores)
                except (NetworkError, RecipeError) as problem:
                    illegal[str(problem)] += 1

    def _legal(self, setting: Setting, network: Network, notes: dict[str, None]) -> Network:
        """Return a network built as a setting says, and note what is assumed of it.

        Raises:
            RecipeError: the combination is none, or HLS would not build it as it is asked.
        """
        if reason := self.grid.refusal(setting, network):
            raise RecipeError(reason)
        design = built(network, setting)
        if setting.strategy != "distributed_arithmetic":
            for warning in estimation.warnings(
                design, self.target, strategy=setting.strategy, reuse_factor=setting.reuse_factor, io_type=self.io_type
            ):
                if warning.kind in checks.IMPOSSIBLE:
                    raise RecipeError(warning.message)
                if warning.kind in _ASSUMED:
                    notes[warning.message] = None
        return design

    def _point(self, setting: Setting, design: Network, scores: dict[str, Stated]) -> Point:
        place = self.target.at(setting.clock_ns)
        found = cost.estimate(
            design,
            place,
            strategy=setting.strategy,
            stage=self.stage,
            io_type=self.io_type,
            reuse_factor=setting.reuse_factor,
        )
        reserved = place.reserved_cycles * place.period_ns
        return Point(setting=setting, estimate=found, budget=place.budget, reserved_ns=reserved, scores=scores)
