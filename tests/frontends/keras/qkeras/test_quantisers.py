"""QKeras itself is the oracle: its quantisers, value by value."""

import os
import warnings
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import Binary, Scaled
from hepprune.frontends.keras.qkeras.functions import activation, is_quantiser
from hepprune.frontends.keras.qkeras.quantisers import parse, used, weights
from hepprune.network import Activation, ReLU

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
relaxed = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])


@cache
def qkeras() -> ModuleType:
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import qkeras.quantizers as module

        return module


def native(described: dict[str, Any], values: np.ndarray, *, kernel: bool = False) -> np.ndarray:
    """Return what QKeras computes, without the rounding of its straight-through sum where it can leave that out."""
    quantiser = getattr(qkeras(), described["class_name"])(**described["config"])
    if kernel and hasattr(quantiser, "_set_trainable_parameter"):
        quantiser._set_trainable_parameter()
    if hasattr(quantiser, "use_ste"):
        quantiser.use_ste = False
    return np.asarray(quantiser(values))


def arrays(low: int = 2, high: int = 3) -> st.SearchStrategy[np.ndarray]:
    entries = st.floats(-3, 3, width=32) | st.sampled_from([0.0, 0.5, -0.5, 0.25, -1.0, 1.0, 0.03125])
    return hnp.arrays(np.float32, hnp.array_shapes(min_dims=low, max_dims=high, max_side=6), elements=entries)


