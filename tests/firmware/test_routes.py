"""Routes: what each refuses before anything is trained, and that what is built is a value that knows its proofs."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch

from hepprune.errors import EquivalenceError, NetworkError
from hepprune.firmware.routes import ROUTES, Built, Order
from hepprune.fixed import FixedPoint
from hepprune.hardware import targets
from hepprune.network import Activation, Conv, Dense, Input, Network, ReLU, Reshape
from hepprune.network.layers import Concatenate

T = TypeVar("T")
KIND, WIDE = FixedPoint(8, 3), FixedPoint(26, 3)


def afresh(kind: type[T], folder: Path, key: list[Any], write: Callable[[], T]) -> T:
    """Write whatever may be there."""
    del kind, folder, key
    return write()


def dense(name: str, n_in: int, n_out: int, **options: Any) -> Dense:
    weight = torch.as_tensor(np.random.default_rng(n_in).normal(size=(n_out, n_in))).float()
    types = {"weight_type": FixedPoint(6, 2), "bias_type": KIND} | options
    return Dense(name, weight, torch.zeros(n_out), **types)


def chain(*layers: Any) -> Network:
    return Network([Input("x", 4, KIND), *layers])


SOUND = chain(dense("a", 4, 4), ReLU("r", KIND), dense("b", 4, 2))


def order(strategy: str) -> Order:
    return Order(name="tagger", target=targets.load("generic_vu13p"), strategy=strategy)


@pytest.mark.parametrize(
    ("name", "strategy"), [("rtl", "distributed_arithmetic"), ("hls", "latency"), ("hls", "resource")]
)
def test_what_is_right_is_refused_by_none(name: str, strategy: str) -> None:
    assert ROUTES[name].refusals(SOUND, strategy=strategy) == {}


def test_every_layer_that_cannot_be_traced_is_named_with_what_helps() -> None:
    broken = chain(dense("a", 4, 4, weight_type=WIDE), ReLU("r", KIND), dense("b", 4, 2), Activation("t", "gelu"))
    reasons = ROUTES["rtl"].refusals(broken, strategy="distributed_arithmetic")
    assert reasons.keys() == {"a", "t"}
    assert "26-bit weights; da4ml takes up to 24" in reasons["a"]
    assert "layer 't' (Activation)" in reasons["t"]


@pytest.mark.parametrize(
    ("strategy", "factor", "said"),
    [
        ("resource", 3, "layer 'a' cannot be built with reuse factor 3; set 2 or 4"),
        ("distributed_arithmetic", 2, "layer 'a' has reuse factor 2; distributed_arithmetic knows only 1"),
    ],
)
def test_a_reuse_factor_that_would_be_moved_is_refused(strategy: str, factor: int, said: str) -> None:
    asked = chain(dense("a", 4, 4, reuse_factor=factor), ReLU("r", KIND), dense("b", 4, 2))
    assert ROUTES["hls"].refusals(asked, strategy=strategy) == {"a": said}
    assert ROUTES["hls"].refusals(asked, strategy="latency") == {}


def test_a_convolution_is_never_unrolled_in_parallel_and_may_take_every_factor() -> None:
    """hls4ml leaves one multiplier out of what it unrolls, and builds the convolution as under `resource`."""
    types = {"weight_type": FixedPoint(6, 2), "bias_type": KIND, "result": KIND, "reuse_factor": 12}
    conv = Conv("c", torch.ones(4, 3, 1), torch.zeros(4), **types)
    layers = [Input("x", (8, 1), KIND), conv, Reshape("flat", (24,)), dense("a", 24, 2, reuse_factor=48)]
    reasons = ROUTES["hls"].refusals(Network(layers), strategy="resource_unrolled")
    assert reasons == {"a": "layer 'a' cannot be built with reuse factor 48; set 24"}


@pytest.mark.slow
@pytest.mark.usefixtures("built_once")
@pytest.mark.parametrize(("name", "strategy"), [("rtl", "distributed_arithmetic"), ("hls", "resource")])
def test_what_is_built_is_proved_and_another_networks_firmware_is_not(name: str, strategy: str, tmp_path: Path) -> None:
    route, features = ROUTES[name], np.random.default_rng(0).normal(size=(200, 4))
    built = route.build(Built(network=SOUND), tmp_path / "firmware", order(strategy), keep=afresh)
    assert route.build(built, tmp_path / "elsewhere", order(strategy), keep=afresh) is built
    assert (built.design is not None, built.project is not None) == (name == "rtl", name == "hls")
    assert (built.solution is not None) == (name == "rtl")
    check = route.prove(built, features)
    assert (check.kind, check.vectors, check.mismatches) == (route.kind, 200, 0)
    assert replace(built, checks=(check,)).check(route.kind) == check
    other = chain(dense("a", 4, 4), ReLU("r", KIND), dense("b", 4, 2, weight_type=FixedPoint(3, 2)))
    with pytest.raises(EquivalenceError, match="differs from the network"):
        route.prove(replace(built, network=other), features)
    with pytest.raises(NetworkError, match="there is no .* to simulate"):
        route.prove(Built(network=SOUND), features)


@pytest.mark.parametrize(("name", "strategy"), [("rtl", "distributed_arithmetic"), ("hls", "latency")])
def test_what_was_written_for_another_part_is_written_again(name: str, strategy: str, tmp_path: Path) -> None:
    keys = []

    def noted(kind: type[T], folder: Path, key: list[Any], write: Callable[[], T]) -> T:
        keys.append(key)
        return afresh(kind, folder, key, write)

    known = order(strategy)
    others = [replace(known.target, part="xcvu9p-flgb2104-2-e"), replace(known.target, clock_uncertainty=0.3)]
    for target in (known.target, *others[: 1 if name == "rtl" else 2]):
        ROUTES[name].build(Built(network=SOUND), tmp_path / "built", replace(known, target=target), keep=noted)
    assert all(key != keys[0] for key in keys[1:])


def test_what_becomes_too_wide_is_known_before_a_matrix_is_solved() -> None:
    layers = [dense("a", 4, 4, result=FixedPoint(24, 6)), Activation("t", "gelu", result=KIND)]
    layers[0].bias.data[:] = 2.0**-18
    layers[0].bias_type = FixedPoint(24, 6)
    reasons = ROUTES["rtl"].refusals(chain(*layers), strategy="distributed_arithmetic")
    assert reasons.keys() == {"t"}
    assert "'t' (Activation) would look up an argument of" in reasons["t"]


def test_ports_too_wide_to_simulate_are_known_before_a_matrix_is_solved() -> None:
    fine = Network([Input("x", 4, FixedPoint(44, 8)), dense("a", 4, 4, weight_type=FixedPoint(20, 2))])
    reasons = ROUTES["rtl"].refusals(fine, strategy="distributed_arithmetic")
    assert reasons.keys() == {"a"}
    assert "layer 'a' makes the outputs 6" in reasons["a"]
    assert "bits wide and the simulation of the Verilog takes up to 52; give it a coarser result type" in reasons["a"]
    coarse = Network([Input("x", 4, FixedPoint(34, 8)), dense("a", 4, 4, weight_type=FixedPoint(4, 2))])
    assert ROUTES["rtl"].refusals(coarse, strategy="distributed_arithmetic") == {}
    sides = [Input("x", 2, FixedPoint(40, 20)), Input("y", 2, FixedPoint(20, 40)), Concatenate("both", result=KIND)]
    reasons = ROUTES["rtl"].refusals(Network(sides, {"both": ("x", "y")}), strategy="distributed_arithmetic")
    assert reasons.keys() == {"x"}
    assert "layer 'x' makes the inputs 60 bits wide" in reasons["x"]
