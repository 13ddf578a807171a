"""Scalers: mean 0 and spread 1 where they were fitted, exact shifts, padding left alone."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepprune.data import Jets, Scaler, scaling
from hepprune.errors import DataError


def sample(x: np.ndarray, names: tuple[str, ...] | None = None) -> Jets:
    n = len(x)
    names = names or tuple(f"f{index}" for index in range(x.shape[-1]))
    return Jets(x=x, y=np.zeros(n), weight=np.ones(n), event=np.arange(n), feature_names=names, class_names=("g",))


def draw(seed: int, *, spread: float = 3.0) -> Jets:
    rng = np.random.default_rng(seed)
    return sample(rng.normal(rng.normal(0, 10, 4), np.exp(rng.normal(0, spread, 4)), (200, 4)))


@given(seed=st.integers(0, 2**32))
def test_standard_scaling_gives_mean_zero_and_spread_one(seed: int) -> None:
    jets = draw(seed)
    x = scaling.fit(jets).apply(jets).x.astype(np.float64)
    assert x.dtype == np.float64
    assert np.abs(x.mean(axis=0)).max() < 1e-3
    assert x.std(axis=0) == pytest.approx(np.ones(4), rel=1e-3)


@given(seed=st.integers(0, 2**32))
def test_power_of_two_scaling_is_a_subtraction_and_a_shift(seed: int) -> None:
    jets = draw(seed)
    scaler = scaling.fit(jets, power_of_two=True)
    assert (np.frexp(scaler.scale)[0] == 0.5).all()  # a mantissa of 1/2: a power of two
    assert (scaler.offset % scaler.scale == 0).all()
    spread = scaler.apply(jets).x.std(axis=0)
    assert ((spread > 0.7) & (spread < 1.42)).all()
    assert np.abs(scaler.apply(jets).x.mean(axis=0)).max() < 0.51


def test_a_constant_feature_is_shifted_and_not_blown_up() -> None:
    x = np.full((50, 2), 0.1, np.float32)
    x[:, 1] = np.arange(50)
    scaled = scaling.fit(sample(x), power_of_two=True).apply(sample(x)).x
    assert (scaled[:, 0] == scaled[0, 0]).all()
    assert abs(scaled[0, 0]) <= 1


def test_padding_neither_counts_nor_changes() -> None:
    rng = np.random.default_rng(0)
    x = np.zeros((100, 6, 2), np.float32)
    x[:, :4, 0] = rng.normal(50, 3, (100, 4))
    x[:, :4, 1] = 1
    jets = sample(x, ("constituent_pt", "isfilled"))
    scaler = scaling.fit(jets)
    assert scaler.offset[0] == pytest.approx(x[:, :4, 0].mean())
    assert (scaler.offset[1], scaler.scale[1]) == (0, 1)
    scaled = scaler.apply(jets).x
    assert (scaled[:, 4:] == 0).all()
    assert (scaled[..., 1] == x[..., 1]).all()
    assert scaled[:, :4, 0].std() == pytest.approx(1, rel=1e-3)


def test_constants_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        scaling.fit(draw(1)).scale[0] = 2


def test_jets_with_other_features_are_refused() -> None:
    with pytest.raises(DataError, match=r"made for the features f0, f1, f2, f3, the jets have f0, f1"):
        scaling.fit(draw(1)).apply(sample(np.ones((3, 2))))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((("a",), [0, 1], [1]), "the offset of a scaler"),
        ((("a",), [0], [float("nan")]), "the scale of a scaler"),
        ((("a", "b"), [0, 0], [1, 0]), "the scale of feature 'b' is not positive"),
    ],
)
def test_a_damaged_scaler_is_refused(value: tuple[Any, Any, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Scaler(*value)
