"""QKeras itself is the oracle: models it makes, and models that others published."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint
from hepprune.frontends import keras as frontend
from hepprune.frontends.keras.framework import native_masks
from hepprune.frontends.keras.graph import lower
from hepprune.network import Conv, Dense, Network, Recurrent
from hepprune.pruning.structure import surgery
from tests.frontends.keras.published import (
    BEGIN,
    END,
    PAGE,
    files,
    jets_for,
    known,
    loaded,
    native,
    outputs,
    tf,
)

pytestmark = [
    pytest.mark.xdist_group("tensorflow"),
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.slow,
]  # TensorFlow alone takes longer to import


def on_grid(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.integers(-32, 32, shape) / 16).astype(np.float32)


def randomised(model: Any, rng: np.random.Generator) -> Any:
    """Give every array values of its own, variances positive ones."""
    for weight in model.weights:
        if weight.dtype.is_floating:
            values = rng.normal(scale=0.5, size=weight.shape).astype(np.float32)
            weight.assign(abs(values) + 0.1 if "variance" in weight.name or "gamma" in weight.name else values)
    return model


def same(network: Network, model: Any, features: np.ndarray, tolerance: float = 0.0) -> None:
    wanted = np.asarray(model(features))
    atol = tolerance * float(np.abs(wanted).max(initial=1e-6))
    np.testing.assert_allclose(outputs(network, features), wanted, rtol=0, atol=atol)


kernels = st.sampled_from(
    [
        *("quantized_bits(6,0,alpha=1)", "quantized_bits(5,1,1,alpha=1)", "quantized_bits(5,0,alpha=0.5)"),
        *("quantized_bits(4,0,alpha='auto_po2')", "quantized_bits(6,1)", "binary(alpha=1.0)", "ternary(alpha=1.0)"),
        *("quantized_po2(4,1)", "binary(alpha='auto_po2')", "ternary(alpha='auto_po2')"),
    ]
)
functions = st.sampled_from(
    [
        *("quantized_relu(6,2)", "quantized_bits(6,2)", "quantized_relu(6,3,0,0.25)"),
        *("quantized_tanh(5)", "quantized_sigmoid(6)", "quantized_relu(4,2)"),
    ]
)


def dense(draw: Any, rng: np.random.Generator) -> tuple[Any, np.ndarray]:
    layers = known()
    x = start = tf().keras.layers.Input((int(rng.integers(2, 6)),), name="features")
    for number in range(int(rng.integers(1, 4))):
        bias = draw(st.sampled_from(["quantized_bits(6,2,alpha=1)", None]))
        inline = draw(st.sampled_from([None, draw(functions)]))
        x = layers["QDense"](
            int(rng.integers(2, 7)),
            kernel_quantizer=draw(kernels),
            bias_quantizer=bias,
            activation=inline,
            use_bias=bool(rng.integers(2)),
            name=f"dense_{number}",
        )(x)
        if inline is None:
            x = layers["QActivation"](draw(functions), name=f"act_{number}")(x)
    return tf().keras.Model(start, x), on_grid(rng, 50, *start.shape[1:])


def image(draw: Any, rng: np.random.Generator) -> tuple[Any, np.ndarray]:
    layers, bias = known(), "quantized_bits(6,2,alpha=1)"
    x = start = tf().keras.layers.Input((6, 6, 2), name="image")
    kinds = [
        ("QConv2D", {"filters": 3, "kernel_quantizer": draw(kernels)}),
        ("QDepthwiseConv2D", {"depthwise_quantizer": draw(kernels), "depth_multiplier": 2}),
        (
            "QSeparableConv2D",
            {"filters": 3, "depthwise_quantizer": draw(kernels), "pointwise_quantizer": draw(kernels)},
        ),
    ]
    kind, options = kinds[int(rng.integers(len(kinds)))]
    padding = ["valid", "same"][int(rng.integers(2))]
    x = layers[kind](kernel_size=2, strides=2, padding=padding, bias_quantizer=bias, name="maps", **options)(x)
    x = layers["QActivation"](draw(functions), name="act")(x)
    x = tf().keras.layers.Flatten(name="flat")(x)
    return tf().keras.Model(start, x), on_grid(rng, 20, *start.shape[1:])


@settings(deadline=None, max_examples=12, suppress_health_check=list(HealthCheck))
@given(st.data(), st.sampled_from([dense, image]), st.integers(0, 2**20), st.sampled_from([".h5", ".keras"]))
def test_a_random_model_is_read_written_and_loaded_again(
    tmp_path: Path, data: st.DataObject, build: Any, seed: int, suffix: str
) -> None:
    rng = np.random.default_rng(seed)
    model, features = build(data.draw, rng)
    randomised(model, rng).save(tmp_path / f"model{suffix}")
    network = frontend.read(tmp_path / f"model{suffix}")
    # Binary and ternary weights of QKeras carry the rounding of its straight-through sum; the rest is exact.
    wanted = np.asarray(model(features))
    off = outputs(network, features) != wanted
    assert np.abs(outputs(network, features) - wanted).max() <= 1e-5 * max(np.abs(wanted).max(), 1) or off.mean() < 0.01
    written = frontend.write(network, tmp_path / f"again{suffix}", like=tmp_path / f"model{suffix}")
    np.testing.assert_array_equal(np.asarray(loaded(written)(features)), wanted)


def saved(tmp_path: Path, layers: list[Any], seed: int = 0) -> tuple[Any, Path]:
    model = randomised(tf().keras.Sequential(layers), np.random.default_rng(seed))
    model.save(tmp_path / "model.h5")
    return model, tmp_path / "model.h5"


@pytest.mark.parametrize(
    "kernel",
    ["quantized_bits(5,0,alpha='auto_po2')", "quantized_bits(5,0,alpha='auto')", "quantized_bits(6,0,alpha=1)"],
)
def test_a_smaller_network_is_written_with_the_scales_it_had(tmp_path: Path, kernel: str) -> None:
    kinds, inputs = known(), tf().keras.layers.Input((6,), name="features")
    hidden = kinds["QDense"](7, kernel_quantizer=kernel, bias_quantizer="quantized_bits(6,2,alpha=1)", name="hidden")
    act = kinds["QActivation"]("quantized_relu(6,2)", name="act")
    logits = kinds["QDense"](3, kernel_quantizer=kernel, bias_quantizer=None, name="logits")
    _, path = saved(tmp_path, [inputs, hidden, act, logits])
    network = frontend.read(path)
    first, last = network["hidden"], network["logits"]
    assert isinstance(first, Dense)
    assert isinstance(last, Dense)
    kept = torch.tensor([0, 2, 3, 6])
    scale = getattr(first.weight_type, "scale", None)
    weight_type = first.weight_type
    if scale is not None:
        weight_type = type(first.weight_type)(first.weight_type.base, np.asarray(scale)[kept])  # type: ignore[call-arg, union-attr, arg-type]
    smaller = network.clone()
    changed = {
        "hidden": first.rebuilt(
            weight=first.weight[kept],
            bias=first.bias[kept],
            weight_type=weight_type,
            digit_limit=first.digit_limit[kept],
        ),
        "logits": last.rebuilt(weight=last.weight[:, kept], digit_limit=last.digit_limit[:, kept]),
    }
    smaller = Network([changed.get(layer.name, layer) for layer in network], network.sources, network.outputs)
    written = frontend.write(smaller, tmp_path / "smaller.h5", like=path)
    features = on_grid(np.random.default_rng(1), 100, 6)
    model = loaded(written)
    assert model.get_layer("hidden").units == 4
    same(smaller, model, features, 1e-6 if kernel.endswith("'auto')") else 0.0)


def test_a_dense_layer_with_a_folded_normalisation_is_the_convolution_of_one_pixel(tmp_path: Path) -> None:
    """The released QKeras has no QDenseBatchnorm, later ones have; its QConv2DBatchnorm computes the same."""
    kinds, inputs = known(), tf().keras.layers.Input((1, 1, 5), name="pixel")
    folded = kinds["QConv2DBatchnorm"](
        4, 1, kernel_quantizer="quantized_bits(6,2,alpha=1)", bias_quantizer="quantized_bits(8,3,alpha=1)", name="fold"
    )
    model, path = saved(tmp_path, [inputs, folded])
    config = json.loads(model.to_json())
    first, second = config["config"]["layers"]
    first["config"]["batch_input_shape"] = [None, 5]
    second["class_name"] = "QDenseBatchnorm"
    second["config"] |= {"units": 4, "axis": [1]}
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = json.dumps(config)
        (place,) = (name for name in file["model_weights/fold"].attrs["weight_names"] if "kernel" in str(name))
        group = file["model_weights/fold"]
        kernel = group[place][0, 0]
        del group[place]
        group[place] = kernel
    network, features = frontend.read(path), on_grid(np.random.default_rng(1), 50, 5)
    wanted = np.asarray(model(features[:, None, None]))[:, 0, 0]
    np.testing.assert_array_equal(outputs(network, features), wanted)
    with torch.no_grad():
        network["fold"].weight[0] = 0  # type: ignore[index]
    again = frontend.read(frontend.write(network, tmp_path / "changed.h5", like=path))
    np.testing.assert_array_equal(outputs(again, features), outputs(network, features))


def test_batch_normalisation_is_folded_as_qkeras_folds_it(tmp_path: Path) -> None:
    kinds, inputs = known(), tf().keras.layers.Input((6, 6, 2), name="image")
    quantisers = {"bias_quantizer": "quantized_bits(8,3,alpha=1)"}
    folded = kinds["QConv2DBatchnorm"](
        4, 3, kernel_quantizer="quantized_bits(6,2,alpha=1)", name="folded", **quantisers
    )
    act = kinds["QActivation"]("quantized_relu(6,2)", name="act")
    deep = kinds["QDepthwiseConv2DBatchnorm"](
        2, depthwise_quantizer="quantized_bits(6,2,alpha=1)", name="deep", **quantisers
    )
    model, path = saved(tmp_path, [inputs, folded, act, deep])
    network, features = frontend.read(path), on_grid(np.random.default_rng(1), 50, 6, 6, 2)
    same(network, model, features)
    conv = network["folded"]
    assert isinstance(conv, Conv)
    assert conv.weight_type == FixedPoint(6, 3, True, "RND_CONV", "SAT")
    with torch.no_grad():
        conv.weight[0] = 0
    same(network, loaded(frontend.write(network, tmp_path / "changed.h5", like=path)), features)
    kernel, *others = native_masks(network, model)["folded"]
    assert not kernel[..., 0].any()
    assert kernel[..., 1:].any()
    assert all(mask.all() for mask in others)  # bias and statistics stay free in training


# Keras' own functions in float, those that QKeras takes by itself, and quantised ones.
GATES: dict[str, dict[str, str]] = {
    "float": {"activation": "tanh", "recurrent_activation": "sigmoid"},
    "default": {},
    "quantised": {"activation": "quantized_bits(6,1)", "recurrent_activation": "quantized_sigmoid(6)"},
}


@pytest.mark.parametrize("kind", ["QSimpleRNN", "QLSTM", "QGRU"])
@pytest.mark.parametrize(("gates", "scale"), [*product(GATES, ["1"]), ("quantised", "'auto_po2'")])
def test_a_recurrent_layer_is_read_and_written_back(
    tmp_path: Path, kind: str, gates: str, scale: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tf()
    from qkeras import qrecurrent

    # TensorFlow dropped the old name that QKeras calls.
    monkeypatch.setattr(qrecurrent.nest, "is_sequence", qrecurrent.nest.is_nested, raising=False)
    kinds, inputs = known(), tf().keras.layers.Input((3, 3), name="steps")
    kernels = dict.fromkeys(("kernel_quantizer", "recurrent_quantizer"), f"quantized_bits(6,1,alpha={scale})")
    functions = {key: name for key, name in GATES[gates].items() if kind != "QSimpleRNN" or key == "activation"}
    others = {"bias_quantizer": "quantized_bits(6,2,alpha=1)", "state_quantizer": "quantized_bits(8,1,alpha=1)"}
    cell = kinds[kind](4, name="cell", return_sequences=True, **kernels, **functions, **others)
    if gates == "quantised":
        cell = kinds["QBidirectional"](cell, name="both")
    model, path = saved(tmp_path, [inputs, cell])
    network, features = frontend.read(path), on_grid(np.random.default_rng(1), 50, 3, 3)
    tolerance = 1e-5 if gates == "float" else 0.0
    same(network, model, features, tolerance)
    (layer, *_) = (each for each in network if isinstance(each, Recurrent))
    layer.digit_limit[:3] = 0
    written = loaded(frontend.write(network, tmp_path / "changed.h5", like=path))
    same(network, written, features, tolerance)


def test_quantised_normalisation_and_pooling(tmp_path: Path) -> None:
    kinds, inputs = known(), tf().keras.layers.Input((4, 4, 3), name="image")
    norm = kinds["QBatchNormalization"](name="norm")
    pool = kinds["QAveragePooling2D"]((2, 2), average_quantizer="quantized_bits(4,0,alpha=1)", name="pool")
    last = kinds["QGlobalAveragePooling2D"](
        average_quantizer="quantized_bits(4,0,alpha=1)", activation="quantized_bits(10,4)", name="last"
    )
    model, path = saved(tmp_path, [inputs, norm, pool, last])
    same(frontend.read(path), model, on_grid(np.random.default_rng(1), 50, 4, 4, 3), 1e-5)


def test_a_layer_with_a_quantiser_that_cannot_be_taken_over_is_named(tmp_path: Path) -> None:
    kinds, inputs = known(), tf().keras.layers.Input((4,), name="features")
    _, path = saved(tmp_path, [inputs, kinds["QActivation"]("quantized_ulaw(8)", name="curved")])
    with pytest.raises(NetworkError, match="'curved' .* not uniform"):
        frontend.read(path)


def real_models() -> list[Any]:
    """Return the published models, by name."""
    return [pytest.param(path, id="-".join(place.split("/")[:2])) for place, path in files().items()]


@pytest.mark.parametrize("path", real_models())
def test_a_published_model_agrees_with_its_framework(path: Path, tmp_path: Path) -> None:
    """On a grid sums of fixed-point values are exact in any order; off it, a sum may fall on the other side of a step."""
    network = frontend.read(path)
    features = np.round(jets_for(network)[:500] * 64) / np.float32(64)
    wanted = np.asarray(native(path)(features))  # as it is: compiling a graph of it takes longer
    found = outputs(network, features)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * float(np.abs(wanted).max()))
    smaller = surgery.shrink(network)
    written = frontend.write(smaller, tmp_path / f"smaller{path.suffix}", like=path)
    np.testing.assert_array_equal(outputs(frontend.read(written), features), outputs(smaller, features))
    np.testing.assert_array_equal(np.asarray(native(written)(features)), wanted)


def test_every_published_model_is_in_the_docs_and_none_fails() -> None:
    table = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    assert len(files()) >= 8
    assert len(table.splitlines()) >= 2 + len(files())
    assert all(path.name in table for path in files().values())
    assert "OTHER" not in table


def test_reading_again_gives_the_same_network(tmp_path: Path) -> None:
    kinds, inputs = known(), tf().keras.layers.Input((4,), name="features")
    _, path = saved(tmp_path, [inputs, kinds["QDense"](3, kernel_quantizer="ternary(alpha='auto')", name="logits")])
    network = frontend.read(path)
    again = lower(frontend.read_model(frontend.write(network, tmp_path / "again.h5", like=path))).network
    features = on_grid(np.random.default_rng(1), 20, 4)
    np.testing.assert_array_equal(outputs(network, features), outputs(again, features))
