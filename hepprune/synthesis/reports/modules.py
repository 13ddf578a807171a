"""Whose a module is: the layer that hls4ml made a function or a buffer for, and what the layers leave unexplained."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from hepprune.hardware.resources import RESOURCES, LayerMeasurement, Measurement, Resources

# hls4ml numbers its layers: a function carries `config7` (or `dense_da_7`), the buffer behind it is `layer7_out`.
_NUMBER = re.compile(
    r"config(\d{1,6})(?!\d)|dense_da_(?:wrapper_)?(\d{1,6})(?!\d)|(?:^|_)layer(\d{1,6})_(?:cpy\d+_)?out"
)
_DECLARED = re.compile(r"^// (\S+)\nstruct \w*?config(\d{1,6}) ", re.MULTILINE)
_SUFFIX = re.compile(r"(_fu_\d+|_U0|_s)+$")


def layer_of(module: str) -> str | None:
    """Return hls4ml's number of the layer a module or buffer was made for, as `config7`; None where no name says."""
    found = _NUMBER.search(module)
    return None if found is None else f"config{next(filter(None, found.groups()))}"


def declared(parameters_h: str) -> dict[str, str]:
    """Return the names of layers by `config7`, from the `firmware/parameters.h` that hls4ml writes."""
    names: dict[str, str] = {}
    for name, number in _DECLARED.findall(parameters_h):
        names.setdefault(f"config{number}", name)
    return names


def named(measured: Measurement, names: Mapping[str, str]) -> Measurement:
    """Return a measurement whose layers have the names that the Network gives them, where a name is known."""
    layers = tuple(replace(each, layer=names.get(each.layer or "", each.layer)) for each in measured.layers)
    return replace(measured, layers=layers)


def buffers(rows: Iterable[tuple[str, Resources]]) -> list[LayerMeasurement]:
    """Return FIFOs and memories between layers, those of one layer as one: an io_stream layer has dozens."""
    totals: dict[str | None, Resources] = {}
    for name, resources in rows:
        layer = layer_of(name)
        totals[layer] = totals[layer] + resources if layer in totals else resources
    return [LayerMeasurement(layer, "buffers", resources) for layer, resources in totals.items()]


def unexplained(measured: Measurement) -> Resources:
    """Return the total less the sum of all modules: the top's own logic, and what the tool's tables leave out."""
    known = measured.resources.known()
    parts = {name: [getattr(each.resources, name) for each in measured.layers] for name in known}
    rest = {name: known[name] - sum(filter(None, values)) for name, values in parts.items() if values}
    return Resources(**{name: rest[name] for name in RESOURCES if name in rest})


def short(module: str) -> str:
    """Return a module's name without the suffixes that HLS adds to an instance."""
    return _SUFFIX.sub("", module)
