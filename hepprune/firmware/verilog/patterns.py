"""Words of jets in the bits of the Verilog's ports, one hexadecimal line per clock, and a testbench that plays them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hepprune.errors import NetworkError
from hepprune.files import write_text
from hepprune.firmware import layers, texts
from hepprune.firmware.folders import replacing_folder
from hepprune.firmware.layers.precision import differ, port
from hepprune.firmware.rtl import Design
from hepprune.firmware.verilog import adders
from hepprune.fixed import FixedPoint
from hepprune.fixed.interface import Interface, Word
from hepprune.network import Network

PortWords = tuple[list[Word], list[Word]]
INPUTS, OUTPUTS, BENCH = "inputs.hex", "outputs.hex", "testbench.v"


def layout(design: Design, *, inputs: Sequence[str], outputs: Sequence[str]) -> PortWords:
    """Return the words in a design's `model_inp` and `model_out`, which bear these names, in order.

    Raises:
        NetworkError: the design has other numbers of them.
    """
    arriving, leaving = adders.port_types(design.folder)
    return _words(arriving, inputs, design.top), _words(leaving, outputs, design.top)


def _words(types: Sequence[FixedPoint | None], names: Sequence[str], top: str) -> list[Word]:
    if len(types) != len(names):
        raise NetworkError(f"design '{top}' has a port of {len(types)} values and not of {len(names)}")
    words, low = [], 0
    for name, kind in zip(names, types, strict=True):
        width = kind.width if kind else 0
        words.append(Word(name=name, type=str(kind) if kind else None, low=low, width=width))
        low += width
    return words


def layout_of_project(network: Network, strategy: str, *, inputs: Sequence[str], outputs: Sequence[str]) -> PortWords:
    """Return the words of the arrays that the top function of an HLS project takes and puts out, by name, in order."""
    nodes = {node.name: node for node in layers.described(network, io_type="io_parallel", strategy=strategy)}
    ports = {layer.name: port(layer.name) for layer in network.inputs if differ(layer)}
    ends = [ports.get(layer.name, layer.name) for layer in network.inputs], list(network.outputs)
    widths = network.widths | {port: network.widths[name] for name, port in ports.items()}

    def words(ends: Sequence[str], names: Sequence[str]) -> list[Word]:
        kinds = [nodes[end].precision["result"] for end in ends for _ in range(widths[end])]
        return _words(kinds, names, "of the project")

    return words(ends[0], inputs), words(ends[1], outputs)


def packed(words: Sequence[Word], values: NDArray[np.float64]) -> list[str]:
    """Return hexadecimal lines, one per jet, for values (n_jets, n_words) that the words' types hold."""
    total = np.zeros(len(values), object)  # of Python's integers: ports are wider than 64 bits
    for word, column in zip(words, values.T, strict=True):
        if word.kind is None:
            continue
        whole = word.kind.integers(column).astype(np.int64).astype(object)
        total += (whole & (2**word.width - 1)) << word.low
    digits = -(-max(words[-1].low + words[-1].width, 1) // 4)
    return [f"{bits:0{digits}x}" for bits in total]


def write(folder: Path, interface: Interface, *, inputs: NDArray[np.float64], outputs: NDArray[np.float64]) -> Path:
    """Write the words of jets and the outputs expected, (n_jets, n_values) each, with a testbench of Verilog."""
    with replacing_folder(folder) as new:
        write_text(new / INPUTS, _lines(packed(interface.input_words, inputs)))
        write_text(new / OUTPUTS, _lines(packed(interface.output_words, outputs)))
        if interface.verilog is not None:
            text = texts.filled(
                BENCH,
                top=interface.top,
                latency=interface.latency_cycles,
                verilog=interface.verilog,
                n_in=sum(word.width for word in interface.input_words),
                n_out=sum(word.width for word in interface.output_words),
                last=len(inputs) - 1,
            )
            write_text(new / BENCH, text)
    return folder


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
