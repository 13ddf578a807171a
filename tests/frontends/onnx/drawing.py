"""Random ONNX graphs whose nodes hold bounds, places and shapes, often in tensors that several nodes read."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import helper

from tests.frontends.onnx.models import model

N_STEPS, N_FEATURES, N_CHANNELS = 6, 3, 8


class Builder:
    """A graph under construction, its last value of shape (n, 6, 8); equal whole numbers are one tensor."""

    def __init__(self, rng: np.random.Generator, opset: int) -> None:
        self.rng, self.opset = rng, opset
        self.nodes: list[onnx.NodeProto] = []
        self.arrays: dict[str, Any] = {}
        self.last = self.dense("x", N_FEATURES)

    def add(self, kind: str, *inputs: str, n_out: int = 1, **attributes: Any) -> list[str]:
        names = [f"v{len(self.nodes)}_{i}" for i in range(n_out)]
        self.nodes.append(helper.make_node(kind, inputs, names, name=f"{kind}_{len(self.nodes)}", **attributes))
        return names

    def one(self, kind: str, *inputs: str, **attributes: Any) -> str:
        return self.add(kind, *inputs, **attributes)[0]

    def whole(self, *numbers: int) -> str:
        name = "n_" + "_".join(map(str, numbers)).replace("-", "m")
        self.arrays[name] = np.array(numbers)
        return name

    def dense(self, source: str, n_in: int, n_out: int = N_CHANNELS) -> str:
        name = f"w{len(self.nodes)}"
        self.arrays |= {name: self.rng.normal(size=(n_in, n_out)), f"{name}_b": self.rng.normal(size=n_out)}
        return self.one("Relu", self.one("Add", self.one("MatMul", source, name), f"{name}_b"))

    def sliced(self, start: int, stop: int) -> str:
        return self.one("Slice", self.last, self.whole(start), self.whole(stop), self.whole(2))

    def concatenated(self, *parts: str) -> str:
        return self.one("Concat", *parts, axis=2)


Step = tuple[str, int]  # a value and the number of its channels


def _halves(b: Builder) -> Step:
    return b.one("Add", b.sliced(0, 4), b.sliced(4, 2**62)), 4


def _negative(b: Builder) -> Step:
    return b.concatenated(b.sliced(-4, 8), b.sliced(0, -2)), 10


def _split(b: Builder) -> Step:
    sizes = [2, 3, 3] if b.rng.integers(2) else [4, 4]
    given = [b.whole(*sizes)] if len(sizes) == 3 or b.opset >= 18 else []
    parts = b.add("Split", b.last, *given, n_out=len(sizes), axis=2)
    kept = int(b.rng.integers(1, len(sizes) + 1))
    return b.concatenated(*parts[::-1][:kept]), sum(sizes[::-1][:kept])


def _gathered(b: Builder) -> Step:
    n_places = int(b.rng.integers(1, 6))
    places = b.rng.choice(8, size=n_places, replace=False) - 8 * int(b.rng.integers(2))
    return b.concatenated(b.one("Gather", b.last, b.whole(*places.tolist()), axis=2), b.last), n_places + 8


def _picked(b: Builder) -> Step:
    b.arrays["picked"] = np.array(4)
    one = b.one("Gather", b.last, "picked", axis=2)
    return b.one("Mul", b.last, b.one("Unsqueeze", one, b.whole(2))), 8


def _folded(b: Builder) -> Step:
    pairs = b.one("Reshape", b.last, b.whole(0, 6, 4, 2))
    return b.one("Reshape", b.one("Transpose", pairs, perm=[0, 1, 3, 2]), b.whole(-1, 6, 8)), 8


def _rows(b: Builder) -> Step:
    rows = b.one("Reshape", b.last, b.whole(-1, 8))
    return b.one("Reshape", b.dense(rows, 8), b.whole(-1, 6, 8)), 8


def _computed(b: Builder) -> Step:
    sizes = b.one("Gather", b.one("Shape", b.last), b.whole(0, 1), axis=0)
    return b.one("Reshape", b.last, b.one("Concat", sizes, b.whole(8), axis=0)), 8


def _expanded(b: Builder) -> Step:
    axes: dict[str, Any] = {"axes": [1]} if b.opset < 18 else {}
    largest = b.one("ReduceMax", b.last, *([] if axes else [b.whole(1)]), keepdims=1, **axes)
    return b.concatenated(b.last, b.one("Expand", largest, b.whole(1, 6, 8))), 16


def _attended(b: Builder) -> Step:
    """Two heads of four channels attend."""
    heads = []
    for order in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]):
        split = b.one("Reshape", b.dense(b.last, 8), b.whole(0, 0, 2, 4))
        heads.append(b.one("Transpose", split, perm=order))
    weights = b.one("Softmax", b.one("MatMul", heads[0], heads[1]), axis=-1)
    joined = b.one("Transpose", b.one("MatMul", weights, heads[2]), perm=[0, 2, 1, 3])
    return b.one("Reshape", joined, b.whole(0, 0, 8)), 8


def _depthwise(b: Builder) -> Step:
    name = f"k{len(b.nodes)}"
    b.arrays[name] = b.rng.normal(size=(8, 1, 3))
    first = b.one("Transpose", b.last, perm=[0, 2, 1])
    return b.one("Transpose", b.one("Conv", first, name, group=8, pads=[1, 1]), perm=[0, 2, 1]), 8


STEPS: dict[str, Callable[[Builder], tuple[str, int]]] = {
    step.__name__.removeprefix("_"): step
    for step in (
        _halves,
        _negative,
        _split,
        _gathered,
        _picked,
        _folded,
        _rows,
        _computed,
        _expanded,
        _attended,
        _depthwise,
    )
}


def drawn(steps: list[str], seed: int, opset: int = 17) -> onnx.ModelProto:
    """Return a tagger of these steps, a dense layer to eight channels after each."""
    b = Builder(np.random.default_rng(seed), opset)
    for step in steps:
        b.last = b.dense(*STEPS[step](b))
    flat = b.one("Reshape", b.last, b.whole(0, -1)) if seed % 2 else b.one("Flatten", b.last)
    b.arrays |= {"v": b.rng.normal(size=(48, 2))}
    b.nodes.append(helper.make_node("MatMul", [flat, "v"], ["y"], name="out"))
    return model(b.nodes, {"x": ["n", N_STEPS, N_FEATURES]}, {"y": ["n", 2]}, arrays=b.arrays, opset=opset)


@st.composite
def graphs(draw: st.DrawFn) -> onnx.ModelProto:
    """Draw a tagger."""
    steps = draw(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=3))
    return drawn(steps, draw(st.integers(0, 2**16)), draw(st.sampled_from([13, 17, 18])))
