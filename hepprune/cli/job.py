"""The main job of a recipe, and what others take of a finished run: its plots, the page, the export."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from typer import Argument, Option

from hepprune.cli.screen import AsJson, Screen, Strategy, Workers, kept, output, show, words, workers
from hepprune.errors import HeppruneError

if TYPE_CHECKING:
    from hepprune.report.summary import Summary


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
    from hepprune.report import descent
    from hepprune.report import summary as summaries

    screen, wanted, place = Screen(), recipes.load(recipe), build or recipe.parent / "build"
    wanted = recipes.as_front(wanted) if front and not wanted.search.front else wanted
    there = "what is finished there is used" if (place / "state").is_dir() else "a new folder"
    screen.tell(f"{wanted.name}: {wanted.strategy} on {wanted.target}, to '{place}' ({there})")
    if wanted.search.front:
        with workers(executor) as pool, screen.progress, kept(place / "state"):
            found = pipeline.front(wanted, build=place, executor=pool, track=screen)
        files = (f"{name}: {path}" for name, path in found.files.items())
        show(found, lambda: (descent.render(found), *files), as_json=as_json)
        return
    with workers(executor) as pool, screen.progress, kept(place / "state"):
        try:
            summary = pipeline.run(wanted, build=place, executor=pool, track=screen, plots=plots)
            awaited = None
        except MeasurementAwaitedError as error:
            summary, awaited = summaries.read(place / "summary.json"), error
    _show(summary, as_json=as_json)
    if awaited is not None:
        raise awaited


def plot(
    build: Annotated[Path, Argument(help="The build folder of a recipe that was run.")],
    out: Annotated[Path | None, Option("--out", "-o", help="Where plots go; default: plots/ in it.")] = None,
    label: Annotated[str | None, Option(help="A text above each, such as 'CMS Simulation'.")] = None,
) -> None:
    """Draw the plots of a run again, png and pdf, from what it left: another label or style needs no other run."""
    from hepprune.pipeline import pictures

    for name, path in pictures.redraw(build, out or build / "plots", label=label).items():
        output().print(f"{name}: {path}", soft_wrap=True, markup=False)


def _show(summary: "Summary", *, as_json: bool) -> None:
    from hepprune.report import summary as summaries
    from hepprune.report import table

    if as_json:
        sys.stdout.write(summaries.to_json(summary) + "\n")
        return
    console = Console()
    console.print(table.render(summary))
    for name, path in summary.files.items():
        console.print(f"{name}: {path}", soft_wrap=True, highlight=False)


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

    screen = Screen()
    step = screen("compiling the solver and Yosys, once per environment")
    with screen.progress, step, tools.compiling() as compiled:
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
