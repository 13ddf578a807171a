"""What is made by several layers and cannot be scored is refused in one sentence."""

import pytest
import torch

import hepprune
from hepprune.errors import NetworkError
from hepprune.network import Dense, Input, Merge, Network, Recurrent, Shared


def _lstm(name: str) -> Recurrent:
    gates = torch.ones(16, 3), torch.ones(16, 4), torch.ones(16), torch.ones(16)
    return Recurrent(name, "lstm", **dict(zip(("weight", "recurrent_weight", "bias", "recurrent_bias"), gates)))  # noqa: B905


def _dense(name: str, n_in: int, n_out: int) -> Dense:
    return Dense(name, torch.ones(n_out, n_in), torch.zeros(n_out))


def _unread() -> Network:
    layers = [Input("x", (5, 3)), _lstm("state"), _lstm("live"), _dense("out", 4, 2)]
    return Network(layers, {"state": "x", "live": "x", "out": "live"})


def _of_shared_layers() -> Network:
    layers = [Input("x", 4), _dense("first", 4, 4), Shared("again", "first"), Merge("sum", "add"), _dense("out", 4, 2)]
    return Network(layers, {"first": "x", "again": "first", "sum": ("first", "again"), "out": "sum"})


@pytest.mark.parametrize("method", ["taylor", "fisher", "obd", "obd_gauss_newton", "dead", "mean_activation"])
def test_a_state_that_nothing_reads_is_refused_by_name(method: str) -> None:
    jets = torch.rand(8, 5, 3), torch.arange(8) % 2
    with pytest.raises(NetworkError, match=f"nothing on the way to the logits reads 'state', so '{method}' cannot"):
        hepprune.prune(_unread(), jets, method=method, sparsity=0.5, granularity="neuron")
    assert hepprune.prune(_unread(), jets, method="random", sparsity=0.5, granularity="neuron", scope="local")


@pytest.mark.parametrize("method", ["taylor", "magnitude"])
def test_a_block_of_shared_layers_only_is_refused_by_name(method: str) -> None:
    network, jets = _of_shared_layers(), (torch.rand(8, 4), torch.arange(8) % 2)
    with pytest.raises(NetworkError, match=r"the block that ends in 'sum' only shares layers .* choose loss_change"):
        hepprune.prune(network, jets, method=method, sparsity=1.0, granularity="layer")
    assert "again" not in hepprune.prune(network, jets, method="loss_change", sparsity=1.0, granularity="layer").shapes
