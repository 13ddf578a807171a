"""A folder as the CMS emulator takes it: the firmware as a shared library that other code loads, feeds and reads.

The class is that of hls4mlEmulatorExtras (cms-hls4ml), made and destroyed by two functions of C. The network is code
of hls4ml in a namespace of its own, with its weights in headers; only those two functions are visible outside of the
library, so that models with layers of the same names do not meet. Heads (softmax, argmax) are left out.
"""

import math
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hepprune.errors import NetworkError
from hepprune.files import write_text
from hepprune.firmware import hls, scales, texts
from hepprune.firmware.folders import replacing_folder
from hepprune.fixed.interface import Interface
from hepprune.network import Network

VECTORS = "vectors.txt"
CHECKER = "check-models.cc"  # a name that no emulator can have
_ARGUMENT = re.compile(r"^ *(\w+) \w+\[", re.MULTILINE)


def write(
    folder: Path, network: Network, interface: Interface, *, name: str, raw: NDArray[np.float32], expected: hls.Floats
) -> Path:
    """Write the folder of a network before its heads whole, and return it.

    Test vectors are raw features (n_jets, n_raw), inputs end to end, and the outputs expected, (n_jets, n_out). Where
    C++ or hls4ml cannot bear the name of a layer, or `name` is taken, the code inside has another.

    Raises:
        NetworkError: the name is not an identifier, or a layer cannot be built.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise NetworkError(f"'{name}' names no emulator; use letters, digits and underscores, a letter first")
    with replacing_folder(folder) as new:
        project = hls.export(
            network,
            new / "project",
            part="xcvu13p-flga2577-2-e",  # C++ knows no part and no clock
            clock_ns=5.0,
            clock_uncertainty=0.0,
            strategy="latency",
            name=name,
            namespace=f"{name}_emulator",
            weights_in_headers=True,
        )
        shutil.move(project.folder / "firmware", new / "firmware")
        shutil.rmtree(project.folder)
        write_text(new / "emulator.h", texts.read("emulator.h"))
        write_text(new / "scales.h", scales.header(interface))
        write_text(new / f"{name}.cc", _model(project, new / "firmware", interface, network, name))
        write_text(new / CHECKER, texts.read(CHECKER))
        write_text(new / "Makefile", texts.filled("emulator.mk", name=name, top=project.top))
        write_text(new / VECTORS, _vectors(raw, expected))
    return folder


def _vectors(raw: NDArray[np.float32], expected: hls.Floats) -> str:
    """Return a line with the numbers of jets, raw features and outputs, and a line of all its values for each jet."""
    sizes = [str(len(raw)), str(raw.shape[1]), str(expected.shape[1])]
    rows = [[repr(float(value)) for value in (*x, *y)] for x, y in zip(raw, expected, strict=True)]
    return "".join(" ".join(row) + "\n" for row in [sizes, *rows])


def _model(project: hls.Project, firmware: Path, interface: Interface, network: Network, name: str) -> str:
    prototype = (firmware / f"{project.top}.h").read_text(encoding="utf-8")
    types = _ARGUMENT.findall(prototype)
    sizes = [math.prod(layer.features_shape) for layer in network.inputs]
    widths = [network.widths[end] for end in network.outputs]
    if len(types) != len(sizes) + len(widths):
        raise NetworkError(f"the top function of '{name}' has {len(types)} arguments where the network has others")
    found = re.search(r"^namespace (\w+) \{", prototype, re.MULTILINE)
    if found is None:
        raise NetworkError("hls4ml wrote the top function into no namespace")
    space = found[1]
    inputs = [(f"in{i}", f"{space}::{kind}", size) for i, (kind, size) in enumerate(zip(types, sizes, strict=False))]
    own = zip(types[len(sizes) :], widths, strict=True)
    outputs = [(f"out{i}", f"{space}::{kind}", width) for i, (kind, width) in enumerate(own)]
    return texts.filled(
        "emulator.cc",
        typed_in=f", or {inputs[0][1]} *" if len(inputs) == 1 else "",
        typed_out=f" or {outputs[0][1]} *" if len(outputs) == 1 else "",
        take=_typed(inputs, "input", "std::copy_n(*own, {size}, {name});"),
        give=_typed(outputs, "result", "std::copy_n({name}, {size}, *own);"),
        members="".join(f"  {kind} {own}[{size}];\n" for own, kind, size in (*inputs, *outputs)),
        scale=_scale(interface, inputs),
        copy="".join(
            f"    for (int i = 0; i < {n}; ++i) *out++ = static_cast<T>({own}[i].to_double());\n"
            for own, _, n in outputs
        ),
        arguments=", ".join(own for own, _, _ in (*inputs, *outputs)),
        n_raw=str(sum(sizes)),
        n_out=str(sum(widths)),
        space=space,
        top=project.top,
        name=name,
    )


def _typed(ports: Sequence[tuple[str, str, int]], given: str, copied: str) -> str:
    """Return the C++ that takes or gives the values of the only port in its own type."""
    if len(ports) != 1:
        return ""
    ((name, kind, size),) = ports
    body = copied.format(name=name, size=size)
    return f"    if (auto own = std::any_cast<{kind} *>(&{given})) return void({body[:-1]});\n"


def _scale(interface: Interface, inputs: Sequence[tuple[str, str, int]]) -> str:
    """Return the C++ that turns raw features into input words, and those into values."""
    lines = []
    for port, (own, _, size) in zip(interface.inputs, inputs, strict=True):
        table = f"{interface.name}_{port.name}"
        lines += [
            f"    int64_t {own}_words[{size}];",
            f"    finite({table}_words(raw, {own}_words));",
            f"    for (int v = 0; v < {size}; ++v)",
            f"      {own}[v] = std::ldexp(double({own}_words[v]), -{table}_fraction[v]);",
            f"    raw += {size};",
        ]
    return "".join(f"{line}\n" for line in lines)
