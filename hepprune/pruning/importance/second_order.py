"""Criteria of second order: what the curvature of the loss, or of a layer's squared error, says about a cut."""

from torch import Tensor

from hepprune.network import Kernel
from hepprune.pruning import compensation
from hepprune.pruning.importance.magnitude import weight_change
from hepprune.pruning.importance.registry import NEURONS, WEIGHTS, criterion
from hepprune.pruning.statistics import curvature
from hepprune.pruning.statistics.curvature import Curvature


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
def obs(kernel: Kernel, granularity: str, gathered: Tensor) -> Tensor:
    """Return w_q^2 / (2 [H^-1]_qq) per weight, H the second moments of the layer's inputs, others compensating.

    Optimal Brain Surgeon (Hassibi and Stork 1993) for the squared error of each layer (Frantar et al.,
    arXiv:2208.11580), or of the totals of a recurrent layer's gates with its inputs and states as recorded; see
    `compensation.scores` for the order of removal, `compensation.compensate` for the update.
    """
    del kernel, granularity
    return gathered
