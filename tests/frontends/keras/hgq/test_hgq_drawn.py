"""Random architectures of HGQ2, which HGQ2 itself builds, runs, and loads again after they have been written.

One process of the interpreter that HGQ_PYTHON names serves every example: importing the framework takes the longest.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hepprune.fixed.quantisers import FixedPoints
from hepprune.frontends import keras as frontend
from hepprune.network import Network, Weighted
from hepprune.pruning.structure import surgery
from tests.frontends import interpreters
from tests.frontends.keras.hgq.test_hgq import DATA
from tests.networks import weighted

pytestmark = pytest.mark.slow
Ask = Callable[..., dict[str, Any]]
FLAT = ("dense", "linear", "norm", "curved", "affine", "add", "subtract", "multiply", "maximum", "average")
UNEVEN = {"default_q_type": "kif", "i0": 3, "f0": 3, "heterogeneous_axis": (-1,)}
KBI = {"default_q_type": "kbi", "b0": 5}


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Start HGQ2 in an interpreter of its own, and return what sends it a request."""
    log = tmp_path_factory.mktemp("hgq") / "log"
    environment = os.environ | {"KERAS_BACKEND": "torch"}
    command = [interpreters.of("hgq"), DATA / "draw_hgq.py"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    with log.open("w") as errors, subprocess.Popen(command, stderr=errors, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def request(**fields: Any) -> dict[str, Any]:
            print(json.dumps(fields, default=str), file=process.stdin, flush=True)
            answer = process.stdout.readline()
            assert answer, log.read_text()[-3000:]
            found: dict[str, Any] = json.loads(answer)
            return found

        yield request
        process.stdin.close()


@st.composite
def architectures(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a model: dense or convolutional, branches that merge, and quantisers of every kind."""
    shape = draw(st.sampled_from([(5,), (8, 2), (6, 5, 2)]))
    kinds = FLAT if len(shape) == 1 else (*FLAT, "conv", "conv", "max", "mean", "summed", "summed")
    steps = draw(st.lists(st.tuples(st.sampled_from(kinds), st.integers(2, 5)), min_size=1, max_size=4))
    weights = {"overflow_mode": draw(st.sampled_from(["SAT_SYM", "SAT", "WRAP"]))}
    values = {"overflow_mode": draw(st.sampled_from(["SAT", "SAT_SYM", "WRAP"]))}
    rounding = {"round_mode": draw(st.sampled_from(["RND", "RND_CONV", "TRN"]))}
    return {
        "shape": shape,
        "steps": steps,
        "ending": draw(st.sampled_from(["flat", "largest"])),
        "weights": weights | draw(st.sampled_from([KBI, {"default_q_type": "kif", "i0": 0, "f0": 4}])),
        "values": values | rounding | draw(st.sampled_from([KBI, {"default_q_type": "kif", "i0": 3, "f0": 3}, UNEVEN])),
        "seed": draw(st.integers(0, 2**16)),
    }


@torch.no_grad()
def outputs(network: Network, folder: Path) -> np.ndarray:
    found: np.ndarray = network(torch.as_tensor(np.load(folder / "features.npy"))).numpy()
    return found


def same(first: Network, second: Network) -> bool:
    """Return whether two networks have the same graph, types and acting weights."""
    alike = [layer.name for layer in first] == [layer.name for layer in second] and first.sources == second.sources
    return alike and all(_same_layer(one, second[one.name]) for one in first)


def _same_layer(one: Any, other: Any) -> bool:
    settings_of, others = one.settings(), other.settings()
    if settings_of.keys() != others.keys() or not all(_equal(settings_of[key], others[key]) for key in settings_of):
        return False
    states = (one.state_dict(), other.state_dict())
    if states[0].keys() != states[1].keys():
        return False
    return all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, FixedPoints) and isinstance(other, FixedPoints):
        arrays = ("width", "integer", "signed")
        return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays)
    return bool(one == other)


def pruned(network: Network, seed: int) -> Network:
    """Return the network without a third of its weights, and without what that leaves dead."""
    changed, rng = network.clone(), np.random.default_rng(seed)
    for layer in weighted(changed):
        layer.digit_limit[torch.as_tensor(rng.random(layer.weight.shape) < 0.3)] = 0
    return surgery.shrink(changed)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(request=architectures())
def test_a_drawn_model_is_read_and_written_bit_for_bit(
    request: dict[str, Any], ask: Ask, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("drawn")
    assert ask(folder=folder, **request)["loaded"]
    model = folder / "model.keras"
    network = frontend.read(model)
    np.testing.assert_array_equal(outputs(network, folder), np.load(folder / "outputs.npy"))
    for layer in network:
        if isinstance(layer, Weighted) and isinstance(layer.weight_type, FixedPoints):
            np.testing.assert_array_equal(layer.digit_limit.numpy() == 0, layer.weight_type.width == 0)
    assert same(frontend.read(frontend.write(network, folder / "same.keras", like=model)), network)
    smaller = pruned(network, request["seed"])
    for name, wanted in (("same", network), ("smaller", smaller)):
        written = frontend.write(wanted, folder / f"{name}.keras", like=model)
        assert ask(model=written, folder=folder, outputs=name)["loaded"]
        np.testing.assert_array_equal(np.load(folder / f"{name}.npy"), outputs(wanted, folder))
        read = frontend.read(written)
        np.testing.assert_array_equal(outputs(read, folder), outputs(wanted, folder))
        for layer, acting in zip(weighted(read), weighted(wanted), strict=True):
            assert torch.equal(layer.used_weight(), acting.used_weight())
