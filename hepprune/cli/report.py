"""The page of a result for those who decide."""

from pathlib import Path
from typing import Annotated

import typer

from hepprune.cli.screen import AsJson, errors_in_one_sentence, output, print_json


def report(
    result: Annotated[Path, typer.Argument(help="The build/ of a run, the folder of a study, or a ledger.")],
    *,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Default: report.html there.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a result as one HTML page that opens from disk: verdict, proof, tables, plots, every step of the search."""
    with errors_in_one_sentence():
        from hepprune.jobs import pages
        from hepprune.report import page

        place = out or (result / "report.html" if result.is_dir() else result.with_suffix(".html"))
        written = page.write(pages.of(result), place)
        if as_json:
            print_json({"page": str(written)})
            return
        output().print(f"page: {written}", soft_wrap=True)
