"""The compiled C simulation, called for every jet by a program of its own: an assertion in Xilinx' types ends it.

`python called.py FOLDER` reads `job.json` and `inputs.npz` in the folder and writes `values.npz`. It imports nothing of
hepprune, so that it starts at once.
"""

import ctypes
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


class _Record(ctypes.Structure):
    """hls4ml's `trace_data`."""

    _fields_ = [("name", ctypes.c_char_p), ("data", ctypes.c_void_p)]


def main(folder: Path) -> None:
    """Call the library of a job, and store its outputs and, if the job asks for them, every layer's value."""
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    library = ctypes.CDLL(str(folder / "library.so"))
    with np.load(folder / "inputs.npz") as stored:
        inputs = [stored[name] for name in sorted(stored.files, key=int)]
    outputs = [np.zeros((len(inputs[0]), *shape)) for shape in job["outputs"]]
    calls = _called(getattr(library, job["function"]), [*inputs, *outputs])
    traced = _traced(library, calls, job["traced"]) if job["traced"] else [[] for _ in calls]
    values = [*outputs, *(np.array(layer) for layer in zip(*traced, strict=True))]
    np.savez(folder / "values.npz", **{str(index): each for index, each in enumerate(values)})  # type: ignore[arg-type]


def _called(function: Any, ports: list[Any]) -> Iterator[None]:
    for jet in range(len(ports[0])):
        function(*(ctypes.c_void_p(values[jet].ctypes.data) for values in ports))
        yield


def _traced(library: Any, calls: Iterator[None], layers: list[Any]) -> list[list[Any]]:
    """Return what every layer puts out for each jet; `layers` has names and shapes, in the order of the names."""
    records = (_Record * len(layers))()
    library.allocate_trace_storage(ctypes.c_size_t(8))
    jets = []
    for _ in calls:
        library.collect_trace_output(records)
        jets.append([_value(record, shape) for record, (_, shape) in zip(records, layers, strict=True)])
    return jets


def _value(record: _Record, shape: list[int]) -> Any:
    return np.ctypeslib.as_array(ctypes.cast(record.data, ctypes.POINTER(ctypes.c_double)), tuple(shape)).copy()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
