"""What a network costs on an FPGA, predicted in milliseconds: one model per hls4ml strategy."""

from collections.abc import Callable
from dataclasses import replace

from hepprune.errors import RecipeError, unknown
from hepprune.hardware.calibration import Calibration
from hepprune.hardware.cost import distributed_arithmetic, latency
from hepprune.hardware.resources import Estimate, LayerEstimate
from hepprune.hardware.targets import Target
from hepprune.network import Network

CostModel = Callable[[Network, Target], Estimate]

COST_MODELS: dict[str, CostModel] = {
    "distributed_arithmetic": distributed_arithmetic.estimate,
    "latency": latency.estimate,
}

# What a later stage reports over what the model's own stage does, before anything has been measured. LUT only:
# yosys 0.97: three pruned jet taggers of 3,800 to 4,840 LUT lay between 0.96 and 1.02 of da4ml's solved cost, inverters
# counted as the LUTs they occupy (PyPI Yosys 0.70, synth_xilinx).
# vsynth and route 1.0: da4ml's cost against 20 published post-route VU13P designs, mean error 5 %.
# latency: a csynth LUT count is 2.1 times that of logic synthesis, the median of 28 public pairs.
PRIOR_RATIOS: dict[str, dict[str, float]] = {
    "distributed_arithmetic": {"da4ml": 1.0, "yosys": 0.97, "vsynth": 1.0, "route": 1.0},
    "latency": {"csynth": 1.0, "vsynth": 1 / 2.1, "route": 1 / 2.1},
}


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
) -> Estimate:
    """Return the predicted cost of a quantised network at a stage (None: the model's own), calibrated if asked.

    Raises:
        RecipeError: the strategy has no cost model, or the model says nothing about that stage.
        NetworkError: a layer has no fixed-point form.
    """
    if strategy not in COST_MODELS:
        raise RecipeError(unknown("strategy", strategy, COST_MODELS))
    own = COST_MODELS[strategy](network, target)
    predicted = own if stage in (None, own.stage) else _at_stage(own, str(stage))
    return calibration.apply(predicted) if calibration else predicted


def _at_stage(own: Estimate, stage: str) -> Estimate:
    ratios = PRIOR_RATIOS.get(own.strategy, {})
    if stage not in ratios:
        raise RecipeError(unknown(f"stage for strategy '{own.strategy}'", stage, ratios or {own.stage}))
    factors = {"lut": ratios[stage]}
    layers = tuple(LayerEstimate(la.layer, la.resources.scaled(factors), la.depth) for la in own.layers)
    return replace(own, stage=stage, resources=own.resources.scaled(factors), layers=layers)
