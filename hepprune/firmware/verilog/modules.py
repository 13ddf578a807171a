"""Stages of pipelined Verilog in which what stands at several places is one module with many instances."""

import re
from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from hepprune.files import write_text
from hepprune.firmware import texts
from hepprune.firmware.verilog import adders, repeats
from hepprune.firmware.verilog.repeats import Instance, Partition, PortPlaces

_TABLE = re.compile(r'lookup_table #\((\d+), (\d+), "(table_[0-9a-f-]+)\.mem"\)')


def write(folder: Path, top: str, stages: Sequence[Any], places: PortPlaces) -> list[str]:
    """Write stages of a design anew where something in them stands at several places; returns the modules added.

    `places` says of which place each port of the design is, None where of none or several. A module that several stages
    have in common is named after the first of them.
    """
    known, added = dict[Any, str](), list[str]()
    for number, stage in enumerate(stages):
        name, parts = f"{top}_stage{number}", repeats.split(stage, places)
        places = parts.places
        if not parts.instances:
            continue
        for graph in {id(instance.graph): instance.graph for instance in parts.instances}.values():
            if (key := repeats.contents(graph)) not in known:
                known[key] = f"{name}_shared{len(known)}"
                added.append(_write(folder, known[key], adders.combinational(graph, known[key])))
        added.append(_write(folder, f"{name}_rest", adders.combinational(parts.rest, f"{name}_rest")))
        used = [known[repeats.contents(instance.graph)] for instance in parts.instances]
        _write(folder, name, _stage(name, stage, parts, used))
    return added


def _write(folder: Path, name: str, text: str) -> str:
    write_text(folder / f"{name}.v", text)
    return name


def _stage(name: str, stage: Any, parts: Partition, modules: Sequence[str]) -> str:
    ends = list(pairwise(accumulate(map(adders.width, stage.inp_qint), initial=0)))
    widths = [sum(map(adders.width, instance.graph.out_qint)) for instance in parts.instances]
    numbered = list(enumerate(zip(modules, parts.instances, strict=True)))
    return texts.filled(
        "stage.v",
        name=name,
        n_in=ends[-1][1],
        n_out=sum(map(adders.width, stage.out_qint)),
        wires="\n".join(f"    wire [{width}-1:0] part{i};" for i, width in enumerate(widths)),
        instances="\n".join(_instance(i, module, instance, ends) for i, (module, instance) in numbered),
        rest=f"{name}_rest",
        given=", ".join(f"part{i}" for i in reversed(range(len(widths)))),
    )


def _instance(number: int, module: str, instance: Instance, ends: Sequence[tuple[int, int]]) -> str:
    """Return an instance, whose ports are put together from those of the stage, the first the lowest."""
    slices = list[tuple[int, int]]()
    for low, high in (ends[port] for port in instance.reads):
        if slices and slices[-1][1] == low:
            slices[-1] = (slices[-1][0], high)
        elif high > low:
            slices.append((low, high))
    read = ", ".join(f"model_inp[{high - 1}:{low}]" for low, high in reversed(slices))
    return f"    {module} at{number} (.model_inp({{{read}}}), .model_out(part{number}));"


def write_modules(folder: Path) -> None:
    """Make modules of the tables that the Verilog of a folder reads from files."""
    for source in sorted(folder.glob("*_stage*.v")):
        text = source.read_text()
        for address, width, table in set(_TABLE.findall(text)):
            values = enumerate((folder / "memfiles" / f"{table}.mem").read_text().split())
            entries = "\n".join(f"      {address}'h{place:x}: out = {width}'h{value};" for place, value in values)
            module = texts.filled("table.v", name=_module(table), address=address, width=width, entries=entries)
            _write(folder / "static", _module(table), module)
        source.write_text(_TABLE.sub(lambda found: _module(found[3]), text))
    for unread in (*(folder / "memfiles").iterdir(), folder / "static" / "lookup_table.v"):
        unread.unlink()


def _module(table: str) -> str:
    return table.replace("-", "_")
