"""What stands at the edge of a design: which raw feature becomes which input bits, and what each output bit means."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from hepprune.errors import DataError, NetworkError, explained
from hepprune.files import stored, write_text
from hepprune.files.documents import Section
from hepprune.fixed import FixedPoint

MAX_BYTES = 2**24
_LARGEST_OFFSET = 2**24  # in units of the scale: up to here every offset is a float32

Identifier = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Count = Annotated[int, Field(ge=0, le=2**24)]
CheckedShape = Annotated[tuple[Annotated[int, Field(ge=1, le=2**20)], ...], Field(min_length=1, max_length=4)]
Meaning = Literal["class logits", "label logits", "probabilities", "values"]


class Word(Section):
    """One value in the bits [low + width - 1 : low] of a port; without a type it has no bits and is 0."""

    name: str
    type: str | None = None
    low: Count
    width: Annotated[int, Field(ge=0, le=52)]

    @field_validator("type")
    @classmethod
    def _is_fixed_point(cls, text: str | None) -> str | None:
        try:
            return text if text is None else str(FixedPoint.parse(text))
        except NetworkError as problem:
            raise ValueError(str(problem)) from problem

    def _faults(self) -> Iterator[str]:
        if self.width != (0 if self.kind is None else self.kind.width):
            yield f"{self.width} bits are not the width of {self.type}"

    @property
    def kind(self) -> FixedPoint | None:
        """The type, which gives whole numbers of steps for values."""
        return None if self.type is None else FixedPoint.parse(self.type)


Words = Annotated[tuple[Word, ...], Field(min_length=1, max_length=2**20)]


class Feature(Section):
    """One raw column: x becomes (x - offset) / scale; where `shift` is given that is an offset and a shift, exactly.

    `shift` is there where the scale is 2**shift and the offset a small multiple of it, so that integers are enough.
    With an `lsb` x is a whole number, as hardware has it, each worth that much of the column's unit.
    """

    name: str
    lsb: Annotated[float, Field(gt=0)] | None = None
    offset: float
    scale: Annotated[float, Field(gt=0)]
    shift: Annotated[int, Field(ge=-149, le=127)] | None = None

    def _faults(self) -> Iterator[str]:
        if self.shift != shift(self.offset, self.scale):
            yield f"the shift {self.shift} is not that of offset {self.offset!r} and scale {self.scale!r}"

    @property
    def units(self) -> int:
        """The offset in units of 2**shift."""
        return int(self.offset / self.scale)


class InputPort(Section):
    """An input of the network: its features, the last axis of `shape`, and the words of its values, row by row.

    Where the feature `mark` is 0 there is no constituent, and all its values are 0.
    """

    name: Identifier
    shape: CheckedShape
    features: Annotated[tuple[Feature, ...], Field(min_length=1, max_length=2**16)]
    words: Words
    mark: str | None = None

    def _faults(self) -> Iterator[str]:
        names = [feature.name for feature in self.features]
        if self.mark is not None and self.mark not in names:
            yield f"input '{self.name}' has no feature {self.mark!r}"
        if self.shape[-1] != len(names):
            yield f"input '{self.name}' of shape {self.shape} does not hold {len(names)} features"
        if len({(word.kind.rounding, word.kind.overflow) for word in self.words if word.kind}) > 1:
            yield f"words of input '{self.name}' differ in rounding or overflow"
        yield from _unheld(self)

    @property
    def is_integer(self) -> bool:
        """Whether integers are enough to scale every feature."""
        return all(feature.shift is not None for feature in self.features)


class OutputPort(Section):
    """An output of the network: `meaning` says what its values are, whose names its words bear."""

    name: Identifier
    shape: CheckedShape
    meaning: Meaning
    words: Words

    def _faults(self) -> Iterator[str]:
        yield from _unheld(self)


def _unheld(port: InputPort | OutputPort) -> Iterator[str]:
    if math.prod(port.shape) != len(port.words):
        yield f"'{port.name}' of shape {port.shape} does not hold {len(port.words)} words"


class Interface(Section):
    """A design's edge: the Verilog module `top`, what its input and output bits are, and when they are there.

    A jet may enter every `interval_cycles`; its outputs are in the output register `latency_cycles` clock edges after
    the edge that took it in. Words of all inputs lie end to end in `model_inp`, those of all outputs in `model_out`.
    Of an HLS `project` words are those of the arrays of its top function, and cycles are there once they are measured.
    """

    name: Identifier
    top: Identifier
    verilog: str | None = None
    project: str | None = None
    clock_ns: Annotated[float, Field(gt=0)]
    latency_cycles: Annotated[int, Field(ge=1, le=2**20)] | None = None
    interval_cycles: Annotated[int, Field(ge=1, le=2**20)] | None = None
    inputs: Annotated[tuple[InputPort, ...], Field(min_length=1, max_length=64)]
    outputs: Annotated[tuple[OutputPort, ...], Field(min_length=1, max_length=64)]

    @property
    def input_words(self) -> tuple[Word, ...]:
        """All words in `model_inp`, the lowest bits first."""
        return tuple(word for port in self.inputs for word in port.words)

    @property
    def output_words(self) -> tuple[Word, ...]:
        """All words in `model_out`, the lowest bits first."""
        return tuple(word for port in self.outputs for word in port.words)

    def _faults(self) -> Iterator[str]:
        if (self.verilog is None) == (self.project is None):
            yield "a design is Verilog or an HLS project"
        if self.verilog is not None and (self.latency_cycles is None or self.interval_cycles is None):
            yield "Verilog has a latency_cycles and an interval_cycles"
        for words in (self.input_words, self.output_words):
            place = 0
            for word in words:
                if word.low != place:
                    yield f"word {word.name!r} begins at bit {word.low} and not at bit {place}"
                place += word.width


def shift(offset: float, scale: float) -> int | None:
    """Return k where the scale is 2**k and the offset so small a multiple of it that integers do; None elsewhere."""
    mantissa, exponent = math.frexp(scale)
    units = offset / scale
    small = mantissa == 0.5 and -149 <= exponent - 1 <= 127 and abs(units) <= _LARGEST_OFFSET
    return exponent - 1 if small and units == round(units) else None


def write(interface: Interface, path: Path) -> Path:
    """Write scaler.json whole, and return its path."""
    return write_text(path, interface.model_dump_json(indent=2, exclude_none=True) + "\n")


def read(path: Path) -> Interface:
    """Read a scaler.json.

    Raises:
        DataError: it is missing, too large, or does not hold what `write` writes.
    """
    with explained(DataError, f"'{path}' cannot be read:", OSError), path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise DataError(f"'{path}' is larger than {MAX_BYTES} bytes, so it is not a scaler.json")
    return stored.parse(Interface, content, str(path), error=DataError)
