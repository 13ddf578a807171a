"""Scores of what is made by several layers: coupled units, heads, recurrent states and whole blocks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hepprune.errors import NetworkError
from hepprune.network import Dense, Kernel, Layer, Network, Recurrent
from hepprune.pruning.importance.registry import Criterion
from hepprune.pruning.statistics import recorded, unit_gradients
from hepprune.pruning.statistics.unit_gradients import UnitGradients
from hepprune.pruning.structure import blocks
from hepprune.pruning.structure.coupling import Group
from hepprune.task.sample import Sample


def _gathered(say: Callable[[UnitGradients], Tensor]) -> Callable[..., list[Tensor]]:
    return lambda *arguments: [say(gate) for gate in unit_gradients.gather(*arguments)]


# What the unit gradients of heads and states say by the names of the criteria that say it of neurons.
_BY_UNIT_GRADIENTS: dict[str, Callable[..., list[Tensor]]] = {
    "taylor": _gathered(lambda gate: gate.signed.abs()),
    "taylor_per_sample": _gathered(lambda gate: gate.absolute),
    "fisher": _gathered(lambda gate: gate.squared / 2),
    "obd": lambda *arguments: [curvature / 2 for curvature in unit_gradients.hessian(*arguments)],
    "obd_gauss_newton": lambda *arguments: [curvature / 2 for curvature in unit_gradients.gauss_newton(*arguments)],
    "mean_activation": _gathered(lambda gate: gate.size),
    "nonzero_activation": _gathered(lambda gate: gate.nonzero),
    "dead": unit_gradients.spreads,
}


def group_scores(
    network: Network, groups: Sequence[Group], criterion: Criterion, *, data: Sample | None = None, seed: int = 0
) -> list[Tensor]:
    """Return a score for each unit of each group.

    A unit scores what the neurons that make it score together: their sum, or the root of their summed squares for a
    norm. Where the criterion needs jets, heads and states are scored by their unit gradients.

    Raises:
        NetworkError: the criterion needs jets and there are none, or has no meaning for such units.
        DataError: a gradient is not finite.
    """
    criterion.check(data)
    if "neuron" not in criterion.granularities:
        raise NetworkError(f"criterion '{criterion.name}' scores no neurons: " + ", ".join(criterion.granularities))
    if criterion.gathers is not None:
        _check_read(network, groups, criterion.name)
    cells = {layer.name for layer in network if isinstance(layer, Recurrent)}
    by_gates = [group for group in groups if group.heads or any(each.layer in cells for each in group.of("made"))]
    gated = by_gates if criterion.gathers is not None else []
    if gated and criterion.name not in _BY_UNIT_GRADIENTS:
        others = f"heads and recurrent states are scored by {', '.join(_BY_UNIT_GRADIENTS)} or by their weights"
        raise NetworkError(f"the criterion '{criterion.name}' does not score '{gated[0].name}'; {others}")
    scored = _BY_UNIT_GRADIENTS[criterion.name](network, gated, data) if gated and data else []
    found = dict(zip(gated, scored, strict=bool(data)))
    gathered = criterion.gather(network, data) if len(gated) < len(groups) else {}
    left = [group for group in groups if group not in found]
    found |= {group: _by_makers(network, group, criterion, gathered, seed=seed) for group in left}
    return [found[group] for group in groups]


def _check_read(network: Network, groups: Sequence[Group], criterion: str) -> None:
    """Refuse groups that nothing on the way to the logits reads: jets say nothing of them."""
    known = {layer.name for layer in recorded.contributing(network)}
    for group in groups:
        if not any(member.layer in known for member in group.of("read")):
            fix = "take it out of the model first, or choose a criterion that needs no jets"
            raise NetworkError(f"nothing on the way to the logits reads '{group.name}', so '{criterion}' cannot; {fix}")


def _by_makers(network: Network, group: Group, criterion: Criterion, gathered: Mapping[str, Any], seed: int) -> Tensor:
    total = torch.zeros(len(group), dtype=torch.float64)
    for member in group.of("made"):
        kernel = _as_neurons(network[member.layer])
        scores = criterion(kernel, "neuron", gathered.get(member.layer), seed=seed).double()
        found = scores[torch.tensor(member.indices)]
        total += (found.square() if criterion.norm else found).sum(dim=1)
    return total.sqrt() if criterion.norm else total


def _as_neurons(layer: Layer) -> Kernel:
    """Return the kernel of a layer; of a recurrent one, one whose rows have all weights of a state, gate by gate."""
    if not isinstance(layer, Recurrent):
        (kernel,) = layer.kernels
        return kernel
    rows = torch.cat([layer.used("weight"), layer.used("recurrent_weight")], dim=1)
    weight = rows.reshape(-1, layer.n_out, rows.shape[1]).movedim(1, 0).flatten(1)
    return Dense(layer.name, weight, torch.zeros(layer.n_out)).kernels[0]


def block_scores(network: Network, criterion: Criterion, *, data: Sample | None, seed: int) -> dict[str, float]:
    """Return a score for each block by its end: what the criterion says of it, or of all its neurons together."""
    gathered = criterion.gather(network, data)
    found = {}
    for block in blocks.blocks(network):
        if "layer" in criterion.granularities:
            kernel = next(kernel for name in block.layers for kernel in network.runs(network[name]).kernels)
            found[block.end] = float(criterion(kernel, "layer", gathered[block.end]).sum())
            continue
        layers = [la for la in map(network.__getitem__, block.layers) if la.kernels]
        if not layers:
            alone = f"so '{criterion.name}' cannot score it alone; choose loss_change"
            raise NetworkError(f"the block that ends in '{block.end}' only shares layers with others, {alone}")
        cells = [la.name for la in layers if isinstance(la, Recurrent)]
        if cells and criterion.gathers is not None:
            cell = f"the recurrent layer '{cells[0]}' as part of a block; choose loss_change, or one that needs no jets"
            raise NetworkError(f"the criterion '{criterion.name}' does not score {cell}")
        parts = [criterion(_as_neurons(la), "neuron", gathered.get(la.name), seed=seed).double() for la in layers]
        total = torch.cat([part.square() if criterion.norm else part for part in parts]).sum()
        found[block.end] = float(total.sqrt() if criterion.norm else total)
    return found
