"""What other groups measured, as the cost models see it: operations beside the figures that HLS reported for them.

Reads `../shared/reference` (its README names sources and licences); nothing of it is copied here.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hepprune import frontends
from hepprune.fixed import FixedPoint
from hepprune.hardware.cost import kernels, reuse
from hepprune.hardware.cost.describing import Options, described
from hepprune.hardware.cost.operations import Operation
from hepprune.hardware.cost.timing import Clock
from hepprune.hardware.resources import Measurement, Resources
from hepprune.network import Input, Network
from hepprune.synthesis import reports

CELLS = ("lut", "ff", "dsp", "bram18")  # in the order of every table here
REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "reference"
TABLES, REPORTS = REFERENCE / "tables", REFERENCE / "reports"
SOURCES = {
    "wa-hls4ml": "wa_dense_single_layer.csv, Dendendelen/wa-hls4ml-search, Apache-2.0: one dense layer, io_parallel",
    "N-TORC dense": "ntorc_dense_distinct.csv, HeRCLab/N-TORC, MIT: xczu7ev, io_stream",
    "N-TORC conv1d": "ntorc_conv1d_distinct.csv, HeRCLab/N-TORC, MIT: xczu7ev, io_stream, kernel of 3",
    "N-TORC lstm": "ntorc_lstm_distinct.csv, HeRCLab/N-TORC, MIT: xczu7ev, io_stream",
    "jet MLP": "jet-mlp-2022.2, nrp-nautilus/6nrp-hls4ml, MIT: 16-64-32-32-5, Vitis HLS 2022.2",
    "DeepSets 4 bit": "l1-jet-id-deepsets-4bit, fastmachinelearning/l1-jet-id, Apache-2.0: Vivado HLS 2020.1",
    "DeepSets 6 bit": "l1-jet-id-deepsets-6bit, fastmachinelearning/l1-jet-id, Apache-2.0: Vivado HLS 2020.1",
    "DeepSets 8 bit": "l1-jet-id-deepsets-8bit, fastmachinelearning/l1-jet-id, Apache-2.0: Vivado HLS 2020.1",
    "MNIST stream": "mnist-cnn-stream-2020.1, Spehic/Diplomska-hls4ml, MIT: QKeras CNN, io_stream, Vivado HLS 2020.1",
    "jet, one layer": "jet1layer-2016.4-reuse1, violatingcp/hls4ml, Apache-2.0: Vivado HLS 2016.4",
}


# What a clock of 5 ns leaves for logic: Vitis HLS takes 27 % off, Vivado HLS 12.5 %. wa-hls4ml does not say which; the
# clocks it reports as estimated go up to 4.374 ns.
VITIS, VIVADO = Clock(3.65), Clock(4.375)


@dataclass(frozen=True)
class Sample:
    """One operation and what HLS reported for it."""

    source: str
    operation: Operation
    resources: Resources
    latency_cycles: float | None = None
    interval_cycles: float | None = None
    clock: Clock = VIVADO


@dataclass(frozen=True)
class Published:
    """A published design whole: its network, as its hls4ml project typed it, its report, what is left of its clock.

    `layers` names the layer of each module of the report. The DeepSets were built as dataflow designs.
    """

    source: str
    network: Network
    measured: Measurement
    layers: dict[str, str]
    clock: Clock
    dataflow: bool = False

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The design as the cost models see it."""
        each = described(self.network, Options("latency"))
        return tuple(replace(operation, dataflow=self.dataflow) for operation in each)


def samples() -> list[Sample]:
    """Return every sample of every source."""
    if not TABLES.is_dir():
        raise SystemExit(f"the public tables and reports are not here: no folder '{TABLES}'")
    tables = (*single_layers(), *_stream("dense", 1), *_stream("conv1d", 3), *_recurrent())
    designs = (sample for design in published() for sample in _modules(design))
    return [*tables, *designs, *_others()]


