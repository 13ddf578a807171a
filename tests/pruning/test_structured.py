import pytest
import torch

import hepprune
from hepprune.errors import NetworkError
from hepprune.network import Network
from hepprune.pruning import importance, masks, plan, structured
from hepprune.pruning.importance.combined import group_scores
from hepprune.pruning.structure import blocks, surgery
from hepprune.task.sample import Sample
from tests.pruning import graphs
from tests.pruning.statistics.test_unit_gradients import jets
from tests.pruning.structure.test_blocks import residual


def network(*stages: str) -> Network:
    return graphs.build(list(stages), seed=4, fixed=False, flat=False).double()


@pytest.mark.parametrize("method", ["magnitude", "random", "taylor", "taylor_per_sample", "fisher", "mean_activation"])
@pytest.mark.parametrize(
    ("stage", "granularity"), [("attention", "head"), ("recurrent", "neuron"), ("residual", "neuron")]
)
def test_units_leave_with_all_that_is_coupled(stage: str, granularity: str, method: str) -> None:
    before = network(stage)
    options = {"method": method, "sparsity": 0.4, "granularity": granularity}
    pruned, cuts = hepprune.prune(before, jets(before), **options), plan.make(before, jets(before), **options)
    smaller, x = surgery.shrink(pruned), jets(before)[0]
    assert torch.allclose(smaller(x), pruned(x), atol=1e-9)
    taken = {cut.layer: len(cut.units) for cut in cuts if cut.granularity == "neuron"}
    for name, count in taken.items():
        assert smaller[name].n_out <= before[name].n_out - count
    groups = [(group, group.of("made")[0]) for group in structured.prunable(before, granularity)]
    n_cut = sum(taken.get(first.layer, 0) // len(first.indices[0]) for _, first in groups)
    assert n_cut == round(0.4 * sum(len(group) for group, _ in groups))


def test_coupled_neurons_score_together() -> None:
    before = network("residual")
    (group, *_) = structured.prunable(before, "neuron")
    (found,) = group_scores(before, [group], importance.magnitude)
    rows = torch.stack([before[m.layer].weight.norm(dim=1) for m in group.of("made")])
    assert torch.allclose(found.float(), rows.norm(dim=0).float())


def test_a_state_scores_with_the_weights_of_all_its_gates() -> None:
    before = graphs.build(["recurrent"], seed=1, fixed=False, flat=True)
    cell = before["cell_1"]
    (found,) = group_scores(before, structured.prunable(before, "neuron")[:1], importance.magnitude_l1)
    by_gate = torch.cat([cell.weight, cell.recurrent_weight], dim=1).abs().sum(1).reshape(-1, cell.n_out)
    assert torch.allclose(found.float(), by_gate.sum(0))


def test_what_is_cut_already_counts_and_goes_first() -> None:
    before = network("attention")
    once = hepprune.prune(before, sparsity=0.2, granularity="head")
    twice = plan.make(once, sparsity=0.4, granularity="head")
    first = plan.make(before, sparsity=0.2, granularity="head")
    assert set(first[0].units) <= set(twice[0].units)
    assert surgery.shrink(masks.apply(once, twice))[first[0].layer].n_out < surgery.shrink(once)[first[0].layer].n_out


def test_the_block_that_hurts_least_is_dropped() -> None:
    before = residual(None)
    x, y = torch.randn(30, 3), torch.randint(0, 2, (30,))
    changes = blocks.loss_changes(before, Sample(x, y))
    least = min(changes, key=lambda end: float(changes[end]))
    smaller = hepprune.prune(before, (x, y), method="loss_change", sparsity=0.5, granularity="layer")
    assert torch.equal(smaller(x), blocks.without(before, least)(x))
    for method in ("magnitude", "random", "taylor"):
        bare = hepprune.prune(before, (x, y), method=method, sparsity=1.0, granularity="layer")
        assert list(bare.layers) == ["x", "stem", "out"]


@pytest.mark.parametrize(
    ("stage", "options", "message"),
    [
        ("dense", {"granularity": "head"}, "nothing to prune at the granularity 'head'"),
        ("dense", {"granularity": "layer"}, "no block can leave: there is no residual branch"),
        ("attention", {"granularity": "head", "sparsity": 1.0}, "'dense_1 . dense_3 . dense_5' would be left empty"),
        ("attention", {"granularity": "head", "method": "taylor"}, "'taylor' needs jets"),
        ("attention", {"granularity": "head", "method": "obs"}, "'obs' needs jets"),
        ("attention", {"granularity": "neuron", "sparsity": 1.5}, "a sparsity lies between 0 and 1, 1.5 does not"),
        ("attention", {"granularity": "heads"}, "unknown granularity 'heads'; choose one of: head"),
    ],
)
def test_mistakes_end_in_one_sentence(stage: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        hepprune.prune(network(stage), **{"sparsity": 0.5, **options})


def test_heads_are_scored_by_gates_or_weights_alone() -> None:
    before = network("attention")
    with pytest.raises(NetworkError, match="criterion 'obs' scores no neurons: weight"):
        hepprune.prune(before, jets(before), method="obs", sparsity=0.4, granularity="head")
    with pytest.raises(NetworkError, match="'loss_change' needs jets"):
        hepprune.prune(residual(None), method="loss_change", sparsity=0.5, granularity="layer")
    with pytest.raises(NetworkError, match="whole layers leave a network at once"):
        plan.make(before, sparsity=0.5, granularity="layer")
