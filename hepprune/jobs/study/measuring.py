"""Points of a study that are really synthesised, here or on another machine, and what they teach of the others."""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from hepprune import synthesis
from hepprune.errors import NetworkError, RecipeError, ToolMissingError
from hepprune.firmware.routes import ROUTES, Built, Order
from hepprune.hardware import calibration, cost
from hepprune.hardware.calibration import Calibration
from hepprune.hardware.resources import Measurement
from hepprune.jobs import farm
from hepprune.jobs.study.pricing import Bench
from hepprune.pipeline import firmware
from hepprune.pipeline.context import Track
from hepprune.studies import fronts
from hepprune.studies.grid import built
from hepprune.studies.points import Point
from hepprune.synthesis import elsewhere
from hepprune.synthesis.ledger import Ledger

_VERILOG = "distributed_arithmetic"  # the strategy whose designs need no HLS


@dataclass(frozen=True, kw_only=True)
class SynthesisRequest:
    """How many points are synthesised (None: all), by which tool, within what limits, on which workers."""

    n: int | None = 0
    tool: str = "auto"
    limits: farm.ToolLimits = field(default_factory=farm.ToolLimits)
    executor: Executor | None = None


@dataclass(frozen=True, kw_only=True)
class _Work:
    """A point to measure, by its place in the study: its tool, its key in the ledger, and its project."""

    place: int
    tool: synthesis.Tool
    key: str
    project: Path


def stage_of(strategies: Sequence[str], tool: str = "auto") -> str:
    """Return the stage at which designs of these strategies are compared: that of what measures them, if it is one."""
    stages = {found.stage for name in strategies if (found := _tool(name, tool)) is not None}
    if len(stages) == 1 and all(stages <= cost.PRIOR_RATIOS[name].keys() for name in strategies):
        return stages.pop()
    return "da4ml" if set(strategies) == {_VERILOG} and not stages else "vsynth"


def _tool(strategy: str, name: str) -> synthesis.Tool | None:
    """Return what measures designs of a strategy here; None where nothing does."""
    if name == elsewhere.NAME:
        return elsewhere.tool()
    try:
        found = synthesis.choose(name, hls=strategy != _VERILOG and name == "auto")
    except ToolMissingError:
        if name != "auto":
            raise
        return None
    return found if found.needs_hls or strategy == _VERILOG else None


def _choices(points: Sequence[Point], wanted: SynthesisRequest, stage: str) -> dict[int, synthesis.Tool]:
    """Return the tool of every point that can be measured here, or, where none can, that of another machine."""
    by_strategy = {name: _tool(name, wanted.tool) for name in {point.setting.strategy for point in points}}
    found = {place: tool for place, point in enumerate(points) if (tool := by_strategy[point.setting.strategy])}
    away = elsewhere.tool(None if stage == "da4ml" else stage)
    if not found and wanted.tool != "auto":
        raise RecipeError(f"synthesis tool '{wanted.tool}' takes Verilog, which only strategy {_VERILOG} makes")
    found = found or dict.fromkeys(range(len(points)), away)
    return {place: away if tool.name == elsewhere.NAME else tool for place, tool in found.items()}


def measured(
    points: Sequence[Point], bench: Bench, wanted: SynthesisRequest, folder: Path, track: Track
) -> tuple[tuple[Point, ...], tuple[str, ...]]:
    """Return the points with what is measured of the most informative ones, and what another machine is to do.

    What the ledger of the folder has already is not measured again, and counts among those asked for.

    Raises:
        RecipeError: the tool measures none of the strategies.
        ToolMissingError: the tool is not there.
    """
    tools = _choices(points, wanted, bench.stage)
    chosen = fronts.informative(points, list(tools), len(tools) if wanted.n is None else wanted.n)
    known, works = list(points), list[_Work]()
    with track("firmware", len(chosen)) as advance:
        for place in chosen:
            try:
                works.append(_written(place, points[place], bench, tools[place], folder))
            except NetworkError as problem:
                known[place] = replace(points[place], failure=str(problem))
            advance(1, points[place].setting.name)
    with Ledger(folder / "ledger.sqlite") as book:
        done = _done(works, book)
        left = [work for work in works if work.key not in done and work.tool.name != elsewhere.NAME]
        failures = _run(left, book, wanted, track)
        done |= _done(left, book)
    for work in works:
        key, point = work.key, points[work.place]
        known[work.place] = replace(point, measurement=done.get(key), failure=failures.get(key))
    awaited = [work for work in works if work.tool.name == elsewhere.NAME and work.key not in done]
    instructions = (str(elsewhere.awaited(work.key, work.tool.stage, folder, [work.project])) for work in awaited)
    return tuple(known), tuple(instructions)


def _written(place: int, point: Point, bench: Bench, tool: synthesis.Tool, folder: Path) -> _Work:
    """Return the work of a point, its project written, and what is predicted of it noted in the ledger."""
    setting = point.setting
    network, target = built(bench.variant(setting), setting), bench.target.at(setting.clock_ns)
    key = firmware.design_key(network, target, setting.strategy, tool)
    route = "hls" if tool.needs_hls or setting.strategy != _VERILOG else "rtl"
    project = folder.resolve() / route / key
    order = Order(name="study", target=target, strategy=setting.strategy)
    ROUTES[route].build(Built(network=network), project, order, keep=firmware.described)
    with Ledger(folder / "ledger.sqlite") as book:
        book.record(key, description=setting.name)
        with suppress(RecipeError):  # where nothing predicts the stage of the tool
            book.record(key, cost.estimate(network, target, strategy=setting.strategy, stage=tool.stage))
    return _Work(place=place, tool=tool, key=key, project=project)


def _done(works: Sequence[_Work], book: Ledger) -> dict[str, Measurement]:
    found = {work.key: book.measurement(work.key, stage=work.tool.stage) for work in works}
    return {key: measured for key, measured in found.items() if measured is not None}


def _run(works: Sequence[_Work], book: Ledger, wanted: SynthesisRequest, track: Track) -> dict[str, str]:
    """Run tools and record what comes of it, and return why designs were not measured, by their keys."""
    failures: dict[str, str] = {}
    for name in dict.fromkeys(work.tool.name for work in works):
        mine = [work for work in works if work.tool.name == name]
        runs = farm.synthesise(
            [work.project for work in mine], tool=name, executor=wanted.executor, limits=wanted.limits, track=track
        )
        for work, run in zip(mine, runs, strict=True):
            book.record(work.key, run.measurement, run.failure)
            if run.failure is not None:
                failures[work.key] = run.failure.sentence
    return failures


def learned(points: Sequence[Point], book: Path, stage: str) -> tuple[Point, ...]:
    """Return the points with their estimates corrected by what a ledger has measured of their strategy at the stage."""
    if not book.is_file():
        return tuple(points)
    with Ledger(book) as known:
        pairs = known.pairs(stage)
    taught = {before.strategy: (before, after) for before, after in pairs}
    fitted = {name: calibration.fit(pairs, like=pair) for name, pair in taught.items()}
    counts = Counter(before.strategy for before, _ in pairs)
    return tuple(_corrected(point, fitted.get(point.setting.strategy), counts) for point in points)


def _corrected(point: Point, known: Calibration | None, counts: Mapping[str, int]) -> Point:
    if known is None or (known.stage, known.strategy) != (point.estimate.stage, point.estimate.strategy):
        return point
    return replace(point, estimate=known.apply(point.estimate), n_learned=counts[point.estimate.strategy])
