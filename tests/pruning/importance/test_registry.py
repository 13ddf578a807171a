import re
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from hepprune.errors import NetworkError
from hepprune.network import Network, Weighted
from hepprune.pruning import importance, structured
from hepprune.pruning.importance import Criterion, combined
from hepprune.task.sample import Sample
from tests.pruning import cells, graphs, smooth
from tests.pruning.statistics.test_unit_gradients import jets

# Every kind of unit, as the guide names it: its granularity, and networks that have it in every kind of layer.
UNITS: dict[str, tuple[str, list[str]]] = {
    "weights, rows, N:M of dense and convolution layers": (
        "weight",
        [
            *("dense", "conv_relu", "convolution", "depthwise", "separable", "grouped", "shared", "attention"),
            *("batch_norm", "residual", "joined", "split"),
        ],
    ),
    "weights, rows, N:M of both kernels of SimpleRNN, LSTM, GRU": ("weight", [*cells.FORMS, "recurrent"]),
    "neurons, filters, channels": (
        "neuron",
        [
            "dense",
            "conv_relu",
            "convolution",
            "depthwise",
            "grouped",
            "shared",
            "residual",
            "joined",
            "split",
            "batch_norm",
        ],
    ),
    "states of SimpleRNN, LSTM, GRU": ("neuron", [*cells.FORMS, "recurrent"]),
    "attention heads": ("head", ["attention"]),
    "blocks of dense and convolution layers": ("layer", ["grouped", "shared", "batch_norm", "layer_norm"]),
    "blocks with a recurrent layer": ("layer", ["states"]),
}
CASES = [(unit, name) for unit, (_, names) in UNITS.items() for name in names]


def network_of(name: str) -> Network:
    """Return the network of that name, in float64."""
    if name in cells.FORMS:
        return cells.network(name)
    if name.startswith("conv_"):
        return smooth.network(name)
    stages = {"separable": ["depthwise", "dense"], "states": ["recurrent", "recurrent"]}.get(name, [name])
    return graphs.build(stages, seed=4, fixed=False, flat=False).double()


def scores(network: Network, method: Criterion, granularity: str) -> Iterable[tuple[int, torch.Tensor]]:
    """Return how many units there are of each kind, and their scores."""
    data = Sample(*jets(network))
    if granularity == "weight":
        found = importance.scores(network, method, granularity, data=data)
        return [(kernel.weight.numel(), found[kernel.name]) for kernel in network.kernels]
    if granularity == "layer":
        return [
            (1, torch.tensor([each])) for each in combined.block_scores(network, method, data=data, seed=0).values()
        ]
    groups = structured.prunable(network, granularity)
    return zip(map(len, groups), combined.group_scores(network, groups, method, data=data), strict=True)


@pytest.mark.parametrize(("unit", "name"), CASES)
def test_the_guide_says_which_criteria_score_which_units(unit: str, name: str) -> None:
    guide = Path(__file__).parents[3].joinpath("docs/pruning.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| {unit} \|(.*)\|$", guide, re.MULTILINE)
    (granularity, _), network = UNITS[unit], network_of(name)
    for method in importance.CRITERIA.values():
        if f"`{method.name}`" not in row:
            with pytest.raises(NetworkError, match=f"'{method.name}'"):
                scores(network, method, granularity)
            continue
        found = list(scores(network, method, granularity))
        assert found
        for n_units, each in found:
            assert each.shape == (n_units,)
            assert torch.isfinite(each).all()
            assert each.any() or method.name == "dead"


@pytest.mark.parametrize("name", [name for name, method in importance.CRITERIA.items() if method.gathers])
def test_a_criterion_that_needs_jets_says_so(name: str) -> None:
    network, method = smooth.network("dense_relu"), importance.find(name)
    with pytest.raises(NetworkError, match=f"'{name}' needs jets"):
        importance.scores(network, method, method.granularities[0])


def test_a_new_criterion_is_one_decorated_function() -> None:
    @importance.criterion(granularities=("neuron",))
    def bias(layer: Weighted, granularity: str, _: None) -> torch.Tensor:
        """Return the size of the bias."""
        del granularity
        return layer.bias.abs()

    layer = smooth.network("dense_relu")["first"]
    try:
        assert torch.equal(importance.find("bias")(layer, "neuron"), layer.bias.abs())
        assert bias.__doc__ == "Return the size of the bias."
    finally:
        del importance.CRITERIA["bias"]


def test_every_criterion_names_its_formula() -> None:
    assert all(len(method.__doc__ or "") > 60 for method in importance.CRITERIA.values())


def test_scores_that_are_not_finite_are_refused() -> None:
    layer = smooth.network("dense_relu")["first"]
    layer.weight.data[0, 0] = torch.nan
    with pytest.raises(NetworkError, match="layer 'first' has no finite score by the criterion 'magnitude'"):
        importance.magnitude(layer.kernels[0], "weight")


def test_an_unknown_criterion_lists_the_known_ones() -> None:
    with pytest.raises(NetworkError, match="unknown criterion 'fischer'; choose one of: fisher, "):
        importance.find("fischer")
    assert importance.find("fisher") is importance.fisher
