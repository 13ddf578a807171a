"""Synthesis on another machine, today or tomorrow: what to take there, and what to bring back."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from hepprune import synthesis
from hepprune.errors import MeasurementAwaitedError, ReportError
from hepprune.hardware.resources import Measurement

NAME = "elsewhere"
_STAGE = "vsynth"


def tool(stage: str | None = None) -> synthesis.Tool:
    """Return the tool that stands for another machine's, whose figures are those of a stage: by default vsynth."""
    return synthesis.Tool(name=NAME, stage=stage or _STAGE, run=_run, version=lambda: stage or _STAGE)


def _run(job: synthesis.Job) -> NoReturn:
    raise MeasurementAwaitedError(f"'{job.folder}' is to be synthesised on another machine")


def check(measured: Measurement, key: str) -> Measurement:
    """Return a measurement that was brought back, if it can be held against a budget.

    Raises:
        ReportError: it tells no cycles or no LUT.
    """
    known = {"latency in cycles": measured.latency_cycles, "LUT": measured.resources.lut}
    if lacking := [name for name, value in known.items() if value is None]:
        said = f"the measurement of design {key} at stage {measured.stage} does not tell its {' and '.join(lacking)}"
        fix = "ingest the whole folder, with hepprune.json or the report of C synthesis in it, under the same key"
        raise ReportError(f"{said}; {fix}")
    return measured


def awaited(key: str, stage: str, build: Path, folders: Sequence[Path]) -> MeasurementAwaitedError:
    """Return the error that says what to synthesise elsewhere, and how the run goes on with what came of it."""
    places, book = " or ".join(f"'{folder}'" for folder in folders), shlex.quote(str(build / "ledger.sqlite"))
    return MeasurementAwaitedError(
        f"the design {key} waits for its measurement at stage {stage}: synthesise {places} on the other machine, there "
        f"with `hepprune synth FOLDER` or with your own scripts, bring the folder or its reports back, run "
        f"`hepprune ingest FOLDER --ledger {book} --design {key}`, and then this command again"
    )
