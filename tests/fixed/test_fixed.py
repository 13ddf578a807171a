"""FixedPoint against the `ap_fixed` headers that Vitis HLS and hls4ml compile with."""

import importlib.util
import subprocess
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepprune.errors import NetworkError
from hepprune.fixed import OVERFLOW, ROUNDING, FixedPoint
from hepprune.fixed.quantisers import FixedPoints

SHAPES = ((8, 3), (6, -2), (3, 5), (2, 1))
TYPES = [
    FixedPoint(width, integer, signed, rounding, overflow)
    for (width, integer), signed, rounding, overflow in product(SHAPES, (True, False), ROUNDING, OVERFLOW)
]
PROGRAM = """
#include <cstdio>
#include "ap_fixed.h"
static double values[{n}];
template <class T, class Source> void convert(double scale, size_t n) {{
    for (size_t i = 0; i < n; i++) {{
        T converted = Source(values[i] * scale);
        double result = converted.to_double();
        fwrite(&result, sizeof result, 1, stdout);
    }}
}}
int main() {{
    if (fread(values, sizeof(double), {n}, stdin) != {n}) return 1;
    {calls}
}}
"""


def values() -> np.ndarray:
    """Whole, half and quarter steps of every shape, zero, extremes and random values; all exact in ap_fixed<48,16>."""
    rng = np.random.default_rng(1)
    steps = np.concatenate([rng.integers(-(2**11), 2**11, 200) * 2.0 ** -(w - i + 2) for w, i in SHAPES])
    halves = np.concatenate([(np.arange(-20, 20) + 0.5) * 2.0 ** -(w - i) for w, i in SHAPES])
    spread = rng.integers(-(2**24), 2**24, 400) * 2.0**-16
    return np.concatenate([steps, halves, spread, [0.0, 255.5, -256.0]])


def compiled(folder: Path, inputs: np.ndarray, calls: list[str]) -> np.ndarray:
    """Return what Xilinx' headers, as hls4ml ships them, make of the inputs."""
    package = importlib.util.find_spec("hls4ml")
    assert package is not None
    assert package.origin is not None
    headers = Path(package.origin).parent / "templates" / "vivado" / "ap_types"
    source, program = folder / "convert.cpp", folder / "convert"
    source.write_text(PROGRAM.format(n=len(inputs), calls="\n".join(calls)))
    command = ["g++", "-std=c++17", "-w", "-O0", "-fno-exceptions", f"-I{headers}", str(source), "-o", str(program)]
    subprocess.run(command, check=True, capture_output=True)
    done = subprocess.run([str(program)], input=inputs.tobytes(), check=True, capture_output=True)
    return np.frombuffer(done.stdout)


@pytest.mark.slow
def test_every_mode_is_that_of_ap_fixed(tmp_path: Path) -> None:
    inputs = values()
    calls = [f"convert<{_cpp(kind)}, ap_fixed<48, 16>>(1, {len(inputs)});" for kind in TYPES]
    expected = compiled(tmp_path, inputs, calls).reshape(len(TYPES), len(inputs))
    wrong = [str(kind) for kind, row in zip(TYPES, expected, strict=True) if not np.array_equal(kind(inputs), row)]
    assert wrong == []


