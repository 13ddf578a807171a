"""What feeds a delivered design: scaler.json, the same as a C header, and test jets with the outputs expected."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hepprune import interface as interfaces
from hepprune.data.jets import IS_FILLED
from hepprune.data.scaling import Scaler
from hepprune.errors import NetworkError
from hepprune.files import write_text
from hepprune.firmware import patterns, scales
from hepprune.firmware.rtl import Design
from hepprune.interface import Feature, InputPort, Interface, OutputPort, Word
from hepprune.network import Input, Network, exact_activations
from hepprune.pipeline.context import Context
from hepprune.pipeline.taggers import Samples
from hepprune.task import Classes, Task

_JETS = 1000  # in the patterns


def write(context: Context, network: Network, jets: Samples, design: Design) -> dict[str, str]:
    """Write everything between a raw jet and the bits of a network's Verilog into the build folder."""
    interface, build = describe(context, network, jets.scalers, design), context.build
    values = exact_activations(network, jets.test.first(_JETS).arrays)
    taken, given = ([layer.name for layer in network.inputs], network.raw_outputs)
    played = patterns.write(
        build / "patterns", interface, inputs=_end_to_end(values, taken), outputs=_end_to_end(values, given)
    )
    return {
        "scaler": str(interfaces.write(interface, build / "scaler.json")),
        "scaler as C header": str(write_text(build / "scales.h", scales.header(interface))),
        "patterns": str(played),
    }


def _end_to_end(values: Mapping[str, NDArray[np.float64]], names: Iterable[str]) -> NDArray[np.float64]:
    return np.concatenate([values[name].reshape(len(values[name]), -1) for name in names], axis=1)


def describe(context: Context, network: Network, scalers: Mapping[str, Scaler], design: Design) -> Interface:
    """Return which raw feature becomes which bits of a network's Verilog, and what its output bits mean."""
    fed = list(zip(network.inputs, scalers.values(), strict=True))
    told = list(zip(network.raw_outputs, context.recipe.outputs.values(), strict=True))
    values = [_value_names(scaler.feature_names, layer.n_features) for layer, scaler in fed]
    arriving, leaving = patterns.layout(
        design,
        inputs=[name for each in values for name in each],
        outputs=[name for _, output in told for name in output.values],
    )
    return Interface(
        name=context.recipe.name,
        top=design.top,
        verilog=_relative(design.folder, context.build),
        clock_ns=design.clock_ns,
        latency_cycles=design.latency_cycles,
        interval_cycles=design.interval_cycles,
        inputs=tuple(_input(*port, words) for port, words in zip(fed, _shared(arriving, values), strict=True)),
        outputs=tuple(
            OutputPort(name=name, shape=network.shapes[name], meaning=_meaning(output.task), words=words)
            for (name, output), words in zip(told, _shared(leaving, [each.values for _, each in told]), strict=True)
        ),
    )


def _shared(words: Sequence[Word], names: Sequence[Sequence[str]]) -> list[tuple[Word, ...]]:
    """Return the words of each port, as many as it has names."""
    left = iter(words)
    return [tuple(itertools.islice(left, len(own))) for own in names]


def _meaning(task: Task) -> Literal["class logits", "values"]:
    return "class logits" if isinstance(task, Classes) else "values"


def _input(layer: Input, scaler: Scaler, words: Sequence[Word]) -> InputPort:
    kind = layer.fixed_result
    if kind is None:
        raise NetworkError(f"input '{layer.name}' has no fixed-point type")
    columns = zip(scaler.feature_names, scaler.offset.tolist(), scaler.scale.tolist(), strict=True)
    return InputPort(
        name=layer.name,
        shape=layer.features_shape,
        features=tuple(
            Feature(name=name, offset=offset, scale=scale, shift=interfaces.shift(offset, scale))
            for name, offset, scale in columns
        ),
        # The port has the type's bits; how values come into it, rounding and overflow, is the network's to say.
        words=tuple(Word(name=word.name, type=str(kind), low=word.low, width=word.width) for word in words),
        mark=IS_FILLED if IS_FILLED in scaler.feature_names else None,
    )


def _value_names(features: tuple[str, ...], n_values: int) -> list[str]:
    """Return the names of an input's values, row by row: those of its features, or with the row in brackets."""
    rows = n_values // len(features)
    return list(features) if rows == 1 else [f"{name}[{row}]" for row in range(rows) for name in features]


def _relative(folder: Path, build: Path) -> str:
    return folder.resolve().relative_to(build.resolve()).as_posix()
