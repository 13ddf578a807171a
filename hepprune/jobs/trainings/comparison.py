"""Pruning methods side by side on one model and data set: runs, means, plots."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from hepprune.files import write_json
from hepprune.hardware import cost
from hepprune.hardware.targets import Target
from hepprune.jobs import sources
from hepprune.jobs.sources import by_recipe
from hepprune.jobs.trainings import StudyResult
from hepprune.metrics.scores import label
from hepprune.network import Network, precision
from hepprune.pipeline.context import Track, silent
from hepprune.report.plots import curves
from hepprune.report.plots.curves import Line
from hepprune.studies import comparison
from hepprune.studies.comparison import SPARSITIES, UNPRUNED, ComparisonMeans, Contest, Entry, Method
from hepprune.training import Fit

METHODS = ("magnitude", "magnitude@local", "random", "taylor_per_sample", "fisher", "obd", "obs", "fisher:neuron")


@dataclass(frozen=True, kw_only=True)
class ComparisonResult(StudyResult):
    """What a comparison found: every network's entry, and the means over seeds."""

    target: str
    strategy: str
    fine_tune: Fit
    seeds: tuple[int, ...]
    points: list[ComparisonMeans]
    entries: list[Entry]


@by_recipe("source", "data")
def compare(
    source: str,
    build: Path,
    *,
    data: Path | None = None,
    methods: Sequence[str] = METHODS,
    sparsities: Sequence[float] = SPARSITIES,
    seeds: Sequence[int] = (1, 2, 3, 4, 5),
    epochs: int = 10,
    patience: int | None = None,
    executor: Executor | None = None,
    track: Track = silent,
) -> ComparisonResult:
    """Compare methods x sparsities x seeds on a recipe's tagger, or on a model with `data`.

    Networks, comparison.json and the plots land in `build`; what is there already is used.

    Raises:
        NetworkError: a method is unknown, sparsities fall or leave [0, 1], or a layer would be left empty.
        DataError: there are no jets.
    """
    contenders = tuple(Method.parse(text) for text in methods)
    found = sources.find(source, data, build, track)
    fine_tune = Fit(epochs=epochs, batch_size=found.batch_size, learning_rate=found.learning_rate, patience=patience)
    contest = Contest(
        **found.parts,
        methods=contenders,
        fine_tune=fine_tune,
        luts=partial(predicted_luts, target=found.target, strategy=found.strategy),
        sparsities=tuple(sparsities),
    )
    baselines = {seed: found.baseline(seed) for seed in seeds}
    state = build / "state" / "comparison"
    with track("comparing", len(baselines) * len(contenders) * len(contest.sparsities)) as advance:
        entries = comparison.run(
            baselines.__getitem__, contest, seeds=tuple(baselines), state=state, executor=executor, advance=advance
        )
    points = comparison.points(entries)
    result = ComparisonResult(
        name=found.name,
        target=found.target.name,
        strategy=found.strategy,
        n_train=len(found.train),
        n_test=len(found.test),
        fine_tune=fine_tune,
        seeds=tuple(baselines),
        points=points,
        entries=entries,
        files=plot(points, build),
    )
    write_json(build / "comparison.json", asdict(result))
    return result


def predicted_luts(network: Network, *, target: Target, strategy: str) -> float | None:
    """Return the predicted LUTs of a quantised network; a float one has none."""
    if not precision.is_quantised(network):
        return None
    return cost.estimate(network, target, strategy=strategy).resources.lut


def plot(points: Sequence[ComparisonMeans], folder: Path) -> dict[str, str]:
    """Draw every metric against sparsity and, where there are any, against LUTs; return the png files."""
    whole = next(point for point in points if point.method == UNPRUNED)
    methods = dict.fromkeys(point.method for point in points if point.method != UNPRUNED)
    axes = {"sparsity": "weights left [%]", "lut": "predicted LUT"}
    if any(point.lut is None for point in points):
        del axes["lut"]
    drawn = {}
    for metric, (axis, x_label) in product(points[0].scores, axes.items()):
        name, level = f"{metric}_against_{axis}", (UNPRUNED, whole.scores[metric])
        lines = []
        for method in methods:
            own = [point for point in points if point.method == method]
            x = [100 * (1 - point.zeros) if axis == "sparsity" else point.lut or 0.0 for point in own]
            lines.append(Line(method, x, [point.scores[metric] for point in own]))
        style: dict[str, Any] = {"x_label": x_label, "y_label": f"test {label(metric)}", "log_x": True, "falling": True}
        drawn[name] = str(curves.draw(lines, folder / name, level=level, **style)[0])
    return drawn
