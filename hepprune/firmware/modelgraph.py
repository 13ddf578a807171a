"""hls4ml's own graph of a network, built from our layer list and checked for what hls4ml changed without asking."""

import contextlib
import io
import logging
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hepprune.errors import NetworkError
from hepprune.firmware.layers import HlsLayer
from hepprune.firmware.names import Names, owner
from hepprune.firmware.verilog import adders

log = logging.getLogger(__name__)

_KNOBS = {"Strategy": "strategy", "ReuseFactor": "reuse_factor", "ParallelizationFactor": "parallelization_factor"}


def build(
    nodes: list[HlsLayer],
    outputs: Sequence[str],
    names: Names,
    folder: Path,
    options: dict[str, Any],
    *,
    traced: bool = True,
) -> Any:
    """Return hls4ml's graph of these nodes by their names in firmware, and refuse what it changed on its own.

    It is to be written into `folder`; `outputs` are the nodes whose values it puts out. Where it is `traced` it keeps
    every layer's value for whoever asks.

    Raises:
        NetworkError: a layer, a strategy, a reuse or parallelization factor is not as asked for.
    """
    with _quietly():
        from hls4ml.model import ModelGraph
        from hls4ml.utils.config import create_config

        config = create_config(output_dir=str(folder), backend="Vitis", **options)
        config["TraceOutput"] = traced  # lets `trace` name the first wrong layer; synthesis does not see it
        config["HLSConfig"] = {
            # Types are all ours: where it finds one for each value, hls4ml would choose the others anew.
            "Model": {"Precision": "ap_fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency", "BitExact": False},
            "LayerName": {
                names.layers[node.name]: {
                    "Trace": True,
                    "Precision": {kind: str(of) for kind, of in node.precision.items()},
                    **node.knobs,
                }
                for node in nodes
            },
        }
        inputs = [names.layers[node.name] for node in nodes if node.attributes["class_name"] == "InputLayer"]
        ends = [names.layers[name] for name in outputs]
        try:
            with adders.plain_search():
                graph = ModelGraph.from_layer_list(config, [_named(node, names) for node in nodes], inputs, ends)
        except (AssertionError, RuntimeError, ValueError) as problem:
            said = re.sub(r"\w+", lambda word: names.layer(word[0]), " ".join(str(problem).split()))
            raise NetworkError(f"hls4ml refuses the network: {said}") from problem
    _check_unchanged(graph, nodes, names)
    return graph


def _named(node: HlsLayer, names: Names) -> dict[str, Any]:
    """Return a node's attributes by the names that it and what it reads have in firmware."""
    own = {"name": names.layers[node.name]}
    read = node.attributes.get("inputs")
    return node.attributes | own | ({} if read is None else {"inputs": [names.layers[name] for name in read]})


def write(graph: Any) -> None:
    """Write the project of a graph."""
    # hls4ml tries to import Keras, in vain for our graphs, and that would load TensorFlow
    hidden = "keras" not in sys.modules
    if hidden:
        sys.modules["keras"] = None  # type: ignore[assignment]
    try:
        with _quietly():
            graph.write()
    finally:
        if hidden:
            del sys.modules["keras"]


def _check_unchanged(graph: Any, nodes: list[HlsLayer], names: Names) -> None:
    """Refuse what hls4ml moved without asking: a layer, a type, a strategy, a reuse or parallelization factor."""
    for node in nodes:
        built = graph.graph.get(names.layers[node.name])
        if built is None:
            # these may go: a last reshape and a cast do nothing, quantisers become part of an adder graph
            kind = node.attributes["class_name"]
            if not (kind in {"Reshape", "FixedPointQuantizer"} or node.attributes.get("activation") == "linear"):
                raise NetworkError(f"hls4ml would drop layer '{owner(node.name)}' ({node.attributes['class_name']})")
            continue
        wanted = {attribute: node.knobs[knob] for knob, attribute in _KNOBS.items() if knob in node.knobs}
        set_ = {attribute: built.get_attr(attribute) for attribute in wanted}
        for attribute, value in wanted.items():
            if str(set_[attribute]) != str(value):
                made, asked = _spoken(set_, "at reuse factor"), _spoken(wanted, "at")
                raise NetworkError(f"layer '{owner(node.name)}': hls4ml would build {made} where {asked} is asked for")


def _spoken(knobs: dict[str, Any], at: str) -> str:
    text = f"{knobs['strategy']} {at} {knobs['reuse_factor']}"
    factor = knobs.get("parallelization_factor")
    return text if factor is None else f"{text} and parallelization factor {factor}"


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