def _rows(name: str) -> Iterator[dict[str, str]]:
    with (TABLES / name).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _blank(n_in: int, n_out: int, bits: int, factor: int) -> kernels.KernelCounts:
    """Return the counts of a kernel without zeros whose weights are not published."""
    return kernels.count(np.ones((n_out, n_in), dtype=np.int64), bits, reuse_factor=factor)


def _drawn(n_in: int, n_out: int, bits: int) -> kernels.KernelCounts:
    """Return the counts of random weights, uniform as Glorot and Bengio's, of that width and one integer bit."""
    limit = (6 / (n_in + n_out)) ** 0.5
    values = np.random.default_rng(1).uniform(-limit, limit, (n_out, n_in))
    kind = FixedPoint(bits, 1, rounding="RND", overflow="SAT")
    return kernels.count((kind(values) * 2.0**kind.fraction).astype(np.int64), bits)


def _matrix(n_in: int, n_out: int, kernel: kernels.KernelCounts, **facts: object) -> Operation:
    strategy = "latency" if kernel.reuse_factor == 1 else "resource"
    common = {"strategy": strategy, "reuse_factor": kernel.reuse_factor, "asked_reuse_factor": kernel.reuse_factor}
    return Operation(
        name="fc",
        kind="matrix",
        n_in=n_in,
        n_out=n_out,
        in_width=16,
        out_width=16,
        accumulator_width=16,
        kernels=(kernel,),
        **(common | facts),
    )  # type: ignore[arg-type]


def single_layers() -> Iterator[Sample]:
    """Yield the runs of wa-hls4ml that finished; the others are censored.

    Left out: weights of 2 bits under `latency`, which hang on a scale that is not published, and `resource` at reuse
    factor 1, which is `latency` once more.
    """
    for row in _rows("wa_dense_single_layer.csv"):
        n_in, n_out, bits, factor = (int(row[key]) for key in ("d_in", "d_out", "prec", "rf"))
        unrolled = row["strategy"] == "latency"
        if row["hls_synth_success"] != "True" or (bits == 2 if unrolled else factor == 1):
            continue
        kernel = _drawn(n_in, n_out, bits) if unrolled else _blank(n_in, n_out, bits, factor)
        facts = {"strategy": "latency", "asked_reuse_factor": factor} if unrolled else {}
        figures = {cell: float(row[f"{cell}_hls"]) for cell in ("LUT", "FF", "DSP", "BRAM_18K")}
        if unrolled:  # the ports of the design are not part of the layer
            figures["FF"] -= 16 * n_out + 2
        cycles, interval = float(row["BestLatency_hls"]), float(row["IntervalMax_hls"])
        operation = _matrix(n_in, n_out, kernel, **facts)
        yield Sample(
            "wa-hls4ml", operation, Resources(**dict(zip(CELLS, figures.values(), strict=True))), cycles, interval
        )


def censored() -> dict[str, tuple[int, int]]:
    """Return, by kind of run, how many of wa-hls4ml finished and how many gave no numbers."""
    counts: dict[str, list[int]] = {}
    for row in _rows("wa_dense_single_layer.csv"):
        size = int(row["d_in"]) * int(row["d_out"])
        at_once = "fewer" if size // int(row["rf"]) < reuse.UNROLL_LIMIT else f"{reuse.UNROLL_LIMIT} or more"
        if row["strategy"] == "latency":
            at_once = "fewer" if size < reuse.UNROLL_LIMIT else f"{reuse.UNROLL_LIMIT} or more"
        found = counts.setdefault(f"{row['strategy']}, {at_once} products at once", [0, 0])
        found[row["hls_synth_success"] != "True"] += 1
    return {key: (done, failed) for key, (done, failed) in sorted(counts.items())}


