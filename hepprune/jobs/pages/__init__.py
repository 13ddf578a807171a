"""The page of a result: what a trigger review is shown of a build, a study or a ledger."""

from pathlib import Path

from hepprune.errors import ReportError
from hepprune.jobs.pages import builds, ledgers, studies
from hepprune.report import descent
from hepprune.report.page import Page

_LEDGERS = (".sqlite", ".db")


def of(path: Path) -> Page:
    """Return the page of a build, a study or a ledger.

    Raises:
        ReportError: there is none of them at that path, or it is damaged.
    """
    if path.suffix in _LEDGERS:
        return ledgers.page(path)
    for name, page in (("summary.json", builds.page), ("study.json", studies.page)):
        if (path / name).is_file():
            return page(path)
    if descent.is_alone(path):
        raise ReportError(f"'{path}' holds a front, of which there is no page: its table is {descent.FILE} there")
    raise ReportError(
        f"'{path}' holds no result: give the build/ of a run (with summary.json), the folder of a study (with "
        "study.json) or a ledger (.sqlite)"
    )
