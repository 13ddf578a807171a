"""What a network costs on an FPGA, predicted in milliseconds: one model per hls4ml strategy."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

from hepprune.errors import NetworkError, RecipeError, check_known, unknown
from hepprune.hardware.calibration import Calibration
from hepprune.hardware.cost import circuits, distributed_arithmetic, hls, matrices, measured
from hepprune.hardware.resources import Estimate, LayerEstimate, Resources
from hepprune.hardware.targets import Target
from hepprune.network import Network, ReLU
from hepprune.network.layers import STRATEGIES

_Predicted = TypeVar("_Predicted", Estimate, LayerEstimate)
CostModel = Callable[[Network, Target], Estimate]

_MULTIPLYING = ("latency", "resource", "resource_unrolled")


def adder_graph(network: Network, target: Target) -> Estimate:
    """Return the price of a network as one adder graph; that of a chain of dense layers knows no other layers.

    Raises:
        NetworkError: a layer has no fixed-point form, or no price as part of an adder graph.
        RecipeError: the target has no known clock.
    """
    if matrices.covers(network):
        return distributed_arithmetic.estimate(network, target)
    return circuits.estimate(network, target)


COST_MODELS: dict[str, CostModel] = {
    "distributed_arithmetic": adder_graph,
    **{strategy: partial(hls.estimate, strategy=strategy) for strategy in _MULTIPLYING},
    **{device: partial(measured.estimate, device=device) for device in measured.DEVICES},
}

# What a later stage reports over what the model's own stage does, before anything has been measured. LUT only:
# yosys 1.01: Yosys counts 0.93 to 1.05 of da4ml's solved cost in 13 searched designs of dense layers, Deep Sets,
# interaction networks and convolutions, their median 1.01 (docs/architectures.md), and 1.04 to 1.15 in networks
# without training (docs/synthesis.md; Yosys 0.70, synth_xilinx); WRAPPED times that where ReLUs wrap, since it puts
# each bit that they let pass into a LUT, and da4ml two: five chains with a type for each value and two random ones, of
# 279 to 5,059 LUT, lay between 1.10 and 1.17 of the cost.
# vsynth and route 1.0: da4ml's cost against 20 published post-route VU13P designs, mean error 5 %.
# the others: a csynth LUT count is 2.1 times that of logic synthesis, the median of 28 public pairs (0.6 to 10.9).
PRIOR_RATIOS: dict[str, dict[str, float]] = {
    "distributed_arithmetic": {"da4ml": 1.0, "yosys": 1.01, "vsynth": 1.0, "route": 1.0},
    **{strategy: {"csynth": 1.0, "vsynth": 1 / 2.1, "route": 1 / 2.1} for strategy in _MULTIPLYING},
}
WRAPPED = 1.13
# One standard deviation of one design around those ratios, relative: LUT of those 28 pairs; registers of three (1.59,
# 1.53 and 0.30 of csynth's); DSP agrees within 2 % in 22 of the 28. Adder graphs: LUT only, of those designs.
PRIOR_SPREAD: dict[str, dict[str, float]] = {
    "distributed_arithmetic": {"lut": 0.05},
    **{strategy: {"lut": 0.6, "ff": 0.6, "dsp": 0.1} for strategy in _MULTIPLYING},
}


def estimate(
    network: Network,
    target: Target,
    *,
    strategy: str = "distributed_arithmetic",
    stage: str | None = None,
    calibration: Calibration | None = None,
    io_type: str = "io_parallel",
    reuse_factor: int | None = None,
) -> Estimate:
    """Return the predicted cost of a quantised network at a stage (None: the model's own), calibrated if asked.

    `reuse_factor` None takes each layer's own. Under `distributed_arithmetic` a network is priced as the one adder
    graph that da4ml makes of it, but layer by layer, as hls4ml builds it, where a layer has no price in such a graph or
    stage "csynth" is asked for.

    Raises:
        RecipeError: the strategy has no cost model, or none for that stage, io_type or reuse factor.
        NetworkError: a layer has no fixed-point form, or no price.
    """
    check_known("strategy", strategy, COST_MODELS, RecipeError)
    if strategy == "distributed_arithmetic" and reuse_factor not in {None, 1}:
        raise RecipeError(
            f"strategy '{strategy}' has no multipliers to share, so no reuse factor but 1; "
            f"for others choose one of: {', '.join(_MULTIPLYING)}"
        )
    if strategy == "distributed_arithmetic" and io_type == "io_parallel":
        own = _of_graph(network, target, stage, reuse_factor)
    elif strategy in STRATEGIES:
        own = hls.estimate(network, target, strategy=strategy, io_type=io_type, reuse_factor=reuse_factor)
    else:
        own = COST_MODELS[strategy](network, target)
    predicted = own if stage in (None, own.stage) else _at_stage(own, str(stage), network)
    return calibration.apply(predicted) if calibration else predicted


def _of_graph(network: Network, target: Target, stage: str | None, reuse_factor: int | None) -> Estimate:
    """Return the price of the adder graph, or as hls4ml builds the layers where there is none or that is asked for."""
    in_hls = partial(hls.estimate, network, target, strategy="distributed_arithmetic", reuse_factor=reuse_factor)
    if stage == hls.STAGE and not matrices.covers(network):
        return in_hls()
    try:
        return COST_MODELS["distributed_arithmetic"](network, target)
    except NetworkError:
        if stage is not None:
            raise
        return in_hls()


def _at_stage(own: Estimate, stage: str, network: Network) -> Estimate:
    ratios = PRIOR_RATIOS.get(own.strategy, {})
    if own.stage not in ratios or stage not in ratios:
        known = ratios if own.stage in ratios else {own.stage}
        raise RecipeError(unknown(f"stage for strategy '{own.strategy}'", stage, known))
    spread = PRIOR_SPREAD[own.strategy]
    more = 0.0
    if (own.stage, stage) == ("da4ml", "yosys") and matrices.covers(network):
        # by the share of the ReLUs' values that drop what lies above their type
        relus = {layer.name: layer.result for layer in network if isinstance(layer, ReLU)}
        wrapping = [name for name, kind in relus.items() if getattr(kind, "overflow", None) == "WRAP"]
        wrapped = sum(network.widths[name] for name in wrapping) / max(sum(network.widths[name] for name in relus), 1)
        more = wrapped * (WRAPPED - 1)
    factors = {"lut": ratios[stage] * (1 + more)}
    layers = tuple(_later(layer, factors, spread) for layer in own.layers)
    return replace(_later(own, factors, spread), stage=stage, layers=layers)


def _later(own: _Predicted, factors: dict[str, float], spread: dict[str, float]) -> _Predicted:
    """Return a prediction at a later stage, its uncertainty wider by the spread between stages."""
    resources = own.resources.scaled(factors)
    doubt = own.uncertainty.scaled(factors)
    known = resources.known()
    wider = {name: math.hypot(one, spread.get(name, 0.0) * known[name]) for name, one in doubt.known().items()}
    return replace(own, resources=resources, uncertainty=Resources(**wider))
