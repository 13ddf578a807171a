"""Tables in the Verilog that da4ml writes, as modules: whatever reads it then has them, and from wherever it runs."""

import re
from pathlib import Path

from hepprune.files import write_text

_TABLE = re.compile(r'lookup_table #\((\d+), (\d+), "(table_[0-9a-f-]+)\.mem"\)')
_MODULE = """\
`timescale 1ns / 1ps

module {name} (
    input [{address}-1:0] in,
    output reg [{width}-1:0] out
);

  always @(*) begin
    case (in)
{entries}
    endcase
  end

endmodule
"""


def write_modules(folder: Path) -> None:
    """Make modules of the tables that the Verilog of a folder reads from files."""
    for source in sorted(folder.glob("*_stage*.v")):
        text = source.read_text()
        for address, width, table in set(_TABLE.findall(text)):
            memory = folder / "memfiles" / f"{table}.mem"
            write_text(folder / "static" / f"{_module(table)}.v", _table(memory, int(address), int(width)))
        source.write_text(_TABLE.sub(lambda found: _module(found[3]), text))
    for unread in (*(folder / "memfiles").iterdir(), folder / "static" / "lookup_table.v"):
        unread.unlink()


def _module(table: str) -> str:
    return table.replace("-", "_")


def _table(memory: Path, address: int, width: int) -> str:
    values = enumerate(memory.read_text().split())
    entries = "\n".join(f"      {address}'h{place:x}: out = {width}'h{value};" for place, value in values)
    return _MODULE.format(name=_module(memory.stem), address=address, width=width, entries=entries)