def _stream(kind: str, window: int) -> Iterator[Sample]:
    """Yield N-TORC's dense or convolutional layers; reuse factor 1 hangs on weights that are not published."""
    for row in _rows(f"ntorc_{kind}_distinct.csv"):
        n_in, n_out, steps, factor = (int(row[key]) for key in ("n_in", "n_out", "seq_len", "rf"))
        if not row["lut_mean"] or factor == 1:
            continue
        kernel = _blank(window * n_in, n_out, 16, reuse.taken(window * n_in, n_out, factor))
        figures = (float(row[f"{cell}_mean"]) for cell in ("lut", "ff", "dsp48e", "bram_18k"))
        facts = {} if window == 1 else {"function": "Conv", "steps": steps + window - 1, "positions": steps}
        operation = _matrix(window * n_in, n_out, kernel, streams=True, **facts)
        cycles = float(row["latency_max_mean"]) if row["latency_max_mean"] and (window == 1 or n_in == 1) else None
        yield Sample(f"N-TORC {kind}", operation, Resources(**dict(zip(CELLS, figures, strict=True))), cycles)


def _recurrent() -> Iterator[Sample]:
    for row in _rows("ntorc_lstm_distinct.csv"):
        n_in, n_out, steps, factor = (int(row[key]) for key in ("n_in", "n_out", "seq_len", "rf"))
        if not row["lut_mean"]:
            continue
        each = [reuse.taken(size, 4 * n_out, factor) for size in (n_in, n_out)]
        cells = tuple(_blank(size, 4 * n_out, 16, f) for size, f in zip((n_in, n_out), each, strict=True))
        common = {"reuse_factor": max(each), "steps": steps, "streams": True, "operands": 4, "function": "lstm"}
        operation = Operation(
            name="lstm",
            kind="recurrent",
            n_in=n_in,
            n_out=n_out,
            in_width=16,
            out_width=16,
            accumulator_width=16,
            strategy="resource",
            kernels=cells,
            **common,  # type: ignore[arg-type]
        )
        figures = (float(row[f"{cell}_mean"]) for cell in ("lut", "ff", "dsp48e", "bram_18k"))
        cycles = float(row["latency_max_mean"]) if row["latency_max_mean"] else None
        yield Sample("N-TORC lstm", operation, Resources(**dict(zip(CELLS, figures, strict=True))), cycles)


def published() -> Iterator[Published]:
    """Yield the jet taggers that were published with their weights."""
    mlp = REPORTS / "jet-mlp-2022.2/hls4ml_prj"
    network = _typed(frontends.read(str(mlp / "keras_model.keras")), FixedPoint(16, 6))
    names = dict(zip((2, 4, 5, 7, 8, 10, 11, 13), [layer.name for layer in network][1:], strict=True))
    measured = reports.read(mlp / "myproject_prj/solution1/syn/report/csynth.rpt")
    yield Published("jet MLP", network, measured, {f"config{n}": name for n, name in names.items()}, VITIS)
    for bits in (4, 6, 8):
        folder = REPORTS / f"l1-jet-id-deepsets-{bits}bit/kfold_0/synthesis_final"
        network = _typed(frontends.read(str(folder / "keras_model.h5")), FixedPoint(12, 4, True, "RND", "SAT"))
        network = network.replacing({name: network[name].rebuilt(reuse_factor=2) for name in ("phi1", "phi2", "phi3")})
        numbers = (19, 4, 20, 7, 21, 10, 11, 12, 13, 15, 16, 18)
        names = dict(zip(numbers, [layer.name for layer in network][1:], strict=True))
        measured = reports.read(folder / "myproject_prj/solution1/solution1_data.json")
        layers = {f"config{n}": name for n, name in names.items()}
        yield Published(f"DeepSets {bits} bit", network, measured, layers, VIVADO, dataflow=True)


def _typed(network: Network, kind: FixedPoint) -> Network:
    """Return a network with the input type of its project, and hls4ml's default for every sum, as its project has."""
    features = network.input
    sums = {
        la.name: la.rebuilt(result=kernels.HLS4ML_DEFAULT)
        for la in [kernel.layer for kernel in network.kernels]
        if la.result is None
    }
    return network.replacing({features.name: Input(features.name, features.features_shape, kind), **sums})


