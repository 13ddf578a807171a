"""What was written is compared with the network: bit for bit in fixed point, to rounding in float."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hepprune import frontends
from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint
from hepprune.frontends.checking import Reading, acting, check
from hepprune.network import Dense, Input, Network, ReLU, Slice

NARROW, WIDE = FixedPoint(8, 3, True, "RND", "SAT"), FixedPoint(24, 10, True, "RND", "SAT")


def network(*, typed: bool = False) -> Network:
    generator = torch.Generator().manual_seed(1)
    types = {"weight_type": NARROW, "bias_type": NARROW} if typed else {}
    first, last = (
        Dense(name, torch.randn(n, m, generator=generator), torch.randn(n, generator=generator), **types)
        for name, n, m in (("first", 6, 4), ("last", 2, 3))
    )
    result = WIDE if typed else None
    return Network([Input("jets", 4, result), first, ReLU("positive", result), Slice("part", 1, 4), last])


def running(net: Network) -> frontends.checking.RunModel:
    def run(given: Sequence[Tensor]) -> list[Tensor]:
        return [net(given[0].float(), quantised=False)]

    return run


@pytest.mark.parametrize("typed", [False, True])
def test_a_copy_is_the_network(*, typed: bool) -> None:
    net = network(typed=typed)
    check(net, Reading(net.clone(), run=running(acting(net))))


def test_the_first_layer_that_differs_is_named_with_its_setting() -> None:
    net = network()
    other = net.replacing({"part": Slice("part", 2, 5)})
    with pytest.raises(NetworkError, match="layer 'part' would compute something else: start is 2, not 1; try this"):
        check(net, Reading(other, advice="try this"))


def test_one_step_of_a_type_is_a_difference() -> None:
    net = network(typed=True)
    other = net.clone()
    with torch.no_grad():
        other["last"].bias[0] = other["last"].used_bias()[0] + 2.0**-5
    with pytest.raises(NetworkError, match="layer 'last'"):
        check(net, Reading(other))
    plain = acting(net).clone()
    for layer in plain:
        for kind in ("result", "weight_type", "bias_type"):
            if hasattr(layer, kind):
                setattr(layer, kind, None)
    check(net, Reading(plain))  # a format without types is compared in float


@torch.no_grad()
def test_rounding_in_float_is_none() -> None:
    net = network()
    other = net.clone()
    other["first"].weight *= 1 + 1e-7
    check(net, Reading(other))
    other["first"].weight *= 1 + 1e-4
    with pytest.raises(NetworkError, match="layer 'first'"):
        check(net, Reading(other))


def test_what_the_framework_computes_counts_on_two_numbers_of_jets() -> None:
    net = network()

    def only_three(given: Sequence[Tensor]) -> list[Tensor]:
        return [net(given[0].float()).view(3, 2)]

    with pytest.raises(NetworkError, match="cannot run on 5 jets: shape"):
        check(net, Reading(net.clone(), run=only_three))
    check(net, Reading(net.clone(), run=only_three, batches=(3,)))
    with pytest.raises(NetworkError, match="on 3 jets its outputs are others"):
        check(net, Reading(net.clone(), run=lambda given: [1.001 * net(given[0].float())]))


def test_inputs_and_outputs_must_be_as_many() -> None:
    net = network()
    more = Network(list(net), net.sources, ("part", "last"))
    with pytest.raises(NetworkError, match="its outputs differ"):
        check(net, Reading(more))


def test_any_model_can_be_written_as_npz(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    net = frontends.read(module)
    path = frontends.write(net, tmp_path / "new" / "net.npz", like=module)
    assert [file.name for file in path.parent.iterdir()] == ["net.npz"]
    x = torch.randn(5, 3)
    assert torch.equal(frontends.read(path)(x), net(x))


@pytest.mark.parametrize(
    ("model", "ending"),
    [("a.b:make@w.pt", ".pt"), ("a/b.onnx", ".onnx"), (Path("a.keras"), ".keras"), (torch.nn.ReLU(), ".npz")],
)
def test_the_ending_of_what_is_written(model: object, ending: str) -> None:
    assert frontends.suffix(model) == ending
