"""Models of real Keras 2 and Keras 3 for the frontend's tests: one for each layer class, and random ones."""

import os
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from numpy.typing import NDArray

from hepprune.network import Network

FRAMEWORKS = ("tf_keras", "keras")
SUFFIXES = (".h5", ".keras")


def framework(name: str) -> Any:
    """Import Keras 2 (tf_keras) or Keras 3 (keras), whose many warnings are not ours."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return import_module(name)


def fill(model: Any, seed: int) -> Any:
    """Give every weight a random value, variances positive ones."""
    rng = np.random.default_rng(seed)
    for layer in model._flatten_layers(include_self=False):
        if not hasattr(layer, "layers"):
            values = [rng.normal(size=w.shape) * 0.5 for w in layer.get_weights() if w.dtype.kind == "f"]
            if "BatchNorm" in type(layer).__name__:
                values[-1] = abs(values[-1]) + 0.1
            if len(values) == len(layer.get_weights()):
                layer.set_weights(values)
    return model


def jets(model: Any, seed: int, n_jets: int = 7) -> list[NDArray[np.float32]]:
    """Return one random array per input."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n_jets, *each.shape[1:])).astype(np.float32) for each in model.inputs]


def native_outputs(model: Any, features: list[NDArray[np.float32]]) -> list[NDArray[Any]]:
    """Return what the framework computes, one array per output."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = model(features if len(features) > 1 else features[0])
    found = found if isinstance(found, list | tuple) else [found]
    return [each.detach().cpu().numpy() if isinstance(each, torch.Tensor) else np.asarray(each) for each in found]


@torch.no_grad()
def outputs(network: Network, features: list[NDArray[np.float32]]) -> list[NDArray[Any]]:
    """Return what the network computes, one array per output."""
    values = network.activations([torch.as_tensor(each) for each in features])
    return [values[name].numpy() for name in network.outputs]


def assert_agree(network: Network, model: Any, seed: int = 3) -> None:
    """Check that network and native model agree to 1e-5 of the largest value."""
    features = jets(model, seed)
    for ours, theirs in zip(outputs(network, features), native_outputs(model, features), strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * max(1.0, float(abs(theirs).max())))


def save(model: Any, path: Path) -> Path:
    """Save a native model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(path)
    return path