def _modules(design: Published) -> Iterator[Sample]:
    operations = {operation.name: operation for operation in design.operations}
    for module in design.measured.layers:
        # Vivado leaves the name of the widest module out: the dense layer after the pooling.
        key = module.layer or ("config13" if module.module.startswith("dense_latency") else "")
        if key in design.layers:
            operation = operations[design.layers[key]]
            # A wrapper that is not a pipeline of its own reports its latency as its interval.
            interval = None if module.module.startswith("pointwise_conv") else module.interval_cycles
            figures = module.resources, module.latency_cycles, interval
            yield Sample(design.source, operation, *figures, design.clock)


def _others() -> Iterator[Sample]:
    """Yield modules whose sizes are published but not their weights: an MNIST network in streams, one sigmoid."""
    folder = REPORTS / "mnist-cnn-stream-2020.1/my-hls-test/myproject_prj/solution1/syn/report"
    matrices = {
        "conv_2d_cl_array_ap_fixed_1u": (9, 32, 16, 25, 784),
        "conv_2d_cl_array_array": (288, 32, 4, 18, 169),
        "dense_array_ap_ufixed_32u_array_ap_fixed_19": (800, 32, 4, 19, 1),
        "dense_array_ap_ufixed_32u_array_ap_fixed_14": (32, 10, 4, 14, 1),
    }
    for start, (n_in, n_out, in_width, bits, steps) in matrices.items():
        measured = reports.read(next(folder.glob(f"{start}*.xml")))
        kernel = _blank(n_in, n_out, 4, reuse.taken(n_in, n_out, 64))
        facts = {"in_width": in_width, "accumulator_width": bits, "out_width": bits, "streams": True, "steps": steps}
        if steps > 1:
            facts |= {"function": "Conv", "positions": steps}
        operation = Operation(
            name="fc",
            kind="matrix",
            n_in=n_in,
            n_out=n_out,
            strategy="resource",
            reuse_factor=kernel.reuse_factor,
            kernels=(kernel,),
            **facts,  # type: ignore[arg-type]
        )
        yield Sample("MNIST stream", operation, measured.resources, measured.latency_cycles, None)
    yield from _streamed_elements(folder)
    old = REPORTS / "jet1layer-2016.4-reuse1"
    table = reports.read(next(old.rglob("sigmoid_csynth.xml")))
    sigmoid = Operation(
        name="sigmoid",
        kind="table",
        n_in=1,
        n_out=1,
        in_width=18,
        out_width=18,
        accumulator_width=18,
        function="sigmoid",
    )
    yield Sample("jet, one layer", sigmoid, table.resources, table.latency_cycles, table.interval_cycles)
    positive = reports.read(next(old.rglob("relu_csynth.xml")))
    relu = Operation(name="relu", kind="relu", n_in=32, n_out=32, in_width=18, out_width=18, accumulator_width=18)
    yield Sample("jet, one layer", relu, positive.resources, positive.latency_cycles, positive.interval_cycles)


def _streamed_elements(folder: Path) -> Iterator[Sample]:
    """Yield the activations (one of no positions is not a stream of its own) and poolings of the MNIST network."""
    for config, (bits, side) in {"relu_config3": (25, 26), "relu_config6": (18, 11)}.items():
        measured = reports.read(next(folder.glob(f"relu_*_{config}_s_csynth.xml")))
        facts = {"positions": side**2, "streams": True, "casts": True}
        relu = Operation(
            name="relu",
            kind="relu",
            n_in=32 * side**2,
            n_out=32 * side**2,
            in_width=bits,
            out_width=4,
            accumulator_width=bits,
            **facts,
        )  # type: ignore[arg-type]
        yield Sample("MNIST stream", relu, measured.resources, measured.latency_cycles, measured.interval_cycles)
    for config, side in {"config4": 26, "config7": 11}.items():
        measured = reports.read(next(folder.glob(f"pooling2d_*_{config}_s_csynth.xml")))
        pool = Operation(
            name="pool",
            kind="pool",
            n_in=32 * side**2,
            n_out=32 * (side // 2) ** 2,
            in_width=4,
            out_width=4,
            accumulator_width=4,
            positions=side**2,
            streams=True,
        )
        yield Sample("MNIST stream", pool, measured.resources, measured.latency_cycles, measured.interval_cycles)
