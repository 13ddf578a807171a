"""What is installed here, what is missing for what, and whether the main street works: a network taken to cells."""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
from packaging.requirements import Requirement

from hepprune import synthesis, training
from hepprune.errors import HeppruneError, PrerequisiteError, ToolMissingError
from hepprune.firmware.routes import ROUTES, Built, Order
from hepprune.fixed import FixedPoint
from hepprune.hardware import targets
from hepprune.network import precision
from hepprune.pipeline.context import Track, silent
from hepprune.synthesis import Job, yosys

# What each extra of the package is for.
PURPOSES = {
    "": "every command",
    "hls": "HLS projects and their C simulation",
    "rtl": "Verilog, its simulation and synthesis",
    "jets": "making jets",
    "report": "plots",
    "qkeras": "Keras 2 and QKeras models",
    "onnx": "ONNX and QONNX models",
    "dask": "work on a cluster",
    "parquet": "Parquet files",
    "digits": "hand-written digits",
    "search": "the solver `evolve`",
}
_PROGRAMS = {"g++": "C simulation and Verilator", "make": "Verilator", "perl": "Verilator", "bash": "HLS projects"}
_JETS = 200


@dataclass(frozen=True, kw_only=True)
class Needed:
    """A package or program: what it is for, the range wanted, and what helps where it is missing or of another one.

    `version` is that of a package here, or where a program is; None is missing.
    """

    name: str
    purpose: str
    version: str | None
    wanted: str = ""
    fix: str | None = None


@dataclass(frozen=True, kw_only=True)
class SelfTest:
    """One step of the self-test: how long it took, and the sentence it failed with, or was `left_out` with."""

    name: str
    seconds: float
    problem: str | None = None
    left_out: str | None = None


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """All parts and trials; what it is `healthy` without is a vendor's tool, or of an extra that nobody asked for."""

    python: str
    parts: tuple[Needed, ...]
    trials: tuple[SelfTest, ...]

    @property
    def healthy(self) -> bool:
        """Whether all that every command needs is there, and every trial passed."""
        needed = all(part.fix is None for part in self.parts if part.purpose == PURPOSES[""])
        return needed and all(trial.problem is None for trial in self.trials)


def diagnose(*, test: bool = True, track: Track = silent) -> Diagnosis:
    """Return what is here and what is missing; with `test` a small network goes through every route."""
    trials = tuple(_trials(track)) if test else ()
    return Diagnosis(python=sys.version.split()[0], parts=(*_packages(), *_programs(), *_vendors()), trials=trials)


def _packages() -> Iterator[Needed]:
    for text in metadata.requires("hepprune") or []:
        wanted = Requirement(text)
        extra = next((name for name in PURPOSES if wanted.marker and wanted.marker.evaluate({"extra": name})), "")
        if wanted.name == "hepprune" or (wanted.marker is not None and not extra):
            continue  # the extra of all extras
        try:
            found = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            found = None
        fits = found is not None and wanted.specifier.contains(found, prereleases=True)
        command = f"pip install '{wanted.name}{wanted.specifier}'" if not extra else f"pip install 'hepprune[{extra}]'"
        yield Needed(
            name=wanted.name,
            purpose=PURPOSES[extra],
            version=found,
            wanted=str(wanted.specifier),
            fix=None if fits else command,
        )


def _programs() -> Iterator[Needed]:
    for name, purpose in _PROGRAMS.items():
        place = shutil.which(name)
        yield Needed(name=name, purpose=purpose, version=place, fix=None if place else f"apt install {name}")


def _vendors() -> Iterator[Needed]:
    """Yield the synthesis tools that are programs, which all but the open one are."""
    for tool in synthesis.SYNTHESIS_TOOLS.values():
        if tool.needs:
            lacking = tool.missing()
            fix = f"put {' and '.join(lacking)} on PATH (source the vendor's settings64.sh)" if lacking else None
            place = None if lacking else next(filter(None, map(shutil.which, tool.needs[0])))
            yield Needed(name=tool.name, purpose=f"figures of stage {tool.stage}", version=place, fix=fix)


def _trials(track: Track) -> Iterator[SelfTest]:
    """Yield what becomes of a tagger of 4-6-3 values: its types, C simulation, Verilog and cells."""
    order = Order(name="doctor", target=targets.load("generic_vu13p"), strategy="distributed_arithmetic")
    jets = np.random.default_rng(1).normal(size=(_JETS, 4)).astype(np.float32)
    with tempfile.TemporaryDirectory(prefix="hepprune-") as scratch:
        built = [Built(network=precision.quantise(training.multilayer_perceptron(4, (6,), 3, seed=1), jets, _BITS))]

        def proved(name: str) -> None:
            route = ROUTES[name]
            folder = Path(scratch) / name
            built.append(route.build(built[-1], folder, order, keep=lambda _kind, _at, _key, make: make()))
            route.prove(built[-1], (jets,))

        def synthesised() -> None:
            design = built[-1].design
            if design is None:
                raise PrerequisiteError("there is no Verilog to synthesise")
            yosys.synthesise(Job.of(design, design.folder / "synthesis"))

        yield _tried("HLS project = network", lambda: proved("hls"), track)
        yield _tried("Verilog = network", lambda: proved("rtl"), track)
        yield _tried("synthesis in Yosys", synthesised, track)


_BITS = precision.Precision(inputs=FixedPoint(6, 3, True, "RND", "SAT"), weight_bits=4, activation_bits=4)


def _tried(name: str, trial: Callable[[], None], track: Track) -> SelfTest:
    started, problem, left_out = time.perf_counter(), None, None
    with track(name):
        try:
            trial()
        except (PrerequisiteError, ToolMissingError, ImportError) as error:
            left_out = str(error)
        except HeppruneError as error:
            problem = str(error)
    return SelfTest(name=name, seconds=round(time.perf_counter() - started, 1), problem=problem, left_out=left_out)
