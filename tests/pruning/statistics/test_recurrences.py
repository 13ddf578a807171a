from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import hepprune
from hepprune.errors import NetworkError
from hepprune.network import Dense, Input, Kernel, Network, Recurrent, Shared, identity, load, save
from hepprune.network.layers.recurrent import GATES, KERNELS
from hepprune.pruning import importance, masks, plan, statistics
from hepprune.pruning.masks import Cut
from hepprune.pruning.statistics import gradients
from hepprune.pruning.structure import surgery
from hepprune.studies import iterative, lottery
from hepprune.task.sample import Sample
from hepprune.training import Fit
from tests.networks import SEEDS, weighted
from tests.pruning import graphs, smooth
from tests.pruning.statistics.test_unit_gradients import jets

METHODS = [name for name, method in importance.CRITERIA.items() if "weight" in method.granularities]


@st.composite
def recurrent(draw: st.DrawFn, *, fixed: bool) -> Network:
    """Draw a recurrent cell of any kind and direction, on what another layer makes of the features, and a head."""
    before = draw(st.sampled_from([[], ["dense"], ["recurrent"]]))
    return graphs.build([*before, "recurrent"], seed=draw(SEEDS), fixed=fixed, flat=draw(st.booleans())).double()


def cells(network: Network) -> list[Recurrent]:
    return [layer for layer in network if isinstance(layer, Recurrent)]


def limits(network: Network) -> dict[str, torch.Tensor]:
    return {kernel.name: kernel.digit_limit.flatten() for kernel in network.kernels}


def check_gradients(network: Network) -> None:
    """Compare with plain backpropagation to the parameters, one jet after the other."""
    x, y = jets(network)
    found, squares = (
        gradients.gather(network, Sample(x, y), batch_size=10),
        statistics.gather(network, Sample(x, y), batch_size=10),
    )
    for cell in cells(network):
        arrays, single = [getattr(cell, kind) for kind in KERNELS], []
        for jet in range(len(x)):
            loss = nn.functional.cross_entropy(network.logits(x[jet : jet + 1]), y[jet : jet + 1])
            single.append(torch.autograd.grad(loss, arrays))
        for kind, each in zip(KERNELS, map(torch.stack, zip(*single, strict=True)), strict=True):
            own = found[f"{cell.name}.{kind}"]
            assert torch.allclose(own.weight_signed, each.mean(dim=0), atol=1e-12)
            assert torch.allclose(own.weight_absolute, each.abs().mean(dim=0), atol=1e-12)
            squared = squares[f"{cell.name}.{kind}"].weight_fisher
            assert torch.allclose(squared, each.square().mean(dim=0), atol=1e-12)


@pytest.mark.slow
@settings(max_examples=10)
@given(st.one_of(recurrent(fixed=False), recurrent(fixed=True)))
def test_gradients_are_those_of_backpropagation_jet_by_jet(network: Network) -> None:
    check_gradients(network)


def chain(cell: str, *, twice: bool = False) -> Network:
    """Return a cell that puts out its last state, and runs on other values too if `twice`."""
    generator = torch.Generator().manual_seed(2)
    rows = GATES[cell] * 4
    sizes = {"weight": (rows, 4), "recurrent_weight": (rows, 4), "bias": (rows,), "recurrent_bias": (rows,)}
    arrays = {name: 0.6 * torch.randn(*size, generator=generator) for name, size in sizes.items()}
    layers = [Input("x", (5, 4)), Recurrent("cell", cell, **arrays, return_sequences=twice)]
    if twice:
        layers += [Shared("again", "cell"), Recurrent("end", cell, **arrays)]
    return Network([*layers, Dense("out", torch.randn(3, 4, generator=generator), torch.zeros(3))])


@pytest.mark.parametrize("cell", list(GATES))
def test_a_cell_that_runs_twice_has_the_gradients_of_both(cell: str) -> None:
    check_gradients(chain(cell, twice=True).double())


@settings(max_examples=15)
@given(recurrent(fixed=True), st.sampled_from(METHODS), st.floats(0, 0.6))
def test_both_kernels_are_cut_to_the_exact_sparsity(network: Network, method: str, sparsity: float) -> None:
    pruned = hepprune.prune(network, jets(network), method=method, sparsity=sparsity, scope="local")
    for name, limit in limits(pruned).items():
        assert int((limit == 0).sum()) == round(sparsity * len(limit)), name
    smaller, (x, _) = surgery.shrink(pruned), jets(network)
    with torch.no_grad():
        assert torch.equal(smaller.double()(x), pruned(x))
    zeros = sum(int((kernel.used() == 0).sum()) for kernel in pruned.kernels)
    assert plan.sparsity(pruned) == pytest.approx(zeros / sum(len(limit) for limit in limits(pruned).values()))