def config(kind: str, **options: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": options}


bits = st.builds(
    lambda width, integer, keep, symmetric, alpha: config(
        "quantized_bits", bits=width, integer=integer, keep_negative=keep, symmetric=symmetric, alpha=alpha
    ),
    st.integers(2, 12),
    st.integers(0, 6),
    st.booleans(),
    st.integers(0, 1),
    st.sampled_from([None, 1, 1.0, 0.5, 0.3, "auto", "auto_po2"]),
)
scaled = st.builds(
    lambda kind, alpha: config(kind, alpha=alpha),
    st.sampled_from(["binary", "ternary", "stochastic_binary", "stochastic_ternary"]),
    st.sampled_from([None, 1.0, 0.7, "auto", "auto_po2"]),
)
powers = st.builds(
    lambda width, most, even, down: config(
        "quantized_po2", bits=width, max_value=most, quadratic_approximation=even, log2_rounding=down
    ),
    st.integers(3, 6),
    st.sampled_from([None, 0.5, 1, 2, 4, 3]),
    st.booleans(),
    st.sampled_from(["rnd", "floor"]),
)


@relaxed
@given(bits | powers, arrays(), st.booleans())
def test_weights_are_those_of_qkeras_bit_for_bit(described: dict[str, Any], values: np.ndarray, kernel: bool) -> None:  # noqa: FBT001
    found = parse(described)
    assert found is not None
    found = found.scaled_to_weights() if kernel else found
    np.testing.assert_array_equal(used(found, values), native(described, values, kernel=kernel))


@relaxed
@given(scaled, arrays(), st.booleans())
def test_signs_are_those_of_qkeras(described: dict[str, Any], values: np.ndarray, kernel: bool) -> None:  # noqa: FBT001
    found = parse(described)
    assert found is not None
    found = found.scaled_to_weights() if kernel else found
    # QKeras adds its straight-through sum in float32, and means in another order.
    np.testing.assert_allclose(used(found, values), native(described, values, kernel=kernel), rtol=1e-6, atol=3e-7)


@relaxed
@given(bits | scaled | powers, arrays())
def test_a_network_rounds_its_latent_weights_to_the_same_values(described: dict[str, Any], values: np.ndarray) -> None:
    found = parse(described)
    assert found is not None
    quantiser, latent = weights(found, values, arrange=np.transpose)
    assert quantiser is not None
    for dtype in (torch.float32, torch.float64):
        rounded = quantiser(torch.as_tensor(latent.copy(), dtype=dtype)).to(torch.float32).numpy()
        np.testing.assert_array_equal(rounded, used(found, values).T)


@relaxed
@given(bits.filter(lambda d: d["config"]["alpha"] in {None, 1}), arrays())
def test_weights_stay_as_they_are_where_the_scale_is_one(described: dict[str, Any], values: np.ndarray) -> None:
    quantiser, latent = weights(parse(described), values)
    assert isinstance(quantiser, FixedPoint)
    np.testing.assert_array_equal(latent, values)


def test_a_scale_per_channel_becomes_a_scaled_type() -> None:
    kernel = np.array([[0.9, 0.1], [0.3, -0.05]], np.float32)
    quantiser, _ = weights(parse("quantized_bits(4, 0, alpha='auto_po2')"), kernel, arrange=np.transpose)
    assert isinstance(quantiser, Scaled)
    assert np.shape(quantiser.scale) == (2, 1)
    quantiser, _ = weights(parse("quantized_bits(4, 0, alpha='auto_po2')"), kernel[:, :1], arrange=np.transpose)
    assert isinstance(quantiser, FixedPoint)  # one power of two only moves the point


relus = st.builds(
    lambda width, integer, slope: config("quantized_relu", bits=width, integer=integer, negative_slope=slope),
    st.integers(5, 10),
    st.integers(0, 5),
    st.sampled_from([0.0, 0.25, 0.0625, 1.0]),
)
functions = st.builds(
    lambda kind, width, symmetric: config(kind, bits=width, symmetric=symmetric),
    st.just("quantized_tanh"),
    st.integers(2, 10),
    st.booleans(),
) | st.builds(lambda width: config("quantized_sigmoid", bits=width), st.integers(2, 10))
signs = st.builds(lambda unit: config("binary", use_01=unit, alpha=1.0), st.booleans()) | st.builds(
    lambda threshold: config("ternary", alpha=1.0, threshold=threshold), st.sampled_from([None, 0.5, 0.25])
)
plain_bits = bits.filter(lambda d: d["config"]["alpha"] in {None, 1})
po2 = st.builds(
    lambda kind, width, most: config(kind, bits=width, max_value=most),
    st.sampled_from(["quantized_po2", "quantized_relu_po2"]),
    st.integers(3, 6),
    st.sampled_from([None, 0.5, 2]),
)


def applied(described: Any, values: np.ndarray) -> np.ndarray:
    """Return what the layers of a Network make of the values."""
    sides = []
    for function in activation(described):
        is_relu = function.name == "relu"
        layer = (
            ReLU("a", function.result, function.parameters.get("maximum"))
            if is_relu
            else Activation("a", function.name, function.parameters, function.result)
        )
        sides.append(layer(torch.as_tensor(values)))
    return torch.stack(sides).amax(dim=0).numpy()


@relaxed
@given(relus | functions | signs | plain_bits, hnp.arrays(np.float32, 20, elements=st.floats(-64, 64, width=32)))
def test_activations_are_those_of_qkeras_bit_for_bit(described: dict[str, Any], values: np.ndarray) -> None:
    assume(described["config"].get("bits", 2) > 1)
    wanted = native(described, values)
    if described["class_name"] in {"binary", "ternary"}:  # no way around the straight-through sum
        np.testing.assert_allclose(applied(described, values), wanted, rtol=1e-6, atol=1e-5)
    else:
        np.testing.assert_array_equal(applied(described, values), wanted)


@relaxed
@given(po2, hnp.arrays(np.float32, 20, elements=st.floats(-64, 64, width=32)))
def test_powers_of_two_are_those_of_qkeras(described: dict[str, Any], values: np.ndarray) -> None:
    fraction = np.log2(np.maximum(np.abs(values), 1e-30)) % 1
    values = np.where(abs(fraction - 0.5) < 1e-5, np.float32(1), values)  # its logarithm in float32 may go either way
    np.testing.assert_array_equal(applied(described, values), native(described, values))


def test_what_is_smaller_than_the_epsilon_of_qkeras_becomes_the_smallest_power() -> None:
    described = config("quantized_po2", bits=6, max_value=0.5)
    values = np.array([1e-8, -1e-8, 2e-7, 0.0], np.float32)
    np.testing.assert_array_equal(applied(described, values), native(described, values))


def test_an_upper_bound_holds_only_without_the_quantised_clip() -> None:
    values = np.linspace(-1, 9, 200, dtype=np.float32)
    for clip in (True, False):
        described = config("quantized_relu", bits=6, integer=3, relu_upper_bound=4.0, is_quantized_clip=clip)
        np.testing.assert_array_equal(applied(described, values), native(described, values))


@pytest.mark.parametrize(
    "text", ["quantized_bits(6,0,alpha=1)", "quantized_relu(4,2)", "quantized_tanh(5)", "quantized_relu", "binary()"]
)
def test_texts_mean_what_they_mean_to_qkeras(text: str) -> None:
    values = np.linspace(-5, 5, 101, dtype=np.float32)
    np.testing.assert_allclose(applied(text, values), np.asarray(qkeras().get_quantizer(text)(values)), atol=1e-6)


def test_a_quantiser_inside_another_means_the_defaults_as_in_qkeras() -> None:
    text = "quantized_relu(quantized_bits(4, 0, alpha=1), 0)"
    values = np.linspace(-2, 2, 401, dtype=np.float32)
    assert activation(text)[0].result == FixedPoint(8, 0, False, "RND_CONV", "SAT")
    np.testing.assert_array_equal(applied(text, values), np.asarray(qkeras().get_quantizer(text)(values)))


def test_functions_of_qkeras_are_not_those_of_keras() -> None:
    values = np.linspace(-3, 3, 61, dtype=np.float32)
    for name in ("hard_sigmoid", "smooth_sigmoid", "hard_tanh", "smooth_tanh", "binary_sigmoid"):
        assert is_quantiser(name)
        np.testing.assert_allclose(applied(name, values), np.asarray(getattr(qkeras(), name)(values)), atol=1e-7)
    assert not is_quantiser("softmax")


def test_one_signed_bit_is_a_sign() -> None:
    quantiser, _ = weights(parse("quantized_bits(1, 0, alpha=1)"), np.array([[0.1, -0.2]], np.float32))
    assert quantiser == Binary()


@pytest.mark.parametrize(
    ("described", "reason"),
    [
        ("quantized_ulaw(8)", "not uniform"),
        ("quantised_bits(8)", "choose one of: quantized_bits"),
        ("quantized_bits(bits=os)", "plain numbers"),
        ("quantized_bits(8,", "plain numbers"),
        ("quantized_bits(8, depth=3)", "takes no depth"),
        ("quantized_bits(8.5)", "no whole number"),
        ("quantized_bits(900)", "no whole number"),
        ("quantized_bits(8, qnoise_factor=0.5)", "unquantised"),
        ("quantized_bits(8, alpha='best')", "auto_po2"),
        ("quantized_bits(" + "-" * 5000 + "1)", "not a call of a quantiser"),
        (config("bernoulli", alpha=1.0), "random"),
        (config("quantized_bits", bits="8"), "no whole number"),
        (config("quantized_relu", bits=8, negative_slope=float("nan")), "no number"),
        ({"class_name": ["quantized_bits"]}, "no quantiser"),
        (7, "no quantiser"),
    ],
)
def test_what_cannot_be_taken_over_is_refused_in_a_sentence(described: Any, reason: str) -> None:
    with pytest.raises(NetworkError, match=reason):
        parse(described)


@pytest.mark.parametrize(
    ("described", "reason"),
    [
        (config("quantized_bits", bits=8, alpha="auto"), "other jets"),
        (config("quantized_bits", bits=8, alpha=0.3), "after rounding"),
        (config("quantized_sigmoid", bits=8, symmetric=True), "above zero"),
        (config("quantized_tanh", bits=1, symmetric=True), "nothing but zero"),
        (config("quantized_relu", bits=8, use_sigmoid=1), "use_sigmoid"),
        (config("quantized_relu", bits=4, negative_slope=2.0**-9), "negative_slope"),
        (config("quantized_relu", bits=4, relu_upper_bound=0.1, is_quantized_clip=False), "do not hold"),
        ("binary_tanh", "zero as negative"),
    ],
)
def test_activations_without_a_fixed_form_are_refused(described: Any, reason: str) -> None:
    with pytest.raises(NetworkError, match=reason):
        activation(described)


def test_a_setting_of_a_newer_version_that_says_nothing_is_no_matter() -> None:
    known = {"bits": 6, "integer": 0, "alpha": 1.0}
    plain, newer = (
        parse({"class_name": "quantized_bits", "config": config})
        for config in (known, known | {"post_training_scale": None})
    )
    assert plain == newer
    with pytest.raises(NetworkError, match="quantized_bits has a post_training_scale beside a scale"):
        parse({"class_name": "quantized_bits", "config": known | {"post_training_scale": 0.5}})
