"""The hls4ml project of a Network: written through hls4ml's layer list, compiled with g++, run bit-accurately.

Duarte et al., JINST 13 (2018) P07027.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from hepprune.errors import EquivalenceError, NetworkError, check_known, refused
from hepprune.firmware import called, layers, modelgraph, names
from hepprune.firmware.folders import check_names, replacing_folder
from hepprune.firmware.layers import HlsLayer
from hepprune.firmware.names import Names
from hepprune.firmware.programs import require, run
from hepprune.network import STRATEGIES, Network, Shape, Weighted

FeatureArrays = NDArray[Any] | Sequence[NDArray[Any]]
Floats = NDArray[np.float64]

IO_TYPES = ("io_parallel", "io_stream")
# What hls4ml adds to the name of the top function for the functions that Python calls.
_ENDINGS = ("_double", "_float", "_emulator")
# hls4ml puts the folder between quotes of C++ as it is.
_QUOTED_BASEDIR = r"""BASEDIR=${BASEDIR//\\/\\\\}
BASEDIR=${BASEDIR//\"/\\\"}
"""
_COMPILE = '${CC} ${CFLAGS} ${INCFLAGS} -D WEIGHTS_DIR="${WEIGHTS_DIR}" '
_FEW_JETS = 1000  # so many are simulated sooner than g++ has optimised what simulates them
# `build_prj.tcl` reads these switches: C synthesis, then Vivado's logic synthesis; the C simulation has been done here.
_SWITCHES = {"reset": 1, "csim": 0, "synth": 1, "cosim": 0, "validation": 0, "export": 0, "vsynth": 1, "fifo_opt": 0}


@dataclass(frozen=True, kw_only=True)
class Project:
    """An hls4ml project on disk: its top function, and the library g++ makes of it.

    `names` has the name of the top function and of every node in firmware, by the user's. `inputs`, `outputs` and
    `traced` hold names and shapes, `traced` every layer that the library can show. `tables` are the layers that hls4ml
    computes from its own tables, not bit for bit. `strategies` holds what each matrix layer is built with: strategy and
    reuse factor.
    """

    folder: Path
    name: str
    library: Path
    io_type: str
    names: Names
    inputs: tuple[tuple[str, Shape], ...] = ()
    outputs: tuple[tuple[str, Shape], ...] = ()
    traced: tuple[tuple[str, Shape], ...] = ()
    tables: tuple[str, ...] = ()
    strategies: tuple[tuple[str, str, int], ...] = ()

    @property
    def top(self) -> str:
        """The name of the top function."""
        return self.names.top[self.name]


def export(
    network: Network,
    folder: Path,
    *,
    part: str,
    clock_ns: float,
    clock_uncertainty: float,
    strategy: str | None = None,
    io_type: str = "io_parallel",
    name: str = "tagger",
    namespace: str | None = None,
    weights_in_headers: bool = False,
) -> Project:
    """Write the hls4ml project (Vitis backend) of a network whole, and describe it.

    `clock_uncertainty` is a fraction of the clock period; `strategy` None takes each layer's own, and depthwise
    convolutions, which have no distributed arithmetic, are built with latency in its place. `io_type` io_stream sends
    one position after the other. A Softmax becomes hls4ml's table softmax, an Argmax head a one-hot vector. Names that
    C++, Verilog, VHDL or hls4ml cannot bear are others in the project; its `hepprune_names.json` has them all. With
    `weights_in_headers` the C++ reads no file when it runs, and shows no layer's value. Build it
    with `vitis-run --mode hls --tcl build_prj.tcl` or `vitis_hls -f build_prj.tcl`.

    Raises:
        NetworkError: a layer, name, part or strategy that cannot be built, or that hls4ml would silently change.
    """
    check_names(name, part=part, clock_ns=clock_ns)
    _check(network, namespace=namespace, strategy=strategy, io_type=io_type)
    if not 0 <= clock_uncertainty < 1:
        raise NetworkError(f"a clock uncertainty of {clock_uncertainty} is no fraction of the period between 0 and 1")
    nodes, outputs = layers.distinct(layers.described(network, io_type=io_type, strategy=strategy), network.outputs)
    table, space = _names(nodes, name, namespace)
    with torch.no_grad(), replacing_folder(folder) as new:
        options: dict[str, Any] = {"project_name": table.top[name], "part": part, "io_type": io_type}
        options |= {"clock_period": clock_ns, "clock_uncertainty": f"{100 * clock_uncertainty:g}%"}
        options |= {"namespace": space, "write_weights_txt": not weights_in_headers}
        graph = modelgraph.build(nodes, outputs, table, new, options, traced=not weights_in_headers)
        modelgraph.write(graph)
        _finish(new, folder)
        table.write(new)
        stamp = graph.config.get_config_value("Stamp")
    library = folder / "firmware" / f"{table.top[name]}-{stamp}.so"
    bare = Project(folder=folder, name=name, library=library, io_type=io_type, names=table)
    return _project(network, nodes, graph, bare)


def _names(nodes: list[HlsLayer], name: str, namespace: str | None) -> tuple[Names, str | None]:
    """Return the names in firmware, and that of the namespace; the project's own comes first."""
    top = names.safe([name])
    taken = [f"{top[name]}{ending}" for ending in ("", *_ENDINGS)]
    space = None if namespace is None else names.safe([namespace], taken=taken)[namespace]
    return Names(top, names.safe((node.name for node in nodes), taken=[*taken, *([space] if space else [])])), space


def _project(network: Network, nodes: list[HlsLayer], graph: Any, bare: Project) -> Project:
    known = [node for node in graph.graph.values() if node.get_attr("function_cpp") and node.get_attr("trace")]
    traced = {bare.names.node(node.name): tuple(map(int, node.get_output_variable().shape)) for node in known}
    values = {layer.name: layers.value_shape(network, layer.name) for layer in network}
    matrices = tuple((n.name, n.knobs["Strategy"], n.knobs["ReuseFactor"]) for n in nodes if "Strategy" in n.knobs)
    return replace(
        bare,
        inputs=tuple((layer.name, layer.features_shape) for layer in network.inputs),
        outputs=tuple((name, values[name]) for name in network.outputs),
        traced=tuple((name, values.get(name, shape)) for name, shape in traced.items()),
        tables=tuple(node.name for node in nodes if not node.exact and node.name in values),
        strategies=matrices,
    )


def compile(project: Project, *, n_jets: int | None = None) -> Path:  # noqa: A001
    """Compile the project's C simulation with g++, for few jets without optimising it, and return the library.

    Raises:
        PrerequisiteError: g++ or bash is missing, or compiling failed.
    """
    for program in ("bash", "g++"):
        require(program, what="the C simulation of the hls4ml project")
    level = ["-O0"] if n_jets is not None and n_jets <= _FEW_JETS else []
    run(["bash", "./build_lib.sh", *level], folder=project.folder, what="the C simulation of the hls4ml project")
    return project.library


def predict(project: Project, features: FeatureArrays) -> Floats:
    """Return what the compiled project puts out, (n_jets, *shape), where it has one output.

    Features are floats (n_jets, *shape), one array for each input.
    """
    if len(project.outputs) != 1:
        raise NetworkError(f"project '{project.name}' has {len(project.outputs)} outputs where one is expected")
    return predictions(project, features)[project.outputs[0][0]]


def predictions(project: Project, features: FeatureArrays) -> dict[str, Floats]:
    """Return every output of the compiled project, (n_jets, *shape) each, by the name of its layer."""
    found: dict[str, Floats] = {}
    for (name, _), values in zip(project.outputs, _called(project, features), strict=True):
        if not np.array_equal(found.setdefault(name, values), values):
            raise EquivalenceError(f"project '{project.name}' puts out layer '{name}' twice, each time another value")
    return found


def trace(project: Project, features: FeatureArrays) -> dict[str, Floats]:
    """Return every layer's value, (n_jets, *shape) each, as the compiled project computes it."""
    there = project.names.layers
    traced = sorted(project.traced, key=lambda each: there.get(each[0], each[0]))  # the library keeps them by name
    values = _called(project, features, traced)[len(project.outputs) :]
    return {name: value for (name, _), value in zip(traced, values, strict=True)}


def _called(project: Project, features: FeatureArrays, traced: Sequence[tuple[str, Shape]] = ()) -> list[Floats]:
    """Return what the project puts out for every jet, then the value of every layer in `traced`."""
    if not project.library.is_file():  # as where what its proof found is known from before
        compile(project)
    job = {"function": f"{project.top}_double", "outputs": [shape for _, shape in project.outputs], "traced": traced}
    inputs = {str(index): values for index, values in enumerate(_inputs(project, features))}
    with tempfile.TemporaryDirectory(prefix="hepprune-") as scratch:
        folder = Path(scratch)
        (folder / "library.so").symlink_to(project.library.resolve())
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        np.savez(folder / "inputs.npz", **inputs)  # type: ignore[arg-type]
        command = [sys.executable, "-P", called.__file__, scratch]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
            said = next((line for line in lines if "ssertion" in line), lines[-1])
            raise EquivalenceError(f"the C simulation of '{project.name}' in '{project.folder}' stopped: {said}")
        with np.load(folder / "values.npz") as stored:
            return [stored[name] for name in sorted(stored.files, key=int)]


def _inputs(project: Project, features: FeatureArrays) -> list[Floats]:
    """Return the features as contiguous floats, one array for each input."""
    given = [features] if isinstance(features, np.ndarray) else list(features)
    arrays = [np.ascontiguousarray(values, dtype=np.float64) for values in given]
    wanted = [shape for _, shape in project.inputs]
    if [values.shape[1:] for values in arrays] != wanted or len({len(values) for values in arrays}) != 1:
        shapes = ", ".join(str(values.shape) for values in arrays)
        takes = ", ".join(f"(n_jets, {', '.join(map(str, shape))})" for shape in wanted)
        raise NetworkError(f"project '{project.name}' takes features {takes} and is given {shapes}")
    return arrays


def _check(network: Network, *, namespace: str | None, strategy: str | None, io_type: str) -> None:
    check_known("io_type", io_type, IO_TYPES, NetworkError)
    for layer in (each for each in network if isinstance(each, Weighted)):
        chosen = strategy or layer.strategy
        check_known("strategy", chosen, STRATEGIES, NetworkError)
        if chosen == "distributed_arithmetic" and layer.reuse_factor != 1:
            raise refused(layer.name, f"has reuse factor {layer.reuse_factor}; distributed_arithmetic knows only 1")
    if namespace is not None and (not namespace.isidentifier() or not namespace.isascii()):
        raise NetworkError(f"'{namespace}' is not a C++ namespace; use letters, digits and underscores, a letter first")


def _finish(new: Path, folder: Path) -> None:
    """Switch on both syntheses, make the project forget the name it was written under, and compile sooner."""
    switches = "".join(f"    {option:<10} {value}\n" for option, value in _SWITCHES.items())
    (new / "build_opt.tcl").write_text(f"array set opt {{\n{switches}}}\n")
    config = new / "hls4ml_config.yml"
    before, after = (yaml.dump({"OutputDir": str(place)}) for place in (new, folder))
    config.write_text(config.read_text().replace(before, after))
    # A simulation runs once: g++ takes longer to optimise it than it would save, a sixth of its time to tidy up, a
    # tenth to be ready for exceptions that nothing throws, and a third of it, where the project is small, to read
    # Xilinx' types once more for the bridge and all of C++23.
    script = new / "build_lib.sh"
    text = (
        script.read_text()
        .replace('CFLAGS="-O3', 'CFLAGS="${1:--O1} -fno-exceptions --param ggc-min-heapsize=524288')
        .replace("c++23", "c++17")
        .replace("\nWEIGHTS_DIR=", f"\n{_QUOTED_BASEDIR}WEIGHTS_DIR=")
        .replace(f"-c firmware/${{PROJECT}}.cpp -o ${{PROJECT}}.o\n{_COMPILE}", "-include firmware/${PROJECT}.cpp ")
        .replace("-shared ${PROJECT}.o ", "-shared ")
    )
    script.write_text(text)
