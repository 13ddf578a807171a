"""Makes PQuantML models with random weights, masks and bits, and says what they put out.

Run with pquant-ml 0.1.0, keras 3.15 and torch in an environment of their own: `KERAS_BACKEND=torch python
make_pquant.py FOLDER` writes NAME.keras and NAME.npz (features and outputs) for every model, `make_pquant.py FOLDER
composed` for those of layers that are made of others; `make_pquant.py MODEL.keras
FEATURES.npz OUTPUTS.npy` runs one, which tells whether PQuantML takes what was written.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pquant
from moving import moving
from pquant.core.keras.activations import PQActivation, PQSoftmax
from pquant.core.keras.layers import (
    PQAvgPool1d,
    PQAvgPool2d,
    PQBatchNormalization,
    PQConv1d,
    PQConv2d,
    PQDense,
    PQDepthwiseConv2d,
    PQMultiheadAttention,
    PQSeparableConv2d,
)
from pquant.core.keras.quantizer import Quantizer

rng = np.random.default_rng(11)


def settings(method: str, **changed: object) -> object:
    config = getattr(pquant, f"{method}_config")()
    config.quantization_parameters.default_data_keep_negatives = 1.0
    config.quantization_parameters.default_data_integer_bits = 3.0
    for name, value in changed.items():
        setattr(config.quantization_parameters, name, value)
    return config


def dense(config: object) -> keras.Model:
    features = keras.Input((6,), name="features")
    hidden = PQDense(config, 8, name="hidden", quantize_output=True)(features)
    norm = PQBatchNormalization(config, name="norm")(hidden)
    positive = PQActivation(config, "relu", name="positive", quantize_output=True)(norm)
    curved = PQActivation(config, "hard_tanh", name="curved", quantize_output=True)(PQDense(config, 5)(positive))
    return keras.Model(features, PQSoftmax(config, name="probabilities", quantize_output=True)(curved))


def steps(config: object) -> keras.Model:
    given = keras.Input((8, 3), name="steps")
    maps = PQConv1d(config, 4, 2, use_bias=True, name="maps")(given)
    curved = PQActivation(config, "tanh", name="curved", quantize_output=True)(maps)
    pooled = PQAvgPool1d(config, 2, name="pooled", quantize_output=True)(curved)
    return keras.Model(given, PQDense(config, 2, use_bias=False, name="logits")(keras.layers.Flatten()(pooled)))


def image(config: object) -> keras.Model:
    given = keras.Input((6, 6, 2), name="image")
    deep = PQDepthwiseConv2d(config, (2, 2), depth_multiplier=2, name="deep")(given)
    maps = PQConv2d(config, 3, 2, padding="same", strides=2, name="maps")(PQActivation(config, "relu")(deep))
    pooled = PQAvgPool2d(config, 2, name="pooled")(maps)
    return keras.Model(given, PQDense(config, 2, name="logits")(keras.layers.Flatten()(pooled)))


def separable(config: object) -> keras.Model:
    given = keras.Input((6, 6, 2), name="image")
    maps = PQSeparableConv2d(config, 3, (2, 2), depth_multiplier=2, quantize_output=True, name="maps")(given)
    again = PQSeparableConv2d(config, 4, (3, 3), padding="same", use_bias=False, name="again")(
        PQActivation(config)(maps)
    )
    return keras.Model(given, PQDense(config, 2, name="logits")(keras.layers.Flatten()(again)))


def attention(config: object) -> keras.Model:
    given = keras.Input((5, 6), name="particles")
    hidden = PQDense(config, 6, name="hidden", quantize_output=True)(given)
    attended, _ = PQMultiheadAttention(config, 8, 2, name="attention", quantize_output=True)(hidden)
    return keras.Model(given, PQDense(config, 2, name="logits")(keras.layers.Flatten()(attended)))


def across(config: object) -> keras.Model:
    given = [keras.Input((5, 6), name="particles"), keras.Input((4, 3), name="towers")]
    attended, _ = PQMultiheadAttention(config, 8, 4, bias=False, name="attention")(given)
    return keras.Model(given, PQDense(config, 2, name="logits")(keras.layers.Flatten()(attended)))


def shares(config: object) -> keras.Model:
    features = keras.Input((6,), name="features")
    hidden = PQDense(config, 8, name="hidden")(features)
    found = PQSoftmax(config, stable=False, name="shares", quantize_output=True)(hidden)
    return keras.Model(features, PQDense(config, 3, name="logits")(found))


def filled(model: keras.Model, *, masked: bool) -> keras.Model:
    """Give a model random weights on no grid, its own bits to every quantiser, and masks."""
    for layer in model._flatten_layers():
        if isinstance(layer, Quantizer) and layer.built:
            where = layer.quantizer.quantizer if layer.use_hgq else layer
            names = ("_i", "_f") if layer.use_hgq else ("i", "f")
            for name, low, high in zip(names, (1, 2), (4, 6), strict=True):
                bits = getattr(where, name)
                bits.assign(rng.integers(low, high, tuple(bits.shape)).astype("float32"))
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, Quantizer) or type(layer).__module__.startswith(
            ("hgq", "pquant.core.keras.pruning_methods")
        ):
            continue
        for weight in layer._trainable_variables:
            weight.assign(rng.normal(0, 1.0, tuple(weight.shape)))
        pruning = getattr(layer, "pruning_layer", None)
        if masked and pruning is not None and pruning.built:
            pruning.pre_finetune_function()
            pruning.mask.assign(rng.integers(0, 2, tuple(pruning.mask.shape)).astype("float32"))
        if isinstance(layer, PQBatchNormalization):
            layer.moving_mean.assign(rng.normal(0, 0.5, tuple(layer.moving_mean.shape)))
            layer.moving_variance.assign(rng.uniform(0.5, 2, tuple(layer.moving_variance.shape)))
    return model


def models() -> dict[str, Callable[[], keras.Model]]:
    fine = {"use_high_granularity_quantization": True, "granularity": "per_weight"}
    wrapped = {"overflow_mode_data": "WRAP", "overflow_mode_parameters": "WRAP", "round_mode": "TRN"}
    folded = {"overflow_mode_data": "WRAP_SM", "overflow_mode_parameters": "WRAP_SM", "granularity": "per_weight"}
    multiplied = {"use_relu_multiplier": True, "overflow_mode_parameters": "SAT_SYM"}

    def of(build: Callable[[object], keras.Model], method: str, *, masked: bool, **changed: object) -> keras.Model:
        return filled(build(settings(method, **changed)), masked=masked)

    return {
        "dense": partial(of, dense, "dst", masked=True, granularity="per_weight"),
        "dense_fine": partial(of, dense, "cs", masked=True, **fine),
        "dense_wrapped": partial(of, dense, "wanda", masked=True, **wrapped),
        "dense_multiplied": partial(of, dense, "autosparse", masked=False, **multiplied),
        "steps": partial(of, steps, "pdp", masked=True, granularity="per_channel"),
        "steps_fine": partial(of, steps, "ap", masked=False, **fine),
        "image": partial(of, image, "mdmm", masked=False),
        "image_wanda": partial(of, image, "wanda", masked=True, granularity="per_channel"),
        "image_fine": partial(of, image, "pdp", masked=True, overflow_mode_parameters="WRAP", **fine),
        "dense_compressed": lambda: apply_compression(of(dense, "dst", masked=True)),
        "shares_folded": partial(of, shares, "pdp", masked=True, **folded),
    }


def composed() -> dict[str, Callable[[], keras.Model]]:
    """Return models of layers that are made of others."""
    fine = {"use_high_granularity_quantization": True, "granularity": "per_weight"}

    def of(build: Callable[[object], keras.Model], method: str, **changed: object) -> keras.Model:
        return filled(build(settings(method, **changed)), masked=True)

    found: dict[str, Callable[[], keras.Model]] = {}
    for make, few in ((separable, "per_channel"), (attention, "per_weight"), (across, "per_tensor")):
        name = make.__name__
        found[name] = partial(of, make, "pdp", granularity=few)
        found[f"{name}_fine"] = partial(of, make, "cs", overflow_mode_parameters="WRAP", **fine)
        found[f"{name}_compressed"] = lambda make=make: apply_compression(of(make, "dst"))
    return found


def apply_compression(model: keras.Model) -> keras.Model:
    for layer in model._flatten_layers():
        if hasattr(layer, "apply_final_compression") and not isinstance(layer, keras.Model | Quantizer):
            layer.apply_final_compression()
    return model


def main() -> None:
    if len(sys.argv) == 4:
        model = keras.models.load_model(sys.argv[1], compile=False)
        several = list(np.load(sys.argv[2]).values())
        np.save(sys.argv[3], keras.ops.convert_to_numpy(model(several if len(several) > 1 else several[0])))
        return
    folder = Path(sys.argv[1])
    for name, build in (composed() if sys.argv[2:] else models()).items():
        outputs: np.ndarray = np.zeros((1, 1))
        while not moving(outputs):
            model = build()
            several = [rng.normal(0, 3, (64, *each.shape[1:])).astype("float32") for each in model.inputs]
            given = several if several[1:] else several[0]
            outputs = keras.ops.convert_to_numpy(model(given))
        model.save(folder / f"{name}.keras")
        again = keras.models.load_model(folder / f"{name}.keras", compile=False)
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(again(given)), outputs)
        named = {f"features_{number}": each for number, each in enumerate(several)}
        np.savez(folder / f"{name}.npz", outputs=outputs, **(named if several[1:] else {"features": several[0]}))


main()
