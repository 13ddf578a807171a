"""What other groups take of a finished run: its emulator, or its Verilog with all that a test bench and Vivado need."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hepprune.errors import HeppruneError, ReportError, explained
from hepprune.files import stored, write_json, write_text
from hepprune.firmware import emulator as emulators
from hepprune.firmware import rtl
from hepprune.firmware.folders import replacing_folder
from hepprune.firmware.verilog import handover, patterns
from hepprune.fixed import interface as interfaces
from hepprune.fixed.interface import InputPort, Interface, Word
from hepprune.network import exact_raw, load
from hepprune.pipeline.delivery import end_to_end

_NOTE = "hepprune.json"  # what a design's own folder says of it
# Where tools work on this machine, models of the adder graph, and another script than the one that comes along.
_LEFT_OUT = ("synthesis", "binder", "model", "sim", "build_vivado_prj.tcl")
_PLAYED = tuple(f"patterns/{file}" for file in (patterns.INPUTS, patterns.OUTPUTS))
MARK = "export.json"


def emulator(build: Path, folder: Path, *, name: str) -> Path:
    """Write the emulator of a run's network, up to any head, with the jets of its patterns as test vectors.

    Raises:
        HeppruneError: the folder holds no finished run, the name is not an identifier, or `folder` is not an export's.
    """
    interface, trained = _interface(build), load(build / "network.npz")
    network = trained.upto(trained.raw_outputs)
    if [port.shape for port in interface.inputs] != [layer.features_shape for layer in network.inputs]:
        raise ReportError(f"'{build / 'network.npz'}' takes other inputs than scaler.json says; run it again")
    bits = _bits(build / _PLAYED[0])
    raw, scaled = zip(*(_vectors(port, bits) for port in interface.inputs), strict=True)
    expected = end_to_end(exact_raw(network, scaled)).astype(np.float64)
    with marked(folder, build=build, what="emulator") as new:
        emulators.write(new, network, interface, name=name, raw=end_to_end(raw), expected=expected)
    return folder


def verilog(build: Path, folder: Path, *, vhdl: str | None = None) -> Path:
    """Write a run's Verilog with its patterns, its interface and scripts for Vivado; `vhdl` names an entity around it.

    Raises:
        HeppruneError: the folder holds no finished run, or its firmware is an HLS project; the name is not an
            identifier; `folder` is not an export's.
    """
    interface = _interface(build)
    if interface.verilog is None:
        raise ReportError(f"the firmware of '{build}' is the HLS project '{interface.project}', and no Verilog")
    source = build / interface.verilog
    if not handover.plain(interface.verilog) or build.resolve() not in source.resolve().parents:
        raise ReportError(f"'{build / 'scaler.json'}' has its Verilog in '{interface.verilog}', outside of the run")
    key, design = _design(source, interface)
    scripts = handover.scripts(design)
    if vhdl is not None:
        handover.check_entity(vhdl, sorted(file.stem for file in source.rglob("*.v")))
    with marked(folder, build=build, what="verilog") as new:
        shutil.copytree(source, new, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_LEFT_OUT))
        stored.note(rtl.Design, new / _NOTE, key, design)
        shutil.copytree(build / "patterns", new / "patterns")
        for file in ("scaler.json", "scales.h"):
            shutil.copy(build / file, new / file)
        for file, text in scripts.items():
            write_text(new / file, text)
        (new / handover.RUN).chmod(0o755)
        if vhdl is not None:
            write_text(new / f"{vhdl}.vhd", handover.vhdl(interface, name=vhdl))
    return folder


def _interface(build: Path) -> Interface:
    """Return the interface of a finished run: one whose files, those of its patterns too, are whole."""
    for file in ("scaler.json", "scales.h", *_PLAYED):
        if not (build / file).is_file() or not (build / file).stat().st_size:
            raise ReportError(
                f"'{build}' holds no finished run, for '{file}' is missing or empty; "
                "expected the build/ that `hepprune run` leaves"
            )
    arriving, leaving = (len(_bits(build / file)) for file in _PLAYED)
    if arriving != leaving:
        raise ReportError(f"the patterns of '{build}' take {arriving} jets and put out {leaving}; run it again")
    return interfaces.read(build / "scaler.json")


def _design(folder: Path, interface: Interface) -> tuple[str, rtl.Design]:
    """Return the key of a folder of Verilog and its design, of which every source is there, with relative places."""
    key, written = stored.read(tuple[str, rtl.Design], folder / _NOTE, error=ReportError)
    design = handover.relative(written)
    if design.top != interface.top:
        raise ReportError(f"'{folder}' holds the design '{design.top}' and not '{interface.top}' of scaler.json")
    for source in design.sources:
        place = folder / source
        if not place.is_file() or folder.resolve() not in place.resolve().parents:
            raise ReportError(f"the source '{source}' is not in '{folder}'; write the Verilog again")
    return key, design


def _bits(path: Path) -> list[int]:
    with explained(ReportError, f"'{path}' holds no patterns:", OSError, ValueError):
        bits = [int(line, 16) for line in path.read_text(encoding="ascii").split()]
    if not bits:
        raise ReportError(f"'{path}' holds no patterns")
    return bits


def _value(word: Word, bits: int) -> float:
    if word.kind is None:
        return 0.0
    whole = bits >> word.low & (1 << word.width) - 1
    if word.kind.signed and whole >> word.width - 1:
        whole -= 1 << word.width
    return float(whole * 2.0**-word.kind.fraction)


def _vectors(port: InputPort, bits: list[int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return raw features (n_jets, *shape) that come near what the patterns play, and as the network takes them."""
    values = np.array([[_value(word, each) for word in port.words] for each in bits])
    offset, scale = (np.array([getattr(each, name) for each in port.features]) for name in ("offset", "scale"))
    raw = (values.reshape(-1, *port.shape) * scale + offset).astype(np.float32)
    scaled = ((raw.astype(np.float64) - offset) / scale).astype(np.float32)
    if port.mark is not None:  # 0 where there is no constituent
        scaled[raw[..., [feature.name for feature in port.features].index(port.mark)] == 0] = 0
    return raw, scaled


@contextmanager
def marked(out: Path, *, build: Path, what: str) -> Iterator[Path]:
    """Yield an empty folder that becomes `out`, marked as an export of `what`, when the block ends well.

    Raises:
        HeppruneError: `out` is a file, the run itself, above or inside it, holds what no export wrote, or cannot be
            written.
    """
    try:
        place, run = (Path(os.path.realpath(each)) for each in (out, build))  # which bears links in a circle
        if place == run or place in run.parents or run in place.parents:
            raise HeppruneError(f"'{out}' is the run '{build}' itself, above it or inside it; write to another folder")
        if out.exists() and not out.is_dir():
            raise HeppruneError(f"'{out}' is a file; write to a folder that is new, empty or an earlier export")
        if out.exists() and any(out.iterdir()) and not (out / MARK).is_file():
            raise HeppruneError(f"'{out}' holds what no export wrote ('{MARK}' is not there); write to an empty folder")
        with replacing_folder(out) as new:
            yield new
            write_json(new / MARK, {"hepprune export": what})
    except OSError as problem:  # with the file that it names, of the run or of the export
        raise HeppruneError(f"the export to '{out}' failed: {problem}") from problem
