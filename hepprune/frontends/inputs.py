"""Types of a model's inputs: Keras and torch keep none, but the quantiser that reads an input says what it takes."""

from collections.abc import Iterable, Mapping

from hepprune.fixed import FixedPoint, Quantiser
from hepprune.fixed.quantisers import FixedPoints, by_table
from hepprune.network import Activation, Input, Layer


def type_inputs(layers: Mapping[str, Layer], sources: Mapping[str, Iterable[str]], outputs: Iterable[str]) -> None:
    """Give every input the type in which all that read it take it, where that is one: values change by nothing."""
    for name, layer in layers.items():
        if isinstance(layer, Input) and name not in outputs:
            taken = {_takes(layers[reader]) for reader, read in sources.items() if name in read}
            layer.result = taken.pop() if len(taken) == 1 else None


def _takes(reader: Layer) -> Quantiser | None:
    """Return the type that a layer brings its value to before anything else."""
    only = isinstance(reader, Activation) and reader.function == "linear"
    taken = only and isinstance(reader.result, FixedPoint | FixedPoints) and not by_table(reader.result)
    return reader.result if taken else None
