"""Second derivatives by the kernels of recurrent layers, against finite differences and brute force."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from hepprune.errors import DataError
from hepprune.network import Dense, Input, Network, Recurrent, Shared
from hepprune.network.layers.recurrent import KERNELS
from hepprune.pruning import importance
from hepprune.pruning.statistics import curvature, recorded, unrolling
from hepprune.task.sample import Sample
from tests.pruning import cells
from tests.pruning.statistics.test_recurrences import chain, recurrent
from tests.pruning.statistics.test_recurrences import jets as drawn_jets

NETWORKS = [
    cells.network(form, sequences=sequences, curved=curved)
    for form, sequences, curved in itertools.product(cells.FORMS, (False, True), (False, True))
]


def differences(network: Network, kind: str, *, step: float = 1e-5) -> Tensor:
    """Return the Hessian of the mean loss by a kernel, (n_weights, n_weights), from differences of its gradient."""
    x, y = cells.jets()
    kernel = getattr(network["cell"], kind)
    rows, flat = [], kernel.data.view(-1)
    for index in range(len(flat)):
        ends, before = [], float(flat[index])
        for shift in (-step, step):
            flat[index] = before + shift
            ends.append(torch.autograd.grad(cells.loss(network, x, y), kernel)[0].flatten())
        flat[index] = before
        rows.append((ends[1] - ends[0]) / (2 * step))
    return torch.stack(rows)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_diagonal_is_what_differences_of_the_gradient_say(network: Network) -> None:
    found = curvature.hessian(network, Sample(*cells.jets()))
    for kind in KERNELS:
        matrix, ours = differences(network, kind), found[f"cell.{kind}"].weight.flatten()
        assert torch.allclose(ours, matrix.diagonal(), atol=1e-8)
        assert matrix.diagonal().abs().max() > 1e-3
        # Not the derivative of the sum of all gradients, which is a row sum of the Hessian.
        assert (matrix.sum(dim=1) - ours).abs().max() > 0.1 * ours.abs().max()


def test_obd_is_half_of_it_times_the_squared_weight() -> None:
    network = cells.network("gru")
    found = importance.scores(network, importance.obd, "weight", data=Sample(*cells.jets()))
    for kind in KERNELS:
        expected = differences(network, kind).diagonal() * network["cell"].used(kind).flatten() ** 2 / 2
        assert torch.allclose(found[f"cell.{kind}"], expected, atol=1e-8)


@pytest.mark.parametrize("form", cells.FORMS)
@pytest.mark.parametrize("options", [{}, {"backwards": True}, {"backwards": True, "in_order": True}])
def test_a_product_for_each_weight_says_the_same_whichever_way_the_steps_run(
    form: str, options: dict[str, bool]
) -> None:
    check_products(cells.network(form, sequences=True, curved=True, **options), *cells.jets())


@pytest.mark.slow
@settings(max_examples=5)
@given(recurrent(fixed=True))
def test_quantisers_pass_derivatives_through_as_in_training(network: Network) -> None:
    check_products(network, *drawn_jets(network))


def check_products(network: Network, x: Tensor, y: Tensor) -> None:
    """Compare with double backpropagation to every single weight."""
    found, seen = curvature.hessian(network, Sample(x, y), batch_size=10), recorded.run(network, x)
    for cell in [layer for layer in network if isinstance(layer, Recurrent)]:
        for kind, expected in zip(KERNELS, curvature._cell_by_products(seen, cell, Sample(x, y)), strict=True):
            assert torch.allclose(found[f"{cell.name}.{kind}"].weight, expected / len(x), atol=1e-11)


@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_a_cell_without_curvature_of_its_own_has_that_of_its_readers(activation: str) -> None:
    network = cells.network("simple")
    cell = network["cell"].rebuilt(activation=activation)
    check_products(Network([network["x"], cell, *list(network)[2:]]).double(), *cells.jets())


def test_a_layer_that_runs_twice_has_the_curvature_of_both() -> None:
    arrays = cells.arrays("lstm")
    layers = [Input("x", (cells.N_STEPS, cells.N_IN)), Recurrent("cell", "lstm", **arrays, return_sequences=True)]
    again = [Shared("again", "cell"), Recurrent("end", "simple", **cells.arrays("simple"))]
    network = Network([*layers, *again, Dense("out", torch.randn(3, 3), torch.zeros(3))]).double()
    found = curvature.hessian(network, Sample(*cells.jets()))
    for kind in KERNELS:
        assert torch.allclose(found[f"cell.{kind}"].weight.flatten(), differences(network, kind).diagonal(), atol=1e-8)


@pytest.mark.parametrize("network", NETWORKS)
def test_gauss_newton_is_the_diagonal_of_the_brute_force_matrix(network: Network) -> None:
    check_gauss_newton(network, cells.jets()[0])


@settings(max_examples=3)
@given(recurrent(fixed=True))
def test_gauss_newton_passes_quantisers_as_training_does(network: Network) -> None:
    check_gauss_newton(network, drawn_jets(network)[0])


def check_gauss_newton(network: Network, x: Tensor) -> None:
    """Compare with J^T (diag(p) - p p^T) J, J the derivatives of all logits of one jet after the other."""
    found = curvature.gauss_newton(network, Sample(x, torch.zeros(len(x), dtype=torch.int64)), batch_size=10)
    for cell in [layer for layer in network if isinstance(layer, Recurrent)]:
        for kind in KERNELS:
            kernel, total = getattr(cell, kind), 0.0
            for logits in (network.logits(jet[None])[0] for jet in x):
                slopes = [torch.autograd.grad(logit, kernel, retain_graph=True)[0].flatten() for logit in logits]
                jacobian, p = torch.stack(slopes), torch.softmax(logits.detach(), dim=0)
                total = total + (jacobian.T @ (torch.diag(p) - torch.outer(p, p)) @ jacobian).diagonal() / len(x)
            assert torch.allclose(found[f"{cell.name}.{kind}"].weight.flatten(), total, atol=1e-12)


def test_gauss_newton_is_another_matrix_for_a_curved_cell() -> None:
    network, data = cells.network("lstm"), cells.jets()
    linear, true = (
        of(network, Sample(*data))["cell.weight"].weight for of in (curvature.gauss_newton, curvature.hessian)
    )
    assert (linear >= 0).all()
    assert not torch.allclose(linear, true, rtol=0.1)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_every_jet_counts_not_only_the_last_batch(batch_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    network, data = cells.network("gru"), cells.jets()
    whole = curvature.hessian(network, Sample(*data))
    monkeypatch.setattr(unrolling, "fitting", lambda *_: batch_size)
    for name, part in curvature.hessian(network, Sample(*data)).items():
        assert torch.allclose(part.weight, whole[name].weight)


@pytest.mark.parametrize("of", [curvature.hessian, curvature.gauss_newton])
def test_what_is_not_finite_is_refused(of: object) -> None:
    network, (x, y) = chain("gru").double(), drawn_jets(chain("gru"))
    with pytest.raises(DataError, match="not finite"):
        of(network, Sample(x * torch.nan, y))  # type: ignore[operator]
    with pytest.raises(DataError, match="at least one jet"):
        of(network, Sample(x[:0], y[:0]))  # type: ignore[operator]
