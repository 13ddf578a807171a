"""The proof that firmware and Network agree: bit for bit on real jets, and where they do not, in which layer first."""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hepprune.errors import EquivalenceError
from hepprune.firmware import hls, layers, rtl
from hepprune.firmware.hls import FeatureArrays, Floats, Project
from hepprune.firmware.rtl import Design
from hepprune.firmware.verilog import verilator
from hepprune.network import Argmax, Network, Softmax, exact_activations
from hepprune.network.parts import has_steps
from hepprune.task import Classes, Task, Tasks

_JETS_TO_LOCATE = 100
_TABLE_TOLERANCE = 0.05  # of the range of a layer's values
_TITLES = {"csim": "the hls4ml C simulation", "rtl": "the Verilog"}


@dataclass(frozen=True, kw_only=True)
class Check:
    """What a comparison found: `kind` is csim or rtl, `mismatches` counts single values that differ.

    `tables` names the layers that hls4ml computes from its own tables, each with the largest difference from the
    network's value for the same argument. Values behind them are compared for what the tables gave.
    """

    kind: str
    vectors: int
    mismatches: int
    first_layer: str | None
    agreement: float
    tables: tuple[tuple[str, float], ...] = ()


def against_csim(network: Network, project: Project, features: FeatureArrays, task: Task | None = None) -> Check:
    """Compare the compiled hls4ml project with the network on features (n_jets, *shape), one array for each input.

    Outputs must agree bit for bit, and so must what reaches a layer that hls4ml computes from tables (a softmax, a
    recurrent layer), and what leaves such layers given what they put out. How far their own values are off is
    reported, and the fraction of jets of which firmware and network say the same from end to end, as the task of the
    outputs understands it.

    Raises:
        EquivalenceError: a value differs, or a table is off by more than 5 % of the range of its values; the sentence
            names the first layer that differs and the first jet.
    """
    _ = layers.types(network)  # refuses what has no exact value
    double = network.clone().double()
    want, got = _values(double, features), hls.predictions(project, features)
    # where hls4ml has a one-hot vector the network has an index
    one_hot = [name for name in network.outputs if isinstance(network[name], Argmax)]
    said = got | {name: np.asarray(got[name].argmax(axis=-1, keepdims=True), dtype=np.float64) for name in one_hot}
    agreement = _agreement(network.outputs, want, said, task)
    if project.tables or any(network[name].is_head for name in network.outputs):
        got = hls.trace(project, features)
        want = _values(double, features, known={name: got[name] for name in project.tables})
    names = _compared(network, project, got)
    wrong = np.concatenate([_wrong(want[name], got[name]) for name in names], axis=1)
    jets = np.flatnonzero(wrong.any(axis=1))
    layer = _first_traced(double, project, _chosen(features, jets[:_JETS_TO_LOCATE])) if len(jets) else None
    check = _checked("csim", wrong, layer, agreement)
    return replace(check, tables=tuple((name, _off(double, name, want)) for name in project.tables))


@torch.no_grad()
def _values(double: Network, features: FeatureArrays, known: dict[str, Floats] | None = None) -> dict[str, Floats]:
    """Return every layer's value as the network computes it, from the values that are `known`."""
    given = [features] if isinstance(features, np.ndarray) else features
    inputs = [torch.as_tensor(np.asarray(values, dtype=np.float64)) for values in given]
    replaced = {name: torch.as_tensor(value) for name, value in (known or {}).items()}
    return {name: value.numpy() for name, value in double.activations(inputs, known=replaced).items()}


@torch.no_grad()
def _off(double: Network, name: str, values: dict[str, Floats]) -> float:
    """Return the largest difference of a layer's table from the network's own value for the same argument."""
    layer = double[name]
    read = [torch.as_tensor(values[source]) for source in double.sources[name]]
    own = double.runs(layer)(*read, quantised=True).numpy()
    off = float(np.abs(own - values[name]).max())
    if off > _TABLE_TOLERANCE * float(np.ptp(own)):
        raise EquivalenceError(f"hls4ml's tables put layer '{name}' off by {off:.3g} where it spans {np.ptp(own):.3g}")
    return off


def _compared(network: Network, project: Project, shown: Mapping[str, Any]) -> list[str]:
    """Return the layers to compare: exact outputs, and what reaches a table or a head."""
    ends = [name for name in network.outputs if not _is_table(network, project, name)]
    tables = {*project.tables, *network.outputs}.difference(ends)
    reach = [source for name in tables for source in network.sources[name]]
    names = (_nearest(network, name, shown) for name in (*ends, *reach) if not _is_table(network, project, name))
    found = sorted({name for name in names if name is not None})
    if not found:
        raise EquivalenceError("the project shows no layer that is computed exactly, so nothing can be compared")
    return found


