"""The command for a latency study: every combination of networks, ways to build them and clocks, in one table."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.table import Table
from typer import Argument, Option

from hepprune.cli import screen

if TYPE_CHECKING:
    from hepprune.studies.points import Point, Study

_ROWS = 24  # of the table on the screen; study.csv has all
_HEADS = {"model": "model", "bits": "bits", "sparsity": "cut", "strategy": "strategy"}
_HEADS |= {"reuse_factor": "reuse", "parallelization": "parallel", "clock_ns": "ns"}
_LONGEST = len("distributed")  # word of a strategy
_MEASURED = ("measured", "ns")
_REASONS = 6  # shown of why combinations are none
_Stage = Annotated[str | None, Option(help="csynth, vsynth, route, da4ml or yosys; else that of the tool.")]
_Sparsities = Annotated[str, Option(help="Fractions of weights to cut, as in 0,0.5,0.8; nothing is trained.")]


def study(
    models: Annotated[list[str], Argument(help="Model files, module:factory, or a recipe.yaml.")],
    target: Annotated[str, Option("--target", "-t", help="A preset (see `hepprune targets`) or a YAML file.")],
    *,
    clock: Annotated[str, Option(help="Periods in ns, as in 2.5,2.8,5; else the target's.")] = "",
    strategy: screen.Strategy = "latency,resource,distributed_arithmetic",
    reuse_factor: Annotated[str, Option("--reuse-factor", "-r", help="As in 1,2,4; else each layer's own.")] = "",
    bits: Annotated[str, Option(help="Of weights and activations, as in 6,8; else the model's own types.")] = "",
    sparsity: _Sparsities = "0",
    parallelization: Annotated[str, Option(help="Of convolutions, as in 1,4; else each layer's own.")] = "",
    io_type: screen.IoType = "io_parallel",
    stage: _Stage = None,
    budget: screen.BudgetOption = None,
    data: Annotated[Path | None, Option(help="Jets to judge by: a recipe.yaml or an .npz with x and y.")] = None,
    metric: Annotated[str | None, Option(help="What they are judged by; else the primary metric.")] = None,
    synthesise: Annotated[str, Option(help="How many points to synthesise really, or all.")] = "0",
    tool: Annotated[str, Option(help="auto, vitis, vitis_vivado, vivado, yosys, nextpnr or elsewhere.")] = "auto",
    hours: Annotated[float, Option(min=0.0001, help="The longest that one synthesis may run.")] = 4.0,
    executor: screen.Workers = None,
    out: Annotated[Path | None, Option("--out", "-o", help="Where CSV, JSON, plots and projects go.")] = None,
    as_json: screen.AsJson = False,
) -> None:
    """Price every combination of bits, sparsity, strategy, knobs and clock; synthesise the most informative ones.

    The same command again goes on from what is there. Ends with exit code 4 where designs wait for another machine.
    """
    from hepprune.errors import MeasurementAwaitedError
    from hepprune.jobs import farm, study
    from hepprune.jobs import study as studies

    with screen.workers(executor) as pool, screen.Screen() as shown:
        found = studies.study(
            models,
            target,
            clock_ns=screen.numbers("clock", clock, float) or (None,),
            strategy=screen.words(strategy),
            reuse_factor=screen.numbers("reuse-factor", reuse_factor, int) or (None,),
            bits=screen.numbers("bits", bits, int) or (None,),
            sparsity=screen.numbers("sparsity", sparsity, float),
            parallelization=screen.numbers("parallelization", parallelization, int) or (None,),
            io_type=io_type,
            stage=stage,
            budget=budget or (),
            data=data,
            metric=metric,
            synthesis=studies.SynthesisRequest(
                n=_count(synthesise), tool=tool, limits=farm.ToolLimits(hours * 3600.0), executor=pool
            ),
            out=out,
            track=shown,
        )
    screen.show(study.as_json(found), lambda: (_table(found), *_lines(found)), as_json=as_json, plain=True)
    if found.awaited:
        raise MeasurementAwaitedError("; ".join(found.awaited))


def _count(text: str) -> int | None:
    from hepprune.errors import RecipeError

    if text == "all":
        return None
    if not text.isdecimal():
        raise RecipeError(f"--synthesise takes a number of points or all, not '{text}'")
    return int(text)


def _table(found: "Study") -> Table:
    # what not all points have alike, and the clock in any case
    rows = [asdict(point.setting) for point in found]
    knobs = [name for name in _HEADS if name == "clock_ns" or len({row[name] for row in rows}) > 1]
    title = f"the front on {found.target}, {found.io_type}, stage {found[0].estimate.stage}"
    table = Table(title=title, **screen.NARROW)
    for name in knobs:
        if name in {"model", "strategy"}:
            table.add_column(_HEADS[name], min_width=_LONGEST if name == "strategy" else None)
        else:
            table.add_column(_HEADS[name], justify="right", no_wrap=True)
    cells, judged = (name.upper() for name in _counted(found)), (found.metric,) if found.metric else ()
    whole = ("in all",) if any(point.reserved_ns for point in found) else ()
    screen.columns(table, ("latency ns", *whole, "II", *cells, *judged, *(_MEASURED if found.measured else ())))
    table.add_column("verdict")
    # what was measured and the front, what fits first, fastest first
    each = {point.setting: point for point in (*found.measured, *found.front)}
    rank = {"fits": 0, "doubtful": 1, "over": 2}
    for point in sorted(each.values(), key=lambda point: (rank[point.verdict], point.whole_ns))[:_ROWS]:
        table.add_row(*(_knob(point, name) for name in knobs), *_cells(point, found))
    return table


def _knob(point: "Point", name: str) -> str:
    value = getattr(point.setting, name)
    if name == "sparsity":
        return f"{100 * value:.6g}%"
    if name == "clock_ns":
        return f"{value:g}"
    return "" if value is None else value.replace("_", " ") if name == "strategy" else str(value)


def _cells(point: "Point", found: "Study") -> list[str]:
    from hepprune.metrics import scores

    own, seen, metric = point.estimate, point.measurement, found.metric
    latency = f"{own.latency_ns:.4g} ±{(own.latency_error_cycles or 0) * own.clock_ns:.2g}"
    cells = []
    for name in _counted(found):
        count, doubt = getattr(own.resources, name), getattr(own.uncertainty, name)
        cells.append(f"{count or 0:,.0f}" + (f" ±{100 * doubt / count:.0f}%" if count and doubt else ""))
    judged = [f"{point.scores[metric]:{scores.form(metric)}}".replace(" ", "")] if metric else []
    measured = ["", ""] if seen is None else [f"{seen.resources.lut or 0:,.0f}", f"{seen.latency_ns or 0:.4g}"]
    verdict = point.verdict if point.verdict != "over" else "over " + ", ".join(point.exceeded)
    whole = [f"{point.whole_ns:.4g}"] if any(each.reserved_ns for each in found) else []
    return [latency, *whole, str(own.interval_cycles), *cells, *judged, *(measured if found.measured else []), verdict]


def _counted(found: "Study") -> list[str]:
    return ["lut", *(["dsp"] if any(point.estimate.resources.dsp for point in found) else [])]


def _lines(found: "Study") -> list[str]:
    doubtful = sum(point.verdict == "doubtful" for point in found)
    reasons = sorted(found.illegal.items(), key=lambda item: -item[1])
    counts = (
        f"{len(found):,} points, {len(found.fitting):,} fit ({doubtful:,} by less than one standard deviation), "
        f"{len(found.front):,} on the front, {len(found.measured):,} measured"
    )
    judged = (
        f"judged by {found.metric} on {found.n_jets:,} jets, nothing trained"
        if found.metric
        else "without jets only designs of the same network are compared; --data judges networks"
    )
    return [
        counts,
        judged,
        *(f"warning: {note}" for note in found.notes),
        *(f"not legal, {n:,}: {reason}" for reason, n in reasons[:_REASONS]),
        *([f"and {len(reasons) - _REASONS} more reasons"] if len(reasons) > _REASONS else []),
        *(f"{point.setting.name}: {point.failure}" for point in found if point.failure),
        *(f"{name}: {path}" for name, path in found.files.items()),
    ]
