"""Simple recurrent layers and GRUs of HGQ2, which is the oracle: `data/make_hgq_recurrent.py` kept what its model puts out."""

from pathlib import Path

import numpy as np
import pytest
import torch

import hepprune
from hepprune.errors import NetworkError
from hepprune.firmware import rtl
from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import FixedPoints
from hepprune.frontends import keras as frontend
from hepprune.hardware import cost, targets
from hepprune.network import Recurrent, parts
from hepprune.network.ranges import exact_activations, exact_logits
from hepprune.pruning.structure import surgery
from tests.frontends import interpreters
from tests.frontends.keras.data.moving import moving
from tests.frontends.keras.hgq.test_hgq import altered

DATA = Path(hepprune.__file__).parents[1] / "tests" / "frontends" / "keras" / "data"
PATH, GATED = DATA / "hgq_recurrent.keras", DATA / "hgq_gru.keras"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("path", [PATH, GATED])
def test_a_cell_computes_what_hgq_computes_bit_for_bit(path: Path, dtype: torch.dtype) -> None:
    kept = np.load(path.with_suffix(".npz"))
    with torch.no_grad():
        outputs = frontend.read(path).to(dtype)(torch.as_tensor(kept["features"], dtype=dtype))
    np.testing.assert_array_equal(outputs.numpy().astype(np.float32), kept["outputs"])
    assert moving(kept["outputs"])


def test_weights_of_a_cell_without_bits_are_pruned() -> None:
    first = frontend.read(PATH)["first"]
    assert isinstance(first, Recurrent)
    for limit, kind in (
        (first.digit_limit, first.weight_type),
        (first.recurrent_digit_limit, first.recurrent_weight_type),
    ):
        np.testing.assert_array_equal(limit.numpy() == 0, kind.width == 0)  # type: ignore[union-attr]
        assert (limit == 0).any()


def smaller_cell(path: Path, folder: Path) -> tuple[Path, np.ndarray]:
    """Return the file of a smaller network, and what the pruned one that it comes from puts out."""
    changed, kept = frontend.read(path), np.load(path.with_suffix(".npz"))
    first, second = changed["first"], changed["second"]
    assert isinstance(first, Recurrent)
    assert isinstance(second, Recurrent)
    second.digit_limit[:, 1] = 0
    first.recurrent_digit_limit.view(-1, 4, 4)[:, [0, 2, 3], 1] = 0
    smaller = surgery.shrink(changed)
    assert smaller.widths["first"] < changed.widths["first"]
    np.save(folder / "features.npy", kept["features"])
    with torch.no_grad():
        wanted = changed(torch.as_tensor(kept["features"])).numpy()
    return frontend.write(smaller, folder / "smaller.keras", like=path), wanted


@pytest.mark.parametrize("path", [PATH, GATED])
def test_a_smaller_cell_is_written_as_it_computes(path: Path, tmp_path: Path) -> None:
    file, wanted = smaller_cell(path, tmp_path)
    with torch.no_grad():
        found = frontend.read(file)(torch.as_tensor(np.load(tmp_path / "features.npy"))).numpy()
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("path", [PATH, GATED])
def test_hgq_computes_the_cell_that_was_written(path: Path, tmp_path: Path) -> None:
    interpreters.of("hgq")
    file, wanted = smaller_cell(path, tmp_path)
    interpreters.run("hgq", DATA / "make_hgq.py", file, tmp_path / "features.npy", tmp_path / "outputs.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "outputs.npy"), wanted)


def test_the_gates_of_a_gru_have_types_of_their_own_and_so_has_what_they_multiply() -> None:
    first = frontend.read(GATED)["first"]
    assert isinstance(first, Recurrent)
    assert first.passed_type is not None
    update, reset = (first.argument_of(gate) for gate in first.gates)
    assert isinstance(first.argument_type, FixedPoints)
    widths = first.argument_type.width
    np.testing.assert_array_equal(update.width, widths[:4])  # type: ignore[union-attr]
    np.testing.assert_array_equal(reset.width, widths[4:])  # type: ignore[union-attr]
    assert (widths[:4] != widths[4:]).any()


@pytest.mark.slow
def test_the_adder_graph_and_the_parts_of_a_gru_compute_what_the_network_does() -> None:
    network, kept = frontend.read(GATED), np.load(GATED.with_suffix(".npz"))
    network["steps"].result = FixedPoint(12, 6)
    features = network["steps"].result(kept["features"].astype(np.float64))
    with torch.no_grad():
        wanted = network(torch.as_tensor(features, dtype=torch.float32)).numpy()
    np.testing.assert_array_equal(exact_logits(network, features), wanted)
    network.double()
    for name in ("first", "second"):
        layer, before = network[name], torch.as_tensor(exact_activations(network, features)[network.sources[name][0]])
        with torch.no_grad():
            assert torch.equal(parts.parts(layer, tuple(before.shape[1:]))(before), layer(before))
    solution = rtl.solve(network)
    found = np.array([solution.logic(row.ravel()) for row in features])
    np.testing.assert_array_equal(found, wanted)
    price = cost.adder_graph(network, targets.load("generic_vu13p")).resources.lut
    assert 0.5 < price / solution.cost < 2


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"oq_conf": null', '"oq_conf": {"config": {"q_type": "kif"}}', "'first' .* puts out by oq_conf"),
        ('"class_name": "QSimpleRNN"', '"class_name": "QGRU"', "'first' .QGRU. has weights of shapes"),
        ('"units": 4', '"units": 5', "'first' .* has weights of shapes"),
        ('"q_type": "kbi"', '"q_type": "posit"', "of type posit; known are kif, kbi and float"),
        ('"overflow_mode": "WRAP"', '"overflow_mode": null', "with overflow NONE; known are"),
    ],
)
def test_what_no_cell_has_is_refused(old: str, new: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=sentence):
        frontend.read(altered(PATH, tmp_path, old, new))
