"""Small recurrent taggers in float64, and what reaches their kernels as torch.nn itself computes it: the oracle."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hepprune.network import Dense, Input, Layer, Network, Recurrent, ReLU, Reshape
from hepprune.network.layers import Activation
from hepprune.network.layers.recurrent import GATES

N_STEPS, N_IN, N_OUT, N_CLASSES = 4, 3, 3, 3
FORMS = ("simple", "lstm", "gru", "gru_before")  # a GRU resets the state after its kernel, or before


def arrays(form: str, n_in: int = N_IN) -> dict[str, Tensor]:
    """Return the kernels and biases of a cell."""
    generator, rows = torch.Generator().manual_seed(7), GATES[form.removesuffix("_before")] * N_OUT
    sizes = {"weight": (rows, n_in), "recurrent_weight": (rows, N_OUT), "bias": (rows,), "recurrent_bias": (rows,)}
    return {name: 0.8 * torch.randn(*size, generator=generator) for name, size in sizes.items()}


def network(form: str, *, sequences: bool = False, curved: bool = False, **options: bool) -> Network:
    """Return a cell and what reads it: a flatten of all its states if `sequences`, a tanh if `curved`, a hidden layer."""
    reset_after = not form.endswith("before")
    cell = Recurrent(
        "cell",
        form.removesuffix("_before"),
        **arrays(form),
        reset_after=reset_after,
        return_sequences=sequences,
        **options,
    )
    width = N_OUT * (N_STEPS if sequences else 1)
    between: list[Layer] = [Reshape("flat", (width,))] if sequences else []
    between += [Activation("curved", "tanh")] if curved else []
    generator = torch.Generator().manual_seed(8)
    hidden, out = (torch.randn(*size, generator=generator) for size in ((4, width), (N_CLASSES, 4)))
    head = [Dense("hidden", hidden, torch.zeros(4)), ReLU("relu"), Dense("out", out, torch.zeros(N_CLASSES))]
    return Network([Input("x", (N_STEPS, N_IN)), cell, *between, *head]).double()


def jets(n_jets: int = 24) -> tuple[Tensor, Tensor]:
    """Return jets and their classes."""
    generator = torch.Generator().manual_seed(9)
    x = torch.randn(n_jets, N_STEPS, N_IN, generator=generator, dtype=torch.float64)
    return x, torch.randint(N_CLASSES, (n_jets,), generator=generator)


def loss(net: Network, x: Tensor, y: Tensor) -> Tensor:
    """Return the mean cross-entropy."""
    return nn.functional.cross_entropy(net.logits(x), y)


@torch.no_grad()
def states(cell: Recurrent, x: Tensor) -> Tensor:
    """Return the states before each step, (n_jets, n_steps, n_out), by torch.nn; by hand where it has no such cell."""
    if cell.cell == "gru" and not cell.reset_after:
        found = [x.new_zeros(len(x), cell.n_out)]
        for now in x.unbind(dim=1)[:-1]:
            found.append(_reset_before(cell, now, found[-1]))
        return torch.stack(found, dim=1)
    kind = {"simple": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[cell.cell]
    oracle = kind(cell.n_in, cell.n_out, batch_first=True).double()
    order = [1, 0, 2] if cell.cell == "gru" else list(range(GATES[cell.cell]))  # torch has the reset gate first
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    for name, own in zip(names, (cell.weight, cell.recurrent_weight, cell.bias, cell.recurrent_bias), strict=True):
        getattr(oracle, name).copy_(torch.cat([own.chunk(len(order))[gate] for gate in order]))
    after = oracle(x)[0]
    return torch.cat([torch.zeros_like(after[:, :1]), after[:, :-1]], dim=1)


def _reset_before(cell: Recurrent, now: Tensor, state: Tensor) -> Tensor:
    update, reset, candidate = gates(cell, now, state)
    update = torch.sigmoid(update)
    del reset
    return update * state + (1 - update) * torch.tanh(candidate)


@torch.no_grad()
def gates(cell: Recurrent, now: Tensor, state: Tensor) -> Sequence[Tensor]:
    """Return the totals of a GRU's update, reset and candidate for inputs and states (..., n)."""
    w, u = cell.weight.chunk(3), cell.recurrent_weight.chunk(3)
    b, c = cell.bias.chunk(3), cell.recurrent_bias.chunk(3)
    update, reset = (now @ w[i].T + state @ u[i].T + b[i] + c[i] for i in range(2))
    r = torch.sigmoid(reset)
    recurrent = r * (state @ u[2].T + c[2]) if cell.reset_after else (r * state) @ u[2].T + c[2]
    return update, reset, now @ w[2].T + b[2] + recurrent
