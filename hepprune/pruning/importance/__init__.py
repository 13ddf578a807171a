"""Criteria: how much each unit of a layer matters, so that the least important goes first.

A criterion is a function of a layer, a granularity and the layer's statistics; a new one is one decorated function.
"""

import logging
from collections.abc import Mapping

from torch import Tensor

from hepprune.network import Network
from hepprune.pruning.importance.activation import dead, loss_change, mean_activation, nonzero_activation, wanda
from hepprune.pruning.importance.gradient import fisher, obd, obd_gauss_newton, obs, taylor, taylor_per_sample
from hepprune.pruning.importance.magnitude import geometric_median, magnitude, magnitude_l1, random, weight_change
from hepprune.pruning.importance.registry import CRITERIA, Criterion, criterion, find
from hepprune.pruning.statistics import recorded
from hepprune.task.sample import Sample

__all__ = ["CRITERIA", "Criterion", "criterion", "dead", "find", "fisher", "geometric_median", "loss_change"]
__all__ += ["magnitude", "magnitude_l1", "mean_activation", "nonzero_activation", "obd", "obd_gauss_newton", "obs"]
__all__ += ["random", "scores", "taylor", "taylor_per_sample", "wanda", "weight_change"]

logger = logging.getLogger(__name__)


def scores(
    network: Network, method: Criterion, granularity: str, *, data: Sample | None = None, seed: int = 0
) -> Mapping[str, Tensor]:
    """Return the criterion's scores of every layer with weights by name, on the jets of a sample.

    Of single weights, the kernels of recurrent layers are scored too, by their names in `Network.kernels`: unless a
    criterion of your own gathers nothing of them, which is logged.

    Raises:
        NetworkError: the criterion needs jets and there are none, or has no meaning at that granularity.
        DataError: a gradient is not finite.
    """
    gathered = method.gather(network, data)
    found: dict[str, Tensor] = {}
    for kernel in (kernel for layer in recorded.contributing(network) for kernel in layer.kernels):
        if kernel.name != kernel.layer.name:  # one of several, whose rows are not neurons
            if granularity != "weight":
                continue
            if method.gathers is not None and kernel.name not in gathered:
                logger.warning("'%s' gathers nothing of '%s', which keeps all its weights", method.name, kernel.name)
                continue
        found[kernel.name] = method(kernel, granularity, gathered.get(kernel.name), seed=seed)
    return found
