"""What a cost model sees of one layer: counts and widths, everything its price depends on."""

import math
from dataclasses import dataclass

from hepprune.hardware.cost.kernels import KernelCounts, Products

IO_TYPES = ("io_parallel", "io_stream")
MULTIPLIERS = ("auto", "dsp", "lut")  # what builds a product: as HLS chooses, or as its `config_op mul -impl` says


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What one layer asks of the hardware, in values and bits per jet.

    A matrix (dense, convolution, the kernels of a cell) is applied at `positions` places, `copies` of them at once.
    Other kinds treat `n_in` values and put out `n_out`. `casts` says that the result is rounded or saturated,
    `assumed` that a type is missing and hls4ml's default is taken, `dataflow` that the layers of the design run side by
    side with a FIFO after each (io_stream, a convolution in turns, strategy resource) and not as one pipeline.
    `multipliers` is one of `MULTIPLIERS`.
    """

    name: str
    kind: str
    n_in: int
    n_out: int
    in_width: int
    out_width: int
    accumulator_width: int
    strategy: str = "latency"
    reuse_factor: int = 1
    asked_reuse_factor: int = 1
    positions: int = 1
    steps: int = 1
    copies: int = 1
    streams: bool = False
    dataflow: bool = False
    kernels: tuple[KernelCounts, ...] = ()
    operands: int = 1
    casts: bool = False
    function: str = ""
    assumed: bool = False
    multipliers: str = "auto"
    sources: tuple[str, ...] = ()

    @property
    def kernel(self) -> KernelCounts:
        """The only kernel of a matrix."""
        return self.kernels[0]

    @property
    def products_multiplied(self) -> Products:
        """The products of an unrolled matrix that take a multiplier, a DSP unless `multipliers` is "lut"."""
        return self.kernel.in_dsp(self.in_width) if self.multipliers == "auto" else sum(self.kernel.hard, Products())

    @property
    def products_added(self) -> Products:
        """The products of an unrolled matrix that are additions of shifted inputs."""
        return self.kernel.in_lut(self.in_width) if self.multipliers == "auto" else self.kernel.easy

    @property
    def n_multipliers(self) -> int:
        """How many multipliers products under `latency` share; zeros hardly lower that at factors above 1."""
        factor = self.asked_reuse_factor
        limit = math.ceil(self.n_in * self.n_out / factor) - self.kernel.n_zeros // factor
        return min(self.products_multiplied.distinct, max(1, limit))

    @property
    def calls(self) -> int:
        """How often the hardware of a matrix runs for one jet."""
        return math.ceil(self.positions / self.copies)
