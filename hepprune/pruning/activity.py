"""What neurons hand on, over jets: the statistics that need no gradient."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hepprune.errors import DataError
from hepprune.network import Network, Weighted
from hepprune.pruning import statistics, taps
from hepprune.pruning.taps import Taps


@dataclass(frozen=True)
class Activity:
    """For one layer, over jets and places: range, mean size and fraction of zeros of what neurons hand on.

    Each is (n_out,). `arriving` is the root mean square of what each weight multiplies, shaped like the weights.
    """

    low: Tensor
    high: Tensor
    mean_size: Tensor
    zeros: Tensor
    arriving: Tensor


@torch.no_grad()
def gather(network: Network, x: Tensor, y: Tensor, *, batch_size: int = 8192) -> dict[str, Activity]:
    """Return the activity of every layer with weights, over jets x (n_jets, *shape); classes y are not needed.

    Raises:
        DataError: there are no jets, or a value is not finite.
    """
    found: dict[str, list[Activity]] = {}
    for jets, _ in taps.batches(x, y, batch_size):
        seen = taps.run(network, jets)
        for layer in statistics.scored(network):
            found.setdefault(layer.name, []).append(_of_batch(seen, layer, len(jets) / len(x)))
    return {name: _joined(parts) for name, parts in found.items()}


def _of_batch(seen: Taps, layer: Weighted, share: float) -> Activity:
    handed, arriving = taps.rows(seen.handed(layer)).flatten(0, 2), seen.arriving(layer)
    if not torch.isfinite(handed).all():
        raise DataError(f"what layer '{layer.name}' hands on is not finite; the network or its features hold NaN")
    squares = arriving.square().mean(dim=(0, 1))[:, None].expand(-1, layer.n_out // len(arriving[0, 0]), -1)
    zeros = (handed == 0).to(handed.dtype).mean(dim=0)
    return Activity(
        handed.amin(dim=0),
        handed.amax(dim=0),
        handed.abs().mean(dim=0) * share,
        zeros * share,
        squares.reshape(layer.weight.shape) * share,
    )


def _joined(parts: list[Activity]) -> Activity:
    return Activity(
        torch.stack([part.low for part in parts]).amin(dim=0),
        torch.stack([part.high for part in parts]).amax(dim=0),
        torch.stack([part.mean_size for part in parts]).sum(dim=0),
        torch.stack([part.zeros for part in parts]).sum(dim=0),
        torch.stack([part.arriving for part in parts]).sum(dim=0).sqrt(),
    )