@pytest.mark.slow
def test_all_narrow_types_are_those_of_ap_fixed_on_every_value(tmp_path: Path) -> None:
    far = np.array([2.0**20 + 0.25, 2.0**20 + 0.5, 2.0**22 - 0.25, 2.0**23, 2.0**40])
    near = np.array([2.0**-10, 0.5 - 2.0**-10, 0.5 + 2.0**-10, 1.5 - 2.0**-10])
    quarters = np.arange(2**11) / 4  # the range of every width and a turn to either side, ties and all
    steps = np.concatenate([far, near, quarters])
    steps = np.stack([steps, -steps], axis=1).ravel()
    kinds = [
        FixedPoint(width, (-3, (width + 1) // 2, width + 3)[width % 3], signed, rounding, overflow)
        for width in range(1, 7)  # and a point before, in and behind the bits, which only scales what a type does
        for signed, rounding, overflow in product((True, False), ROUNDING, OVERFLOW)
    ]
    counts = [2 * (len(far) + len(near)) + 2 ** (kind.width + 4) for kind in kinds]
    calls = [f"convert<{_cpp(k)}, double>({k.step.hex()}, {n});" for k, n in zip(kinds, counts, strict=True)]
    rows = np.split(compiled(tmp_path, steps, calls), np.cumsum(counts)[:-1])
    for kind, expected in zip(kinds, rows, strict=True):
        inputs = steps[: len(expected)] * kind.step
        for values in (inputs, inputs.astype(np.float32), torch.tensor(inputs), torch.tensor(inputs).float()):
            assert np.array_equal(np.asarray(kind(values)), expected), str(kind)
            arrays = FixedPoints(
                width=np.array([kind.width]),
                integer=np.array([kind.integer]),
                signed=np.array([kind.signed]),
                rounding=kind.rounding,
                overflow=kind.overflow,
            )
            assert np.array_equal(np.asarray(arrays(values)), expected), str(kind)


def modes(kind: FixedPoint) -> tuple[str, str]:
    return kind.rounding, kind.overflow


def _cpp(kind: FixedPoint) -> str:
    name = "ap_fixed" if kind.signed else "ap_ufixed"
    return f"{name}<{kind.width}, {kind.integer}, AP_{kind.rounding}, AP_{kind.overflow}>"


FIXED_POINTS = st.builds(
    FixedPoint,
    st.integers(1, 30),
    st.integers(-8, 12),
    st.booleans(),
    st.sampled_from(sorted(ROUNDING)),
    st.sampled_from(OVERFLOW),
)


@given(FIXED_POINTS)
def test_text_reads_back(kind: FixedPoint) -> None:
    assert FixedPoint.parse(str(kind)) == kind


@given(FIXED_POINTS, st.integers(0, 2**32 - 1))
def test_quantised_values_are_held_and_stay(kind: FixedPoint, seed: int) -> None:
    quantised = kind(np.random.default_rng(seed).normal(size=50) * 2 * kind.maximum)
    assert kind.holds(quantised).all()
    assert np.array_equal(kind(quantised), quantised)


@given(FIXED_POINTS, st.integers(0, 2**32 - 1))
def test_torch_and_numpy_agree_in_both_precisions(kind: FixedPoint, seed: int) -> None:
    steps = np.random.default_rng(seed).integers(-(2**10), 2**10, 50).astype(np.float32)
    inputs = steps * np.float32(kind.step / 4)
    expected = kind(inputs.astype(np.float64))
    assert np.array_equal(kind(torch.tensor(inputs)).numpy(), expected.astype(np.float32))
    assert np.array_equal(kind(torch.tensor(inputs).double()).numpy(), expected)


@given(
    st.builds(FixedPoint, st.integers(1, 52), st.integers(-8, 58), st.booleans(), st.sampled_from(["TRN", "RND_CONV"])),
    st.sampled_from([(np.float32, 24), (np.float64, 53)]),
    st.data(),
)
def test_what_wraps_is_exact_wherever_the_floating_type_holds_it(
    kind: FixedPoint, floating: tuple[type[np.floating], int], data: st.DataObject
) -> None:
    dtype, mantissa = floating
    whole = data.draw(st.integers(1 - 2**mantissa, 2**mantissa - 1))
    steps = Fraction(whole) * Fraction(2) ** data.draw(st.integers(-mantissa, 8))
    inputs = np.array([float(steps * Fraction(kind.step))], dtype)
    assert Fraction(float(inputs[0])) == steps * Fraction(kind.step)
    low = kind.integer_range[0]
    turned = ((steps // 1 if kind.rounding == "TRN" else round(steps)) - low) % 2**kind.width + low
    expected = float(turned) * kind.step
    for found in (kind(inputs)[0], kind(torch.tensor(inputs)).numpy()[0]):
        assert found.dtype == dtype
        if dtype(expected) == expected:
            assert found == expected
        else:  # the next that it holds, never one outside the range
            assert kind.minimum <= float(found) <= kind.maximum
            assert abs(float(found) - expected) <= abs(expected) * 2.0 ** (1 - mantissa)


@pytest.mark.parametrize("overflow", ["SAT", "SAT_SYM"])
@pytest.mark.parametrize("sign", ["fixed", "ufixed"])
@pytest.mark.parametrize("width", [24, 25, 26, 32, 52])
def test_what_saturates_stays_in_range_where_the_floating_type_does_not_hold_its_ends(
    width: int, sign: str, overflow: str
) -> None:
    kind = FixedPoint.parse(f"{sign}<{width},3,AP_TRN,AP_{overflow}>")
    for values in (np.array([-1e9, 1e9], np.float32), torch.tensor([-1e9, 1e9])):
        low, high = (float(end) for end in kind(values))
        assert kind.minimum <= low <= kind.minimum * (1 - 2.0**-23)
        assert kind.maximum * (1 - 2.0**-23) <= high <= kind.maximum
    assert kind(np.array([-1e9, 1e9])).tolist() == [kind.minimum, kind.maximum]


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.integers(0, 10))
def test_covering_holds_both_ends_and_no_narrower_type_does(one: float, other: float, fraction: int) -> None:
    grid = 2.0**-fraction
    low, high = (round(value / grid) * grid for value in sorted((one, other)))
    kind = FixedPoint.covering(low, high, fraction=fraction)
    assert kind.holds(np.array([low, high])).all()
    if kind.width > 1:
        narrower = FixedPoint(kind.width - 1, kind.integer - 1, kind.signed)
        assert not narrower.holds(np.array([low, high])).all()


def test_zero_on_a_grid_coarser_than_any_is_held_by_one_bit() -> None:
    """Values without bits have no last place of their own."""
    assert FixedPoint.covering(0.0, 0.0, fraction=-64) == FixedPoint(1, 1, signed=False)
    assert FixedPoint.covering(0.0, 0.0, fraction=3) == FixedPoint(1, -2, signed=False)


@pytest.mark.parametrize(
    "text", ["", "float", "ap_fixed<8>", "ap_fixed<8,3,AP_UP>", "ap_fixed<99,3>", "ap_fixed<8,3,AP_RND,AP_CLIP>"]
)
def test_what_is_no_type_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(NetworkError, match=r"fixed-point|unknown|rounding|overflow"):
        FixedPoint.parse(text)


def test_wrapping_takes_whole_turns_off_values_of_any_size() -> None:
    whole = np.array([2.0**70, -(2.0**70) + 2.0**30, 2.0**60 + 2.0**8, 3 * 2.0**53, 1e30, -1e30])
    for kind in (FixedPoint(8, 8), FixedPoint(8, 8, signed=False), FixedPoint(40, 40), FixedPoint(52, 52)):
        span = 2**kind.width
        turned = [int(value) % span for value in whole]
        expected = [value - span if kind.signed and value >= span // 2 else value for value in turned]
        assert kind(whole).tolist() == expected
        for number in (torch.float32, torch.float64):
            exact = torch.tensor(whole).to(number)
            assert kind(exact).double().tolist() == kind(exact.double().numpy()).tolist()
