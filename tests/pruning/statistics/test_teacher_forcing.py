"""Recurrent layers as least-squares problems with what they read held fixed, against designs built from torch.nn."""

import numpy as np
import pytest
import torch
from torch import Tensor

import hepprune
from hepprune import training
from hepprune.errors import DataError
from hepprune.network import Dense, Input, Network, Recurrent
from hepprune.network.layers.recurrent import GATES, KERNELS
from hepprune.pruning import compensation, importance, masks, plan
from hepprune.pruning.masks import Cut
from hepprune.task.sample import Sample
from hepprune.training import Fit
from tests.pruning import cells
from tests.pruning.statistics.test_recurrences import chain, limits
from tests.pruning.statistics.test_recurrences import jets as chain_jets


def recorded(network: Network) -> tuple[Recurrent, Tensor, Tensor]:
    """Return the cell, its inputs and the states before its steps, by torch.nn."""
    cell, (x, _) = network["cell"], cells.jets()
    return cell, x, cells.states(cell, x)


def design(network: Network, row: int) -> np.ndarray:
    """Return what the weights and biases of one row multiply at all steps of all jets, as the definition has it."""
    cell, x, states = recorded(network)
    columns = [x, states, torch.ones_like(x[..., :1])]
    if cell.cell == "gru" and row >= 2 * cell.n_out:
        reset = torch.sigmoid(cells.gates(cell, x, states)[1])
        own = reset[..., row - 2 * cell.n_out, None]
        columns = [x, own * states, columns[2], own] if cell.reset_after else [x, reset * states, columns[2]]
    return torch.cat(columns, dim=-1).flatten(0, 1).detach().numpy()


def row_of(cell: Recurrent, row: int, n: int) -> np.ndarray:
    """Return the first n of a row's weights and biases, in the order of the design."""
    parts = [cell.used("weight")[row], cell.used("recurrent_weight")[row], cell.bias[row, None]]
    return torch.cat([*parts, cell.recurrent_bias[row, None]]).detach().numpy()[:n]


def least(x: np.ndarray, target: np.ndarray, gone: list[int]) -> float:
    """Return the least half mean squared error of the target without some columns, by numpy's least squares."""
    kept = np.delete(x, gone, axis=1)
    solved = np.linalg.lstsq(kept, target, rcond=None)[0]
    return float(np.mean((kept @ solved - target) ** 2) / 2)


@pytest.mark.parametrize("form", cells.FORMS)
def test_the_first_to_go_is_the_best_of_all_choices_and_costs_what_least_squares_says(form: str) -> None:
    network = cells.network(form)
    found = importance.scores(network, importance.obs, "weight", data=Sample(*cells.jets()))
    ours = torch.cat([found[f"cell.{kind}"].reshape(len(network["cell"].weight), -1) for kind in KERNELS], dim=1)
    for row, scores in enumerate(ours):
        x = design(network, row)
        target = x @ row_of(network["cell"], row, x.shape[1])
        choices = [least(x, target, [weight]) for weight in range(len(scores))]
        assert int(scores.argmin()) == int(np.argmin(choices))
        assert float(scores.min()) == pytest.approx(min(choices), rel=1e-4)


@pytest.mark.parametrize("form", cells.FORMS)
def test_after_a_removal_every_gate_stands_at_the_optimum_of_least_squares(form: str) -> None:
    network = cells.network(form)
    cell, generator = network["cell"], np.random.default_rng(5)
    gone = {kind: generator.permutation(getattr(cell, kind).numel())[::2].tolist() for kind in KERNELS}
    cuts = [Cut(f"cell.{kind}", "weight", tuple(units)) for kind, units in gone.items()]
    after = compensation.compensate(network, cuts, compensation.moments(network, Sample(*cells.jets())))["cell"]
    plain = masks.apply(network, cuts)["cell"]
    for row in range(len(cell.weight)):
        x = design(network, row)
        own, new, masked = (row_of(each, row, x.shape[1]) for each in (cell, after, plain))
        zeros = np.flatnonzero(masked[: cell.n_in + cell.n_out] == 0).tolist()
        assert not new[zeros].any()
        reached = float(np.mean((x @ new - x @ own) ** 2) / 2)
        assert reached == pytest.approx(least(x, x @ own, zeros), rel=1e-5, abs=1e-12)
        assert not zeros or reached < np.mean((x @ masked - x @ own) ** 2) / 2
    if form == "gru":  # the reset gate multiplies the recurrent bias of the candidate alone
        moved = (after.recurrent_bias != cell.recurrent_bias).reshape(3, -1)
        assert moved[2].all()
        assert torch.allclose(after.recurrent_bias[: 2 * cell.n_out], cell.recurrent_bias[: 2 * cell.n_out])


@pytest.mark.parametrize("form", cells.FORMS)
def test_wanda_weighs_weights_by_the_inputs_and_states_that_reach_them(form: str) -> None:
    network = cells.network(form)
    cell, x, states = recorded(network)
    found = importance.scores(network, importance.wanda, "weight", data=Sample(*cells.jets()))
    sizes = x.square().mean(dim=(0, 1)).sqrt()
    assert torch.allclose(found["cell.weight"], (cell.weight.abs() * sizes).flatten())
    reads = states.square().mean(dim=(0, 1)).sqrt().expand(len(cell.weight), -1).clone()
    if form == "gru_before":  # the candidate reads what the reset gate lets pass
        passed = torch.sigmoid(cells.gates(cell, x, states)[1]) * states
        reads[2 * cell.n_out :] = passed.square().mean(dim=(0, 1)).sqrt()
    assert torch.allclose(found["cell.recurrent_weight"], (cell.recurrent_weight.abs() * reads).flatten())


