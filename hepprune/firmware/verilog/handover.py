"""Verilog as firmware groups take it: an entity of VHDL around it, and scripts that synthesise it out of context."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from hepprune.errors import NetworkError, ReportError
from hepprune.firmware import names, texts
from hepprune.firmware.folders import check_identifier, check_names
from hepprune.firmware.rtl import Design
from hepprune.firmware.verilog import patterns
from hepprune.fixed.interface import Interface, Word

SCRIPT, RUN = "vivado.tcl", "run_vivado.sh"
_PLAIN = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)  # no blank, no quote, no `..`

_INSIDE = ("natural", "network", "rtl")  # what the entity's own architecture needs to see or to name
_BENCH = Path(patterns.BENCH).stem


def check_entity(name: str, modules: Iterable[str]) -> None:
    """Refuse a name that VHDL cannot bear for an entity around Verilog of these modules; VHDL knows no cases.

    Raises:
        NetworkError: the name is not an identifier, is a word of a language or a library, or is that of a module.
    """
    check_identifier(name)
    taken = {module.lower(): module for module in (*modules, _BENCH)}
    for own in (name, f"{name}_ports"):  # the entity and its package
        if module := taken.get(own.lower()):
            raise NetworkError(f"the entity '{name}' needs another name than the Verilog module '{module}'")
    word, other = name.lower(), f"top_{name.lower()}"
    free = names.safe([word, other], taken=[*taken, *_INSIDE])
    if free[word] != word:
        raise NetworkError(f"'{name}' is a word that VHDL or the tools keep, or like one; take '{free[other]}' instead")


def vhdl(interface: Interface, *, name: str) -> str:
    """Return VHDL of an entity with the ports of a design's top module, and a package with the bits of each word."""
    inputs, outputs = interface.input_words, interface.output_words
    return texts.filled(
        "entity.vhd",
        ranges="\n".join([*_ranges("in", inputs), *_ranges("out", outputs)]),
        high_in=_bits(inputs) - 1,
        high_out=_bits(outputs) - 1,
        latency=interface.latency_cycles,
        interval=interface.interval_cycles,
        top=interface.top,
        name=name,
    )


def _bits(words: Sequence[Word]) -> int:
    return max(word.low + word.width for word in words)


def _ranges(side: str, words: Sequence[Word]) -> list[str]:
    """Return a subtype for the bits of each word that has any, by a name that VHDL can bear."""
    safe = names.safe([f"{side}_{number}_{word.name}" for number, word in enumerate(words)])
    there = [(own, word.low, word.width) for own, word in zip(safe.values(), words, strict=True) if word.width]
    return [f"  subtype {own} is natural range {low + width - 1} downto {low};" for own, low, width in there]


def plain(place: str) -> bool:
    """Return whether a place below a folder is of names that every tool can bear."""
    return bool(_PLAIN.fullmatch(place))


def relative(design: Design) -> Design:
    """Return a design with the places of its files in its own folder, which may have been moved since.

    Raises:
        ReportError: a source lies outside of that folder, or its name is one that tools would not take as a name.
    """
    return replace(design, folder=Path(), sources=tuple(_inside(source, design.folder) for source in design.sources))


def _inside(source: Path, folder: Path) -> Path:
    if not source.is_relative_to(folder) or ".." in source.parts:
        raise ReportError(f"the source '{source}' lies outside its design's folder '{folder}'; write the Verilog again")
    place = source.relative_to(folder)
    if not plain(place.as_posix()):
        raise ReportError(f"the source '{place}' has a name that no script can quote; write the Verilog again")
    return place


def scripts(design: Design) -> dict[str, str]:
    """Return the Tcl and the shell script of an out-of-context run in the folder of a relative design, by their names.

    Raises:
        NetworkError: the top, the part or the clock would end up as broken Tcl.
    """
    check_names(design.top, part=design.part, clock_ns=design.clock_ns)
    sources = " ".join(source.as_posix() for source in design.sources)
    values = {"sources": sources, "top": design.top, "part": design.part, "clock": f"{design.clock_ns:g}"}
    return {SCRIPT: texts.filled(SCRIPT, **values), RUN: texts.filled(RUN, part=design.part)}
