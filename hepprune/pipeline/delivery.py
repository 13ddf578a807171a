"""What feeds a delivered design: scaler.json, the same as a C header, and test jets with the outputs expected."""

from pathlib import Path
from typing import Literal

import numpy as np

from hepprune import interface as interfaces
from hepprune.data.jets import IS_FILLED
from hepprune.data.scaling import Scaler
from hepprune.errors import NetworkError
from hepprune.files import write_text
from hepprune.firmware import patterns, scales
from hepprune.firmware.rtl import Design
from hepprune.fixed import FixedPoint
from hepprune.interface import Feature, InputPort, Interface, OutputPort, Word
from hepprune.network import Network, exact_logits
from hepprune.pipeline.context import Context
from hepprune.pipeline.taggers import Samples
from hepprune.task import Classes, Task

_JETS = 1000  # in the patterns


def write(context: Context, network: Network, jets: Samples, design: Design) -> dict[str, str]:
    """Write everything between a raw jet and the bits of a network's Verilog into the build folder."""
    interface, build = describe(context, network, jets.scaler, design), context.build
    x = jets.test.first(_JETS).features.numpy()
    taken = _kind(network)(x.astype(np.float64)).reshape(len(x), -1)
    played = patterns.write(build / "patterns", interface, inputs=taken, outputs=exact_logits(network, x))
    return {
        "scaler": str(interfaces.write(interface, build / "scaler.json")),
        "scaler as C header": str(write_text(build / "scales.h", scales.header(interface))),
        "patterns": str(played),
    }


def describe(context: Context, network: Network, scaler: Scaler, design: Design) -> Interface:
    """Return which raw feature becomes which bits of a network's Verilog, and what its output bits mean."""
    (output,), shape = context.recipe.outputs.values(), network.input.features_shape
    values = _value_names(scaler.feature_names, network.input.n_features)
    arriving, leaving = patterns.layout(design, inputs=values, outputs=output.values)
    return Interface(
        name=context.recipe.name,
        top=design.top,
        verilog=_relative(design.folder, context.build),
        clock_ns=design.clock_ns,
        latency_cycles=design.latency_cycles,
        interval_cycles=design.interval_cycles,
        inputs=(_input(network, scaler, shape, arriving),),
        outputs=(
            OutputPort(
                name=network.raw_output,
                shape=(len(output.values),),
                meaning=_meaning(output.task),
                words=tuple(leaving),
            ),
        ),
    )


def _meaning(task: Task) -> Literal["class logits", "values"]:
    return "class logits" if isinstance(task, Classes) else "values"


def _input(network: Network, scaler: Scaler, shape: tuple[int, ...], arriving: list[Word]) -> InputPort:
    kind = _kind(network)
    columns = zip(scaler.feature_names, scaler.offset.tolist(), scaler.scale.tolist(), strict=True)
    return InputPort(
        name=network.input.name,
        shape=shape,
        features=tuple(
            Feature(name=name, offset=offset, scale=scale, shift=interfaces.shift(offset, scale))
            for name, offset, scale in columns
        ),
        # The port has the type's bits; how values come into it, rounding and overflow, is the network's to say.
        words=tuple(Word(name=word.name, type=str(kind), low=word.low, width=word.width) for word in arriving),
        mark=IS_FILLED if IS_FILLED in scaler.feature_names else None,
    )


def _kind(network: Network) -> FixedPoint:
    kind = network.input.fixed_result
    if kind is None:
        raise NetworkError(f"input '{network.input.name}' has no fixed-point type")
    return kind


def _value_names(features: tuple[str, ...], n_values: int) -> list[str]:
    """Return the names of an input's values, row by row: those of its features, or with the row in brackets."""
    rows = n_values // len(features)
    return list(features) if rows == 1 else [f"{name}[{row}]" for row in range(rows) for name in features]


def _relative(folder: Path, build: Path) -> str:
    return folder.resolve().relative_to(build.resolve()).as_posix()
