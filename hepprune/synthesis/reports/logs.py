"""The log of Vivado, Vivado HLS or Vitis HLS: read as a report, it says why the run failed."""

from pathlib import Path

from hepprune.errors import ReportError
from hepprune.synthesis.failures import BANNER, Failure, classify
from hepprune.synthesis.reports.registry import report_parser


@report_parser("log", mark=BANNER)
def parse(path: Path, text: str, _clock_ns: float | None = None) -> Failure:
    """Return why the run failed.

    Raises:
        ReportError: nothing in it says that it did; figures are in the reports beside it.
    """
    failure = classify(text)
    if failure is None:
        raise ReportError(f"'{path}' is the log of a run that did not fail; its figures are in the reports beside it")
    return failure
