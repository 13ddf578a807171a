"""What feeds a delivered design: scaler.json, the same as a C header, and test jets with the outputs expected."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hepprune import interface as interfaces
from hepprune.data.jets import IS_FILLED
from hepprune.data.scaling import Scaler
from hepprune.errors import NetworkError
from hepprune.files import write_text
from hepprune.firmware import hls, patterns, scales
from hepprune.firmware.routes import Built
from hepprune.fixed import FixedPoint
from hepprune.interface import Feature, InputPort, Interface, OutputPort, Word
from hepprune.network import Network, exact_logits
from hepprune.pipeline.context import Context
from hepprune.pipeline.taggers import Samples
from hepprune.task import Classes, Task

_JETS = 1000  # in the patterns


def write(context: Context, built: Built, jets: Samples) -> dict[str, str]:
    """Write everything between a raw jet and the bits of a network's firmware into the build folder."""
    interface, build, network = describe(context, built, jets.scaler), context.build, built.network
    x = jets.test.first(_JETS).features.numpy()
    taken = _kind(network)(x.astype(np.float64)).reshape(len(x), -1)
    expected = _expected(built, x).reshape(len(x), -1)
    played = patterns.write(build / "patterns", interface, inputs=taken, outputs=expected)
    return {
        "scaler": str(interfaces.write(interface, build / "scaler.json")),
        "scaler as C header": str(write_text(build / "scales.h", scales.header(interface))),
        "patterns": str(played),
    }


def _expected(built: Built, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return what the firmware puts out: logits in Verilog, in an HLS project whatever the network ends with."""
    if built.design is None and built.project is not None:
        return hls.predict(built.project, x)
    return exact_logits(built.network, x)


def describe(context: Context, built: Built, scaler: Scaler) -> Interface:
    """Return which raw feature becomes which bits of a network's firmware, and what its output bits mean."""
    (output,), network = context.recipe.outputs.values(), built.network
    values, shape = _value_names(scaler.feature_names, network.input.n_features), network.input.features_shape
    arriving, leaving = _layout(context, built, inputs=values, outputs=output.values)
    return Interface(
        name=context.recipe.name,
        clock_ns=context.target.period_ns,
        **_place(context, built),
        inputs=(_input(network, scaler, shape, arriving),),
        outputs=(
            OutputPort(
                name=network.raw_output if built.design else network.output.name,
                shape=(len(output.values),),
                meaning=_meaning(output.task) if built.design or not network.output.is_head else "values",
                words=tuple(leaving),
            ),
        ),
    )


def _layout(
    context: Context, built: Built, *, inputs: Sequence[str], outputs: Sequence[str]
) -> tuple[list[Word], list[Word]]:
    if built.design is not None:
        return patterns.layout(built.design, inputs=inputs, outputs=outputs)
    return patterns.layout_of_project(built.network, context.recipe.strategy, inputs=inputs, outputs=outputs)


def _place(context: Context, built: Built) -> dict[str, Any]:
    """Return what says where the firmware is and when it puts out its values: Verilog, or else the HLS project."""
    for kind, part, cycles in (
        ("verilog", built.design, built.design),
        ("project", built.project, built.measurement),
    ):
        if part is not None:
            found = {"top": part.top, kind: _relative(part.folder, context.build)}
            names = ("latency_cycles", "interval_cycles") if cycles is not None else ()
            return found | {name: getattr(cycles, name) for name in names}
    raise NetworkError("there is no firmware to feed")


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
