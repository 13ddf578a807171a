"""The proof that firmware and Network agree: bit for bit on real jets, and where they do not, in which layer first."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.errors import EquivalenceError
from hepprune.firmware import hls, rtl, verilator
from hepprune.firmware.hls import Project
from hepprune.firmware.rtl import Design
from hepprune.network import Network, exact_activations, exact_logits

_JETS_TO_LOCATE = 100
_TITLES = {"csim": "the hls4ml C simulation", "rtl": "the Verilog"}


@dataclass(frozen=True)
class Check:
    """What a comparison found: `kind` is csim or rtl, `mismatches` counts single logits that differ."""

    kind: str
    vectors: int
    mismatches: int
    first_layer: str | None
    argmax_agreement: float


def against_csim(network: Network, project: Project, features: NDArray[Any]) -> Check:
    """Compare the compiled hls4ml project with the network on features (n_jets, n_features).

    Logits must agree bit for bit. Under a head, which computes from tables, so must the logits that reach it, and the
    fraction of jets whose head names the same class is reported.

    Raises:
        EquivalenceError: a logit differs; the sentence names the first layer that differs and the first jet.
    """
    want, got = exact_logits(network, features), hls.predict(project, features)
    agreement = _agreement(want, got)
    if network.output.is_head:
        got = hls.trace(project, features)[network.logits_name]
    wrong = _wrong(want, got)
    jets = np.flatnonzero(wrong.any(axis=1))
    layer = _first_traced(network, project, features[jets[:_JETS_TO_LOCATE]]) if len(jets) else None
    return _passed(Check("csim", len(want), int(wrong.sum()), layer, agreement), want.size, jets)


def against_rtl(network: Network, design: Design, features: NDArray[Any]) -> Check:
    """Compare the Verilog, simulated with one jet per clock, with the logits of the network; heads are left out.

    Raises:
        EquivalenceError: a logit differs; the sentence names the first layer whose own Verilog differs, if any does.
    """
    want, got = exact_logits(network, features), _simulated(network, design, features)
    wrong = _wrong(want, got)
    jets = np.flatnonzero(wrong.any(axis=1))
    layer = _first_translated(network, features[jets[:_JETS_TO_LOCATE]]) if len(jets) else None
    return _passed(Check("rtl", len(want), int(wrong.sum()), layer, _agreement(want, got)), want.size, jets)


def _wrong(want: NDArray[np.float64], got: NDArray[np.float64]) -> NDArray[np.bool_]:
    if want.shape != got.shape:
        raise EquivalenceError(f"the network has outputs of shape {want.shape} and its firmware of shape {got.shape}")
    return np.not_equal(want, got)


def _agreement(want: NDArray[np.float64], got: NDArray[np.float64]) -> float:
    return float((want.argmax(axis=1) == got.argmax(axis=1)).mean())


def _passed(check: Check, n_outputs: int, jets: NDArray[np.int64]) -> Check:
    if check.mismatches == 0:
        return check
    place = (
        f"first in layer '{check.first_layer}'"
        if check.first_layer
        else "but Verilog written afresh agrees in every layer, so this one is of another network"
    )
    raise EquivalenceError(
        f"{_TITLES[check.kind]} differs from the network in {check.mismatches} of {n_outputs} logits, "
        f"{place}; the first jet that differs is number {jets[0]}"
    )


def _simulated(network: Network, design: Design, features: NDArray[Any]) -> NDArray[np.float64]:
    quantised = exact_activations(network, features)[network.input.name]
    return verilator.simulate(verilator.build(design), quantised)


def _first_traced(network: Network, project: Project, features: NDArray[Any]) -> str | None:
    """Return the first layer whose value in the project differs from the network's."""
    want, got = exact_activations(network, features), hls.trace(project, features)
    return next((name for name in want if name in got and not np.array_equal(want[name], got[name])), None)


def _first_translated(network: Network, features: NDArray[Any]) -> str | None:
    """Return the first layer whose value differs in Verilog written afresh, with every layer's value as an output."""
    want = exact_activations(network, features)
    names = list(want)[1:]
    with tempfile.TemporaryDirectory(prefix="hepprune-") as folder:
        fresh = rtl.write_verilog(
            rtl.probe(network), Path(folder) / "probe", name="probe", levels_per_cycle=4, part="xcvu13p", clock_ns=5.0
        )
        got = _simulated(network, fresh, features)
    ends = np.cumsum([want[name].shape[1] for name in names])
    parts = zip(names, np.split(got, ends[:-1], axis=1), strict=True)
    return next((name for name, values in parts if not np.array_equal(want[name], values)), None)
