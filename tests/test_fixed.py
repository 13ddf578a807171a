"""FixedPoint against the `ap_fixed` headers that Vitis HLS and hls4ml compile with."""

import importlib.util
import subprocess
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepprune.errors import NetworkError
from hepprune.fixed import OVERFLOW, ROUNDING, FixedPoint

SHAPES = ((8, 3), (6, -2), (3, 5), (2, 1))
TYPES = [
    FixedPoint(width, integer, signed, rounding, overflow)
    for (width, integer), signed, rounding, overflow in product(SHAPES, (True, False), ROUNDING, OVERFLOW)
]
PROGRAM = """
#include <cstdio>
#include "ap_fixed.h"
template <class T> void convert(const double *values, size_t n) {{
    for (size_t i = 0; i < n; i++) {{
        T converted = ap_fixed<48, 16>(values[i]);
        double result = converted.to_double();
        fwrite(&result, sizeof result, 1, stdout);
    }}
}}
int main() {{
    static double values[{n}];
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


@pytest.mark.slow
def test_every_mode_is_that_of_ap_fixed(tmp_path: Path) -> None:
    package = importlib.util.find_spec("hls4ml")
    assert package is not None
    assert package.origin is not None
    headers = Path(package.origin).parent / "templates" / "vivado" / "ap_types"
    inputs = values()
    calls = "\n".join(f"convert<{_cpp(kind)}>(values, {len(inputs)});" for kind in TYPES)
    source, program = tmp_path / "convert.cpp", tmp_path / "convert"
    source.write_text(PROGRAM.format(n=len(inputs), calls=calls))
    command = ["g++", "-std=c++17", "-w", "-O0", f"-I{headers}", str(source), "-o", str(program)]
    subprocess.run(command, check=True, capture_output=True)
    done = subprocess.run([str(program)], input=inputs.tobytes(), check=True, capture_output=True)
    expected = np.frombuffer(done.stdout).reshape(len(TYPES), len(inputs))
    wrong = [str(kind) for kind, row in zip(TYPES, expected, strict=True) if not np.array_equal(kind(inputs), row)]
    assert wrong == []


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


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.integers(0, 10))
def test_covering_holds_both_ends_and_no_narrower_type_does(one: float, other: float, fraction: int) -> None:
    grid = 2.0**-fraction
    low, high = (round(value / grid) * grid for value in sorted((one, other)))
    kind = FixedPoint.covering(low, high, fraction=fraction)
    assert kind.holds(np.array([low, high])).all()
    if kind.width > 1:
        narrower = FixedPoint(kind.width - 1, kind.integer - 1, kind.signed)
        assert not narrower.holds(np.array([low, high])).all()


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