def _is_table(network: Network, project: Project, name: str) -> bool:
    """Return whether hls4ml computes a layer from its own tables; it builds a softmax with types of exact ones."""
    exact = isinstance(network[name], Softmax) and has_steps(network[name])
    return name in project.tables or (network[name].is_head and not exact)


def _nearest(network: Network, name: str, shown: Mapping[str, Any]) -> str | None:
    """Return the layer, or the one it only moves or copies; none for an input."""
    while name not in shown:
        sources = network.sources.get(name, ())
        if len(sources) != 1:
            return None
        (name,) = sources
    return name


def _chosen(features: FeatureArrays, jets: NDArray[np.int64]) -> FeatureArrays:
    return features[jets] if isinstance(features, np.ndarray) else [values[jets] for values in features]


def against_rtl(network: Network, design: Design, features: FeatureArrays, task: Task | None = None) -> Check:
    """Compare the Verilog, simulated with one jet per clock, with every output of the network; heads are left out.

    How far both agree is in the sense of the task, without one in that of classes.

    Raises:
        EquivalenceError: a value differs; the sentence names the first layer whose own Verilog differs, if any does.
    """
    values = exact_activations(network, features)
    want, ports = (_joined(values, names) for names in (network.raw_outputs, [each.name for each in network.inputs]))
    got = verilator.simulate(verilator.build(design), ports)
    wrong = _wrong(want, got)
    jets = np.flatnonzero(wrong.any(axis=1))
    layer = _first_translated(network, _chosen(features, jets[:_JETS_TO_LOCATE])) if len(jets) else None
    ends = np.cumsum([values[name][0].size for name in network.raw_outputs])[:-1]
    parts = zip(network.raw_outputs, np.split(got, ends, axis=1), strict=True)
    found = {name: part.reshape(values[name].shape) for name, part in parts}
    return _checked("rtl", wrong, layer, _agreement(network.raw_outputs, values, found, task))


def _joined(values: Mapping[str, Floats], names: Iterable[str]) -> Floats:
    """Return the values of layers one after the other, as the ports of Verilog have them, (n_jets, n_values)."""
    return np.concatenate([values[name].reshape(len(values[name]), -1) for name in names], axis=1)


def _wrong(want: Floats, got: Floats) -> NDArray[np.bool_]:
    """Return which values differ, (n_jets, n_values)."""
    if want.shape != got.shape:
        raise EquivalenceError(f"the network has outputs of shape {want.shape} and its firmware of shape {got.shape}")
    return np.not_equal(want, got).reshape(len(want), -1)


def _agreement(names: Sequence[str], want: Mapping[str, Any], got: Mapping[str, Floats], task: Task | None) -> float:
    """Return the fraction of jets of which both say the same in layers, as the task has it; without one, as classes."""
    judged = task or Tasks({str(place): Classes() for place, _ in enumerate(names)})
    return float(judged.agrees(tuple(want[name] for name in names), tuple(got[name] for name in names)).mean())


def _checked(kind: str, wrong: NDArray[np.bool_], layer: str | None, agreement: float) -> Check:
    if wrong.any():
        afresh = "but Verilog written afresh agrees in every layer, so this one is of another network"
        place = f"first in layer '{layer}'" if layer else afresh
        first = f"the first jet that differs is number {wrong.any(axis=1).argmax()}"
        said = f"differs from the network in {wrong.sum()} of {wrong.size} logits, {place}; {first}"
        raise EquivalenceError(f"{_TITLES[kind]} {said}")
    return Check(kind=kind, vectors=len(wrong), mismatches=0, first_layer=layer, agreement=agreement)


def _first_traced(double: Network, project: Project, features: FeatureArrays) -> str | None:
    """Return the first exact layer whose value in the project differs from the network's."""
    got = hls.trace(project, features)
    want = _values(double, features, known={name: got[name] for name in project.tables})
    exact = [name for name in want if name in got and not _is_table(double, project, name)]
    return next((name for name in exact if not np.array_equal(want[name], got[name])), None)


def _first_translated(network: Network, features: FeatureArrays) -> str | None:
    """Return the first layer whose value differs in Verilog written afresh, with every layer's value as an output."""
    want = exact_activations(network, features)
    inputs = [layer.name for layer in network.inputs]
    names = [name for name in want if name not in inputs]
    with tempfile.TemporaryDirectory(prefix="hepprune-") as folder:
        fresh = rtl.write_verilog(
            rtl.probe(network), Path(folder) / "probe", name="probe", levels_per_cycle=4, part="xcvu13p", clock_ns=5.0
        )
        got = verilator.simulate(verilator.build(fresh), _joined(want, inputs))
    ends = np.cumsum([want[name][0].size for name in names])
    parts = zip(names, np.split(got, ends[:-1], axis=1), strict=True)
    return next((name for name, values in parts if not np.array_equal(_joined(want, [name]), values)), None)
