"""Criteria of first order: what the gradient of the loss says about a cut, and its square as a curvature."""

from torch import Tensor

from hepprune.network import Kernel
from hepprune.pruning import compensation, statistics
from hepprune.pruning.importance.magnitude import weight_change
from hepprune.pruning.importance.registry import NEURONS, WEIGHTS, criterion
from hepprune.pruning.statistics import LayerStatistics, curvature, gradients
from hepprune.pruning.statistics.curvature import Curvature
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


@criterion(granularities=(*NEURONS, *WEIGHTS), gathers=curvature.hessian)
def obd(kernel: Kernel, granularity: str, gathered: Curvature) -> Tensor:
    """Return 1/2 H_qq dw_q^2 in nats, per unit, with the true diagonal of the Hessian, which may be negative.

    Optimal Brain Damage (LeCun, Denker and Solla 1990). A neuron's change is its activation less its mean.
    """
    return _saliency(kernel, granularity, gathered)


@criterion(granularities=(*NEURONS, *WEIGHTS), gathers=curvature.gauss_newton)
def obd_gauss_newton(kernel: Kernel, granularity: str, gathered: Curvature) -> Tensor:
    """Return 1/2 G_qq dw_q^2 in nats, per unit, with the diagonal of the Gauss-Newton matrix, never negative.

    LeCun, Denker and Solla 1990 themselves use this approximation, and name it Levenberg-Marquardt.
    """
    return _saliency(kernel, granularity, gathered)


def _saliency(kernel: Kernel, granularity: str, gathered: Curvature) -> Tensor:
    if granularity == "neuron":
        return gathered.neuron / 2
    return gathered.weight * weight_change(kernel, granularity) ** 2 / 2


@criterion(granularities=("weight",), gathers=compensation.rises)
def obs(_kernel: Kernel, _granularity: str, gathered: Tensor) -> Tensor:
    """Return w_q^2 / (2 [H^-1]_qq) per weight, H the second moments of the layer's inputs, others compensating.

    Optimal Brain Surgeon (Hassibi and Stork 1993) for the squared error of each layer (Frantar et al.,
    arXiv:2208.11580), or of the totals of a recurrent layer's gates with its inputs and states as recorded; see
    `compensation.scores` for the order of removal, `compensation.compensate` for the update.
    """
    return gathered
