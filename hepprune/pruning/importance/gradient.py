"""Criteria of first order: what the gradient of the loss says about a cut, and its square as a curvature."""

from torch import Tensor

from hepprune.network import Kernel
from hepprune.pruning import statistics
from hepprune.pruning.importance.magnitude import weight_change
from hepprune.pruning.importance.registry import NEURONS, WEIGHTS, criterion
from hepprune.pruning.statistics import LayerStatistics, gradients
from hepprune.pruning.statistics.gradients import Gradients


@criterion(granularities=(*NEURONS, *WEIGHTS), gathers=gradients.gather)
def taylor(kernel: Kernel, granularity: str, gathered: Gradients) -> Tensor:
    """Return |mean over jets of dL/dw dw|, per unit: the first-order change of the loss when the unit goes.

    A neuron's change is its activation less its mean, because the mean stays behind as a constant. Gradients of
    opposite sign cancel, so at a minimum the score fades away (Molchanov et al., arXiv:1611.06440).
    """
    if granularity == "neuron":
        return gathered.neuron_signed.abs()
    return (gathered.weight_signed * weight_change(kernel, granularity)).abs()


@criterion(granularities=(*NEURONS, *WEIGHTS), gathers=gradients.gather)
def taylor_per_sample(kernel: Kernel, granularity: str, gathered: Gradients) -> Tensor:
    """Return the mean over jets of |dL/dw dw|, per unit: gradients of single jets do not cancel (arXiv:1906.10771)."""
    if granularity == "neuron":
        return gathered.neuron_absolute
    return gathered.weight_absolute * weight_change(kernel, granularity).abs()


@criterion(granularities=(*NEURONS, *WEIGHTS), gathers=statistics.gather)
def fisher(kernel: Kernel, granularity: str, gathered: LayerStatistics) -> Tensor:
    """Return the predicted increase of the loss in nats, per unit: half the curvature times the squared change.

    The curvature is the empirical Fisher diagonal (Optimal Brain Damage, LeCun, Denker and Solla 1990, with the Fisher
    in place of the Hessian; Theis et al., arXiv:1801.05787). A neuron's change is its activation less its mean,
    because the mean stays behind as a constant.
    """
    if granularity == "neuron":
        return gathered.neuron_fisher / 2
    return gathered.weight_fisher * weight_change(kernel, granularity) ** 2 / 2
