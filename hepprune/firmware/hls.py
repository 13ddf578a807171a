"""The hls4ml project of a Network: written through hls4ml's layer list, compiled with g++, run bit-accurately.

Duarte et al., JINST 13 (2018) P07027.
"""

import contextlib
import ctypes
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hepprune.errors import NetworkError, unknown
from hepprune.firmware import layers, tracing
from hepprune.firmware.folders import check_names, replacing_folder
from hepprune.firmware.programs import require, run
from hepprune.network import Dense, Network

log = logging.getLogger(__name__)

STRATEGIES = ("latency", "distributed_arithmetic", "resource", "resource_unrolled")
# `build_prj.tcl` reads these switches: C synthesis, then Vivado's logic synthesis; the C simulation has been done here.
_BUILD_OPTIONS = {
    "reset": 1,
    "csim": 0,
    "synth": 1,
    "cosim": 0,
    "validation": 0,
    "export": 0,
    "vsynth": 1,
    "fifo_opt": 0,
}


@dataclass(frozen=True)
class Project:
    """An hls4ml project on disk: its top function, the library g++ makes of it, and (layer, width) of every layer."""

    folder: Path
    name: str
    library: Path
    n_in: int
    layers: tuple[tuple[str, int], ...]

    @property
    def n_out(self) -> int:
        """Values that the top function puts out for each jet."""
        return self.layers[-1][1]


def export(
    network: Network,
    folder: Path,
    *,
    part: str,
    clock_ns: float,
    clock_uncertainty: float,
    strategy: str | None = None,
    name: str = "tagger",
    namespace: str | None = None,
) -> Project:
    """Write the hls4ml project (Vitis backend, io_parallel) of a network whole, and describe it.

    `clock_uncertainty` is a fraction of the clock period; `strategy` None takes each layer's own. A Softmax head
    becomes hls4ml's table softmax, an Argmax head a one-hot vector. Build it with `vitis-run --mode hls --tcl
    build_prj.tcl` or `vitis_hls -f build_prj.tcl`.

    Raises:
        NetworkError: a layer, name, part or strategy that cannot be built, or that hls4ml would silently change.
    """
    check_names(name, part=part, clock_ns=clock_ns)
    _check(network, name=name, namespace=namespace, strategy=strategy)
    if not 0 <= clock_uncertainty < 1:
        raise NetworkError(f"a clock uncertainty of {clock_uncertainty} is no fraction of the period between 0 and 1")
    with torch.no_grad(), replacing_folder(folder) as new:
        graph = _graph(
            network,
            new,
            strategy,
            {
                "project_name": name,
                "part": part,
                "clock_period": clock_ns,
                "clock_uncertainty": f"{100 * clock_uncertainty:g}%",
                "namespace": namespace,
            },
        )
        _check_unchanged(graph, network, strategy)
        with _quietly():
            graph.write()
        _finish(new, folder)
        widths = tuple((layer, int(np.prod(node.get_output_variable().shape))) for layer, node in graph.graph.items())
        stamp = graph.config.get_config_value("Stamp")
    return Project(folder, name, folder / "firmware" / f"{name}-{stamp}.so", widths[0][1], widths)


def compile(project: Project) -> Path:  # noqa: A001
    """Compile the project's C simulation with g++, and return the library.

    Raises:
        PrerequisiteError: g++ or bash is missing, or compiling failed.
    """
    for program in ("bash", "g++"):
        require(program, what="the C simulation of the hls4ml project")
    run(["bash", "./build_lib.sh"], folder=project.folder, what="the C simulation of the hls4ml project")
    return project.library


def predict(project: Project, features: NDArray[Any]) -> NDArray[np.float64]:
    """Return what the compiled project puts out, (n_jets, n_out), for features (n_jets, n_in) in float."""
    return _run(project, ctypes.CDLL(str(project.library)), features)


