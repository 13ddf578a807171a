"""Whole designs that other groups published as figures only: their layers and shares of zeros are known, no weights.

Reads `../shared/reference/tables/hls_projects_public.csv` (its README names the sources); nothing of it is copied here.
Weights are drawn as Glorot and Bengio's normal ones, and the smallest cut until as many are left as the table says. The
designs that the table tells no layers of (recurrent networks, transformers, most convolutions) cannot be predicted.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from cost_samples import TABLES

from hepprune.hardware import devices
from hepprune.hardware.cost import kernels
from hepprune.hardware.cost.operations import Operation
from hepprune.hardware.cost.timing import Clock
from hepprune.hardware.resources import Measurement, Resources

SOURCES = {
    "7-series MLPs": "hls_projects_public.csv, ArgyKokk/hls4ml_MLP_estimator: QKeras MLPs of 8 bits, Vitis HLS 2021.1, "
    "zynq, 3.33 and 5 ns, `config_op mul -impl` dsp or fabric",
    "25 ns": "hls_projects_public.csv, pominiq/DNNonSilicon: MLPs, Vivado HLS 2020.1, xc7z020",
}
_GROUPS = {"ArgyKokk/hls4ml_MLP_estimator": "7-series MLPs", "pominiq/DNNonSilicon": "25 ns"}
_UNCERTAINTY = 0.125  # of the clock period: what the scripts of the first set, and Vivado HLS by itself
# Sums of ap_fixed<16,6> that end in ap_fixed<16,4>, as the modules of the first set are named: four bits before the
# point are kept, and ten behind it.
_SUM_BITS = 14
_DENSE = re.compile(r"Q?Dense(\d+)x(\d+)(?:q(\d+),(\d+))?")


@dataclass(frozen=True)
class WholeDesign:
    """A published design whole, as the cost models see it, and its report; what is left of its clock."""

    source: str
    name: str
    operations: tuple[Operation, ...]
    measured: Measurement
    clock: Clock


@dataclass(frozen=True)
class Weights:
    """What is assumed of weights that are not published: the widths of layers in Glorot and Bengio's, and the zeros.

    `drawn` seeds widths that scatter over the layers as those of the published jet MLP do; without it all are 1.
    """

    drawn: int | None = None
    by_magnitude: bool = True

    def width(self, layer: int) -> float:
        """Return the standard deviation of a layer's weights, in that of Glorot and Bengio."""
        if self.drawn is None:
            return 1.0
        return float(np.exp(np.random.default_rng([self.drawn, layer]).normal(0.0, _SCATTER)))


_TRAINED = 1.36  # what training makes of a float weight's width: the mean over the layers of the published jet MLP
_SCATTER = 0.27  # and the standard deviation of its logarithm over them: 1.59, 0.92, 1.29, 1.63
LIKELY = tuple(Weights(drawn, by_magnitude) for drawn in range(16) for by_magnitude in (False, True))


def designs(weights: Weights = Weights()) -> Iterator[WholeDesign]:
    """Yield every design of dense layers that the table tells; of the same figures only the first."""
    seen = set()
    with (TABLES / "hls_projects_public.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            layers = row["layers"].split(" ")
            figures = tuple(row[key] for key in ("source", "lut", "ff", "dsp", "latency_max"))
            if all(_DENSE.fullmatch(layer) for layer in layers) and figures not in seen:
                seen.add(figures)
                yield _whole(row, weights)


def _whole(row: dict[str, str], weights: Weights) -> WholeDesign:
    clock_ns = float(row["clock_ns"])
    measured = Measurement(
        stage="csynth",
        tool="vitis_hls" if row["tool_version"] >= "2020.2" else "vivado_hls",
        version=row["tool_version"],
        part=row["part"],
        clock_ns=clock_ns,
        resources=Resources(**{cell: float(row[cell]) for cell in ("lut", "ff", "dsp", "bram18")}),
        latency_cycles=int(row["latency_max"]),
        interval_cycles=int(row["interval_max"]),
    )
    clock = Clock(clock_ns * (1 - _UNCERTAINTY), devices.family(row["part"]))
    name = "/".join(part for part in row["design"].split("/") if part not in {"HLS_MLPs", "hls4ml_prj"})
    return WholeDesign(_GROUPS[row["source"]], name, _operations(row, weights), measured, clock)


def _operations(row: dict[str, str], weights: Weights) -> tuple[Operation, ...]:
    chosen = re.search("DSP|LUT", row["design"])
    multipliers = chosen[0].lower() if chosen else "auto"
    return tuple(replace(operation, multipliers=multipliers) for operation in _layers(row, weights))


def _layers(row: dict[str, str], weights: Weights) -> Iterator[Operation]:
    """Yield input, dense layers with an activation between, and softmax: what all of these designs are made of."""
    sizes = [_DENSE.fullmatch(layer).groups() for layer in row["layers"].split(" ")]  # type: ignore[union-attr]
    left = int(row["nonzero"]) / int(row["weights"])
    bits = int(sizes[0][2] or 16)  # of activations: quantised as the weights, hls4ml's default otherwise
    yield _element("input", "input", int(sizes[0][0]), bits)
    for i, (n_in, n_out, width, integer) in enumerate(sizes):
        kind = (int(width), int(integer)) if width else (16, 5)
        spread = weights.width(i) * (1.0 if width else _TRAINED)
        counts = _drawn((int(n_in), int(n_out)), kind, left, spread, by_magnitude=weights.by_magnitude)
        yield _matrix(row, f"fc{i}", counts, bits, quantised=width is not None)
        if i < len(sizes) - 1:
            yield _element(f"relu{i}", "relu", int(n_out), 16, out_width=bits, casts=width is not None)
    yield _element("softmax", "softmax", int(sizes[-1][1]), 16, sources=(f"fc{len(sizes) - 1}",))


def _matrix(row: dict[str, str], name: str, kernel: kernels.KernelCounts, bits: int, *, quantised: bool) -> Operation:
    return Operation(
        name=name,
        kind="matrix",
        n_in=kernel.fan_in,
        n_out=kernel.n_out,
        in_width=bits,
        out_width=16,
        accumulator_width=_SUM_BITS if quantised else 16,
        asked_reuse_factor=int(row["reuse_factor"]),
        kernels=(kernel,),
        function="Dense",
        sources=("input",) if name == "fc0" else (f"relu{int(name[2:]) - 1}",),
    )


def _element(name: str, kind: str, n: int, bits: int, **facts: object) -> Operation:
    sources = () if kind == "input" else (name.replace("relu", "fc"),)
    known = {"out_width": bits, "sources": sources} | facts
    return Operation(name=name, kind=kind, n_in=n, n_out=n, in_width=bits, accumulator_width=bits, **known)  # type: ignore[arg-type]


@cache
def _drawn(
    shape: tuple[int, int], kind: tuple[int, int], left: float, spread: float, *, by_magnitude: bool
) -> kernels.KernelCounts:
    """Return the counts of random weights (n_in, n_out) of a width and so many integer bits, a share of them left."""
    width, integer = kind
    generator = np.random.default_rng(1)
    values = generator.normal(0, spread * (2 / sum(shape)) ** 0.5, shape[::-1])
    whole = np.clip(np.round(values * 2 ** (width - 1 - integer)), -(2 ** (width - 1)), 2 ** (width - 1) - 1)
    order = np.argsort(np.abs(values), axis=None) if by_magnitude else generator.permutation(values.size)
    whole.ravel()[order[: round((1 - left) * values.size)]] = 0
    return kernels.count(whole.astype(np.int64), width)
