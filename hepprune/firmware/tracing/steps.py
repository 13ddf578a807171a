"""Layers that are traced step by step, as the networks of their steps."""

from hepprune.firmware.tracing.base import TRACES, Values, trace
from hepprune.network import LayerNorm, Softmax
from hepprune.network.parts import INPUT, parts


@TRACES.of(Softmax, LayerNorm)
def _in_steps(layer: Softmax | LayerNorm, arriving: Values) -> Values:
    steps = parts(layer, arriving.shape)
    return steps.interpret(trace, known={INPUT: arriving})[steps.output.name]