def load(keras: Any, path: Path) -> Any:
    """Load a native model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return keras.models.load_model(path)


# name -> (shapes of the inputs, a function of keras.layers and the inputs)
Build = Callable[[Any, list[Any]], Any]
CASES: dict[str, tuple[list[tuple[int, ...]], Build]] = {
    "dense": ([(6,)], lambda k, x: k.Dense(4)(x[0])),
    "dense_no_bias_positions": ([(3, 6)], lambda k, x: k.Dense(4, use_bias=False, activation="relu")(x[0])),
    "conv1d": ([(9, 3)], lambda k, x: k.Conv1D(4, 3, strides=2, padding="same", activation="tanh")(x[0])),
    "conv1d_causal": ([(9, 3)], lambda k, x: k.Conv1D(4, 3, padding="causal", dilation_rate=2)(x[0])),
    "conv2d": ([(7, 6, 2)], lambda k, x: k.Conv2D(3, (3, 2), strides=(2, 1), padding="same", use_bias=False)(x[0])),
    "conv2d_grouped": ([(5, 5, 4)], lambda k, x: k.Conv2D(6, 2, groups=2, dilation_rate=2)(x[0])),
    "depthwise1d": ([(9, 3)], lambda k, x: k.DepthwiseConv1D(3, depth_multiplier=2, padding="same")(x[0])),
    "depthwise2d": ([(6, 5, 3)], lambda k, x: k.DepthwiseConv2D((2, 3), depth_multiplier=2, activation="relu")(x[0])),
    "separable1d": ([(9, 3)], lambda k, x: k.SeparableConv1D(4, 3, depth_multiplier=2, activation="relu")(x[0])),
    "separable2d": ([(6, 6, 3)], lambda k, x: k.SeparableConv2D(4, 3, padding="same", use_bias=False)(x[0])),
    "batch_norm": ([(4, 3)], lambda k, x: k.BatchNormalization()(x[0])),
    "batch_norm_bare": ([(4,)], lambda k, x: k.BatchNormalization(scale=False, center=False, epsilon=0.1)(x[0])),
    "layer_norm": ([(4, 3)], lambda k, x: k.LayerNormalization(epsilon=0.01)(x[0])),
    "layer_norm_bare": ([(4, 3)], lambda k, x: k.LayerNormalization(scale=False)(x[0])),
    "max_pool": ([(9, 3)], lambda k, x: k.MaxPooling1D(2, padding="same")(x[0])),
    "max_pool2d": ([(7, 7, 2)], lambda k, x: k.MaxPooling2D((3, 2), strides=(2, 2), padding="same")(x[0])),
    "average_pool": ([(7, 7, 2)], lambda k, x: k.AveragePooling2D(3, strides=2, padding="same")(x[0])),
    "average_pool1d": ([(7, 2)], lambda k, x: k.AveragePooling1D(2)(x[0])),
    "global_average": ([(7, 2)], lambda k, x: k.GlobalAveragePooling1D()(x[0])),
    "global_max_keepdims": ([(4, 5, 2)], lambda k, x: k.GlobalMaxPooling2D(keepdims=True)(x[0])),
    "flatten": ([(4, 5, 2)], lambda k, x: k.Dense(3)(k.Flatten()(x[0]))),
    "reshape": ([(4, 6)], lambda k, x: k.Reshape((3, -1))(x[0])),
    "permute": ([(4, 5, 2)], lambda k, x: k.Permute((3, 1, 2))(x[0])),
    "concatenate": ([(4, 5), (2, 5)], lambda k, x: k.Concatenate(axis=1)(x)),
    "add": ([(4,), (4,), (4,)], lambda k, x: k.Add()(x)),
    "subtract": ([(4,), (4,)], lambda k, x: k.Subtract()(x)),
    "multiply": ([(4, 3), (4, 1)], lambda k, x: k.Multiply()(x)),
    "average": ([(4,), (4,), (4,)], lambda k, x: k.Average()(x)),
    "maximum": ([(4,), (4,)], lambda k, x: k.Maximum()(x)),
    "minimum": ([(4,), (4,)], lambda k, x: k.Minimum()(x)),
    "dot": ([(4, 3), (5, 4)], lambda k, x: k.Dot(axes=(1, 2))(x)),
    "dot_vectors": ([(4,), (4,)], lambda k, x: k.Dot(axes=1)(x)),
    "dot_last": ([(4, 3), (5, 3)], lambda k, x: k.Dot(axes=-1)(x)),
    "zero_padding": ([(4, 5, 2)], lambda k, x: k.ZeroPadding2D(((1, 2), (0, 3)))(x[0])),
    "zero_padding1d": ([(4, 2)], lambda k, x: k.ZeroPadding1D((1, 2))(x[0])),
    "cropping": ([(6, 5, 2)], lambda k, x: k.Cropping2D(((1, 2), (0, 3)))(x[0])),
    "cropping1d": ([(6, 2)], lambda k, x: k.Cropping1D(2)(x[0])),
    "up_sampling": ([(3, 2, 2)], lambda k, x: k.UpSampling2D((2, 3))(x[0])),
    "up_sampling1d": ([(3, 2)], lambda k, x: k.UpSampling1D(3)(x[0])),
    "repeat": ([(3,)], lambda k, x: k.RepeatVector(4)(x[0])),
    "relu6": ([(9,)], lambda k, x: k.ReLU(max_value=0.5)(x[0])),
    "relu_slope": ([(9,)], lambda k, x: k.ReLU(negative_slope=0.25)(x[0])),
    "relu_threshold": ([(9,)], lambda k, x: k.ReLU(threshold=0.5)(x[0])),
    "leaky": ([(9,)], lambda k, x: k.LeakyReLU(0.125)(x[0])),
    "prelu": ([(4, 3)], lambda k, x: k.PReLU(shared_axes=[1])(x[0])),
    "prelu_each": ([(4, 3)], lambda k, x: k.PReLU()(x[0])),
    "elu": ([(9,)], lambda k, x: k.ELU(alpha=0.5)(x[0])),
    "softmax": ([(4, 3)], lambda k, x: k.Softmax(axis=1)(x[0])),
    **{
        f"activation_{kind}": ([(9,)], lambda k, x, kind=kind: k.Activation(kind)(x[0]))
        for kind in (
            *("sigmoid", "tanh", "hard_sigmoid", "elu", "selu", "softplus", "softsign", "swish", "gelu", "exponential"),
            *("relu", "softmax", "linear"),
        )
    },
    "inline_leaky": ([(9,)], lambda k, x: k.Dense(4, activation="hard_sigmoid")(x[0])),
    "dropouts": (
        [(4, 3)],
        lambda k, x: k.Dense(2)(k.GaussianNoise(0.1)(k.SpatialDropout1D(0.1)(k.Dropout(0.2)(x[0])))),
    ),
    "attention": ([(4, 6)], lambda k, x: k.MultiHeadAttention(2, 3, value_dim=5)(x[0], x[0])),
    "attention_cross": (
        [(4, 6), (5, 3), (5, 2)],
        lambda k, x: k.MultiHeadAttention(2, 3, output_shape=4, use_bias=False)(x[0], x[1], key=x[2]),
    ),
    "einsum_dense": (
        [(4, 6)],
        lambda k, x: k.EinsumDense("abc,cd->abd", (4, 5), bias_axes="d", activation="relu")(x[0]),
    ),
    "einsum_across": ([(4, 6)], lambda k, x: k.EinsumDense("abc,bd->adc", (5, 6), bias_axes="d")(x[0])),
    "einsum_heads": (
        [(4, 6)],
        lambda k, x: k.EinsumDense("abde,ecd->abc", (4, 5), bias_axes="c")(
            k.EinsumDense("abc,cde->abde", (4, 2, 3), bias_axes="de")(x[0])
        ),
    ),
    "einsum_ellipsis": ([(4, 2, 6)], lambda k, x: k.EinsumDense("...c,cd->...d", 5, bias_axes="d")(x[0])),
    "einsum_shared": ([(4, 6)], lambda k, x: k.EinsumDense("abc,bcd->abd", (4, 5), bias_axes="bd")(x[0])),
    "simple_rnn": ([(5, 3)], lambda k, x: k.SimpleRNN(4)(x[0])),
    "lstm": ([(5, 3)], lambda k, x: k.LSTM(4, return_sequences=True)(x[0])),
    "lstm_backwards": (
        [(5, 3)],
        lambda k, x: k.LSTM(4, return_sequences=True, go_backwards=True, use_bias=False)(x[0]),
    ),
    "gru": ([(5, 3)], lambda k, x: k.GRU(4)(x[0])),
    "gru_before": ([(5, 3)], lambda k, x: k.GRU(4, reset_after=False, activation="relu")(x[0])),
    "bidirectional": ([(5, 3)], lambda k, x: k.Bidirectional(k.LSTM(4, return_sequences=True))(x[0])),
    "bidirectional_sum": ([(5, 3)], lambda k, x: k.Bidirectional(k.GRU(4), merge_mode="sum")(x[0])),
    "time_distributed": ([(5, 3)], lambda k, x: k.TimeDistributed(k.Dense(4, activation="relu"))(x[0])),
    "time_distributed_norm": ([(5, 3)], lambda k, x: k.TimeDistributed(k.BatchNormalization())(x[0])),
}


# name -> (shapes of the inputs, a function of keras.ops, of tensorflow where that spells it alike, and the inputs)
OPERATIONS: dict[str, tuple[list[tuple[int, ...]], Build]] = {
    "split": ([(4, 6)], lambda f, x: [*f.split(x[0], 3, axis=-1), *f.split(x[0], 2, axis=1)]),
    "parts": ([(4, 6)], lambda _, x: [x[0][:, 1:3, ::2], x[0][:, 0], x[0][..., -1], x[0][:, 1:, 2:5]]),
    "sums": ([(4, 6), (4, 6)], lambda _, x: [x[0] + x[1], x[0] - x[1], x[0] * x[1]]),
    "numbers": ([(4, 6)], lambda _, x: [2.0 * x[0] - 1, 1 - x[0], x[0] / 4.0, x[0] + 3]),
    "product": ([(4, 3), (4, 3)], lambda f, x: f.matmul(x[0], f.transpose(x[1], (0, 2, 1)))),
    "reshaped": ([(4, 6)], lambda f, x: f.reshape(x[0], (-1, 3, 8))),
    "reduced": (
        [(4, 6, 2)],
        lambda f, x: [
            getattr(f, "reduce_mean", getattr(f, "mean", None))(x[0], axis=(1, 2)),
            getattr(f, "reduce_max", getattr(f, "max", None))(x[0], axis=-1, keepdims=True),
            getattr(f, "reduce_sum", getattr(f, "sum", None))(x[0], axis=2),
        ],
    ),
    "spread": ([(4, 6)], lambda f, x: f.squeeze(f.expand_dims(f.expand_dims(x[0], 1), -1), 1)),
    "activated": (
        [(4, 6)],
        lambda f, x: [getattr(f, "nn", f).relu(x[0]), f.tanh(x[0]), getattr(f, "nn", f).softmax(x[0])],
    ),
}


def operation(keras: Any, name: str) -> Any:
    """Return the model of one case of operations, those of TensorFlow for Keras 2."""
    shapes, build = OPERATIONS[name]
    functions = keras.ops if hasattr(keras, "ops") else import_module("tensorflow")
    inputs = [keras.Input(shape) for shape in shapes]
    found = build(functions, inputs)
    found = found if isinstance(found, list) else [found]
    return fill(keras.Model(inputs, [found[0], *map(keras.layers.Flatten(), found[1:])]), seed=len(name))


def case(keras: Any, name: str) -> Any:
    """Return the model of one case, with random weights."""
    shapes, build = CASES[name]
    inputs = [keras.Input(shape) for shape in shapes]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fill(keras.Model(inputs, build(keras.layers, inputs)), seed=len(name))


@st.composite
def architectures(draw: st.DrawFn) -> Callable[[Any], Any]:
    """Draw a random functional model: two inputs, branches, shared and nested parts; a function of the framework."""
    steps = draw(
        st.lists(
            st.tuples(st.sampled_from(sorted(_STEPS)), st.integers(0, 99), st.integers(1, 4)), min_size=1, max_size=7
        )
    )
    seed, n_steps, channels = draw(st.integers(0, 999)), draw(st.integers(2, 5)), draw(st.integers(1, 4))

    def build(keras: Any) -> Any:
        inputs = [keras.Input((n_steps, channels), name="jet 1"), keras.Input((n_steps, channels), name="jet-2")]
        values = list(inputs)
        for kind, which, width in steps:
            values.append(_STEPS[kind](keras, values, which, width))
        flat = keras.layers.Flatten()(values[-1])
        return fill(keras.Model(inputs, [keras.layers.Dense(3, activation="softmax")(flat), values[-1]]), seed)

    return build


def _pick(values: list[Any], which: int) -> Any:
    return values[which % len(values)]


def _nested(keras: Any, values: list[Any], which: int, width: int) -> Any:
    """Call a nested model on two values: its layers are shared."""
    value = _pick(values, which)
    inside = keras.Input(value.shape[1:])
    hidden = keras.layers.BatchNormalization()(keras.layers.Dense(width, activation="relu")(inside))
    inner = keras.Model(inside, keras.layers.Dense(int(value.shape[-1]))(hidden))
    return keras.layers.Add()([inner(value), inner(inner(value))])


def _sequential(keras: Any, values: list[Any], which: int, width: int) -> Any:
    layers = keras.layers
    return keras.Sequential([layers.Dense(width), layers.BatchNormalization(), layers.ReLU()])(_pick(values, which))


def _shared(keras: Any, values: list[Any], which: int, _width: int) -> Any:
    value = _pick(values, which)
    dense = keras.layers.Dense(int(value.shape[-1]), activation="tanh")
    return dense(dense(value))


def _joined(keras: Any, values: list[Any], which: int, width: int) -> Any:
    value = _pick(values, which)
    return keras.layers.Concatenate()([value, _pick([v for v in values if v.shape[1] == value.shape[1]], width)])


_STEPS: dict[str, Callable[..., Any]] = {
    "dense": lambda k, v, i, n: k.layers.Dense(n, activation="relu")(_pick(v, i)),
    "conv": lambda k, v, i, n: k.layers.Conv1D(n, 2, padding="same", activation="relu")(_pick(v, i)),
    "separable": lambda k, v, i, n: k.layers.SeparableConv1D(n, 1)(_pick(v, i)),
    "norm": lambda k, v, i, n: k.layers.BatchNormalization()(_pick(v, i)),
    "layer_norm": lambda k, v, i, n: k.layers.LayerNormalization()(_pick(v, i)),
    "dropout": lambda k, v, i, n: k.layers.Dropout(0.5)(_pick(v, i)),
    "permute": lambda k, v, i, n: k.layers.Permute((2, 1))(_pick(v, i)),
    "lstm": lambda k, v, i, n: k.layers.LSTM(n, return_sequences=True)(_pick(v, i)),
    "distributed": lambda k, v, i, n: k.layers.TimeDistributed(k.layers.Dense(n))(_pick(v, i)),
    "bidirectional": lambda k, v, i, n: k.layers.Bidirectional(k.layers.GRU(n, return_sequences=True))(_pick(v, i)),
    # Keras 3.15 on TensorFlow adds biases of heads one value wide along the positions where there are as many of both.
    "attention": lambda k, v, i, n: k.layers.MultiHeadAttention(2, n + 1)(_pick(v, i), _pick(v, i)),
    "nested": _nested,
    "sequential": _sequential,
    "shared": _shared,
    "joined": _joined,
}
