"""PQuantML itself is the oracle: `data/make_pquant.py` kept what its models put out."""

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import hepprune
from hepprune.errors import NetworkError
from hepprune.frontends import keras as frontend
from hepprune.network import Network
from hepprune.pruning.structure import surgery
from tests.frontends import interpreters
from tests.frontends.keras.data.moving import moving
from tests.networks import weighted

DATA = Path(hepprune.__file__).parents[1] / "tests" / "frontends" / "keras" / "data"
NAMES = (
    *("dense", "dense_compressed", "dense_fine", "dense_multiplied", "dense_wrapped"),
    *("image", "image_fine", "image_wanda", "shares_folded", "steps", "steps_fine"),
    *(f"{made}{kind}" for made in ("across", "attention", "separable") for kind in ("", "_compressed", "_fine")),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pquant")
    for name in ("pquant.zip", "pquant_composed.zip"):
        with zipfile.ZipFile(DATA / name) as archive:
            archive.extractall(path)
    return path


def given(kept: Mapping[str, Any]) -> Any:
    """Return the features that a model was run on, a list of them where it takes several."""
    found = [torch.as_tensor(kept[key]) for key in sorted(kept) if key != "outputs"]
    return found if len(found) > 1 else found[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_network_computes_what_pquant_computes_bit_for_bit(name: str, folder: Path) -> None:
    kept = np.load(folder / f"{name}.npz")
    with torch.no_grad():
        outputs = frontend.read(folder / f"{name}.keras")(given(kept))
    np.testing.assert_array_equal(outputs.numpy(), kept["outputs"])
    assert moving(kept["outputs"])


def written(name: str, folder: Path, place: Path) -> tuple[Path, np.ndarray]:
    """Return the file of a smaller network, and what the pruned one that it comes from puts out."""
    path, kept = folder / f"{name}.keras", np.load(folder / f"{name}.npz")
    changed, rng = frontend.read(path), np.random.default_rng(0)
    for layer in weighted(changed):
        layer.digit_limit[torch.as_tensor(rng.random(layer.weight.shape) < 0.3)] = 0
        layer.digit_limit[0] = 0
    if any(layer.name == "attention" for layer in changed):  # whose class has channels of whole heads only
        changed = _with_fewer_heads(path)
    smaller = surgery.shrink(changed)
    with torch.no_grad():
        wanted = changed(given(kept)).numpy()
    return frontend.write(smaller, place / "smaller.keras", like=path), wanted


@pytest.mark.parametrize("name", NAMES)
def test_a_smaller_network_is_written_as_it_computes(name: str, folder: Path, tmp_path: Path) -> None:
    file, wanted = written(name, folder, tmp_path)
    with torch.no_grad():
        found = frontend.read(file)(given(np.load(folder / f"{name}.npz"))).numpy()
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_pquant_computes_what_was_written(name: str, folder: Path, tmp_path: Path) -> None:
    interpreters.of("pquant")
    file, wanted = written(name, folder, tmp_path)
    kept = np.load(folder / f"{name}.npz")
    np.savez(tmp_path / "features.npz", **{key: kept[key] for key in sorted(kept) if key != "outputs"})
    interpreters.run("pquant", DATA / "make_pquant.py", file, tmp_path / "features.npz", tmp_path / "outputs.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "outputs.npy"), wanted)


def _with_fewer_heads(path: Path) -> Network:
    """Return an attention without one of its heads, or values of one, whose channels all stay."""
    network = frontend.read(path)
    n_heads, size = network.shapes["attention_query_heads"][1:]
    for columns in [*([head * size + value for value in range(size)] for head in range(n_heads)), [size - 1], [0]]:
        changed = frontend.read(path)
        for layer in weighted(changed):
            if layer.name == "attention":
                layer.digit_limit[:, columns] = 0
        smaller = surgery.shrink(changed)
        if smaller.widths["attention"] == network.widths["attention"]:
            assert smaller.widths["attention_joined"] < network.widths["attention_joined"]
            return changed
    raise AssertionError("a channel leaves with every head")


def test_neurons_leave_with_their_masks_and_their_channels_of_a_batch_norm(folder: Path, tmp_path: Path) -> None:
    path = folder / "dense_fine.keras"
    changed = frontend.read(path)
    weighted(changed)[1].digit_limit[:, 2:5] = 0
    smaller = surgery.shrink(changed)
    assert smaller.widths["norm"] <= changed.widths["norm"] - 3
    with zipfile.ZipFile(frontend.write(smaller, tmp_path / "smaller.keras", like=path)) as archive:
        arrays = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(arrays) as file:
        assert "0" not in file["layers/pq_dense/pruning_layer/vars"]
        assert file["layers/pq_batch_normalization/vars/0"].shape == (smaller.widths["norm"],)


@torch.no_grad()
def test_quantisers_that_are_switched_off_have_the_sizes_that_are_left(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(folder / "steps_fine.keras") as archive, zipfile.ZipFile(tmp_path / "off.keras", "w") as off:
        for name in archive.namelist():
            old, new = b'"enable_quantization": true', b'"enable_quantization": false'
            off.writestr(name, archive.read(name).replace(old, new) if name == "config.json" else archive.read(name))
    changed = frontend.read(tmp_path / "off.keras")
    maps = weighted(changed)[0]
    maps.digit_limit[0], maps.bias[0] = 0, 0
    smaller = surgery.shrink(changed)
    assert (changed.shapes["pooled"][-1], smaller.shapes["pooled"][-1]) == (4, 3)
    written = frontend.write(smaller, tmp_path / "smaller.keras", like=tmp_path / "off.keras")
    shapes: list[tuple[int, ...]] = []
    with zipfile.ZipFile(written) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
        file["layers"].visititems(
            lambda name, each: shapes.append(getattr(each, "shape", ())) if "_quant" in name else None
        )
    assert any(3 in shape for shape in shapes)
    assert not any({4, 12} & set(shape) for shape in shapes)


@torch.no_grad()
def test_attention_without_a_channel_is_refused_by_what_its_class_can_hold(folder: Path, tmp_path: Path) -> None:
    changed = frontend.read(folder / "attention.keras")
    for layer in weighted(changed):
        if layer.name == "attention":
            layer.digit_limit[0], layer.bias[0] = 0, 0
    sentence = r"'attention' \(PQMultiheadAttention\) would have heads \(2 of 4\) and 7 channels, .* ends in \.npz, or"
    with pytest.raises(NetworkError, match=sentence):
        frontend.write(surgery.shrink(changed), tmp_path / "smaller.keras", like=folder / "attention.keras")
    assert not list(tmp_path.iterdir())


@torch.no_grad()
def test_attention_of_fewer_channels_has_fewer_heads(folder: Path, tmp_path: Path) -> None:
    path = folder / "attention.keras"
    changed, kept = frontend.read(path), np.load(folder / "attention.npz")
    for layer in weighted(changed):
        if layer.name == "attention":
            layer.digit_limit[:4], layer.bias[:4], layer.digit_limit[:, 4:] = 0, 0, 0
    smaller = surgery.shrink(changed)
    written = frontend.write(smaller, tmp_path / "smaller.keras", like=path)
    with zipfile.ZipFile(written) as archive:
        layers = json.loads(archive.read("config.json"))["config"]["layers"]
    config = next(layer["config"] for layer in layers if layer["name"] == "attention")
    assert (config["embed_dim"], config["num_heads"]) == (4, 1)
    np.testing.assert_array_equal(frontend.read(written)(given(kept)).numpy(), changed(given(kept)).numpy())


def test_the_weights_of_heads_beside_what_they_attend_to_are_refused(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(folder / "attention.keras") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    config["config"]["output_layers"] = [["attention", 0, 1]]
    parts["config.json"] = json.dumps(config).encode()
    with pytest.raises(NetworkError, match="output 1 of layer 'attention' is read"):
        frontend.read(_packed(parts, tmp_path / "weights.keras"))


def _config(change: Callable[[dict[str, Any]], None], layer: str = "maps") -> Callable[[Path, Path], Path]:
    def altered(path: Path, to: Path) -> Path:
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        config = json.loads(parts["config.json"])
        change(next(each["config"] for each in config["config"]["layers"] if each["name"] == layer))
        parts["config.json"] = json.dumps(config).encode()
        return _packed(parts, to)

    return altered


def _arrays(*places: str, values: Any) -> Callable[[Path, Path], Path]:
    def altered(path: Path, to: Path) -> Path:
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        changed = io.BytesIO(parts["model.weights.h5"])
        with h5py.File(changed, "r+") as file:
            for place in places:
                del file[place]
                if values is not None:
                    file[place] = values
        parts["model.weights.h5"] = changed.getvalue()
        return _packed(parts, to)

    return altered


def _packed(parts: dict[str, bytes], to: Path) -> Path:
    with zipfile.ZipFile(to, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return to


def _truncated(path: Path, to: Path) -> Path:
    to.write_bytes(path.read_bytes()[:40_000])
    return to


BAD: dict[str, tuple[Callable[[Path, Path], Path], str]] = {
    "truncated": (_truncated, "cannot be read as a model of Keras"),
    "no settings": (_config(lambda each: each.pop("config")), "'maps' .* has no pruning_parameters in its config"),
    "settings of a wrong type": (
        _config(lambda each: each.update(config={"pruning_parameters": 3})),
        "'maps' .* has no pruning_parameters",
    ),
    "an unknown pruning": (
        _config(lambda each: each["config"]["pruning_parameters"].update(pruning_method="magic")),
        "'maps' .* prunes by magic; known are",
    ),
    "an unknown overflow": (
        _config(lambda each: each["config"]["quantization_parameters"].update(overflow_mode_data="AROUND")),
        "'maps' .* overflow AROUND; known are",
    ),
    "an unknown rounding": (
        _config(lambda each: each["config"]["quantization_parameters"].update(round_mode="UP")),
        "'maps' .* rounding UP, which is not known",
    ),
    "a size of its own": (_config(lambda each: each.update(filters=2**40)), "which is not a size"),
    "an unknown function": (
        _config(lambda each: each.update(activation="exec"), "curved"),
        "'curved' .* computes exec; known are relu, tanh, hard_tanh",
    ),
    "compressed off its grid": (
        _config(lambda each: each.update(final_compression_done=True)),
        "'maps' .* compressed for good, but has values that its weight_quantizer does not hold",
    ),
    "half a search": (
        _arrays(*(f"layers/pq_conv1d/pruning_layer/vars/{n}" for n in (2, 3)), values=np.array(False)),
        "'maps' .* in the middle of its pruning by pdp",
    ),
    "no mask": (_arrays("layers/pq_conv1d/pruning_layer/vars/0", values=None), "'maps' .* has no mask of its pruning"),
    "a soft mask": (
        _arrays("layers/pq_conv1d/pruning_layer/vars/0", values=np.full((4, 3, 2), 0.5)),
        "'maps' .* mask that is not one of zeros and ones",
    ),
    "a mask of another shape": (
        _arrays("layers/pq_conv1d/pruning_layer/vars/0", values=np.ones((9, 3, 2))),
        "'maps' .* has a mask of shape .* for a kernel of",
    ),
    "no kernel": (_arrays("layers/pq_conv1d/vars/0", values=None), "'maps' .* has "),
    "a kernel of text": (_arrays("layers/pq_conv1d/vars/0", values="text"), "no plain numbers"),
    "half a bit": (
        _arrays("layers/pq_conv1d/input_quantizer/vars/2", values=np.array(3.5)),
        "'maps' .* input_quantizer of bits that are not whole numbers",
    ),
    "no bits": (
        _arrays("layers/pq_conv1d/weight_quantizer/vars/1", values=None),
        "'maps' .* has no bit widths for its kq_conf",
    ),
    "bits of another shape": (
        _arrays("layers/pq_conv1d/weight_quantizer/vars/1", values=np.ones((7, 7))),
        "'maps' .* has bit widths",
    ),
}


_KEYS, _POINT = "layers/pq_multihead_attention/k_proj", "layers/pq_separable_conv2d/pointwise_conv"
COMPOSED_BAD: dict[str, tuple[str, Callable[[Path, Path], Path], str]] = {
    "heads that share no values": (
        "attention",
        _config(lambda each: each.update(num_heads=3), "attention"),
        "'attention' .* shares 8 values among 3 heads",
    ),
    "a width of text": (
        "attention",
        _config(lambda each: each.update(embed_dim="wide"), "attention"),
        "'attention' .* has embed_dim = wide, which is not a size",
    ),
    "no heads": ("attention", _config(lambda each: each.pop("num_heads"), "attention"), "has num_heads = None"),
    "no settings of attention": (
        "attention",
        _config(lambda each: each.pop("config"), "attention"),
        "'attention' .* has no pruning_parameters in its config",
    ),
    "another width": (
        "attention",
        _config(lambda each: each.update(embed_dim=16), "attention"),
        "'attention' .* has weights of shapes",
    ),
    "no keys": (
        "attention",
        _arrays(f"{_KEYS}/vars/0", f"{_KEYS}/vars/1", values=None),
        "'attention' .* has no kernel",
    ),
    "keys that are not finite": (
        "attention",
        _arrays(f"{_KEYS}/vars/0", values=np.full((6, 8), np.nan)),
        "holds a weight that is NaN or infinite at 'layers/pq_multihead_attention/k_proj/vars/0'",
    ),
    "no table": (
        "attention",
        _arrays("layers/pq_multihead_attention/softmax/exp_table/output_quantizer/vars/1", values=None),
        "'attention' .* has no bit widths for its exp_oq_conf",
    ),
    "no second convolution": (
        "separable",
        _arrays(f"{_POINT}/vars/0", f"{_POINT}/vars/1", values=None),
        "'maps' .* has no kernel",
    ),
    "a kernel size of text": (
        "separable",
        _config(lambda each: each.update(kernel_size="wide")),
        "'maps' .* has kernel_size = wide",
    ),
    "a multiplier of zero": (
        "separable",
        _config(lambda each: each.update(depth_multiplier=0)),
        "'maps' .* has depth_multiplier = 0, which is not a size",
    ),
}


@pytest.mark.parametrize("flaw", COMPOSED_BAD)
def test_a_damaged_file_of_layers_made_of_others_ends_in_one_sentence(flaw: str, folder: Path, tmp_path: Path) -> None:
    name, damage, sentence = COMPOSED_BAD[flaw]
    path = damage(folder / f"{name}.keras", tmp_path / "bad.keras")
    with pytest.raises(NetworkError, match=sentence):
        frontend.read(path)


@pytest.mark.parametrize("flaw", BAD)
def test_a_damaged_file_ends_in_one_sentence(flaw: str, folder: Path, tmp_path: Path) -> None:
    damage, sentence = BAD[flaw]
    path = damage(folder / "steps.keras", tmp_path / "bad.keras")
    with pytest.raises(NetworkError, match=sentence):
        frontend.read(path)
