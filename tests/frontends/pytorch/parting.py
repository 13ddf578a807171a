"""Random torch modules that take values apart and put them together again, with bounds and sizes fixed in their code."""

from collections.abc import Callable, Sequence

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from hepprune.network import Network, Weighted
from hepprune.pruning import masks
from hepprune.pruning.structure import surgery

_WIDTH = 8


def _halves(v: Tensor) -> Tensor:
    return torch.cat([v[:, 4:], v[:, :4]], 1)


def _chunks(v: Tensor) -> Tensor:
    first, second, third = v.chunk(3, 1)
    return torch.cat([third, first, second], 1)


def _split(v: Tensor) -> Tensor:
    first, second = v.split([3, 5], 1)
    return torch.cat([second, first], 1)


def _narrow(v: Tensor) -> Tensor:
    return torch.cat([v.narrow(1, 5, 3), v.narrow(1, 1, 4)], 1)


def _select(v: Tensor) -> Tensor:
    return torch.stack([v[:, 6], v[:, -1], v.select(1, 2)], 1)


def _unbound(v: Tensor) -> Tensor:
    return torch.stack(v.unbind(1)[1::3], 1)


def _one_part(v: Tensor) -> Tensor:
    return v.tensor_split([2, 6], 1)[1]


# Each gives (n_jets, n) for (n_jets, 8).
PARTS: dict[str, Callable[[Tensor], Tensor]] = {
    "halves": _halves,
    "chunks": _chunks,
    "split": _split,
    "narrow": _narrow,
    "select": _select,
    "unbound": _unbound,
    "one_part": _one_part,
    "places": lambda v: v[:, [1, 2, 5, 0]],
    "index": lambda v: torch.index_select(v, 1, torch.tensor([7, 3, 4])),
    "heads": lambda v: v.view(-1, 2, 4).transpose(1, 2).flatten(1),
    "mean": lambda v: v.reshape(-1, 2, 4).mean(1),
    "largest": lambda v: v.view(v.shape[0], 4, -1).amax(2),
    "expanded": lambda v: v.unsqueeze(1).expand(-1, 3, 8).flatten(1),
    "all": lambda v: v,
}


class Parting(nn.Module):
    """Linear layers, between them steps that take their values apart; some are shared, normed or added to."""

    input_shape = (5,)

    def __init__(self, steps: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self.steps = list(steps)
        self.first, self.layers, self.parameters_of = nn.Linear(5, _WIDTH), nn.ModuleDict(), nn.ParameterDict()
        self.again = nn.Linear(_WIDTH, _WIDTH)
        self.eval()
        with torch.no_grad():
            self(torch.zeros(2, 5))

    def forward(self, x: Tensor) -> Tensor:
        """Return two values for each jet."""
        v = torch.relu(self.first(x))
        for number, (part, kind) in enumerate(self.steps):
            v = self.widened(self.adorned(PARTS[part](v), kind, number), f"layer_{number}", _WIDTH)
        return self.widened(v, "last", 2)

    def widened(self, v: Tensor, key: str, width: int) -> Tensor:
        """Return a linear layer of the values."""
        if key not in self.layers:
            self.layers[key] = nn.Linear(v.shape[1], width)
        return torch.relu(self.layers[key](v)) if width > 2 else self.layers[key](v)

    def adorned(self, v: Tensor, kind: str, number: int) -> Tensor:
        """Return the values normed, with a table of parameters added, or through a layer that is there once."""
        if kind == "norm":
            key = f"norm_{number}"
            if key not in self.layers:
                self.layers[key] = nn.LayerNorm(v.shape[1])
            return self.layers[key](v)
        if kind == "table":
            key, pair = f"table_{number}", v.unsqueeze(1).repeat(1, 2, 1)
            if key not in self.parameters_of:
                self.parameters_of[key] = nn.Parameter(torch.randn(1, 2, v.shape[1]))
            return (pair + self.parameters_of[key]).amax(1)
        if kind == "shared":
            return torch.relu(self.again(torch.relu(self.again(self.widened(v, f"to_{number}", _WIDTH)))))
        return v


@st.composite
def partings(draw: st.DrawFn, *, max_steps: int = 2) -> Parting:
    """Modules of some steps."""
    kinds = st.sampled_from(["plain", "norm", "table", "shared"])
    steps = draw(st.lists(st.tuples(st.sampled_from(sorted(PARTS)), kinds), min_size=1, max_size=max_steps))
    torch.manual_seed(draw(st.integers(0, 2**31)))
    return Parting(steps)


def smaller(network: Network, seed: int) -> Network:
    """Return a network without a third of its neurons, as far as they can go."""
    torch.manual_seed(seed)
    cuts = [
        masks.Cut(layer.name, "neuron", tuple(torch.nonzero(torch.rand(layer.n_out) < 0.33).flatten().tolist()))
        for layer in (each for each in network if isinstance(each, Weighted))
        if layer.name not in network.outputs
    ]
    return surgery.shrink(network, [cut for cut in cuts if 0 < len(cut.units) < network[cut.layer].n_out], warn=False)
