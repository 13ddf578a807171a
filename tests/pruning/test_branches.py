"""What criteria say of networks that branch, against differences of the loss and against least squares."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hepprune.network import Input, Network, Recurrent, Weighted
from hepprune.network.layers.recurrent import KERNELS
from hepprune.pruning import compensation, masks, statistics
from hepprune.pruning.statistics import curvature, gradients, recorded, unit_gradients
from hepprune.pruning.structure import coupling
from hepprune.task.sample import Sample
from tests.networks import unlabelled
from tests.pruning import branches

# Differences by every weight of several cells take their time.
NAMES = [pytest.param(name, marks=pytest.mark.slow) if "," in name else name for name in branches.NETWORKS]


def kernels(network: Network) -> Iterator[tuple[str, Tensor]]:
    for layer in network:
        if isinstance(layer, Recurrent):
            yield from ((f"{layer.name}.{kind}", getattr(layer, kind)) for kind in KERNELS)
        elif isinstance(layer, Weighted):
            yield layer.name, layer.weight


def losses(logits: Tensor, y: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits, y, reduction="none").detach()


def derivatives(loss: Callable[[float], Tensor], *, step: float = 1e-4) -> tuple[Tensor, Tensor]:
    """Return first and second derivatives at zero of the loss of every jet, by differences."""
    low, here, high = (loss(shift) for shift in (-step, 0.0, step))
    return (high - low) / (2 * step), (high - 2 * here + low) / step**2


def variance(slopes: Tensor, logits: Tensor) -> float:
    """Return the mean over jets of the variance of slopes (n_jets, n_classes) over the predicted classes."""
    p = torch.softmax(logits.detach(), dim=-1)
    return float((p * slopes**2).sum(dim=1).sub((p * slopes).sum(dim=1) ** 2).mean())


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_derivatives_by_weights_are_what_differences_of_the_loss_say(name: str) -> None:
    network = branches.NETWORKS[name].clone()
    x, y = branches.jets(network)
    with torch.enable_grad():
        found = [of(network, Sample(x, y)) for of in (gradients.gather, statistics.gather, curvature.hessian)]
        linear = curvature.gauss_newton(network, Sample(x, y))
    for kernel, weight in kernels(network):
        ours = [found[0][kernel].weight_signed, found[0][kernel].weight_absolute, found[1][kernel].weight_fisher]
        ours += [found[2][kernel].weight, linear[kernel].weight]
        flat = weight.view(-1)
        for index, before in enumerate(flat.tolist()):

            def logits(shift: float, at: int = index, start: float = before, own: Tensor = flat) -> Tensor:
                own[at] = start + shift
                put_out = network.logits(x)
                own[at] = start
                return put_out

            first, second = derivatives(lambda shift, run=logits: losses(run(shift), y))
            slopes = (logits(1e-4) - logits(-1e-4)) / 2e-4
            brute = [
                first.mean(),
                first.abs().mean(),
                first.square().mean(),
                second.mean(),
                variance(slopes, logits(0)),
            ]
            said = [float(each.flatten()[index]) for each in ours]
            assert said == pytest.approx([float(each) for each in brute], rel=1e-4, abs=1e-5), (kernel, index)


@pytest.mark.parametrize("name", ["residual", "product", "shared"])
def test_derivatives_by_neurons_are_what_differences_of_the_loss_say(name: str) -> None:
    network = branches.NETWORKS[name]
    x, y = branches.jets(network)
    found = [of(network, Sample(x, y)) for of in (gradients.gather, statistics.gather, curvature.hessian)]
    means, values = statistics.means(network, unlabelled(x)), recorded.run(network, x).values
    for layer in statistics.scored(network):
        hands = {recorded.handed_on(network, node.name) for node in network if network.runs(node) is layer}
        for neuron in range(layer.n_out):

            def loss(
                shift: float, j: int = neuron, of: Weighted = layer, moved: frozenset[str] = frozenset(hands)
            ) -> Tensor:
                away = {n: values[n][:, j] - means[of.name][j] for n in moved}
                return losses(_moved(network, x, {n: (j, shift * by) for n, by in away.items()}), y)

            first, second = derivatives(loss)
            brute = [first.mean(), first.abs().mean(), first.square().mean(), second.mean()]
            of = layer.name
            ours = [found[0][of].neuron_signed, found[0][of].neuron_absolute, found[1][of].neuron_fisher]
            said = [float(each[neuron]) for each in (*ours, found[2][of].neuron)]
            assert said == pytest.approx([float(each) for each in brute], rel=1e-4, abs=1e-5), (of, neuron)


@torch.no_grad()
def _moved(network: Network, x: Tensor, moves: dict[str, tuple[int, Tensor]]) -> Tensor:
    """Return the logits where one column of some values has something added to it."""
    values: dict[str, Tensor] = {}
    for node in network:
        own = [x] if isinstance(node, Input) else [values[source] for source in network.sources[node.name]]
        values[node.name] = network.runs(node)(*own)
        if node.name in moves:
            column, shift = moves[node.name]
            values[node.name] = values[node.name].clone()
            values[node.name][:, column] += shift
    return values[network.raw_output]


@pytest.mark.parametrize("name", ["residual", "product", *(name for name in branches.NETWORKS if "states" in name)])
def test_unit_gradients_are_what_differences_of_the_loss_say(name: str) -> None:
    network = branches.NETWORKS[name]
    (x, y), groups = branches.jets(network), [group for group in coupling.groups(network) if not group.kept]
    assert groups
    found = [
        of(network, groups, Sample(x, y))
        for of in (unit_gradients.gather, unit_gradients.hessian, unit_gradients.gauss_newton)
    ]
    means = unit_gradients.input_means(network, unlabelled(x))
    for group, gate, diagonal, linear in zip(groups, *found, strict=True):
        for unit in range(len(group)):

            @torch.no_grad()
            def logits(shift: float, at: int = unit, of: coupling.Group = group) -> Tensor:
                """Scale the columns that read the unit, and let biases keep its mean: readers then read less of it."""
                less = network.clone()
                for member in of.of("read"):
                    reader = less[member.layer]
                    for column in member.indices[at]:
                        reader.bias -= shift * reader.weight[:, column] * means[member.layer][column]
                        reader.weight[:, column] *= 1 + shift
                return less.logits(x)

            first, second = derivatives(lambda shift, run=logits: losses(run(shift), y))
            slopes = (logits(1e-4) - logits(-1e-4)) / 2e-4
            brute = [
                first.mean(),
                first.abs().mean(),
                first.square().mean(),
                second.mean(),
                variance(slopes, logits(0)),
            ]
            said = [float(each[unit]) for each in (gate.signed, gate.absolute, gate.squared, diagonal, linear)]
            assert said == pytest.approx([float(each) for each in brute], rel=1e-4, abs=1e-5), (group.name, unit)


def read_by(network: Network, layer: Weighted, x: Tensor) -> np.ndarray:
    """Return what the weights of a layer multiply at all its places and a final 1, from the values of the network."""
    values = network.activations(x)
    uses = [node.name for node in network if network.runs(node) is layer]
    rows = torch.cat([values[network.sources[use][0]].reshape(-1, layer.weight.shape[1]) for use in uses])
    return np.hstack([rows.detach().numpy(), np.ones((len(rows), 1))])


def least(x: np.ndarray, target: np.ndarray, keep: np.ndarray) -> float:
    """Return the least half mean squared error of the target with the kept columns."""
    solved = np.linalg.lstsq(x[:, keep], target, rcond=None)[0]
    return float(np.mean((x[:, keep] @ solved - target) ** 2) / 2)


@pytest.mark.parametrize("name", branches.NETWORKS)
def test_obs_takes_what_costs_least_by_least_squares_and_says_what_it_costs(name: str) -> None:
    network = branches.NETWORKS[name]
    x, y = branches.jets(network, 60)
    scores = compensation.rises(network, Sample(x, y))
    for layer in statistics.scored(network):
        read = read_by(network, layer, x)
        for row, bias, said in zip(layer.weight.detach().numpy(), layer.bias.tolist(), scores[layer.name], strict=True):
            target, keep, lost, highest = read @ np.append(row, bias), np.ones(len(row) + 1, bool), 0.0, 0.0
            for weight in said.argsort(stable=True).tolist()[:8]:
                costs = {}
                for other in np.flatnonzero(keep[:-1]):
                    costs[other] = least(read, target, keep & (np.arange(len(keep)) != other))
                keep[weight] = False
                highest, lost = max(highest, costs[weight] - lost), costs[weight]
                # To 1e-6 of the variance: what arrives at some layers depends on itself, and H is damped.
                assert lost - min(costs.values()) < 1e-6 * target.var()
                assert abs(float(said[weight]) - highest) < 1e-6 * target.var()


@pytest.mark.parametrize("name", branches.NETWORKS)
def test_compensation_is_least_squares_layer_by_layer(name: str) -> None:
    network, rng = branches.NETWORKS[name], np.random.default_rng(0)
    x, _ = branches.jets(network, 60)
    cuts = [
        masks.Cut(
            la.name, "weight", tuple(rng.choice(la.weight.numel(), la.weight.numel() // 3, replace=False).tolist())
        )
        for la in statistics.scored(network)
    ]
    done = compensation.compensate(network, cuts, compensation.moments(network, unlabelled(x)))
    for layer in statistics.scored(network):
        read, after = read_by(network, layer, x), done[layer.name]
        assert isinstance(after, Weighted)
        old, new = (torch.cat([la.used_weight(), la.used_bias()[:, None]], 1).detach().numpy() for la in (layer, after))
        for before, now in zip(old, new, strict=True):
            reached = float(np.mean((read @ (now - before)) ** 2) / 2)
            assert reached - least(read, read @ before, now != 0) < 1e-6 * (read @ before).var()
