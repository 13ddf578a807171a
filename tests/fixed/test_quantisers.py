import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepprune.errors import NetworkError
from hepprune.fixed import OVERFLOW, ROUNDING, FixedPoint, Quantiser
from hepprune.fixed.quantisers import (
    Binary,
    FixedPoints,
    Minifloat,
    PowerOfTwo,
    Scaled,
    Ternary,
    by_table,
    from_json,
    singles,
    spread,
    taken,
    to_json,
)

VALUES = np.concatenate([np.linspace(-9, 9, 401), [0.0, -0.0, 0.5, -0.5]])
SCALES = st.lists(st.sampled_from([0.25, 1.0, 3.0, 0.1]), min_size=2, max_size=2).map(lambda s: tuple((v,) for v in s))


@st.composite
def fixed_points(draw: st.DrawFn) -> FixedPoint:
    modes = draw(st.sampled_from(sorted(ROUNDING))), draw(st.sampled_from(OVERFLOW))
    return FixedPoint(draw(st.integers(1, 10)), draw(st.integers(-2, 6)), draw(st.booleans()), *modes)


@st.composite
def arrays_of_types(draw: st.DrawFn) -> FixedPoints:
    widths = draw(st.lists(st.integers(0, 9), min_size=2, max_size=2))
    integers = draw(st.lists(st.integers(-3, 6), min_size=2, max_size=2))
    modes = draw(st.sampled_from(sorted(ROUNDING))), draw(st.sampled_from(OVERFLOW))
    return FixedPoints(
        width=np.array(widths)[:, None],
        integer=np.array(integers)[:, None],
        signed=np.array(draw(st.booleans())),
        rounding=modes[0],
        overflow=modes[1],
    )


QUANTISERS = st.one_of(
    fixed_points(),
    arrays_of_types(),
    st.builds(Scaled, fixed_points(), SCALES),
    st.builds(Binary, SCALES),
    st.builds(Ternary, st.floats(0.1, 2), SCALES),
    st.builds(PowerOfTwo, st.integers(-6, 0), st.integers(0, 3), st.booleans()),
)


@given(QUANTISERS)
def test_a_quantiser_survives_json(quantiser: Quantiser) -> None:
    assert from_json(json.loads(json.dumps(to_json(quantiser)))) == quantiser


@given(QUANTISERS)
def test_values_lie_within_the_range_on_the_grid_and_stay(quantiser: Quantiser) -> None:
    values = np.stack([VALUES, VALUES[::-1]])
    once = quantiser(values)
    assert (once >= np.asarray(quantiser.minimum) - 1e-12).all()
    assert (once <= np.asarray(quantiser.maximum) + 1e-12).all()
    if not isinstance(quantiser, Scaled):
        assert np.array_equal(quantiser(once), once) or isinstance(quantiser, Ternary | PowerOfTwo)


@given(QUANTISERS)
def test_torch_and_numpy_agree(quantiser: Quantiser) -> None:
    values = np.stack([VALUES, VALUES[::-1]])
    assert np.array_equal(quantiser(torch.tensor(values)).numpy(), quantiser(values))


@given(fixed_points())
def test_equal_types_everywhere_are_that_type(kind: FixedPoint) -> None:
    arrays = {name: np.array([getattr(kind, name)]) for name in ("width", "integer", "signed")}
    kinds = FixedPoints(**arrays, rounding=kind.rounding, overflow=kind.overflow)
    assert np.array_equal(kinds(VALUES), kind(VALUES))


@given(arrays_of_types())
def test_no_bits_give_zero(kinds: FixedPoints) -> None:
    values = kinds(np.stack([VALUES, VALUES]))
    assert (values[kinds.width[:, 0] == 0] == 0).all()


@given(arrays_of_types())
def test_spread_over_values_each_has_its_own_type(kinds: FixedPoints) -> None:
    values = np.stack([VALUES, VALUES[::-1]])
    each = np.array(spread(kinds, values.shape), object).reshape(values.shape)
    expected = [
        [0.0 if kind is None else kind(np.array([v]))[0] for kind, v in zip(*of, strict=True)]
        for of in zip(each, values, strict=True)
    ]
    assert np.array_equal(kinds(values), expected)
    assert all(kind is None or kind.fraction == f for kind, f in zip(each[:, 0], kinds.fractions[:, 0], strict=True))


def test_types_that_do_not_fit_the_values_are_refused() -> None:
    kinds = FixedPoints(width=np.array([3, 4]), integer=np.array(1), signed=np.array(True))
    assert spread(kinds, (2, 2)) == [FixedPoint(width, 1, True, "RND", "WRAP") for width in (3, 4, 3, 4)]
    with pytest.raises(NetworkError, match="do not fit values of shape"):
        spread(kinds, (3,))
    with pytest.raises(NetworkError, match="PowerOfTwo is not a fixed-point type"):
        spread(PowerOfTwo(-2, 0), (2,))