def trace(project: Project, features: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """Return every layer's value, (n_jets, n_out) each, as the compiled project computes it."""
    library = ctypes.CDLL(str(project.library))
    traced = sorted(project.layers[1:])  # the library keeps them by name
    records = (_Record * len(traced))()
    rows: list[list[NDArray[np.float64]]] = []
    library.allocate_trace_storage(ctypes.c_size_t(8))
    try:
        for jet in np.asarray(features):
            _run(project, library, jet[None])
            library.collect_trace_output(records)
            rows.append([_values(record, width) for record, (_, width) in zip(records, traced, strict=True)])
    finally:
        library.free_trace_storage()
    return {name: np.array([row[i] for row in rows]) for i, (name, _) in enumerate(traced)}


class _Record(ctypes.Structure):
    """hls4ml's `trace_data`."""

    _fields_ = [("name", ctypes.c_char_p), ("data", ctypes.c_void_p)]


def _values(record: _Record, width: int) -> NDArray[np.float64]:
    return np.ctypeslib.as_array(ctypes.cast(record.data, ctypes.POINTER(ctypes.c_double)), (width,)).copy()


def _run(project: Project, library: ctypes.CDLL, features: NDArray[Any]) -> NDArray[np.float64]:
    inputs = np.ascontiguousarray(features, dtype=np.float64)
    if inputs.ndim != 2 or inputs.shape[1] != project.n_in:
        raise NetworkError(f"project '{project.name}' takes {project.n_in} features and is given {inputs.shape}")
    outputs = np.zeros((len(inputs), project.n_out))
    top = getattr(library, f"{project.name}_double")
    for jet, row in zip(inputs, outputs, strict=True):
        top(ctypes.c_void_p(jet.ctypes.data), ctypes.c_void_p(row.ctypes.data))
    return outputs


def _check(network: Network, *, name: str, namespace: str | None, strategy: str | None) -> None:
    for layer in network.dense_layers:
        chosen = strategy or layer.strategy
        if chosen not in STRATEGIES:
            raise NetworkError(unknown("strategy", chosen, STRATEGIES))
        if chosen == "distributed_arithmetic" and layer.reuse_factor != 1:
            raise NetworkError(
                f"layer '{layer.name}' has reuse factor {layer.reuse_factor}; distributed_arithmetic knows only 1"
            )
    if namespace is not None and (not namespace.isidentifier() or not namespace.isascii()):
        raise NetworkError(f"'{namespace}' is no C++ namespace; use letters, digits and underscores, a letter first")
    taken = {"input", name.lower()}
    for layer_name in (layer.name for layer in network):
        if layer_name.lower() in taken:  # hls4ml looks layers up in lower case
            raise NetworkError(f"a layer named '{layer_name}' clashes with a name in the hls4ml project; rename it")
        taken.add(layer_name.lower())


def _graph(network: Network, folder: Path, strategy: str | None, options: dict[str, Any]) -> Any:
    with _quietly():
        from hls4ml.model import ModelGraph
        from hls4ml.utils.config import create_config

        config = create_config(output_dir=str(folder), backend="Vitis", io_type="io_parallel", **options)
        config["TraceOutput"] = True  # lets `trace` name the first wrong layer; synthesis does not see it
        config["HLSConfig"] = {
            "Model": {"Precision": "ap_fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"},
            "LayerName": layers.settings(network, strategy),
        }
        described = layers.described(network)
        with tracing.plain_search():
            return ModelGraph.from_layer_list(config, described, [network.input.name], [network.output.name])


def _check_unchanged(graph: Any, network: Network, strategy: str | None) -> None:
    """Refuse what hls4ml moved without asking: a layer, a strategy or a reuse factor."""
    if list(graph.graph) != [layer.name for layer in network]:
        raise NetworkError(f"hls4ml changed the layers to {', '.join(graph.graph)}")
    for layer in network:
        if isinstance(layer, Dense):
            wanted = strategy or layer.strategy, layer.reuse_factor
            node = graph.graph[layer.name]
            set_ = node.get_attr("strategy"), int(node.get_attr("reuse_factor"))
            if set_ != wanted:
                raise NetworkError(
                    f"layer '{layer.name}': hls4ml would build {set_[0]} at reuse factor {set_[1]} "
                    f"where {wanted[0]} at {wanted[1]} is asked for"
                )


def _finish(new: Path, folder: Path) -> None:
    """Switch on both syntheses, and make the project forget the name it was written under."""
    switches = "".join(f"    {option:<10} {value}\n" for option, value in _BUILD_OPTIONS.items())
    (new / "build_opt.tcl").write_text(f"array set opt {{\n{switches}}}\n")
    config = new / "hls4ml_config.yml"
    config.write_text(config.read_text().replace(str(new), str(folder)))


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Send what hls4ml prints and warns to the log."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.debug("hls4ml: %s", said.getvalue())
