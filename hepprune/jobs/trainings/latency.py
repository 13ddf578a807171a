"""A network made to run within a latency that is measured on this machine, by removing neurons and filters."""

from dataclasses import asdict, dataclass
from pathlib import Path

from hepprune import frontends, metrics, training
from hepprune.errors import NetworkError
from hepprune.files import write_json
from hepprune.hardware.cost.measured import Meter, Timing
from hepprune.jobs import sources
from hepprune.jobs.sources import by_recipe
from hepprune.metrics.scores import Stated, headline
from hepprune.network import Network, precision
from hepprune.pipeline.context import Track, silent
from hepprune.search import greedy
from hepprune.search.stages import Stage
from hepprune.task.sample import Sample
from hepprune.training import Fit


@dataclass(frozen=True)
class Size:
    """A network's size, scores on the test jets, and measured time for one batch."""

    layers: tuple[int, ...]
    parameters: int
    scores: dict[str, Stated]
    timing: Timing


@dataclass(frozen=True, kw_only=True)
class LatencyResult:
    """What was asked for and reached: sizes before and after, and the timings of layers that the search has seen."""

    name: str
    device: str
    batch_size: int
    limit_ns: float
    before: Size
    after: Size
    table: dict[str, Timing]
    path: Path


@by_recipe("source", "data")
def reach(
    source: str,
    path: Path,
    *,
    device: str,
    batch_size: int = 1,
    limit_us: float | None = None,
    fraction: float = 0.5,
    data: Path | None = None,
    epochs: int = 4,
    stages: int = 4,
    seed: int = 1,
    track: Track = silent,
) -> LatencyResult:
    """Write a network that runs within `limit_us`, or within a fraction of what it takes now, and a JSON beside it.

    Raises:
        ToolMissingError: the device is not there.
        BudgetMissedError: the latency is out of reach.
        NetworkError: the source cannot be read, or written as asked.
    """
    if not 0 < fraction <= 1 or (limit_us is not None and limit_us <= 0):
        raise NetworkError(f"a latency to reach is above 0, a fraction of it at most 1, not {limit_us or fraction:g}")
    meter = Meter(device, batch_size)
    found = sources.find(source, data, path.parent / "build", track)
    network = found.baseline(seed)
    limit_ns = fraction * meter.whole(network).median_ns if limit_us is None else 1000 * limit_us
    quantised = precision.is_quantised(network)
    fine_tune = Fit(epochs=epochs, batch_size=found.batch_size, learning_rate=found.learning_rate, quantised=quantised)
    with track(f"{device}, {limit_ns / 1000:,.1f} us", stages) as advance:
        outcome = greedy.reach(
            network,
            found.train,
            found.validation,
            meter=meter,
            limit_ns=limit_ns,
            fine_tune=fine_tune,
            stages=stages,
            seed=seed,
            advance=lambda stage: advance(1, _note(stage)),
        )
    frontends.write(outcome.network, path, like=found.model or path)
    before, after = _size(network, found.test, outcome.before), _size(outcome.network, found.test, outcome.after)
    result = LatencyResult(
        name=found.name,
        device=device,
        batch_size=batch_size,
        limit_ns=limit_ns,
        before=before,
        after=after,
        table=dict(meter.table),
        path=path,
    )
    write_json(path.with_suffix(".json"), asdict(result) | {"path": str(path)})
    return result


def _note(stage: Stage) -> str:
    return f"{stage.estimate.latency_ns / 1000:,.1f} us in layers, {headline(stage.scores)}"


def _size(network: Network, test: Sample, timing: Timing) -> Size:
    widths = tuple(network.sizes.values())
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Size(widths, parameters, metrics.stated(training.scores(network, test)), timing)
