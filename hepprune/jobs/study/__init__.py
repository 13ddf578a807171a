"""A latency study: networks, ways to build them and clocks, all combined; priced, partly synthesised, priced again."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hepprune import frontends
from hepprune import recipe as recipes
from hepprune.errors import RecipeError, ReportError
from hepprune.files import write_csv, write_json
from hepprune.hardware import budgets, targets
from hepprune.hardware.targets import Target
from hepprune.jobs import estimation, sources
from hepprune.jobs.sources import RECIPES, by_recipe
from hepprune.jobs.study import measuring
from hepprune.jobs.study.measuring import SynthesisRequest
from hepprune.jobs.study.pricing import Bench, EvaluationJets
from hepprune.network import Network
from hepprune.pipeline.context import Track, silent
from hepprune.report.plots import costs, curves
from hepprune.store import Store
from hepprune.studies import fronts
from hepprune.studies.grid import Grid
from hepprune.studies.points import Study, columns
from hepprune.task.sample import Sample

__all__ = ["SynthesisRequest", "study"]
Models = str | Path | Network | Sequence[Any] | Mapping[str, Any]
_NONE = SynthesisRequest()
_MOST_JETS = 20_000  # that choose integer bits, and that networks are evaluated on
_STACKED = 8  # points whose latency is drawn layer by layer


@by_recipe("models", "data")
def study(
    models: Models,
    target: str | Path | Target,
    *,
    clock_ns: Iterable[float | None] = (None,),
    strategy: Iterable[str] = ("latency", "resource", "distributed_arithmetic"),
    reuse_factor: Iterable[int | None] = (None,),
    bits: Iterable[int | None] = (None,),
    sparsity: Iterable[float] = (0.0,),
    parallelization: Iterable[int | None] = (None,),
    io_type: str = "io_parallel",
    stage: str | None = None,
    budget: Iterable[str] = (),
    data: Path | str | Sample | None = None,
    metric: str | None = None,
    synthesis: SynthesisRequest = _NONE,
    out: Path | None = None,
    track: Track = silent,
) -> Study:
    """Return every legal combination on a target: what it costs, whether it fits, and which of them nothing beats.

    A model is a network, a file, a recipe whose tagger is meant, or several of them; None on an axis is what the model
    or the target has. All points are predicted at one stage: by default that of the tool that would measure them,
    vsynth where strategies have different ones. With `data` (a recipe, an .npz with x and y, or a sample) networks are
    judged by a metric, by default the primary one. Designs are really synthesised as `synthesis` says; what the ledger
    in `out` has measured calibrates all points. CSV, JSON and plots go to `out`, too.

    Raises:
        RecipeError: no combination is legal, a value is none of its axis, or synthesis has no folder.
        NetworkError: a model cannot be read.
        DataError: the jets are none of a model's.
        ToolMissingError: the tool that was named is not there.
    """
    if synthesis.n != 0 and out is None:
        raise RecipeError("synthesis needs a folder for its projects; name one with `out`")
    if synthesis.n != 0 and io_type != "io_parallel":
        raise RecipeError(f"designs are built with io_parallel; points of {io_type} are priced, not synthesised")
    grid = Grid(
        clocks_ns=tuple(clock_ns),
        strategies=tuple(strategy),
        reuse_factors=tuple(reuse_factor),
        bits=tuple(bits),
        sparsities=tuple(sparsity),
        parallelizations=tuple(parallelization),
    )
    place, networks = _place(target, grid, tuple(budget)), dict(_named(models, track))
    bench = Bench(
        networks=networks,
        target=place,
        grid=grid,
        io_type=io_type,
        stage=stage or measuring.stage_of(grid.strategies, synthesis.tool),
        evaluation=_judging(data, networks, metric),
        store=Store(None if out is None else out / "state"),
    )
    found = _studied(bench, synthesis, out, track)
    return found if out is None else write(found, out)


def _studied(bench: Bench, synthesis: SynthesisRequest, out: Path | None, track: Track) -> Study:
    evaluation = bench.evaluation
    points, illegal, notes = bench.priced(track)
    awaited: tuple[str, ...] = ()
    if out is not None and synthesis.n != 0:
        candidates = fronts.marked(points, evaluation.metric)
        points, awaited = measuring.measured(candidates, bench, synthesis, out, track)
    if out is not None:
        points = measuring.learned(points, out / "ledger.sqlite", bench.stage)
    return Study(
        target=bench.target.name,
        io_type=bench.io_type,
        points=fronts.marked(points, evaluation.metric),
        illegal=illegal,
        metric=evaluation.metric,
        n_jets=0 if evaluation.judged is None else len(evaluation.judged),
        notes=notes,
        awaited=awaited,
    )


def _place(target: str | Path | Target, grid: Grid, budget: tuple[str, ...]) -> Target:
    """Return the target with what is written of its budget, at a clock of the grid where it has none itself."""
    place = target if isinstance(target, Target) else targets.load(target)
    if place.clock_ns is None and (clocks := [clock for clock in grid.clocks_ns if clock is not None]):
        place = place.at(clocks[0])
    return replace(place, clock_ns=place.period_ns, budget=budgets.resolve(place, budget))


def _named(models: Models, track: Track) -> Iterable[tuple[str, Network]]:
    """Yield networks by name: that of their file or recipe, told apart where two are the same."""
    if isinstance(models, Mapping):
        yield from ((name, _read(model, track)) for name, model in models.items())
        return
    each = [models] if isinstance(models, str | Path | Network) else list(models)
    names = sources.told_apart([_name(model) for model in each])
    yield from ((name, _read(model, track)) for name, model in zip(names, each, strict=True))


def _name(model: Any) -> str:
    if isinstance(model, Network):
        return "network"
    path = Path(str(model).partition(":")[0])
    return recipes.load(path).name if path.suffix in RECIPES else path.stem


def _read(model: Any, track: Track) -> Network:
    if isinstance(model, Network):
        return model
    path = Path(str(model))
    if path.suffix not in RECIPES:
        return frontends.read(model)
    return sources.find(str(model), None, path.parent / "build", track).baseline(recipes.load(path).seed)


def _judging(data: Path | str | Sample | None, networks: Mapping[str, Network], metric: str | None) -> EvaluationJets:
    if data is None:
        return EvaluationJets()
    train, judged = (data, data) if isinstance(data, Sample) else sources.jets(Path(data))[:2]
    for name, network in networks.items():
        sources.check(network, judged, model=name, data=data if isinstance(data, str | Path) else "the sample")
    return EvaluationJets(train.first(_MOST_JETS), judged.first(_MOST_JETS), metric or judged.task.metrics[0])


def write(study: Study, folder: Path) -> Study:
    """Write study.csv, study.json and the plots into a folder, and return the study with their paths."""
    table = write_csv(folder / "study.csv", columns(study), (point.row() for point in study))
    files = {"csv": str(table), **_plots(study, folder)}
    found = replace(study, files=files | {"json": str(folder / "study.json")})
    write_json(folder / "study.json", as_json(found))
    return found


def as_json(study: Study) -> dict[str, object]:
    """Return a study as JSON values: its points as rows, with the latency and cells of each layer of the front."""
    rows = [point.row() | {"name": point.setting.name, "failure": point.failure} for point in study]
    layers = {point.setting.name: [asdict(layer) for layer in point.estimate.layers] for point in study.front}
    own = {name: getattr(study, name) for name in ("target", "io_type", "metric", "n_jets", "illegal", "files")}
    own |= {"notes": list(study.notes), "awaited": list(study.awaited)}
    return own | {"points": rows, "front_layers": layers}


def _plots(study: Study, folder: Path) -> dict[str, str]:
    # what was measured, then the fastest of the front that fit
    fitting = [point for point in study.front if point.fits] or list(study.front)
    found = {point.setting.name: point for point in (*study.measured, *fitting)}
    stacked = sorted(list(found.values())[:_STACKED], key=lambda point: point.whole_ns)
    limit = study[0].budget.latency_ns
    whole = None if limit is None else limit + study[0].reserved_ns  # the same at every clock
    drawn = {
        "latency_against_lut": curves.latency_against_lut(
            study.to_arrays(), folder / "latency_against_lut", budget_ns=whole, budget_lut=study[0].budget.resources.lut
        ),
        "latency_by_layer": costs.latency_stack(
            {point.setting.name: point.estimate for point in stacked},
            folder / "latency_by_layer",
            budget_ns=whole,
            reserved_ns={point.setting.name: point.reserved_ns for point in stacked},
            measured_ns={
                point.setting.name: point.reserved_ns + point.measurement.latency_ns
                for point in stacked
                if point.measurement and point.measurement.latency_ns
            },
        ),
    }
    name = "predicted_against_measured"
    with suppress(ReportError):  # where no two designs of the ledger were both
        drawn[name] = list(estimation.from_ledger(folder / "ledger.sqlite", plot=folder / name).files)
    return {name: str(paths[0]) for name, paths in drawn.items() if paths}
