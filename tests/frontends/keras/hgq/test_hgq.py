"""HGQ2 itself is the oracle: `data/make_hgq.py` kept what its models put out."""

import io
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import hepprune
from hepprune import frontends
from hepprune.errors import NetworkError
from hepprune.firmware import rtl
from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import FixedPoints
from hepprune.frontends import keras as frontend
from hepprune.frontends.keras.files import read_model
from hepprune.frontends.keras.graph import lower
from hepprune.network import Network, Weighted, exact_logits
from hepprune.pruning.structure import surgery
from tests.frontends import interpreters
from tests.frontends.keras.data.moving import moving
from tests.networks import weighted

DATA = Path(hepprune.__file__).parents[1] / "tests" / "frontends" / "keras" / "data"
NAMES = ("dense", "convolutional", "pooled", "wrapped", "fused", "attention")


def network(name: str) -> Network:
    return lower(read_model(DATA / f"hgq_{name}.keras")).network


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_network_computes_what_hgq_computes_bit_for_bit(name: str, dtype: torch.dtype) -> None:
    kept = np.load(DATA / f"hgq_{name}.npz")
    with torch.no_grad():
        outputs = network(name).to(dtype)(torch.as_tensor(kept["features"], dtype=dtype))
    np.testing.assert_array_equal(outputs.numpy().astype(np.float32), kept["outputs"])
    assert moving(kept["outputs"])


@pytest.mark.parametrize("name", ["attention", "convolutional", "fused"])
def test_adder_graphs_of_attention_softmax_and_einsums_are_exact(name: str) -> None:
    found = network(name)
    port = found.input.result = found.input.result or FixedPoint(12, 4, True, "RND", "SAT")
    jets = np.asarray(port(np.load(DATA / f"hgq_{name}.npz")["features"].astype(np.float64)))
    assert rtl.refusals(found) == {}
    traced = rtl.solve(found).logic.predict(np.ascontiguousarray(jets).reshape(len(jets), -1))
    wanted = exact_logits(found, jets)
    assert moving(wanted)
    np.testing.assert_array_equal(traced, wanted)


@pytest.mark.parametrize("name", NAMES)
def test_a_weight_without_bits_is_a_pruned_one(name: str) -> None:
    found = 0
    for layer in network(name):
        if isinstance(layer, Weighted):
            assert isinstance(layer.weight_type, FixedPoints)
            np.testing.assert_array_equal(layer.digit_limit.numpy() == 0, layer.weight_type.width == 0)
            found += int((layer.digit_limit == 0).sum())
    assert found > 0


def test_a_weight_that_is_pruned_keeps_no_bits_and_the_rest_their_own(tmp_path: Path) -> None:
    path = DATA / "hgq_dense.keras"
    changed = frontend.read(path)
    hidden = changed["hidden"]
    assert isinstance(hidden, Weighted)
    with torch.no_grad():
        hidden.digit_limit[2, 1] = 0
    read = frontend.read(frontend.write(changed, tmp_path / "pruned.keras", like=path))["hidden"]
    assert isinstance(read, Weighted)
    assert isinstance(hidden.weight_type, FixedPoints)
    assert isinstance(read.weight_type, FixedPoints)
    wanted = np.where(hidden.digit_limit.numpy() == 0, 0, hidden.weight_type.width)
    np.testing.assert_array_equal(read.weight_type.width, wanted)


def written(name: str, folder: Path) -> tuple[Path, np.ndarray]:
    """Return the file of a smaller network, and what the pruned one that it comes from puts out."""
    path, kept = DATA / f"hgq_{name}.keras", np.load(DATA / f"hgq_{name}.npz")
    changed, rng = frontend.read(path), np.random.default_rng(0)
    for layer in weighted(changed):
        layer.digit_limit[torch.as_tensor(rng.random(layer.weight.shape) < 0.3)] = 0
        layer.digit_limit[0] = 0
    smaller = surgery.shrink(changed)
    if name == "convolutional":
        assert smaller.widths != changed.widths
    np.save(folder / "features.npy", kept["features"])
    with torch.no_grad():
        wanted = changed(torch.as_tensor(kept["features"])).numpy()
    return frontend.write(smaller, folder / "smaller.keras", like=path), wanted


