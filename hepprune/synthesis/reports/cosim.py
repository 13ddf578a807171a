"""The report of HLS' co-simulation: whether RTL and C++ agree, and the cycles that the RTL took."""

from pathlib import Path

from hepprune.errors import ReportError
from hepprune.hardware.resources import Measurement, Resources
from hepprune.synthesis.failures import FAILURES, Failure
from hepprune.synthesis.reports.registry import UNKNOWN, report_parser, required_clock
from hepprune.synthesis.reports.tables import cycles, tables


@report_parser("cosim", mark=r"(?s)^\s*(Report time|=+\s*== .*[Cc]osim).*\|\s*RTL|\+\s*RTL\s*\+\s*Status")
def parse(path: Path, text: str, clock_ns: float | None = None) -> Measurement | Failure:
    """Return the largest latency and interval that were simulated, `NA` where there was one transaction alone.

    The report names neither part nor version.

    Raises:
        ReportError: the table is missing or damaged, nothing was simulated, or `clock_ns` was not given.
    """
    # rows of languages: name, status, then min, avg and max of latency and of interval
    found = [row for rows in tables(path, text) for row in rows]
    languages = [row for row in found if row.cells[0] in {"VHDL", "Verilog", "SystemC"} and len(row.cells) >= 8]
    rows = [row for row in languages if row.cells[1] not in {"NA", "Status", ""}]
    if not rows:
        raise ReportError(f"'{path}' has no simulated RTL; expected a row VHDL or Verilog with its status")
    row = next((row for row in rows if row.cells[1] != "Pass"), rows[0])
    if row.cells[1] != "Pass":
        message = f"the co-simulation of {row.cells[0]} ended with {row.cells[1][:40]}"
        fix = FAILURES["simulation"].fix
        return Failure(kind="simulation", message=message, fix=fix, tool="cosim", clock_ns=clock_ns, line=row.line)
    latency, interval = (cycles(row.cells[place], what="cycles", path=path, line=row.line) for place in (4, 7))
    return Measurement(
        stage="cosim",
        tool="cosim",
        version=UNKNOWN,
        part=UNKNOWN,
        clock_ns=required_clock(path, clock_ns),
        resources=Resources(),
        latency_cycles=latency,
        interval_cycles=interval,
    )
