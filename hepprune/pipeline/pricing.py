"""What a network costs by the route of a strategy: an exact adder graph, or what hls4ml is estimated to make."""

from dataclasses import replace
from functools import partial

from hepprune.firmware.routes import Built
from hepprune.hardware import cost
from hepprune.hardware.calibration import Calibration
from hepprune.hardware.resources import Estimate
from hepprune.network import Network
from hepprune.pipeline import firmware, tools
from hepprune.pipeline.context import Context
from hepprune.pruning import surgery
from hepprune.recipe import Recipe
from hepprune.search import knobs
from hepprune.search.moves import Price

DSP_IN_LUT = 55  # what a DSP counts where one number stands for both, as in EBOPs (Sun et al., arXiv:2405.00645)


def price_at(context: Context, stage: str, known: Calibration | None = None) -> Price:
    """Return the price of a network on the recipe's target at a stage, calibrated where something was measured."""
    recipe = context.recipe
    price = partial(cost.estimate, target=context.target, strategy=recipe.strategy, stage=stage, calibration=known)
    return price if tools.is_rtl(recipe) else partial(_without_dead, price=price)


def _without_dead(network: Network, *, price: Price) -> Estimate:
    """Return the price of what is left of a masked network; unlike in an adder graph, what is dead is not free."""
    return price(knobs.settled(surgery.shrink(network, warn=False) if _has_dead(network) else network))


def _has_dead(network: Network) -> bool:
    """Return whether a neuron is left without weights, or is read by none: surgery takes long to find nothing."""
    acts = [kernel.digit_limit.flatten(1) > 0 for kernel in network.kernels]
    rows, columns = (each.any(dim=1) for each in acts), (each.any(dim=0) for each in acts[1:])  # features stay unread
    return not all(bool(alive.all()) for alive in (*rows, *columns))


def own(context: Context) -> Price:
    """Return the price at the stage that stands for the route itself: da4ml's, or what a tool would measure."""
    return price_at(context, own_stage(context.recipe))


def own_stage(recipe: Recipe) -> str:
    """Return the stage of the own price."""
    return "da4ml" if tools.is_rtl(recipe) else tools.chosen(recipe).stage


def in_lut(context: Context) -> Price:
    """Return the own price with DSP counted as LUT, so that it is one number."""
    price = own(context)
    return price if tools.is_rtl(context.recipe) else partial(_counted, price=price)


def _counted(network: Network, *, price: Price) -> Estimate:
    found = price(network)
    return replace(found, resources=replace(found.resources, lut=_together(found)))


def _together(found: Estimate) -> float:
    return (found.resources.lut or 0.0) + DSP_IN_LUT * (found.resources.dsp or 0.0)


def whole(context: Context, network: Network) -> Built:
    """Return a network with the exact cost of its adder graph, where its route solves one; nothing is written of it."""
    return firmware.solved(context, network) if tools.is_rtl(context.recipe) else Built(network=network)


def lut(context: Context, built: Built) -> float:
    """Return the LUT of a network: of its solved adder graph, or by its own price."""
    return built.solution.lut if built.solution else own(context)(built.network).resources.lut or 0.0


def spent(context: Context, built: Built) -> float:
    """Return the cost at which networks are compared, in LUT: of the solved adder graph, or with DSP among them."""
    return built.solution.lut if built.solution else _together(own(context)(built.network))
