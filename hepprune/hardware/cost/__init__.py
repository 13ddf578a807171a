"""What a network costs on an FPGA, predicted in milliseconds: one model per hls4ml strategy."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from hepprune.errors import RecipeError, unknown
from hepprune.hardware.calibration import Calibration
from hepprune.hardware.cost import distributed_arithmetic, hls, matrices, measured, operations
from hepprune.hardware.resources import Estimate, Resources
from hepprune.hardware.targets import Target
from hepprune.network import Network

CostModel = Callable[[Network, Target], Estimate]

_MULTIPLYING = ("latency", "resource", "resource_unrolled")
COST_MODELS: dict[str, CostModel] = {
    "distributed_arithmetic": distributed_arithmetic.estimate,
    **{strategy: partial(hls.estimate, strategy=strategy) for strategy in _MULTIPLYING},
    **{device: partial(measured.estimate, device=device) for device in measured.DEVICES},
}

# What a later stage reports over what the model's own stage does, before anything has been measured. LUT only:
# yosys 0.97: three pruned jet taggers of 3,800 to 4,840 LUT lay between 0.96 and 1.02 of da4ml's solved cost, inverters
# counted as the LUTs they occupy (PyPI Yosys 0.70, synth_xilinx).
# vsynth and route 1.0: da4ml's cost against 20 published post-route VU13P designs, mean error 5 %.
# the others: a csynth LUT count is 2.1 times that of logic synthesis, the median of 28 public pairs (0.6 to 10.9).
PRIOR_RATIOS: dict[str, dict[str, float]] = {
    "distributed_arithmetic": {"da4ml": 1.0, "yosys": 0.97, "vsynth": 1.0, "route": 1.0},
    **{strategy: {"csynth": 1.0, "vsynth": 1 / 2.1, "route": 1 / 2.1} for strategy in _MULTIPLYING},
}
PRIOR_SPREAD = 0.6  # relative, of one design around those ratios but for distributed_arithmetic's


def register(strategy: str) -> Callable[[CostModel], CostModel]:
    """Return a decorator that adds the cost model of one strategy."""

    def add(model: CostModel) -> CostModel:
        COST_MODELS[strategy] = model
        return model

    return add


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

    `reuse_factor` None takes each layer's own. Under `distributed_arithmetic` a network of typed dense layers is
    priced as the one adder graph that da4ml makes of it, any other layer by layer, as hls4ml builds it.

    Raises:
        RecipeError: the strategy has no cost model, or none for that stage, io_type or reuse factor.
        NetworkError: a layer has no fixed-point form, or no price.
    """
    if strategy not in COST_MODELS:
        raise RecipeError(unknown("strategy", strategy, COST_MODELS))
    if strategy == "distributed_arithmetic" and reuse_factor not in {None, 1}:
        raise RecipeError(
            f"strategy '{strategy}' has no multipliers to share, so no reuse factor but 1; "
            f"for others choose one of: {', '.join(_MULTIPLYING)}"
        )
    whole_graph = strategy == "distributed_arithmetic" and io_type == "io_parallel" and matrices.covers(network)
    if strategy in operations.STRATEGIES and not whole_graph:
        own = hls.estimate(network, target, strategy=strategy, io_type=io_type, reuse_factor=reuse_factor)
    else:
        own = COST_MODELS[strategy](network, target)
    predicted = own if stage in (None, own.stage) else _at_stage(own, str(stage))
    return calibration.apply(predicted) if calibration else predicted


def _at_stage(own: Estimate, stage: str) -> Estimate:
    ratios = PRIOR_RATIOS.get(own.strategy, {})
    if stage not in ratios:
        raise RecipeError(unknown(f"stage for strategy '{own.strategy}'", stage, ratios or {own.stage}))
    factors = {"lut": ratios[stage]}
    layers = tuple(
        replace(
            la,
            resources=la.resources.scaled(factors),
            uncertainty=_widened(la.uncertainty.scaled(factors), la.resources.scaled(factors)),
        )
        for la in own.layers
    )
    resources = own.resources.scaled(factors)
    doubt = _widened(own.uncertainty.scaled(factors), resources)
    return replace(own, stage=stage, resources=resources, layers=layers, uncertainty=doubt)


def _widened(uncertainty: Resources, resources: Resources) -> Resources:
    """Return the uncertainty with the spread of LUT between stages; what is unknown stays so."""
    if uncertainty.lut is None or resources.lut is None:
        return uncertainty
    return replace(uncertainty, lut=math.hypot(uncertainty.lut, PRIOR_SPREAD * resources.lut))
