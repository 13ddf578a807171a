"""What layers take on this machine's processor or GPU, measured with torch: warm-up, synchronise, median.

A layer is measured once for each of its shapes; a table of what was measured prices the networks of a search, which
differ in a layer or two. The sum over layers leaves out what runs side by side and what lies between them, so `whole`
measures a network as it runs.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hepprune.errors import RecipeError, ToolMissingError, check_known
from hepprune.hardware.resources import Estimate, LayerEstimate, Resources
from hepprune.hardware.targets import Target
from hepprune.network import Input, Layer, Network, Weighted

DEVICES = ("torch:cpu", "torch:cuda")
_WARM_UP, _SAMPLES, _SECONDS = 20, 101, 0.5  # samples stop at either, but never below a tenth of their number


@dataclass(frozen=True)
class Timing:
    """A median over samples, and its error (1.25 times that of a mean), both in ns."""

    median_ns: float
    error_ns: float


@dataclass(frozen=True)
class Meter:
    """A device that is measured on, jets at a time, and the table of what was measured: timings by kind and shapes."""

    device: str
    batch_size: int = 1
    table: dict[str, Timing] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a device that is unknown or not there.

        Raises:
            RecipeError: the name is none of DEVICES.
            ToolMissingError: this machine has no such device.
        """
        check_known("device", self.device, DEVICES, RecipeError)
        if self.device == "torch:cuda" and not torch.cuda.is_available():
            raise ToolMissingError("'torch:cuda' measures on a GPU and torch finds none; 'torch:cpu' runs everywhere")

    def estimate(self, network: Network) -> Estimate:
        """Return the latency of a network as the sum of its layers', in cycles of 1 ns, from the table."""
        found = {layer.name: self.layer(network, layer) for layer in network if not isinstance(layer, Input)}
        layers = tuple(
            LayerEstimate(layer=name, resources=Resources(), depth=timing.median_ns) for name, timing in found.items()
        )
        total = round(sum(timing.median_ns for timing in found.values()))
        error = float(np.sqrt(sum(timing.error_ns**2 for timing in found.values())))
        return Estimate(
            stage=self.device,
            strategy=self.device,
            resources=Resources(),
            latency_cycles=total,
            interval_cycles=max(total, 1),
            clock_ns=1.0,
            layers=layers,
            latency_error_cycles=error,
        )

    def layer(self, network: Network, layer: Layer) -> Timing:
        """Return the time of one layer, measured where the table does not have it."""
        arriving = [network.shapes[name] for name in network.sources[layer.name]]
        runs = network.runs(layer)
        kind = {name: value for name, value in runs.settings().items() if name != "name" and not name.endswith("type")}
        key = f"{self.batch_size} {type(runs).__name__} {arriving} {network.shapes[layer.name]} {kind}"
        if key not in self.table:
            inputs = [torch.randn(self.batch_size, *shape, device=self._place) for shape in arriving]
            step = _step(runs, self._place)
            self.table[key] = self._timed(lambda: step(*inputs))
        return self.table[key]

    def whole(self, network: Network) -> Timing:
        """Return the time of a network as it runs, its weights ready and nothing quantised."""
        features = torch.randn(self.batch_size, *network.input.features_shape, device=self._place)
        steps = [(la.name, network.sources[la.name], _step(network.runs(la), self._place)) for la in list(network)[1:]]

        def run() -> None:
            values = {network.input.name: features}
            for name, sources, step in steps:
                values[name] = step(*(values[source] for source in sources))

        return self._timed(run)

    @property
    def _place(self) -> str:
        return self.device.partition(":")[2]

    def _synchronise(self) -> None:
        if self._place == "cuda":
            torch.cuda.synchronize()

    @torch.no_grad()
    def _timed(self, run: Callable[[], Any]) -> Timing:
        for _ in range(_WARM_UP):
            run()
        self._synchronise()
        found: list[int] = []
        start = time.perf_counter()
        while len(found) < _SAMPLES and (len(found) < _SAMPLES // 10 or time.perf_counter() - start < _SECONDS):
            before = time.perf_counter_ns()
            run()
            self._synchronise()
            found.append(time.perf_counter_ns() - before)
        median = float(np.median(found))
        spread = 1.4826 * float(np.median(np.abs(np.array(found) - median)))  # of one sample, whatever the outliers
        return Timing(median, 1.25 * spread / len(found) ** 0.5)


def _step(layer: Layer, place: str) -> Callable[..., Tensor]:
    """Return what a layer computes, with its weights ready on the device."""
    if not isinstance(layer, Weighted):
        moved = layer.rebuilt().to(place)
        return lambda *values: moved(*values, quantised=False)
    with torch.no_grad():
        weight, bias = layer.used_weight(quantised=False).to(place), layer.used_bias(quantised=False).to(place)
    return lambda value: layer.linear(value, weight, bias)


def estimate(network: Network, target: Target, *, device: str, batch_size: int = 1) -> Estimate:
    """Return the measured latency of one jet; the target is an FPGA's, and has no say here.

    Raises:
        ToolMissingError: this machine has no such device.
    """
    del target
    return Meter(device, batch_size).estimate(network)
