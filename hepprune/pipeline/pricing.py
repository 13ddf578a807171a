"""What a network costs by the route of a strategy: an exact adder graph, or what hls4ml is estimated to make."""

from dataclasses import asdict, replace
from functools import partial
from typing import Any

from hepprune.firmware.routes import Built
from hepprune.hardware import cost
from hepprune.hardware.calibration import Calibration
from hepprune.hardware.resources import Estimate
from hepprune.network import Network
from hepprune.pipeline import firmware, tools
from hepprune.pipeline.context import Context
from hepprune.recipe import Recipe
from hepprune.search.stages import Price, without_dead

DSP_IN_LUT = 55  # what a DSP counts where one number stands for both, as in EBOPs (Sun et al., arXiv:2405.00645)


def price_at(context: Context, stage: str, known: Calibration | None = None) -> Price:
    """Return the price of a network on the recipe's target at a stage, calibrated where something was measured."""
    recipe = context.recipe
    price = partial(cost.estimate, target=context.target, strategy=recipe.strategy, stage=stage, calibration=known)
    return price if tools.is_rtl(recipe) else partial(without_dead, price=price)


def own(context: Context, known: Calibration | None = None) -> Price:
    """Return the price at the stage that stands for the route itself: da4ml's, or what a tool would measure.

    What a tool measured, `known`, corrects only the second: adder graphs are solved exactly.
    """
    return price_at(context, own_stage(context.recipe), None if tools.is_rtl(context.recipe) else known)


def naming(context: Context, known: Calibration | None) -> list[Any]:
    """Return what the own price depends on beside target and strategy, for the keys of what is made by it."""
    return [] if known is None or tools.is_rtl(context.recipe) else [asdict(known)]


def own_stage(recipe: Recipe) -> str:
    """Return the stage of the own price."""
    return "da4ml" if tools.is_rtl(recipe) else tools.chosen(recipe).stage


def in_lut(context: Context, known: Calibration | None = None) -> Price:
    """Return the own price with DSP counted as LUT, so that it is one number."""
    price = own(context, known)
    return price if tools.is_rtl(context.recipe) else partial(_counted, price=price)


def _counted(network: Network, *, price: Price) -> Estimate:
    found = price(network)
    return replace(found, resources=replace(found.resources, lut=_together(found)))


def _together(found: Estimate) -> float:
    return (found.resources.lut or 0.0) + DSP_IN_LUT * (found.resources.dsp or 0.0)


def whole(context: Context, network: Network) -> Built:
    """Return a network with the exact cost of its adder graph, where its route solves one; nothing is written of it."""
    return firmware.solved(context, network) if tools.is_rtl(context.recipe) else Built(network=network)


def lut(context: Context, built: Built, known: Calibration | None = None) -> float:
    """Return the LUT of a network: of its solved adder graph, or by its own price."""
    return built.solution.lut if built.solution else own(context, known)(built.network).resources.lut or 0.0


def spent(context: Context, built: Built, known: Calibration | None = None) -> float:
    """Return the cost at which networks are compared, in LUT: of the solved adder graph, or with DSP among them."""
    return built.solution.lut if built.solution else _together(own(context, known)(built.network))
