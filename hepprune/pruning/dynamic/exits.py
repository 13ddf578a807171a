"""Early exits: small heads on the way, and a jet leaves at the first that is sure (Teerapittayanon, 1709.01686)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hepprune.errors import NetworkError, refused
from hepprune.network import Dense, Layer, Network
from hepprune.pruning.dynamic.gates import Work, WorkPenalty, multiplications


@dataclass(frozen=True)
class Branched:
    """A network with early exits, the names of their heads in the order they run."""

    network: Network
    exits: tuple[str, ...]

    @property
    def ends(self) -> tuple[str, ...]:
        """Where a jet can leave: the exits, and the network's own logits."""
        return *self.exits, self.network.raw_output


@dataclass(frozen=True, kw_only=True)
class Exited:
    """Where jets left: their logits (n_jets, n_classes), which exit each took (n_jets,), and what it cost.

    Exits count from 0 in the order they run; the network's own logits come last. `shares` is the fraction of the jets
    that took each, `costs` the multiplications up to and with it.
    """

    logits: Tensor
    taken: Tensor
    shares: tuple[float, ...]
    costs: tuple[int, ...]
    work: Work


def with_exits(network: Network, after: Sequence[str], *, seed: int) -> Branched:
    """Return a float network with a dense head of its own after each of these layers, named exit_1, exit_2, ...

    The heads are side branches: the output stays what it was. Their weights are drawn (He et al., arXiv:1502.01852).

    Raises:
        NetworkError: there is nothing to exit after, the network is quantised already, or a layer puts out more than
            one value per channel.
    """
    if network.input.result is not None:
        raise NetworkError("exits are added to a float network, before it is quantised")
    if not after:
        raise NetworkError("there is no layer to have an exit after; name one")
    for name in after:
        _ = network[name]  # refuses what is not a layer
    generator = torch.Generator().manual_seed(seed)
    layers: list[Layer] = []
    sources, exits = dict(network.sources), list[str]()
    n_classes = network.widths[network.raw_output]
    for layer in network.clone():
        layers.append(layer)
        if layer.name in after:
            exits.append(f"exit_{len(exits) + 1}")
            shape = network.shapes[layer.name]
            if len(shape) != 1:
                raise refused(layer.name, f"puts out the shape {shape}; an exit reads one axis of values")
            weight = torch.randn(n_classes, shape[0], generator=generator) * (2 / shape[0]) ** 0.5
            layers.append(Dense(exits[-1], weight, torch.zeros(n_classes)))
            sources[exits[-1]] = (layer.name,)
    return Branched(Network(layers, sources, network.outputs), tuple(exits))


def losses(branched: Branched) -> WorkPenalty:
    """Return what training adds to its loss: the mean cross-entropy of the early exits."""

    def added(values: Mapping[str, Tensor], targets: Tensor) -> Tensor:
        return torch.stack([nn.functional.cross_entropy(values[name], targets) for name in branched.exits]).mean()

    return added


@torch.no_grad()
def leave(branched: Branched, x: Tensor, *, confidence: float, quantised: bool = True) -> Exited:
    """Return where jets (n_jets, *shape) leave: at the first exit whose largest class probability is high enough.

    With a confidence above 1 no jet leaves early.
    """
    network, names = branched.network, branched.ends
    values = network.activations(x, quantised=quantised, until=names)
    logits = torch.stack([values[name] for name in names])
    sure = torch.softmax(logits.double(), dim=-1).amax(dim=-1) >= confidence
    sure[-1] = True
    taken = sure.to(torch.uint8).argmax(dim=0)
    shares = torch.bincount(taken, minlength=len(names)).double() / len(taken)
    each = multiplications(network)
    # up to an exit all heads are computed that a jet passes
    passed = [network.preceding(names[:n]) for n in range(1, len(names) + 1)]
    costs = tuple(sum(count for layer, count in each.items() if layer in computed) for computed in passed)
    mean = float(shares @ torch.tensor(costs, dtype=shares.dtype))
    last = int(taken.max())
    return Exited(
        logits=logits[taken, torch.arange(len(x))],
        taken=taken,
        shares=tuple(shares.tolist()),
        costs=costs,
        work=Work(mean=mean, largest=float(costs[last]), worst_case=float(costs[-1])),
    )
