"""Synthesis of projects that are on disk: find out what each is, run a tool on several at once, keep the outcome."""

import re
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Event

from hepprune import executors, synthesis
from hepprune.errors import ReportError
from hepprune.files import content_hash, stored
from hepprune.firmware import rtl
from hepprune.firmware.verilog import handover
from hepprune.hardware.resources import Measurement
from hepprune.pipeline.context import Track, silent
from hepprune.synthesis.failures import Failure, RunFailedError
from hepprune.synthesis.job import TIME_LIMIT_S
from hepprune.synthesis.ledger import Ledger

_SETTING = re.compile(r"^set (project_name|part|clock_period) +\"?([\w.-]+)\"?\s*$", re.MULTILINE)


@dataclass(frozen=True)
class ToolLimits:
    """What one program may take."""

    time_s: float = TIME_LIMIT_S
    memory_bytes: float | None = None


@dataclass(frozen=True, kw_only=True)
class SynthesisRun:
    """The outcome of a project: its figures, or why there are none; `resumed` if they are those of an earlier run."""

    project: Path
    key: str
    measurement: Measurement | None
    failure: Failure | None = None
    resumed: bool = False


def synthesise(
    projects: Sequence[Path],
    *,
    tool: str = "auto",
    executor: Executor | None = None,
    limits: ToolLimits = ToolLimits(),
    ledger: Path | None = None,
    track: Track = silent,
) -> list[SynthesisRun]:
    """Synthesise projects and return what came of each; a failure of one does not stop the others.

    A project whose files have not changed since it was measured by the same tool is not measured again. Without an
    `executor` it is one project after the other; the workers of a cluster need the projects' file system in common
    with this process, and the tool. Each outcome is in the ledger as soon as it is known.

    Raises:
        ReportError: a folder is not a project.
        ToolMissingError: the tool, or for `auto` every one, is missing.
        ExecutorError: a worker was lost.
    """
    chosen = synthesis.choose(tool)
    works = [_job(project.resolve(), chosen, limits) for project in projects]
    pool = executor or executors.Serial()
    near, stop = isinstance(pool, ThreadPoolExecutor | executors.Serial), Event()
    task = partial(_watched, chosen.name, track, stop) if near else partial(_run, chosen.name)
    runs: dict[synthesis.Job, SynthesisRun] = {}
    try:
        for job, run in executors.completed(pool, task, works):
            runs[job] = run
            if ledger is not None:
                with Ledger(ledger) as book:
                    book.record(run.key, run.measurement, run.failure, description=str(run.project))
    finally:
        stop.set()  # threads do not learn of Ctrl-C, and would wait for their programs for hours
    return [runs[job] for job in works]


def _watched(tool: str, track: Track, stop: Event, job: synthesis.Job) -> SynthesisRun:
    """Run a job with what its log says shown as it goes."""
    with track(f"{tool}: {_project(job).name}") as advance:
        return _run(tool, replace(job, progress=partial(advance, 0), stopped=stop.is_set))


def _project(job: synthesis.Job) -> Path:
    return job.hls_project or job.folder.parent


def _job(project: Path, tool: synthesis.Tool, limits: ToolLimits) -> synthesis.Job:
    if (project / "build_prj.tcl").is_file():
        job = _hls_job(project, tool)
    elif (project / "hepprune.json").is_file():
        job = _verilog_job(project, tool)
    else:
        raise ReportError(f"'{project}' is not a project: expected build_prj.tcl of hls4ml, or Verilog of hepprune")
    return replace(job, time_limit_s=limits.time_s, memory_limit_bytes=limits.memory_bytes)


def _hls_job(project: Path, tool: synthesis.Tool) -> synthesis.Job:
    """Return the job of an HLS project; for a tool that takes Verilog, of what C synthesis has written there."""
    script = project / "project.tcl"
    text = script.read_text(encoding="utf-8", errors="replace") if script.is_file() else ""
    settings = dict(_SETTING.findall(text))
    if settings.keys() != {"project_name", "part", "clock_period"}:
        raise ReportError(f"'{script}' does not set project_name, part and clock_period as hls4ml writes them")
    name = settings["project_name"]
    synthesised = project / f"{name}_prj" / "solution1" / "syn"
    sources = tuple(sorted((synthesised / "verilog").glob("*.v")))
    report = synthesised / "report" / f"{name}_csynth.xml"
    predicted = synthesis.read(report) if report.is_file() else None
    if not tool.needs_hls and not (sources and predicted):
        raise ReportError(f"'{project}' has no Verilog for {tool.name}; run C synthesis first, or take its Verilog")
    return synthesis.Job(
        folder=project / "synthesis",
        top=name,
        sources=sources,
        part=settings["part"],
        clock_ns=float(settings["clock_period"]),
        latency_cycles=(predicted and predicted.latency_cycles) or 0,
        interval_cycles=(predicted and predicted.interval_cycles) or 0,
        hls_project=project,
    )


def _verilog_job(project: Path, tool: synthesis.Tool) -> synthesis.Job:
    if tool.needs_hls:
        raise ReportError(f"'{project}' holds Verilog, and {tool.name} needs an HLS project; take vivado or yosys")
    _, design = stored.read(tuple[str, rtl.Design], project / "hepprune.json", error=ReportError)
    sources = tuple(project / source for source in handover.relative(design).sources)
    return synthesis.Job.of(replace(design, sources=sources), project / "synthesis")


def _run(name: str, job: synthesis.Job) -> SynthesisRun:
    """Return what an earlier run kept, if the project is still the same, else run the tool."""
    tool = synthesis.choose(name)
    sources = job.sources if job.hls_project is None else synthesis.vendor.sources(job.hls_project)
    content = content_hash(*(source.read_bytes() for source in sources))
    key = content_hash(tool.name, tool.version(), job.part, job.clock_ns, content)
    note = job.folder / f"{tool.name}.json"
    if known := stored.noted(Measurement, note, key):
        return SynthesisRun(project=_project(job), key=key, measurement=known, resumed=True)
    try:
        measured = tool.run(job)
    except RunFailedError as problem:
        return SynthesisRun(project=_project(job), key=key, measurement=None, failure=problem.failure)
    return SynthesisRun(project=_project(job), key=key, measurement=stored.note(Measurement, note, key, measured))
