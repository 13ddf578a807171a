"""What feeds a delivered design: scaler.json, the same as a C header, and test jets with the outputs expected."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hepprune.data.inputs import value_names
from hepprune.data.jets import IS_FILLED
from hepprune.data.scaling import Scaler
from hepprune.errors import NetworkError
from hepprune.files import write_text
from hepprune.firmware import hls, scales
from hepprune.firmware.routes import Built
from hepprune.firmware.verilog import patterns
from hepprune.fixed import Quantiser
from hepprune.fixed import interface as interfaces
from hepprune.fixed.interface import Feature, InputPort, Interface, Meaning, OutputPort, Word
from hepprune.fixed.quantisers import spread
from hepprune.network import Input, Layer, Softmax, exact_raw
from hepprune.pipeline.context import Context
from hepprune.pipeline.taggers import Samples
from hepprune.task import Classes, MultiLabel, Task

T = TypeVar("T", np.float32, np.float64)
_JETS = 1000  # in the patterns


def write(context: Context, built: Built, jets: Samples) -> dict[str, str]:
    """Write everything between a raw jet and the bits of a network's firmware into the build folder."""
    interface, build = describe(context, built, jets.scalers), context.build
    x = jets.test.first(_JETS).arrays
    taken = [_type(layer)(each.astype(np.float64)) for layer, each in zip(built.network.inputs, x, strict=True)]
    expected: Sequence[NDArray[np.float64]]
    if built.design is None and built.project is not None:  # an HLS project puts out whatever the network ends with
        simulated = hls.predictions(built.project, list(x))
        expected = [simulated[name] for name in built.network.outputs]
    else:
        expected = exact_raw(built.network, x)
    played = patterns.write(build / "patterns", interface, inputs=end_to_end(taken), outputs=end_to_end(expected))
    return {
        "scaler": str(interfaces.write(interface, build / "scaler.json")),
        "scaler as C header": str(write_text(build / "scales.h", scales.header(interface))),
        "patterns": str(played),
    }


def end_to_end(values: Sequence[NDArray[T]]) -> NDArray[T]:
    """Return the values of several ports, (n_jets, *shape) each, as (n_jets, n_values)."""
    return np.concatenate([each.reshape(len(each), -1) for each in values], axis=1)


def describe(context: Context, built: Built, scalers: Mapping[str, Scaler]) -> Interface:
    """Return which raw feature becomes which bits of a network's firmware, and what its output bits mean."""
    network = built.network
    ports = list(zip(network.inputs, scalers.values(), strict=True))
    ends = network.raw_outputs if built.design else network.outputs  # firmware in Verilog has no head
    results = list(zip(ends, context.recipe.outputs.values(), strict=True))
    columns = [(scaler.feature_names, layer.n_features) for layer, scaler in ports]
    read = [value_names(features, n_values // len(features)) for features, n_values in columns]
    named = [output.values for _, output in results]
    inputs, outputs = (list(itertools.chain(*names)) for names in (read, named))
    arriving, leaving = _layout(context, built, inputs=inputs, outputs=outputs)
    return Interface(
        name=context.recipe.name,
        clock_ns=context.target.period_ns,
        **_place(context, built),
        inputs=tuple(
            _input(*port, words, lsb=context.recipe.data.lsb)
            for port, words in zip(ports, _shared(arriving, read), strict=True)
        ),
        outputs=tuple(
            OutputPort(name=name, shape=network.shapes[name], meaning=_meaning(network[name], output.task), words=words)
            for (name, output), words in zip(results, _shared(leaving, named), strict=True)
        ),
    )


def _shared(words: Sequence[Word], names: Sequence[Sequence[str]]) -> list[tuple[Word, ...]]:
    left = iter(words)
    return [tuple(itertools.islice(left, len(own))) for own in names]


def _layout(
    context: Context, built: Built, *, inputs: Sequence[str], outputs: Sequence[str]
) -> tuple[list[Word], list[Word]]:
    if built.design is not None:
        arriving, leaving = patterns.layout(built.design, inputs=inputs, outputs=outputs)
        kinds = (kind for layer in built.network.inputs for kind in spread(_type(layer), layer.features_shape))
        # The port has the types' bits; how values come into them, rounding and overflow, is the network's to say.
        types = (str(kind) if kind else None for kind in kinds)
        typed = zip(arriving, types, strict=True)
        return [Word(name=word.name, type=own, low=word.low, width=word.width) for word, own in typed], leaving
    return patterns.layout_of_project(built.network, context.recipe.strategy, inputs=inputs, outputs=outputs)


def _place(context: Context, built: Built) -> dict[str, Any]:
    """Return what says where the firmware is and when it puts out its values: Verilog, or else the HLS project."""
    for kind, part, cycles in (("verilog", built.design, built.design), ("project", built.project, built.measurement)):
        if part is not None:
            folder = part.folder.resolve().relative_to(context.build.resolve()).as_posix()
            names = ("latency_cycles", "interval_cycles") if cycles is not None else ()
            return {"top": part.top, kind: folder, **{name: getattr(cycles, name) for name in names}}
    raise NetworkError("there is no firmware to feed")


def _meaning(last: Layer, task: Task) -> Meaning:
    """Return what an output that a layer ends is; the index that other heads put out is a value."""
    if isinstance(last, Softmax):
        return "probabilities"
    logits: Mapping[type[Task], Meaning] = {Classes: "class logits", MultiLabel: "label logits"}
    known = (meaning for kind, meaning in logits.items() if isinstance(task, kind) and not last.is_head)
    return next(known, "values")


def _input(layer: Input, scaler: Scaler, words: Sequence[Word], *, lsb: Mapping[str, float]) -> InputPort:
    columns = zip(scaler.feature_names, scaler.offset.tolist(), scaler.scale.tolist(), strict=True)
    return InputPort(
        name=layer.name,
        shape=layer.features_shape,
        features=tuple(
            Feature(name=name, lsb=lsb.get(name), offset=offset, scale=scale, shift=interfaces.shift(offset, scale))
            for name, offset, scale in columns
        ),
        words=tuple(words),
        mark=IS_FILLED if IS_FILLED in scaler.feature_names else None,
    )


def _type(layer: Input) -> Quantiser:
    if layer.result is None:
        raise NetworkError(f"input '{layer.name}' has no fixed-point type")
    return layer.result
