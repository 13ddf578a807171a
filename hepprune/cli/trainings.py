"""Commands that train: pruning methods compared, lottery tickets, dynamic networks, one within a measured latency."""

from pathlib import Path
from typing import Annotated, Any

from rich.table import Table
from typer import Argument, Option

from hepprune.cli.screen import NARROW, AsJson, Screen, Workers, columns, numbers, show, words, workers

SourceArgument = Annotated[str, Argument(help="A recipe.yaml, or a model file or module:factory with --data.")]
JetsOption = Annotated[Path | None, Option(help="Jets of a model: a recipe.yaml or an .npz with x and y.")]
Out = Annotated[Path, Option("--out", "-o", help="Where networks, JSON and plots go.")]

_SHOWN = 2  # metrics in the table; comparison.json has all


def compare(
    source: SourceArgument = "hls_projects/jet_tagger/recipe.yaml",
    *,
    data: JetsOption = None,
    methods: Annotated[
        str, Option(help="criterion[:granularity][@local], by commas; gaps are to the first.")
    ] = "magnitude,magnitude@local,random,taylor_per_sample,fisher,obd,obs,fisher:neuron",
    sparsities: Annotated[str, Option(help="Fractions to cut, rising, by commas.")] = "0.5,0.7,0.8,0.9,0.95",
    seeds: Annotated[int, Option(min=1, help="How many seeds, 1, 2, ...; each trains its own baseline.")] = 5,
    epochs: Annotated[int, Option(min=1, help="Of fine-tuning at each sparsity.")] = 10,
    patience: Annotated[int | None, Option(min=1, help="Stop early after so many epochs without gain.")] = None,
    out: Out = Path("build/comparison"),
    executor: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Compare pruning methods x sparsities x seeds: scores against sparsity and LUT, with errors."""
    from hepprune.jobs.trainings import comparison

    with workers(executor) as pool, Screen() as screen:
        result = comparison.compare(
            source,
            out,
            data=data,
            methods=words(methods),
            sparsities=numbers("sparsities", sparsities, float),
            seeds=range(1, seeds + 1),
            epochs=epochs,
            patience=patience,
            executor=pool,
            track=screen,
        )
    show(result, lambda: (_compared(result), *result.files.values()), as_json=as_json)


def _compared(result: Any) -> Table:
    from hepprune.metrics import scores

    metrics = list(result.points[0].scores)[:_SHOWN]
    heads = [f"{scores.label(name)}{' %' * (scores.scale(name) != 1)}" for name in metrics]
    title = f"{result.name}, {len(result.seeds)} seeds, {result.n_test:,} test jets"
    table = columns(Table(title=title, **NARROW), ["method"], no_wrap=True)
    columns(table, ("cut", "left", *heads, "LUT", f"gap{' %' * (scores.scale(metrics[0]) != 1)}"))
    first = next((point.method for point in result.points if point.sparsity), None)
    for point in result.points:
        gap = _cell(metrics[0], point.gap, sign=True)
        clear = "" if point.method == first or not point.sparsity else gap if point.significant else f"({gap})"
        sizes, lut = (f"{100 * point.sparsity:.6g}%", f"{1 - point.zeros:.1%}"), f"{point.lut or 0:,.0f}"
        judged = (_cell(name, point.scores[name]) for name in metrics)
        table.add_row(point.method, *sizes, *judged, "-" if point.lut is None else lut, clear)
    table.caption = (
        f"left: weights that act; gap: {scores.label(metrics[0])} less that of {first} on the same seeds, in brackets "
        "within twice its error; ±: error of the mean over seeds"
    )
    return table


def _cell(name: str, score: Any, *, sign: bool = False) -> str:
    from hepprune.metrics import scores

    scale = scores.scale(name)
    form = scores.form(name, sign=sign) if scale == 1 else "+.2f" if sign else ".2f"
    return f"{score.times(scale):{form}}".replace(" ", "")


def lottery(
    source: Annotated[
        str, Argument(help="digits (offline), a folder with MNIST's IDX files, or a recipe.yaml.")
    ] = "digits",
    *,
    seeds: Annotated[int, Option(min=1, help="How many seeds, 1, 2, ...; each has its own dense network.")] = 5,
    sparsity: Annotated[float, Option(help="The fraction cut in the end, of all layers but the last.")] = 0.985,
    rounds: Annotated[int, Option(min=1, help="Rounds of training, cutting and rewinding.")] = 12,
    rewind_epochs: Annotated[int, Option(min=0, help="Rewind to this epoch in place of the start.")] = 0,
    epochs: Annotated[int | None, Option(min=1, help="Of one training; without it, what suits the data.")] = None,
    out: Out = Path("build/lottery"),
    executor: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Find lottery tickets (arXiv:1803.03635) and compare them with the dense network, new weights, a random mask."""
    from hepprune.jobs.trainings import lottery as game

    with workers(executor) as pool, Screen() as screen:
        result = game.play(
            source,
            out,
            seeds=range(1, seeds + 1),
            epochs=epochs,
            sparsity=sparsity,
            rounds=rounds,
            rewind_epochs=rewind_epochs,
            executor=pool,
            track=screen,
        )
    held = f"within {result.within:.1%} of the dense network down to"
    lines = (f"{kind}: {held} {1 - reached:.1%} of the weights" for kind, reached in result.sparsest.items())
    show(result, lambda: (_tickets(result), *lines, *result.files.values()), as_json=as_json)


def _tickets(result: Any) -> Table:
    from hepprune.metrics import scores

    dense = next(point for point in result.points if point.kind == "dense")
    metric, score = next(iter(dense.scores.items()))
    title = f"{scores.label(metric)} lost on the dense {score:{scores.form(metric)}}, {result.name}"
    table = Table("weights left", *result.sparsest, title=title)
    for sparsity in sorted({point.sparsity for point in result.points} - {0.0}):
        cells = {p.kind: _lost(p.lost, scores.form(metric, sign=True)) for p in result.points if p.sparsity == sparsity}
        table.add_row(f"{1 - sparsity:.1%}", *(cells.get(kind, "") for kind in result.sparsest))
    return table


def _lost(lost: Any, form: str) -> str:
    """Return the loss and its error; in brackets where it is not larger than the error."""
    return f"{lost:{form}}" if lost.error is None or abs(lost.value) > lost.error else f"({lost:{form}})"


def dynamic(
    recipe: Annotated[Path, Argument(help="The recipe (YAML).")] = Path("hls_projects/jet_tagger/recipe.yaml"),
    *,
    kind: Annotated[str, Option(help="exits, threshold (gates) or top_k (gates).")] = "exits",
    seeds: Annotated[int, Option(min=1, help="How many seeds, 1, 2, ...")] = 3,
    epochs: Annotated[int, Option(min=1, help="Of each training.")] = 15,
    out: Out = Path("build/dynamic"),
    as_json: AsJson = False,
) -> None:
    """Train early exits or gated channels: scores against mean and worst-case cost, which is what firmware pays."""
    from hepprune.jobs.trainings import dynamic as studies

    with Screen() as screen:
        result = studies.study(recipe, kind, out, seeds=range(1, seeds + 1), epochs=epochs, track=screen)
    show(result, lambda: (_by_cost(result), *result.files.values()), as_json=as_json)


def _by_cost(result: Any) -> Table:
    from hepprune.metrics import scores

    metric = next(iter(result.plain.scores))
    heads = {"exits": "confidence", "threshold": "penalty", "top_k": "channels kept"}
    table = Table(title=f"{result.name}: multiplications per jet, {result.kind}", title_justify="left")
    columns(table, (heads[result.kind], scores.label(metric), "mean", "largest seen", "worst case"), justify="right")
    for label, point in [("without", result.plain), *((f"{p.setting:g}", p) for p in result.points)]:
        score = f"{point.scores[metric]:{scores.form(metric)}}"
        table.add_row(label, score, *(f"{n:,.0f}" for n in (point.mean, point.largest, point.worst_case)))
    latencies = result.trials[0].latency_ns
    if latencies:
        table.caption = "predicted firmware latency of the exits: " + ", ".join(f"{ns:g} ns" for ns in latencies)
    return table


def latency(
    source: SourceArgument,
    *,
    out: Annotated[Path, Option("--out", "-o", help="The smaller network (.npz for a recipe's tagger).")],
    on: Annotated[str, Option(help="What is measured: torch:cpu or torch:cuda.")] = "torch:cpu",
    batch: Annotated[int, Option(min=1, help="Jets at a time.")] = 1,
    limit_us: Annotated[float | None, Option(help="The latency to reach for one batch, in microseconds.")] = None,
    fraction: Annotated[float, Option(help="Without a limit: the fraction of today's latency to reach.")] = 0.5,
    data: JetsOption = None,
    epochs: Annotated[int, Option(min=1, help="Of fine-tuning after each stage.")] = 4,
    stages: Annotated[int, Option(min=1, help="Stages of cutting.")] = 4,
    seed: Annotated[int, Option(min=0, help="Of the baseline and the training.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Remove neurons and filters until a network runs within a latency, as measured on this machine."""
    from hepprune.jobs.trainings import latency as search
    from hepprune.metrics import scores

    with Screen() as screen:
        result = search.reach(
            source,
            out,
            device=on,
            batch_size=batch,
            limit_us=limit_us,
            fraction=fraction,
            data=data,
            epochs=epochs,
            stages=stages,
            seed=seed,
            track=screen,
        )
    lines = [f"{result.device}, {result.batch_size} jets at a time, limit {result.limit_ns / 1000:,.1f} us"]
    for label, size in (("before", result.before), ("after", result.after)):
        sizes = "-".join(str(width) for width in size.layers)
        time = f"{size.timing.median_ns / 1000:,.1f} ± {size.timing.error_ns / 1000:,.1f} us"
        text = scores.headline(size.scores)
        lines.append(f"{label}: {sizes}, {size.parameters:,} parameters, {time}, {text}")
    show(result, lambda: (*lines, str(result.path)), as_json=as_json)
