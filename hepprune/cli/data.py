"""Commands on jets: make them, look at a tree."""

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table
from typer import Argument, Option

from hepprune.cli.screen import AsJson, Screen, Workers, columns, command, output
from hepprune.cli.screen import show as show_parts

if TYPE_CHECKING:
    from hepprune.data.sources import Survey

app = typer.Typer(help="Make and look at jets.", no_args_is_help=True)


@command(app)
def make(
    jets: Annotated[int, Option(min=1, help="How many jets, or events.")],
    out: Annotated[Path, Option(help="The ROOT file to write.")],
    *,
    kind: Annotated[str, Option(help="jets, l1_objects (MET, e/gamma, muons, jets) or calo (18 x 14).")] = "jets",
    seed: Annotated[int, Option(min=0, help="The same seed gives the same jets, whatever the workers.")] = 1,
    workers: Annotated[int | None, Option(min=1, help="Processes on this machine; default: its cores.")] = None,
    executor: Workers = None,
    background: Annotated[float | None, Option(help="The share of the first class, minimum bias.")] = None,
    constituents: Annotated[bool, Option(help="Keep the leading 32 constituents too.")] = True,
) -> None:
    """Make jets, or events as a trigger sees them, with Pythia 8 and fastjet; resumes after an interruption."""
    from hepprune import executors
    from hepprune.data import production

    place = executor or (f"processes:{workers}" if workers else "processes")
    with executors.open(place) as pool, Screen() as screen, screen(f"making {out.name}", jets) as advance:
        generate = partial(production.generate, jets, out, kind=kind, seed=seed, background=background)
        path = generate(executor=pool, constituents=constituents, advance=advance)
    output().print(f"{jets:,} {'jets' if kind == 'jets' else 'events'} in {path}")


@command(app)
def show(
    file: Annotated[str, Argument(help="A file of any format, file.root:tree, a folder of .npy, or a pattern.")],
    as_json: AsJson = False,
) -> None:
    """Show rows, columns, their ranges and what is missing, and a `data` section of a recipe to begin with."""
    from hepprune.data import proposals, sources

    found = list(sources.surveys(file))
    sections = [asdict(each) | {"proposed": proposals.proposed(each)} for each in found]
    show_parts(sections, lambda: chain.from_iterable(map(_described, found)), as_json=as_json, plain=True)


def _described(found: "Survey") -> "Iterator[str | Table]":
    import yaml

    from hepprune.data import proposals

    heads = ("column", "kind", "from", "to", "not finite", "longest list")
    table = columns(Table(box=box.SIMPLE, padding=(0, 1, 0, 0)), heads, overflow="fold")
    for each in found.columns:
        ends = ("" if end is None else f"{end:g}" for end in (each.low, each.high))
        table.add_row(each.name, each.trouble or each.kind, *ends, f"{each.missing or ''}", f"{each.longest or ''}")
    read = "" if found.n_read == found.n_rows else f"; ranges of the first {found.n_read:,}"
    yield f"{found.file}: {found.n_rows:,} rows{read}"
    yield table
    yield "A `data` section to begin with:"
    yield yaml.safe_dump({"data": proposals.proposed(found)}, sort_keys=False, width=100)
