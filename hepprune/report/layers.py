"""A network layer by layer, as a table on the screen."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hepprune.network import Shape


@dataclass(frozen=True, kw_only=True)
class LayerDescription:
    """One layer: `nonzero_float` counts weights before their quantiser, `nonzero` those that act after it.

    Bits are means where they differ from value to value, and None where the layer computes in float; `dead` counts
    neurons or filters that surgery would remove; `refused` says why firmware cannot be made of it.
    """

    name: str
    kind: str
    reads: tuple[str, ...]
    shape: Shape
    parameters: int
    nonzero_float: int
    nonzero: int
    weight_bits: float | None
    result_bits: float | None
    dead: int
    refused: tuple[str, ...] = ()


def render(layers: Sequence[LayerDescription]) -> RenderableType:
    """Return what a network is made of: one row per layer, and a line of totals."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("layer", "kind", "shape"):
        table.add_column(name, no_wrap=True)
    for name in ("parameters", "non-zero", "quantised", "bits", "out", "dead"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("reads")
    before = ""
    for layer in layers:
        table.add_row(*_cells(layer), "" if layer.reads in {(), (before,)} else ", ".join(layer.reads))
        before = layer.name
    dead = sum(layer.dead for layer in layers)
    totals = f"{sum(layer.parameters for layer in layers):,} parameters, {sum(layer.nonzero for layer in layers):,}"
    lines = [f"{totals} weights act after quantisation, {dead} neurons or filters are dead"]
    lines += [f"no firmware: {reason}" for layer in layers for reason in layer.refused]
    return Group(table, *map(Text, lines))


def _cells(layer: LayerDescription) -> list[str]:
    counts = (layer.parameters, layer.nonzero_float, layer.nonzero) if layer.parameters else ()
    return [
        layer.name,
        layer.kind,
        " x ".join(map(str, layer.shape)),
        *([f"{count:,}" for count in counts] or ["", "", ""]),
        *("" if bits is None else f"{bits:g}" for bits in (layer.weight_bits, layer.result_bits)),
        str(layer.dead or ""),
    ]
