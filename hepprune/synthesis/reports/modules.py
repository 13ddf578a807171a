"""Whose a module is: the layer that hls4ml made a function or a buffer for, and what the layers leave unexplained."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from hepprune.hardware.resources import RESOURCES, LayerMeasurement, Measurement, Resources

# hls4ml numbers its layers: a function carries `config7` (or `dense_da_7`), the buffer behind it is `layer7_out`.
_NUMBER = re.compile(
    r"config(\d{1,6})(?!\d)|dense_da_(?:wrapper_)?(\d{1,6})(?!\d)|(?:^|_)layer(\d{1,6})_(?:cpy\d+_)?out"
)
_DECLARED = re.compile(r"^// (\S+)\nstruct \w*?config(\d{1,6}) (?:: nnet::(\w+)_config)?", re.MULTILINE)
# How hls4ml's functions for layers of a kind are called; HLS may cut the rest of a long name, the number with it.
_FUNCTIONS = {"dense": "dense", "conv1d": "conv_1d", "conv2d": "conv_2d"}
_BUFFERS = "buffers"
_SUFFIX = re.compile(r"(_fu_\d+|_U0|_s){1,9}$")


def layer_of(module: str) -> str | None:
    """Return hls4ml's number of the layer a module or buffer was made for, as `config7`; None where no name says."""
    found = _NUMBER.search(module)
    return None if found is None else f"config{next(filter(None, found.groups()))}"


def of_module(
    module: str, resources: Resources, latency: int | None = None, interval: int | None = None, *, also: str = ""
) -> LayerMeasurement:
    """Return what is known of a module, whose name or the one that it has `also` says its layer."""
    found = LayerMeasurement(layer=layer_of(module) or layer_of(also), module=module, resources=resources)
    return replace(found, latency_cycles=latency, interval_cycles=interval)


@dataclass(frozen=True)
class Declared:
    """A layer as hls4ml declares it: the Network's name for it, and the kind of its settings (`dense`, `activ`)."""

    name: str
    kind: str


def declared(parameters_h: str) -> dict[str, Declared]:
    """Return the layers by `config7`, from the `firmware/parameters.h` that hls4ml writes."""
    layers: dict[str, Declared] = {}
    for name, number, kind in _DECLARED.findall(parameters_h):
        layers.setdefault(f"config{number}", Declared(name, kind))
    return layers


def named(measured: Measurement, known: Mapping[str, Declared]) -> Measurement:
    """Return a measurement whose layers have the names that the Network gives them, where a name is known.

    A module whose name was cut short is the one layer of its kind that no other module is of.
    """
    found = {each.module: each.layer for each in measured.layers} | _by_elimination(measured.layers, known)
    layers = []
    for each in measured.layers:
        layer = found[each.module] if each.layer is None else each.layer
        layers.append(replace(each, layer=known[layer].name if layer is not None and layer in known else layer))
    return replace(measured, layers=tuple(layers))


def _by_elimination(layers: Iterable[LayerMeasurement], known: Mapping[str, Declared]) -> dict[str, str]:
    """Return the layers of nameless modules by module, where one module and one layer of a kind are left over."""
    functions = [each for each in layers if each.module != _BUFFERS]
    taken = {each.layer for each in functions}
    found = {}
    for kind, beginning in _FUNCTIONS.items():
        left = [layer for layer, declared in known.items() if declared.kind == kind and layer not in taken]
        nameless = [each.module for each in functions if each.layer is None and beginning in each.module]
        if len(left) == len(nameless) == 1:
            found[nameless[0]] = left[0]
    return found


def buffers(rows: Iterable[tuple[str, Resources]]) -> list[LayerMeasurement]:
    """Return FIFOs and memories between layers, those of one layer as one: an io_stream layer has dozens."""
    totals: dict[str | None, Resources] = {}
    for name, resources in rows:
        layer = layer_of(name)
        totals[layer] = totals[layer] + resources if layer in totals else resources
    return [LayerMeasurement(layer=layer, module=_BUFFERS, resources=resources) for layer, resources in totals.items()]


def unexplained(measured: Measurement) -> Resources:
    """Return the total less the sum of all modules: the top's own logic, and what the tool's tables leave out."""
    known = measured.resources.known()
    parts = {name: [getattr(each.resources, name) for each in measured.layers] for name in known}
    rest = {name: known[name] - sum(filter(None, values)) for name, values in parts.items() if values}
    return Resources(**{name: rest[name] for name in RESOURCES if name in rest})


def short(module: str) -> str:
    """Return a module's name without the suffixes that HLS adds to an instance."""
    return _SUFFIX.sub("", module)
