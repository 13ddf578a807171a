"""The main job of a recipe, what others take of a finished run, and whether all that both need is here."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from typer import Argument, Option

from hepprune.cli.screen import AsJson, Screen, Strategy, Workers, columns, kept, output, show, words, workers
from hepprune.errors import HeppruneError


def run(
    recipe: Annotated[Path, Argument(help="The recipe (YAML).")] = Path("hls_projects/jet_tagger/recipe.yaml"),
    build: Annotated[Path | None, Option(help="Where results go; default: build/ beside the recipe.")] = None,
    *,
    executor: Workers = None,
    front: Annotated[
        bool, Option("--front", help="A table of budgets from one training, in place of firmware.")
    ] = False,
    plots: Annotated[bool, Option(help="Draw plots, or leave them to `hepprune plot`, as on a farm.")] = True,
    as_json: AsJson = False,
) -> None:
    """Run the main job of a recipe: jets to smaller network, firmware, synthesis, measured figures."""
    from hepprune import pipeline
    from hepprune import recipe as recipes
    from hepprune.errors import MeasurementAwaitedError
    from hepprune.report import descent, table
    from hepprune.report import summary as summaries

    screen, wanted, place = Screen(), recipes.load(recipe), build or recipe.parent / "build"
    wanted = recipes.as_front(wanted) if front and not wanted.search.front else wanted
    there = "what is finished there is used" if (place / "state").is_dir() else "a new folder"
    screen.tell(f"{wanted.name}: {wanted.strategy} on {wanted.target}, to '{place}' ({there})")
    if wanted.search.front:
        with workers(executor) as pool, screen, kept(place / "state"):
            found = pipeline.front(wanted, build=place, executor=pool, track=screen)
        show(found, lambda: (descent.render(found), *_files(found.files)), as_json=as_json)
        return
    with workers(executor) as pool, screen, kept(place / "state"):
        try:
            summary = pipeline.run(wanted, build=place, executor=pool, track=screen, plots=plots)
            awaited = None
        except MeasurementAwaitedError as error:
            summary, awaited = summaries.read(place / "summary.json"), error
    found = json.loads(summaries.to_json(summary))  # without what is unknown
    show(found, lambda: (table.render(summary), *_files(summary.files)), as_json=as_json)
    if awaited is not None:
        raise awaited


def _files(files: Mapping[str, str]) -> Iterator[str]:
    return (f"{name}: {path}" for name, path in files.items())


def plot(
    build: Annotated[Path, Argument(help="The build folder of a recipe that was run.")],
    out: Annotated[Path | None, Option("--out", "-o", help="Where plots go; default: plots/ in it.")] = None,
    label: Annotated[str | None, Option(help="A text above each, such as 'CMS Simulation'.")] = None,
) -> None:
    """Draw the plots of a run again, png and pdf, from what it left: another label or style needs no other run."""
    from hepprune.pipeline import pictures

    drawn = pictures.redraw(build, out or build / "plots", label=label)
    show(drawn, lambda: _files(drawn), as_json=False, plain=True)


def init(
    model: Annotated[str, Argument(help="A trained model; without one (-) a tagger is trained.")] = "-",
    data: Annotated[str | None, Argument(help="Jets: file.root:tree, .h5, .parquet, .npz or a pattern.")] = None,
    *,
    out: Annotated[Path, Option("--out", "-o", help="The recipe to write.")] = Path("recipe.yaml"),
    target: Annotated[str, Option("--target", "-t", help="A preset or a YAML file.")] = "generic_vu13p",
    strategy: Strategy = "distributed_arithmetic",
    features: Annotated[str, Option(help="Columns in the order of the model, by commas, or j_*.")] = "",
    label: Annotated[str | None, Option(help="The column that says the class of a jet.")] = None,
    yes: Annotated[bool, Option("--yes", "-y", help="Ask nothing: what cannot be found out is an error.")] = False,
) -> None:
    """Write a commented recipe from what a model and a file of jets hold, to look over and run."""
    from hepprune.jobs import drafting

    def prompt(question: str, choices: Sequence[str]) -> str:
        return str(typer.prompt(f"{question} ({', '.join(choices)})"))

    ask = drafting.refuse if yes or not sys.stdin.isatty() else prompt
    if data is None and Path(model.partition(":")[0]).suffix in _ONLY_JETS:
        model, data = "-", model
    if data is None:
        data = ask("name a file of jets, such as", ["jets.root:Jets"])
    found = drafting.draft(
        None if model == "-" else model,
        data,
        out,
        target=target,
        strategy=strategy,
        features=words(features),
        label=label,
        ask=ask,
    )
    written = f"{found.path} is written; look over {' and '.join(found.open)}"
    for line in (found.text, written, f"then: hepprune run {found.path}"):
        output().print(line, soft_wrap=True)


_ONLY_JETS = {".root", ".parquet"}  # no model is kept in such a file


def prepare() -> None:
    """Compile what compiles itself at its first use (da4ml's solver, Yosys); `run` does it beside the training."""
    from hepprune.pipeline import tools

    step = "compiling the solver and Yosys, once per environment"
    with Screen() as screen, screen(step), tools.compiling() as compiled:
        compiled()


def report(
    result: Annotated[Path, Argument(help="The build/ of a run, the folder of a study, or a ledger.")],
    *,
    out: Annotated[Path | None, Option("--out", "-o", help="Default: report.html there.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a result as one HTML page that opens from disk: verdict, proof, tables, plots, every step of the search."""
    from hepprune.jobs import pages
    from hepprune.report import page

    place = out or (result / "report.html" if result.is_dir() else result.with_suffix(".html"))
    written = page.write(pages.of(result), place)
    show({"page": str(written)}, lambda: [f"page: {written}"], as_json=as_json, plain=True)


def export(
    build: Annotated[Path, Argument(help="The build/ of a finished run.")],
    *,
    out: Annotated[Path, Option("--out", "-o", help="The folder to write; an earlier export is replaced.")],
    emulator: Annotated[str | None, Option(help="Write the emulator library of this name.")] = None,
    verilog: Annotated[bool, Option("--verilog", help="Write the Verilog with patterns and scripts.")] = False,
    vhdl_wrapper: Annotated[str | None, Option(help="With --verilog: an entity of this name around it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write what others take of a run: an emulator for CMSSW, or Verilog for a firmware group's own project."""
    from hepprune.jobs import exports

    if (emulator is None) != verilog:
        raise HeppruneError("say what to export: either --emulator NAME or --verilog")
    if emulator is not None and vhdl_wrapper is not None:
        raise HeppruneError("--vhdl-wrapper goes with --verilog")
    if emulator is not None:
        written, then = exports.emulator(build, out, name=emulator), "make check"
    else:
        written, then = exports.verilog(build, out, vhdl=vhdl_wrapper), "./run_vivado.sh"
    lines = f"folder: {written}", f"then, in it: {then}"
    show({"folder": str(written)}, lambda: lines, as_json=as_json, plain=True)


def doctor(
    test: Annotated[bool, Option(help="Take a small network through every route, in under a minute.")] = True,
    as_json: AsJson = False,
) -> None:
    """Say what is installed, what is missing for what and how to get it, and try the main street once."""
    from hepprune.jobs.doctor import diagnose

    with Screen() as screen:
        found = diagnose(test=test, track=screen)
    table = Table(title=f"Python {found.python}", title_justify="left")
    columns(table, ("", "for", "here", "what helps"), overflow="fold")
    for part in found.parts:
        here = part.version or "-"
        wrong = part.fix is not None and part.version is not None
        table.add_row(part.name, part.purpose, f"{here}, not {part.wanted}" if wrong else here, part.fix or "")
    lines = []
    for trial in found.trials:
        said = f"left out, {trial.left_out}" if trial.left_out else trial.problem or "works"
        lines.append(f"{trial.name}: {said} ({trial.seconds:.1f} s)")
    show(found, lambda: (table, *lines), as_json=as_json, plain=True)
    if not found.healthy:
        raise typer.Exit(1)
