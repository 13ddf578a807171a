import pytest
import torch
from torch import nn

from hepprune.network import Network
from hepprune.pruning import masks
from hepprune.pruning.statistics import unit_gradients
from hepprune.pruning.structure import coupling
from hepprune.pruning.structure.coupling import Group
from hepprune.task.sample import Sample
from tests.networks import unlabelled
from tests.pruning import graphs


def scaled(network: Network, group: Group, unit: int, factor: float) -> Network:
    """Return a network whose readers read a unit's deviation from its mean `factor` times."""
    changed, means = network.clone(), unit_gradients.input_means(network, unlabelled(jets(network)[0]))
    with torch.no_grad():
        for member in group.of("read"):
            layer, own = changed[member.layer], list(member.indices[unit])
            used = layer.weight[..., own].reshape(len(layer.bias), -1, len(own)).sum(dim=1)
            layer.bias += (1 - factor) * used @ means[member.layer][own]
            layer.weight[..., own] *= factor
    return changed


def jets(network: Network) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(24, *network.input.features_shape, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, 3, (24,), generator=generator)


@pytest.mark.parametrize("stage", ["attention", "recurrent", "residual", "shared", "joined"])
def test_the_curvature_by_a_gate_is_what_finite_differences_measure(stage: str) -> None:
    network, step = graphs.build([stage], seed=2, fixed=False, flat=True).double(), 1e-3
    group = next(group for group in coupling.groups(network) if not group.kept)
    (found,), here = unit_gradients.hessian(network, [group], Sample(*jets(network)), batch_size=10), losses(network)
    for unit in range(len(group)):
        ends = losses(scaled(network, group, unit, 1 - step)) + losses(scaled(network, group, unit, 1 + step))
        assert found[unit].item() == pytest.approx(((ends - 2 * here) / step**2).mean().item(), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("stage", ["attention", "recurrent", "shared"])
def test_gauss_newton_by_a_gate_is_that_of_logits_measured(stage: str) -> None:
    network, step = graphs.build([stage], seed=2, fixed=False, flat=True).double(), 1e-5
    group = next(group for group in coupling.groups(network) if not group.kept)
    (found,), (x, _) = (
        unit_gradients.gauss_newton(network, [group], Sample(*jets(network)), batch_size=10),
        jets(network),
    )
    p = torch.softmax(network.logits(x).detach(), dim=-1)
    for unit in range(len(group)):
        low, high = (scaled(network, group, unit, 1 + s).logits(x).detach() for s in (-step, step))
        slope = (high - low) / (2 * step)
        variance = (p * slope**2).sum(dim=-1) - (p * slope).sum(dim=-1) ** 2
        assert found[unit].item() == pytest.approx(variance.mean().item(), rel=1e-5)


def losses(network: Network) -> torch.Tensor:
    x, y = jets(network)
    return nn.functional.cross_entropy(network.logits(x), y, reduction="none").detach()


@pytest.mark.parametrize("stage", ["attention", "recurrent", "residual", "shared", "joined"])
def test_a_gate_is_what_finite_differences_measure(stage: str) -> None:
    network = graphs.build([stage], seed=2, fixed=False, flat=True).double()
    group = next(group for group in coupling.groups(network) if not group.kept)
    (found,) = unit_gradients.gather(network, [group], Sample(*jets(network)), batch_size=10)
    for unit in range(len(group)):
        slope = (losses(scaled(network, group, unit, 1 + 1e-4)) - losses(scaled(network, group, unit, 1 - 1e-4))) / 2e-4
        assert found.signed[unit].item() == pytest.approx(slope.mean().item(), abs=1e-7)
        assert found.absolute[unit].item() == pytest.approx(slope.abs().mean().item(), abs=1e-7)
        assert found.squared[unit].item() == pytest.approx(slope.square().mean().item(), abs=1e-7)


def test_the_size_is_the_mean_of_what_readers_hear() -> None:
    network = graphs.build(["attention"], seed=2, fixed=False, flat=True).double()
    heads = next(group for group in coupling.groups(network) if group.heads)
    (found,) = unit_gradients.gather(network, [heads], Sample(*jets(network)), batch_size=7)
    values = network.activations(jets(network)[0])["merged_10"].abs().mean(dim=(0, 1)).reshape(len(heads), 2).mean(1)
    assert torch.allclose(found.size, values)


def test_a_unit_that_leaves_leaves_its_mean() -> None:
    network = graphs.build(["attention"], seed=2, fixed=False, flat=True).double()
    heads = next(group for group in coupling.groups(network) if group.heads)
    means = unit_gradients.input_means(network, unlabelled(jets(network)[0]))
    masked = masks.apply(network, coupling.cuts(heads, [1], means))
    assert torch.allclose(losses(masked), losses(scaled(network, heads, 1, 0.0)), atol=1e-6)
