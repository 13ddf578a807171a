"""From what a synthesis left behind, here or elsewhere, to figures: find the projects in it, read them, record them."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from hepprune.errors import ReportError
from hepprune.files import content_hash
from hepprune.firmware import names, rtl
from hepprune.hardware.resources import Measurement, Resources
from hepprune.synthesis import artefacts, reports
from hepprune.synthesis.artefacts import Artefact
from hepprune.synthesis.failures import Failure, classify
from hepprune.synthesis.ledger import Ledger
from hepprune.synthesis.merging import merged, with_cycles
from hepprune.synthesis.reports import modules

T = TypeVar("T")

# Where HLS writes its reports, a description of its solution, and its log.
_HLS = re.compile(r"^(?P<root>(?:.*/)?)(?P<project>[^/]+)/(?P<solution>[^/]+)/(syn|sim|impl)/report/")
_SOLUTION = re.compile(
    r"^(?P<root>(?:.*/)?)(?P<project>[^/]+)/(?P<solution>[^/]+)/((?P=solution)\.log|[^/]+_data\.json)$"
)
_ONEAPI = re.compile(r"^(?P<root>(?:.*/)?)[^/]+\.prj/reports/")
_CLOCK = re.compile(r"^(?:set clock_period|ClockPeriod:) +(\d{1,6}(?:\.\d{1,6})?)\s*$", re.MULTILINE)
_PART = re.compile(r"^(?:set part +\"|Part: +)([\w.-]+)", re.MULTILINE)
_SET_TOP = re.compile(r"\[HLS 200-1510\] Running: set_top (\w+)")
_STAMP = re.compile(r"^Stamp: +(\w+)", re.MULTILINE)
# Which report is believed first of those that tell the same: the one that says most of its modules and origin.
_RICHEST = ("csynth_text", "csynth_tree", "csynth", "solution", "oneapi_loops", "oneapi_summary", "timing")
_PER_MODULE = {"csynth", "csynth_text"}  # reports that HLS writes for every function
_OF_VIVADO = {"vsynth", "vsynth_hierarchy", "timing"}  # reports that are of the whole netlist
_NOTE = "hepprune.json"  # what hepprune says of a project that it wrote
_NO_REPORT = {"hls4ml_config.yml", "project.tcl", "parameters.h", _NOTE, names.FILE}
_DESIGN = TypeAdapter(tuple[str, rtl.Design])


@dataclass(frozen=True, kw_only=True)
class IngestedDesign:
    """A design in what was ingested: where, its top, the key it has in a ledger, its figures and its failures.

    `unexplained` is, for each measurement, what its total has beyond the sum of its modules.
    """

    project: str
    top: str
    key: str
    measurements: tuple[Measurement, ...]
    failures: tuple[Failure, ...]
    unexplained: tuple[Resources, ...] = ()


@dataclass(frozen=True)
class Ingested:
    """All that was found, and what was refused or could not be read, each with the reason."""

    designs: tuple[IngestedDesign, ...]
    refused: tuple[tuple[str, str], ...]


def ingest(
    path: Path, *, ledger: Path | None = None, clock_ns: float | None = None, design: str | None = None
) -> Ingested:
    """Read every report and log in a project folder, an archive or a file, and record what they say.

    `clock_ns` is for reports of which nothing around them says the clock. `design` is the key of a recorded design that
    the one design in `path` is; without it a key is made of the project's own stamp or of its reports.

    Raises:
        ReportError: nothing is there, the archive is hostile or broken, or `design` fits no or more than one design.
    """
    collected = artefacts.collect(path)
    designs: list[IngestedDesign] = []
    refused = [*collected.refused]
    for root, files in _projects(collected.artefacts).items():
        name = f"{path.name}/{root}".rstrip("/")
        found, unread = _Project(name, files, clock_ns).read()
        designs += found
        refused += unread
    if ledger is None:
        return Ingested(tuple(designs), tuple(refused))
    with Ledger(ledger) as book:
        if design is not None:
            if len(designs) != 1:
                raise ReportError(f"a design was named, but {len(designs)} were found; give the folder of one")
            designs = [replace(designs[0], key=book.design(design).key)]
        for each in designs:
            description = f"{each.top} in {each.project}"
            book.record(each.key, *each.measurements, *each.failures, description=description)
    return Ingested(tuple(designs), tuple(refused))


def _projects(files: Iterable[Artefact]) -> dict[str, list[Artefact]]:
    every = list(files)
    written = {file.path.parent for file in every if file.path.name == _NOTE}
    projects: dict[str, list[Artefact]] = {}
    for file in every:
        own = next((folder for folder in file.path.parents if folder in written), None)
        root = _root(file.path) if own is None else own.as_posix().removeprefix(".")
        projects.setdefault(root, []).append(file)
    return projects


def _written(files: Iterable[Artefact], name: str, adapter: TypeAdapter[T]) -> T | None:
    """Return what hepprune wrote of a project into a file of this name, None where it did not."""
    for file in files:
        if file.path.name == name:
            with suppress(ValidationError):  # that of another kind of project, or of another version
                return adapter.validate_json(file.text)
    return None


def _root(path: Path) -> str:
    """Return the folder of the project that a file belongs to, above what HLS and oneAPI make of it."""
    place = path.as_posix()
    for pattern in (_HLS, _SOLUTION, _ONEAPI):
        if found := pattern.match(place):
            return found["root"].rstrip("/")
    folder = path.parent
    return (folder.parent if folder.name == "firmware" else folder).as_posix().removeprefix(".")


class _Project:
    """The files of one project while they are read."""

    def __init__(self, name: str, files: list[Artefact], clock_ns: float | None) -> None:
        self.name = name
        self.files = files
        described = "\n".join(file.text for file in files if file.path.name in {"hls4ml_config.yml", "project.tcl"})
        clock, part, stamp = (pattern.search(described) for pattern in (_CLOCK, _PART, _STAMP))
        self.clock_ns = clock_ns or (float(clock[1]) if clock else None)
        self.part = part[1].lower() if part else None
        self.stamp = stamp[1] if stamp else None
        note = _written(files, _NOTE, _DESIGN)  # of Verilog; its places may have been moved
        self.design = note and note[1]
        if self.design is not None:
            self.clock_ns = self.clock_ns or self.design.clock_ns
            self.part = self.part or self.design.part
        self.names = _written(files, names.FILE, names.TABLE) or names.Names({}, {})
        self.declared: Mapping[str, modules.Declared] = {}
        for file in files:
            if file.path.name == "parameters.h":
                found = modules.declared(file.text)
                self.declared = {key: replace(each, name=self.names.layer(each.name)) for key, each in found.items()}
        # the project as a whole is named after these
        named = [self.design.top if self.design else None]
        named += [reports.top_of(file.text) for file in self.files if _is_whole(file)]
        named += [line[1] for file in self.files if (line := _SET_TOP.search(file.text))]
        places = [file.path.as_posix() for file in self.files]
        folders = [_HLS.match(place) or _SOLUTION.match(place) for place in places]
        named += [each["project"].removesuffix("_prj") for each in folders if each]
        named += [reports.top_of(file.text) for file in self.files if reports.kind_of(file.text) in _OF_VIVADO]
        self.tops = list(dict.fromkeys(name for name in named if name))

    def read(self) -> tuple[list[IngestedDesign], list[tuple[str, str]]]:
        """Return the designs, and what could not be read."""
        measured: dict[str, list[Measurement]] = {}
        failed: dict[str, list[Failure]] = {}
        refused: list[tuple[str, str]] = []
        for file in self._in_order():
            found = self._value(file)
            kernels = (reports.kind_of(file.text) or "").startswith("oneapi")
            top = reports.top_of(file.text) or next(iter(self.tops), "kernels" if kernels else file.path.stem)
            if isinstance(found, Measurement):
                self.clock_ns = self.clock_ns or found.clock_ns
                measured.setdefault(top, []).append(modules.named(found, self.declared))
            elif isinstance(found, Failure):
                failed.setdefault(top, []).append(found)
            elif found is not None:
                refused.append((f"{self.name}/{file.path.name}", found))
        tops = [*measured, *(top for top in failed if top not in measured)]
        return [self._found(top, measured.get(top, []), failed.get(top, [])) for top in tops], refused

    def _in_order(self) -> list[Artefact]:
        """Return the reports, those first that say the clock, and of those that tell the same the richest."""
        kinds = {file.path: reports.kind_of(file.text) for file in self.files}

        def rank(file: Artefact) -> tuple[int, str]:
            kind = kinds[file.path]
            return (_RICHEST.index(kind) if kind in _RICHEST else len(_RICHEST)), file.path.as_posix()

        single = {reports.top_of(file.text) for file in self.files if kinds[file.path] in _PER_MODULE}
        alone = len(single) == 1 or not single.intersection(self.tops)
        return [
            file
            for file in sorted(self.files, key=rank)
            if alone or kinds[file.path] not in _PER_MODULE or reports.top_of(file.text) in self.tops
        ]

    def _value(self, file: Artefact) -> Measurement | Failure | str | None:
        """Return what a file says, the reason why it cannot be read, or None where it is not a report at all."""
        if file.path.name in _NO_REPORT:
            return None
        if reports.kind_of(file.text) in {None, "log"}:
            return classify(file.text) if file.path.suffix in {".log", ".txt", ".out"} else None
        try:
            return reports.parse(file.path, file.text, clock_ns=self.clock_ns)
        except ReportError as problem:
            return str(problem)

    def _found(self, top: str, measured: list[Measurement], failed: list[Failure]) -> IngestedDesign:
        part = self.part or next((each.part for each in measured if each.part != reports.UNKNOWN), reports.UNKNOWN)
        whole = [replace(each, part=part) if each.part == reports.UNKNOWN else each for each in merged(measured)]
        content = [self.stamp] if self.stamp else sorted(file.text for file in self.files)
        key = content_hash("ingested", top, part, self.clock_ns, content)
        cycles = (self.design.latency_cycles, self.design.interval_cycles) if self.design else None
        whole = with_cycles(whole, cycles)
        rest = tuple(modules.unexplained(each) for each in whole)
        once: dict[tuple[str, str], Failure] = {}
        for each in failed:  # HLS and its solution have a log each, which say the same
            once.setdefault((each.kind, each.message), each)
        return IngestedDesign(
            project=self.name,
            top=self.names.shown_top(top),
            key=key,
            measurements=tuple(whole),
            failures=tuple(once.values()),
            unexplained=rest,
        )


def _is_whole(file: Artefact) -> bool:
    """Whether a file is about a project, not about one of its functions."""
    return file.path.name in {"csynth.xml", "csynth.rpt"} or file.path.name.endswith("_data.json")