@pytest.mark.parametrize("name", NAMES)
def test_a_smaller_network_is_written_as_it_computes(name: str, tmp_path: Path) -> None:
    file, wanted = written(name, tmp_path)
    with torch.no_grad():
        found = frontend.read(file)(torch.as_tensor(np.load(tmp_path / "features.npy"))).numpy()
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_hgq_computes_what_was_written(name: str, tmp_path: Path) -> None:
    interpreters.of("hgq")
    file, wanted = written(name, tmp_path)
    interpreters.run("hgq", DATA / "make_hgq.py", file, tmp_path / "features.npy", tmp_path / "outputs.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "outputs.npy"), wanted)


def test_a_batch_norm_of_fewer_channels_keeps_its_bits(tmp_path: Path) -> None:
    path = DATA / "hgq_wrapped.keras"
    changed = frontend.read(path)
    logits = changed["logits"]
    assert isinstance(logits, Weighted)
    logits.digit_limit[:, 2:5] = 0
    smaller = surgery.shrink(changed)
    assert smaller.widths["norm"] < changed.widths["norm"]
    read = frontend.read(frontend.write(smaller, tmp_path / "smaller.keras", like=path))
    features = torch.as_tensor(np.load(DATA / "hgq_wrapped.npz")["features"])
    with torch.no_grad():
        assert torch.equal(read(features), smaller(features))


def test_a_type_that_the_file_has_no_place_for_is_refused(tmp_path: Path) -> None:
    path = DATA / "hgq_dense.keras"
    network = frontend.read(path)
    network["hidden_input"].result = FixedPoint(8, 3, True, "TRN", "SAT")
    with pytest.raises(NetworkError, match=r"'hidden' \(QDense\) has iq_conf .*, not TRN/SAT"):
        frontend.write(network, tmp_path / "changed.keras", like=path)
    assert not list(tmp_path.iterdir())


def test_a_sign_alone_is_not_written_where_hgq_would_read_zero(tmp_path: Path) -> None:
    path = DATA / "hgq_pooled.keras"
    network = frontend.read(path)
    before = network["curved_output"].result
    assert isinstance(before, FixedPoint)
    network["curved_output"].result = FixedPoint(1, 1, True, before.rounding, before.overflow)
    with pytest.raises(NetworkError, match="of a sign alone, which saturates to -1 step here, for zero"):
        frontend.write(network, tmp_path / "changed.keras", like=path)
    assert not list(tmp_path.iterdir())


def altered(path: Path, folder: Path, old: str, new: str) -> Path:
    """Return a copy of a file with something else in its config."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    assert old.encode() in parts["config.json"]
    parts["config.json"] = parts["config.json"].replace(old.encode(), new.encode())
    with zipfile.ZipFile(folder / path.name, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return folder / path.name


@pytest.mark.parametrize(
    ("name", "old", "new", "sentence"),
    [
        ("fused", "bnc,cC->bnC", "bnc,dC->bnC", "'mixed' .* computes bnc,dC->bnC of the shape .*, which cannot be"),
        (
            "fused",
            "bnc,cC->bnC",
            "relu",
            "'mixed' .* computes relu, which is not a contraction of a value and a kernel",
        ),
        ("fused", "bnhd,hdc->bnc", "bnhd,dhc->bnc", "'joined' .* has a kernel of shape .* that does not fit bnhd,dhc"),
        ("fused", '"scale": 0.5', '"scale": 0.3', "'total' .* has scale = 0.3, which is not a power of two"),
        ("fused", '"q_type": "kif"', '"q_type": "posit"', "iq_conf of type posit; known are kif, kbi and float"),
        (
            "fused",
            '"overflow_mode": "WRAP"',
            '"overflow_mode": null',
            "with overflow NONE; known are WRAP, SAT, SAT_SYM, WRAP_SM",
        ),
        ("attention", '"fuse": "qkv"', '"fuse": "all"', "'attended' .* fuses all; known are none, kv, qkv"),
        ("attention", '"attention_axes": [1]', '"attention_axes": [2]', "attends along other axes than the positions"),
        ("attention", '"lin_kv_proj_mode": "dense"', '"lin_kv_proj_mode": "dense_t"', "'mixed' .* by tables, which"),
    ],
)
def test_what_cannot_be_taken_over_is_named(name: str, old: str, new: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=sentence) as raised:
        frontend.read(altered(DATA / f"hgq_{name}.keras", tmp_path, old, new))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["dense", "floats"])
def test_types_of_another_shape_than_the_values_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.keras"
    with zipfile.ZipFile(DATA / f"hgq_{name}.keras") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    weights = io.BytesIO(parts["model.weights.h5"])
    with h5py.File(weights, "r+") as file:
        group = file["layers/q_dense/iq/quantizer/vars"]
        for number in ("0", "1", "2"):
            del group[number]
            group[number] = np.arange(7, dtype=np.float32)[None] % 3
    with zipfile.ZipFile(path, "w") as archive:
        for part, content in (parts | {"model.weights.h5": weights.getvalue()}).items():
            archive.writestr(part, content)
    with pytest.raises(NetworkError, match=r"layer '\w+' has types of shape \(7,\) for values of \(6,\)"):
        frontend.read(path)


# Sums and scores are multiplied by a number; weights whose quantisers wrap around have no range in the file.
@pytest.mark.parametrize("name", ["fused", "attention", "wrapped"])
def test_what_training_changes_is_written_and_constants_stay(name: str, tmp_path: Path) -> None:
    source, trained = DATA / f"hgq_{name}.keras", network(name)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.mul_(1.25)
    again = frontends.read(frontends.write(trained, tmp_path / source.name, like=source))
    x = torch.as_tensor(np.load(DATA / f"hgq_{name}.npz")["features"], dtype=torch.float32)
    with torch.no_grad():
        assert torch.equal(again(x), trained(x))
        assert not torch.equal(again(x), network(name)(x))