@pytest.mark.parametrize("cell", list(GATES))
def test_the_smallest_weights_of_all_kernels_go_together(cell: str) -> None:
    network = chain(cell)
    pruned = hepprune.prune(network, sparsity=0.5, keep=1)
    arrays = (network["cell"].weight, network["cell"].recurrent_weight, network["out"].weight)
    sizes = torch.cat([array.detach().abs().flatten() for array in arrays])
    assert torch.equal(torch.cat(list(limits(pruned).values())) > 0, sizes > sizes.sort().values[len(sizes) // 2 - 1])
    assert masks.nonzero_weights(pruned) == len(sizes) - round(0.5 * len(sizes))


def test_first_order_scores_are_gradient_times_weight_as_measured() -> None:
    network = chain("gru").double()
    x, y = jets(network)
    found = importance.scores(network, importance.taylor, "weight", data=Sample(x, y))
    for kind in KERNELS:
        kernel = getattr(network["cell"], kind).data.view(-1)
        for index in range(0, len(kernel), 7):
            losses, before = [], float(kernel[index])
            for factor in (1 - 1e-5, 1 + 1e-5):
                kernel[index] = before * factor
                losses.append(smooth.loss(network, x, y))
            kernel[index] = before
            assert float(found[f"cell.{kind}"][index]) == pytest.approx(abs(losses[1] - losses[0]) / 2e-5, abs=1e-8)


@pytest.mark.parametrize("cell", list(GATES))
def test_training_revives_no_weight_and_files_keep_the_masks(cell: str, tmp_path: Path) -> None:
    network = chain(cell)
    features, classes = jets(network)
    sample = Sample(features.float(), classes)
    fit = Fit(epochs=2, batch_size=8, learning_rate=1e-2, weight_decay=0.01)
    once = masks.apply(
        network, [Cut("cell.weight", "weight", (0, 5)), Cut("cell.recurrent_weight", "weight", (1, 6, 11))]
    )
    pruned, history = iterative.prune(once, sample, sample, method="fisher", schedule=[0.3, 0.6], fine_tune=fit)
    n_weights = sum(len(limit) for limit in limits(network).values())
    assert history[-1].sparsity == pytest.approx(round(0.6 * n_weights) / n_weights)
    assert not pruned["cell"].used("weight").flatten()[[0, 5]].any()
    assert not pruned["cell"].used("recurrent_weight").flatten()[[1, 6, 11]].any()
    for kind in KERNELS:
        moved = pruned["cell"].used(kind) != network["cell"].used(kind)
        assert moved[pruned["cell"].used(kind) != 0].all()  # what is left was trained
    again = load(save(pruned, tmp_path / "pruned.npz"))
    assert identity(again) == identity(pruned)
    assert plan.sparsity(again) == plan.sparsity(pruned)


def test_rows_and_patterns_hold_in_both_kernels() -> None:
    network = chain("lstm")
    network["cell"].reuse_factor = 4
    pattern = hepprune.prune(network, sparsity=0.5, granularity="2:4")
    rows = hepprune.prune(network, sparsity=0.5, granularity="dsp_row", scope="local")
    for kind in KERNELS:
        assert (torch.count_nonzero(pattern["cell"].used(kind), dim=1) == 2).all()
        assert torch.count_nonzero(rows["cell"].used(kind).view(-1, 4), dim=1).bincount().tolist() == [8, 0, 0, 0, 8]


def test_a_criterion_that_gathers_nothing_of_them_says_so_and_cuts_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    @importance.criterion(
        granularities=("weight",),
        gathers=lambda net, *_: {la.name: 0 for la in weighted(net)},
    )
    def outer(kernel: Kernel, granularity: str, _: int) -> torch.Tensor:
        """Return the size of the weights of dense layers and convolutions alone."""
        del granularity
        return kernel.used().abs()

    network = chain("lstm").double()
    try:
        pruned = hepprune.prune(network, jets(network), method="outer", sparsity=0.5)
    finally:
        del importance.CRITERIA["outer"]
    assert "'outer' gathers nothing of 'cell.weight', which keeps all its weights" in caplog.text
    assert {name: int((limit == 0).sum()) for name, limit in limits(pruned).items()} == {
        "cell.weight": 0,
        "cell.recurrent_weight": 0,
        "out": 6,
    }


def test_a_ticket_masks_both_kernels() -> None:
    whole, masked = chain("gru"), hepprune.prune(chain("gru"), sparsity=0.5, scope="local")
    ticket, random = lottery.masked_as(whole, masked), lottery.shuffled(masked, whole, seed=5)
    assert all(torch.equal(limit, limits(masked)[name]) for name, limit in limits(ticket).items())
    assert plan.sparsity(random) == plan.sparsity(masked)
    assert not any(torch.equal(limit, limits(masked)[name]) for name, limit in limits(random).items())


def test_kernels_that_lie_column_by_column_in_memory_are_cut_row_by_row() -> None:
    before = chain("gru")["cell"]
    arrays = {kind: getattr(before, kind).detach().T.contiguous().T for kind in KERNELS}  # as Keras files have them
    after = before.rebuilt(**arrays, digit_limit=None, recurrent_digit_limit=None)
    for kind in KERNELS:
        for cell in (before, after):
            masks.apply_to(cell, Cut(f"cell.{kind}", "weight", (1, 6, 11)))
        assert torch.equal(after.used(kind), before.used(kind))


def test_mistakes_end_in_one_sentence() -> None:
    with pytest.raises(NetworkError, match=r"unknown kernel 'out\.recurrent_weight'"):
        masks.apply(chain("gru"), [Cut("out.recurrent_weight", "weight", (0,))])
    with pytest.raises(NetworkError, match=r"layer 'cell\.recurrent_weight' has 48 units, none has index 48"):
        masks.apply(chain("gru"), [Cut("cell.recurrent_weight", "weight", (48,))])
    with pytest.raises(NetworkError, match=r"layer 'cell\.weight' would be left empty"):
        hepprune.prune(chain("gru"), sparsity=1.0)
