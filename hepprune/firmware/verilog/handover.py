"""Verilog as firmware groups take it: an entity of VHDL around it, and scripts that synthesise it out of context."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from hepprune.errors import NetworkError, ReportError
from hepprune.firmware import names
from hepprune.firmware.folders import check_identifier, check_names
from hepprune.firmware.rtl import Design
from hepprune.firmware.verilog import patterns
from hepprune.interface import Interface, Word

SCRIPT, RUN = "vivado.tcl", "run_vivado.sh"
_PLAIN = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)  # no blank, no quote, no `..`

_INSIDE = ("natural", "network", "rtl")  # what the entity's own architecture needs to see or to name
_BENCH = Path(patterns.BENCH).stem

_WRAPPER = """\
-- @top as an entity: clk, and the words of all inputs and outputs end to end, the first in the lowest bits.
-- A jet may enter every @interval rising edge(s) of clk; what edge n took in is in model_out after edge n + @latency.
-- The subtypes of package @name_ports are the bits of each word. Written by hepprune.
library ieee;
use ieee.std_logic_1164.all;

package @name_ports is
  constant LATENCY : natural := @latency;
  constant INTERVAL : natural := @interval;
@ranges
end package;

library ieee;
use ieee.std_logic_1164.all;

entity @name is
  port (
    clk : in std_logic;
    model_inp : in std_logic_vector(@high_in downto 0);
    model_out : out std_logic_vector(@high_out downto 0)
  );
end entity;

architecture rtl of @name is
  component @top is
    port (
      clk : in std_logic;
      model_inp : in std_logic_vector(@high_in downto 0);
      model_out : out std_logic_vector(@high_out downto 0)
    );
  end component;
begin
  network : @top port map (clk => clk, model_inp => model_inp, model_out => model_out);
end architecture;
"""

_SCRIPT = """\
# Synthesis, placement and routing of @top out of context, in this folder; written by hepprune.
# The reports that it leaves are those that `hepprune ingest` reads.
set part [expr {$argc > 0 ? [lindex $argv 0] : "@part"}]
read_verilog -sv {@sources}
set constraints [open clock.xdc w]
puts $constraints {create_clock -period @clock -name clk [get_ports clk]}
close $constraints
read_xdc -mode out_of_context clock.xdc
synth_design -mode out_of_context -flatten_hierarchy rebuilt -top @top -part $part
report_utilization -file vivado_synth.rpt
opt_design
place_design
route_design
report_utilization -file vivado_route.rpt
report_timing_summary -file vivado_timing.rpt
write_checkpoint -force @top.dcp
"""

_RUN = """\
#!/bin/sh
# Run Vivado on the Verilog of this folder: ./run_vivado.sh [PART]; written by hepprune.
# Then, where hepprune is installed: hepprune ingest FOLDER --ledger ledger.sqlite
set -e
cd "$(dirname "$0")"
command -v vivado >/dev/null || { echo "vivado is not on PATH: source settings64.sh of Vivado first" >&2; exit 3; }
exec vivado -mode batch -nojournal -log vivado.log -source vivado.tcl -tclargs "${1:-@part}"
"""


def check_entity(name: str, modules: Iterable[str]) -> None:
    """Refuse a name that VHDL cannot bear for an entity around Verilog of these modules; VHDL knows no cases.

    Raises:
        NetworkError: the name is no identifier, is a word of a language or a library, or is that of a module.
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
    filled = {
        "@ranges": "\n".join([*_ranges("in", inputs), *_ranges("out", outputs)]),
        "@high_in": str(_bits(inputs) - 1),
        "@high_out": str(_bits(outputs) - 1),
        "@latency": str(interface.latency_cycles),
        "@interval": str(interface.interval_cycles),
        "@top": interface.top,
        "@name": name,
    }
    text = _WRAPPER
    for key, value in filled.items():
        text = text.replace(key, value)
    return text


def _bits(words: Sequence[Word]) -> int:
    return max(word.low + word.width for word in words)


def _ranges(side: str, words: Sequence[Word]) -> list[str]:
    """Return a subtype for the bits of each word that has any, by a name that VHDL can bear."""
    safe = names.safe([f"{side}_{number}_{word.name}" for number, word in enumerate(words)])
    return [
        f"  subtype {own} is natural range {word.low + word.width - 1} downto {word.low};"
        for own, word in zip(safe.values(), words, strict=True)
        if word.width
    ]


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
    filled = {"@sources": sources, "@top": design.top, "@part": design.part, "@clock": f"{design.clock_ns:g}"}
    texts = {SCRIPT: _SCRIPT, RUN: _RUN}
    for key, value in filled.items():
        texts = {name: text.replace(key, value) for name, text in texts.items()}
    return texts