@pytest.mark.parametrize("form", ["lstm", "gru"])
def test_a_cell_that_runs_backwards_reads_the_same_in_the_other_order(form: str) -> None:
    forwards, backwards, (x, y) = cells.network(form), cells.network(form, backwards=True), cells.jets()
    for method in ("obs", "wanda", "obd", "obd_gauss_newton"):
        ahead, back = (
            importance.scores(net, importance.find(method), "weight", data=Sample(jets, y))
            for net, jets in ((forwards, x), (backwards, x.flip(1)))
        )
        assert all(torch.allclose(ahead[name], back[name]) for name in ahead)


@pytest.mark.parametrize("cell", list(GATES))
def test_a_cell_that_runs_twice_reads_at_both_places(cell: str) -> None:
    network = chain(cell, twice=True).double()
    pruned = hepprune.prune(network, chain_jets(network), method="obs", sparsity=0.4, scope="local")
    assert all(int((limit == 0).sum()) == round(0.4 * len(limit)) for limit in limits(pruned).values())


@pytest.mark.parametrize("method", ["magnitude", "taylor"])
def test_weights_of_any_method_are_made_up_for(method: str) -> None:
    network, data = cells.network("gru"), cells.jets()
    plain, helped = (hepprune.prune(network, data, method=method, sparsity=0.4, compensate=c) for c in (False, True))
    assert all(torch.equal(limit, limits(plain)[name]) for name, limit in limits(helped).items())
    for row in range(len(network["cell"].weight)):
        x = design(network, row)
        own, new, masked = (x @ row_of(net["cell"], row, x.shape[1]) for net in (network, helped, plain))
        assert np.mean((new - own) ** 2) <= np.mean((masked - own) ** 2) + 1e-12


def test_a_row_of_more_weights_than_are_solved_at_once_is_swept() -> None:
    generator = torch.Generator().manual_seed(1)
    sizes = {"weight": (6, 300), "recurrent_weight": (6, 2), "bias": (6,), "recurrent_bias": (6,)}
    arrays = {name: 0.1 * torch.randn(*size, generator=generator) for name, size in sizes.items()}
    layers = [Recurrent("cell", "gru", **arrays), Dense("out", torch.randn(3, 2, generator=generator), torch.zeros(3))]
    network = Network([Input("x", (3, 300)), *layers])
    mixed = torch.randn(200, 3, 20, generator=generator) @ torch.randn(20, 300, generator=generator)
    x, y = mixed + 0.3 * torch.randn(200, 3, 300, generator=generator), torch.randint(3, (200,), generator=generator)
    swept, plain = (hepprune.prune(network, (x, y), sparsity=0.5, compensate=c) for c in (True, False))
    losses = [float((net.logits(x) - network.logits(x)).square().mean().detach()) for net in (swept, plain)]
    assert losses[0] < losses[1]
    scored = importance.scores(network, importance.obs, "weight", data=Sample(x, y))
    assert torch.isfinite(scored["cell.weight"]).all()


def tagger(cell: str) -> tuple[Network, Sample, Sample]:
    """Return a trained tagger of jets whose class is the place of their hardest step, and unseen jets."""
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(1500, 6, 4, generator=generator)
    y = x[..., 0].cumsum(dim=1).argmax(dim=1) // 2
    n_out, rows = 12, GATES[cell] * 12
    sizes = {"weight": (rows, 4), "recurrent_weight": (rows, n_out), "bias": (rows,), "recurrent_bias": (rows,)}
    arrays = {name: torch.randn(*size, generator=generator) / n_out**0.5 for name, size in sizes.items()}
    out = Dense("out", torch.randn(3, n_out, generator=generator) / n_out**0.5, torch.zeros(3))
    network = Network([Input("x", (6, 4)), Recurrent("cell", cell, **arrays), out])
    train, rest = Sample(x[:1000], y[:1000]), Sample(x[1000:], y[1000:])
    trained, _ = training.fit(network, train, rest, settings=Fit(epochs=12, batch_size=100, learning_rate=2e-2), seed=1)
    return trained, train, rest


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_trained_tagger_loses_less_than_by_magnitude(cell: str) -> None:
    network, train, rest = tagger(cell)
    pruned = {
        name: hepprune.prune(network, train, method=name, sparsity=0.5, scope="local") for name in ("obs", "magnitude")
    }
    assert plan.sparsity(pruned["obs"]) == plan.sparsity(pruned["magnitude"])
    losses = {name: cells.loss(net, rest.features, rest.y).item() for name, net in (pruned | {"none": network}).items()}
    assert losses["none"] < 0.6  # it has learnt something
    assert losses["obs"] < losses["magnitude"]


@pytest.mark.parametrize("method", ["obs", "wanda"])
def test_what_is_not_finite_is_refused(method: str) -> None:
    network, (x, y) = cells.network("lstm"), cells.jets()
    with pytest.raises(DataError, match="layer 'cell' is not finite"):
        hepprune.prune(network, (x * torch.nan, y), method=method, sparsity=0.5)