@given(QUANTISERS, st.lists(st.booleans(), min_size=2, max_size=2).filter(any))
def test_channels_that_are_kept_keep_their_quantiser(quantiser: Quantiser, keep: list[bool]) -> None:
    values = np.stack([VALUES, VALUES[::-1]])
    less = taken(quantiser, keep, axis=-2)
    assert less is not None
    assert np.array_equal(less(values[keep]), quantiser(values)[keep])


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({"quantiser": "Lambda"}, "describes no quantiser"),
        ({"quantiser": "Scaled", "base": "ap_fixed<4,2>", "scale": -1.0}, "must be positive"),
        ({"quantiser": "FixedPoints", "width": [60], "integer": [1], "signed": [True]}, "between 0 and 52"),
        ({"quantiser": "Binary", "size": 3}, "describes no quantiser"),
        ([1, 2], "describes no quantiser"),
    ],
)
def test_what_describes_none_is_refused(described: object, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        from_json(described)


def test_a_description_is_written_out_only_where_it_is_refused() -> None:
    class Large(dict[str, object]):
        def __repr__(self) -> str:
            raise AssertionError("types of millions of values take long to write out")

    assert from_json(Large(quantiser="Binary", scale=2.0)) == Binary(2.0)


FLOATS = st.builds(
    lambda mantissa, exponent, offset: Minifloat(mantissa=mantissa, exponent=exponent, offset=offset),
    *(st.integers(0, 5), st.integers(0, 3), st.integers(-3, 3)),
)


def held_by(kind: Minifloat) -> np.ndarray:
    """Return all that a float holds, counted out: whole numbers of steps below twice the power of two of each exponent."""
    half = max(2 ** (int(kind.exponent) - 1), 1)
    places, offset = int(kind.mantissa), int(kind.offset)
    scales = [2.0 ** (exponent - places) for exponent in range(offset - half + 1, offset + half)]
    return np.unique(
        np.concatenate([scale * np.arange(-(2 ** (places + 1)) + 1, 2 ** (places + 1)) for scale in scales])
    )


@given(FLOATS)
def test_a_float_takes_the_nearest_of_what_it_holds(kind: Minifloat) -> None:
    known = held_by(kind)
    for given_ in (VALUES, torch.as_tensor(VALUES), VALUES.astype(np.float32)):
        found = np.asarray(kind(given_), np.float64)
        distances = np.abs(np.asarray(given_, np.float64)[:, None] - known)
        np.testing.assert_array_equal(np.abs(found - np.asarray(given_, np.float64)), distances.min(axis=1))
        assert np.isin(found, known).all()
    assert (known.min(), known.max()) == (kind.minimum, kind.maximum)
    assert (np.ldexp(known, kind.fraction) % 1 == 0).all()
    assert from_json(json.loads(json.dumps(to_json(kind)))) == kind


def test_floats_refuse_what_is_none() -> None:
    for fields, sentence in (
        ({"mantissa": -2, "exponent": 1, "offset": 0}, "at least -1 bits"),
        ({"mantissa": 2, "exponent": 9, "offset": 0}, "more than 6 exponent bits"),
        ({"mantissa": 8, "exponent": 6, "offset": 0}, "more than 52 bits as fixed-point numbers"),
        ({"mantissa": [[2]] * 2**13, "exponent": [[2] * 2**12], "offset": 0}, "33,554,432 values, of which at most"),
    ):
        with pytest.raises(NetworkError, match=sentence):
            Minifloat(**{name: np.array(value) for name, value in fields.items()})


def test_floats_of_values_that_stay_keep_their_widths() -> None:
    kind = Minifloat(mantissa=np.array([1, 2, 3]), exponent=np.array([2]), offset=np.array([0, 0, 1]))
    assert taken(kind, [True, False, True], axis=-1) == Minifloat(
        mantissa=np.array([1, 3]), exponent=np.array([2]), offset=np.array([0, 1])
    )
    assert [int(one.mantissa) for one in singles(kind, (2, 3))] == [1, 2, 3, 1, 2, 3]


# What quantizers 1.2.2 makes of the quarters from -4 to 4, with a sign and without one.
FOLDED = {
    ("RND", 1, 0, 1): "0 1 1 1 1 0 0 0 -1 -2 -2 -2 -2 -1 -1 0 0 1 1 1 1 0 0 0 -1 -2 -2 -2 -2 -1 -1 -1 0",
    ("RND_CONV", 0, 0, 1): "0 -1 -2 0 -1 0 1 -1 0 -1 -2 0 -1 0 1 0 0 -1 -2 0 -1 0 1 -1 0 -1 -2 0 -1 0 1 -1 0",
}


@pytest.mark.parametrize(("rounding", "sign", "integer", "fraction"), FOLDED)
def test_what_overflows_by_wrap_sm_goes_back_and_forth(rounding: str, sign: int, integer: int, fraction: int) -> None:
    whole = sign + integer + fraction
    kind = FixedPoints(
        width=np.array(whole),
        integer=np.array(sign + integer),
        signed=np.array(sign > 0),
        rounding=rounding,
        overflow="WRAP_SM",
    )
    wanted = np.array(FOLDED[rounding, sign, integer, fraction].split(), float) / 2
    quarters = np.arange(-16, 17) / 4
    for given_ in (quarters, torch.as_tensor(quarters), quarters.astype(np.float32)):
        np.testing.assert_array_equal(np.asarray(kind(given_)), wanted)
    assert kind.minimum == wanted.min()
    assert by_table(kind)
