"""hls4ml's own graph of a network, built from our layer list and checked for what hls4ml changed without asking."""

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hepprune.errors import NetworkError
from hepprune.firmware import tracing
from hepprune.firmware.layers import Node
from hepprune.network import Network

log = logging.getLogger(__name__)

_KNOBS = {
    "Strategy": "strategy",
    "ReuseFactor": "reuse_factor",
    "ParallelizationFactor": "parallelization_factor",
}


def build(network: Network, nodes: list[Node], folder: Path, options: dict[str, Any]) -> Any:
    """Return hls4ml's graph of these nodes, to be written into `folder`, and refuse what it changed on its own.

    Raises:
        NetworkError: a layer, a strategy, a reuse or parallelization factor is not as asked for.
    """
    with _quietly():
        from hls4ml.model import ModelGraph
        from hls4ml.utils.config import create_config

        config = create_config(output_dir=str(folder), backend="Vitis", **options)
        config["TraceOutput"] = True  # lets `trace` name the first wrong layer; synthesis does not see it
        config["HLSConfig"] = {
            "Model": {"Precision": "ap_fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"},
            "LayerName": {node.name: _settings(node) for node in nodes},
        }
        inputs = [layer.name for layer in network.inputs]
        try:
            with tracing.plain_search():
                graph = ModelGraph.from_layer_list(config, [n.attributes for n in nodes], inputs, list(network.outputs))
        except (AssertionError, RuntimeError, ValueError) as problem:
            raise NetworkError(f"hls4ml refuses the network: {' '.join(str(problem).split())}") from problem
    _check_unchanged(graph, nodes)
    return graph


def write(graph: Any) -> None:
    """Write the project of a graph."""
    with _quietly(), _without_keras():
        graph.write()


def _settings(node: Node) -> dict[str, Any]:
    """Return hls4ml's `LayerName` settings: the precision of every type, and the knobs of matrix layers."""
    return {"Trace": True, "Precision": {kind: str(of) for kind, of in node.precision.items()}, **node.knobs}


def _check_unchanged(graph: Any, nodes: list[Node]) -> None:
    """Refuse what hls4ml moved without asking: a layer, a type, a strategy, a reuse or parallelization factor."""
    for node in nodes:
        built = graph.graph.get(node.name)
        if built is None:
            if not _vanishes(node):
                raise NetworkError(f"hls4ml would drop layer '{node.name}' ({node.attributes['class_name']})")
            continue
        wanted = {attribute: node.knobs[knob] for knob, attribute in _KNOBS.items() if knob in node.knobs}
        set_ = {attribute: built.get_attr(attribute) for attribute in wanted}
        for attribute, value in wanted.items():
            if str(set_[attribute]) != str(value):
                raise NetworkError(
                    f"layer '{node.name}': hls4ml would build {_spoken(set_, 'at reuse factor')} "
                    f"where {_spoken(wanted, 'at')} is asked for"
                )


def _vanishes(node: Node) -> bool:
    """Return whether a node may go because it does nothing: a last reshape, a cast to the type it is given."""
    return node.attributes["class_name"] == "Reshape" or node.attributes.get("activation") == "linear"


def _spoken(knobs: dict[str, Any], at: str) -> str:
    text = f"{knobs['strategy']} {at} {knobs['reuse_factor']}"
    factor = knobs.get("parallelization_factor")
    return text if factor is None else f"{text} and parallelization factor {factor}"


@contextlib.contextmanager
def _without_keras() -> Iterator[None]:
    """Hide Keras where nobody imported it yet: hls4ml tries to, in vain for our graphs, and that loads TensorFlow."""
    if "keras" in sys.modules:
        yield
        return
    sys.modules["keras"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["keras"]


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
