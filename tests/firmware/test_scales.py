"""scales.h, compiled, gives the words of the Python scaler bit for bit: ties, overflow, and what is not finite."""

import ctypes
import itertools
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hepprune.data import Jets, Scaler, read
from hepprune.data.jets import IS_FILLED
from hepprune.data.scaling import fit
from hepprune.errors import DataError
from hepprune.firmware import scales
from hepprune.fixed import OVERFLOW, ROUNDING, FixedPoint
from hepprune.fixed.interface import Feature, InputPort, Interface, OutputPort, Word, shift

SHIFTS = ((0.0, 1.0), (-3.0, 0.5), (3072.0, 1024.0), (5.0 * 2.0**-20, 2.0**-20), (2.0**24, 1.0))
DIVISIONS = ((0.1, 0.3), (1e9, 7.0), (-2.5, 2.0), (0.0, 1e-30), (1e-3, 3e4))
KINDS = [
    FixedPoint(width, integer, signed, rounding, overflow)
    for (width, integer, signed), rounding, overflow in zip(
        itertools.cycle([(8, 4, True), (6, 2, False), (52, 20, True), (9, 12, True), (1, 1, True), (16, -3, False)]),
        *zip(*itertools.product(ROUNDING, OVERFLOW), strict=True),
    )
]


def scaler(constants: tuple[tuple[float, float], ...]) -> Scaler:
    return Scaler(tuple(f"f{i}" for i in range(len(constants))), *np.array(constants).T)


def port(name: str, own: Scaler, kind: FixedPoint, *, rows: int = 1, low: int = 0) -> InputPort:
    names, mark = own.feature_names, IS_FILLED if IS_FILLED in own.feature_names else None
    features = [
        Feature(name=n, offset=o, scale=s, shift=shift(o, s))
        for n, o, s in zip(names, own.offset.tolist(), own.scale.tolist(), strict=True)
    ]
    words = [
        Word(name=f"{n}[{row}]", type=str(kind), low=low + kind.width * (row * len(names) + i), width=kind.width)
        for row in range(rows)
        for i, n in enumerate(names)
    ]
    return InputPort(name=name, shape=(rows, len(names)), features=tuple(features), words=tuple(words), mark=mark)


def interface(inputs: list[InputPort], name: str = "tagger") -> Interface:
    label = '*/ "\\x40port FIT $ ü'  # as a class may be called
    output = OutputPort(
        name="logits",
        shape=(1,),
        meaning="class logits",
        words=(Word(name=label, type="fixed<3,2>", low=0, width=3),),
    )
    return Interface(
        name=name,
        top="top",
        verilog="verilog",
        clock_ns=5,
        latency_cycles=2,
        interval_cycles=1,
        inputs=tuple(inputs),
        outputs=(output,),
    )


def compiled(own: Interface, folder: Path, flags: tuple[str, ...] = ("-xc++", "-std=c++11", "-O0")) -> ctypes.CDLL:
    (folder / "scales.h").write_text(scales.header(own))
    lines = ['#include "scales.h"', "#ifdef __cplusplus", 'extern "C"', "#endif", "int words(int port, int is_integer,"]
    lines += ["const void *x, int64_t *words, long n) {", "int last = 0; for (long i = 0; i < n; ++i) switch (port) {"]
    for index, each in enumerate(own.inputs):
        call, size = f"{own.name}_{each.name}_words", len(each.words)
        lines += [
            f"case {index}: last = is_integer ? {call}_of_integers((const int64_t *)x + i * {size}, words + i * {size})",
            f": {call}((const float *)x + i * {size}, words + i * {size}); break;",
        ]
    (folder / "words.c").write_text("\n".join([*lines, "} return last; }"]))
    strict = ("-Wall", "-Wextra", "-Werror", "-pedantic")
    command = ["g++", *flags, *strict, "-shared", "-fPIC", "words.c", "-o", "words.so"]
    subprocess.run(command, cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "words.so"))


def from_c(library: ctypes.CDLL, index: int, x: NDArray[np.generic]) -> tuple[NDArray[np.int64], int]:
    x = np.ascontiguousarray(x)
    words = np.full(x.shape, -(2**60), np.int64)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (x, words)]
    last = library.words(index, int(x.dtype == np.int64), *pointers, ctypes.c_long(len(x)))
    return words, last


def jets_of(x: NDArray[np.generic], names: tuple[str, ...]) -> Jets:
    return Jets(
        x=x,
        y=np.zeros(len(x)),
        weight=np.ones(len(x)),
        event=np.arange(len(x)),
        feature_names=names,
        class_names=("g",),
    )


def from_python(own: Scaler, kind: FixedPoint, x: NDArray[np.generic]) -> NDArray[np.int64]:
    return kind.integers(own.apply(jets_of(x, own.feature_names)).x.astype(np.float64)).astype(np.int64)


def adversarial(own: Scaler, kind: FixedPoint) -> NDArray[np.float32]:
    """Return raw values on and beside every kind of edge: ties, ends of the range, far beyond, and next to nothing."""
    rng = np.random.default_rng(kind.width)
    low, high = kind.integer_range
    steps = np.concatenate(
        [np.arange(-40, 41) / 2, low + np.arange(-6, 7) / 2, high + np.arange(-6, 7) / 2, rng.integers(low, high, 300)]
    )
    edges = own.offset + own.scale * (steps * kind.step)[:, None]
    bits = rng.integers(0, 2**32, (3000, len(own.offset)), np.uint32).view(np.float32)
    bits = np.where(np.isfinite(bits) & (np.abs(bits) < 1e30 * own.scale.clip(max=1)), bits, 0)
    near = (rng.normal(size=(3000, len(own.offset))) * 3 * own.scale + own.offset) * rng.choice(
        [1, 1e-3, 50], (3000, 1)
    )
    tiny = np.array([0, 1e-45, -1e-45, 1e-38, -1e-30, 2.0**-26, -(2.0**-26)])[:, None] * np.ones(len(own.offset))
    exact = np.concatenate([edges, bits, near, tiny, own.offset[None]]).astype(np.float32)
    return np.concatenate([exact, *(np.nextafter(exact, np.float32(end)) for end in (-np.inf, np.inf))])


@pytest.fixture(scope="module")
def cases() -> list[tuple[Scaler, FixedPoint]]:
    return [(scaler(constants), kind) for kind in KINDS for constants in (SHIFTS, DIVISIONS)]


@pytest.fixture(scope="module")
def library(cases: list[tuple[Scaler, FixedPoint]], tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    ports: list[InputPort] = []
    for index, (own, kind) in enumerate(cases):
        ports.append(port(f"in{index}", own, kind, low=sum(word.width for p in ports for word in p.words)))
    assert [each.is_integer for each in ports[:2]] == [True, False]
    return compiled(interface(ports), tmp_path_factory.mktemp("scales"))


def test_every_rounding_and_overflow_gives_the_words_of_python(
    library: ctypes.CDLL, cases: list[tuple[Scaler, FixedPoint]]
) -> None:
    for index, (own, kind) in enumerate(cases):
        x = adversarial(own, kind)
        words, last = from_c(library, index, x)
        assert last == 0
        np.testing.assert_array_equal(words, from_python(own, kind, x), err_msg=f"{kind} {index % 2}")


def test_hardware_integers_need_no_float(library: ctypes.CDLL, cases: list[tuple[Scaler, FixedPoint]]) -> None:
    rng = np.random.default_rng(3)
    for index, (own, kind) in enumerate(cases):
        sizes = 2 ** rng.integers(0, 62, (4000, 5))
        x = rng.integers(-sizes, sizes)
        x[:, own.scale < 1e-10] %= 1000  # and still within the range of float when scaled
        words, last = from_c(library, index, x)
        assert last == 0
        np.testing.assert_array_equal(words, from_python(own, kind, x), err_msg=f"{kind} {index % 2}")


def test_small_hardware_integers_are_an_offset_and_a_shift(tmp_path: Path) -> None:
    kind = FixedPoint(8, 8, True, "TRN", "SAT")
    own = port("features", scaler(((640.0, 64.0),)), kind)
    x = np.arange(-(2**14), 2**14)[:, None]
    words, _ = from_c(compiled(interface([own]), tmp_path), 0, x)
    assert (words == np.clip((x - 640) >> 6, -128, 127)).all()


def test_hardware_integers_of_an_lsb_become_the_words_that_the_network_was_trained_on(tmp_path: Path) -> None:
    rng, kind = np.random.default_rng(4), FixedPoint(9, 4, True, "RND", "SAT")
    raw = np.stack([rng.integers(0, 2048, 3000), rng.integers(-120, 120, 3000)], axis=1)
    lsb = {"pt": 0.5, "eta": 0.0435}
    columns = dict(zip(lsb, (raw * [*lsb.values()]).astype(np.float32).T, strict=True))  # as a file holds them
    jets = read(columns, features=[*lsb], lsb=lsb, label=None, event=None)
    np.testing.assert_array_equal(jets.x, raw)
    own = fit(jets, power_of_two=True)
    plain = port("features", own, kind)
    told = plain.model_copy(
        update={"features": tuple(row.model_copy(update={"lsb": lsb[row.name]}) for row in plain.features)}
    )
    words, last = from_c(compiled(interface([told]), tmp_path), 0, raw)
    assert last == 0
    np.testing.assert_array_equal(words, from_python(own, kind, jets.x))
    assert "tagger_features_lsb[tagger_features_FEATURES] = {0.5, 0.0435}" in (tmp_path / "scales.h").read_text()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_by_both(
    library: ctypes.CDLL, cases: list[tuple[Scaler, FixedPoint]], value: float
) -> None:
    for index, (own, kind) in enumerate(cases):
        x = np.ones((1, 5), np.float32)
        x[0, 2] = value
        words, last = from_c(library, index, x)
        assert last == 3
        assert (words == -(2**60)).all()
        with pytest.raises(DataError, match="feature 'f2' of jet 0 is not finite when scaled"):
            from_python(own, kind, x)


@pytest.mark.parametrize("constants", [((0.0, 2.0**-30),), ((0.0, 1e-9),)], ids=["shift", "division"])
def test_what_scales_beyond_float_is_refused_by_both(constants: tuple[tuple[float, float]], tmp_path: Path) -> None:
    own, kind = scaler(constants), FixedPoint(8, 4, True, "RND", "SAT")
    made = compiled(interface([port("features", own, kind)]), tmp_path)
    most = np.float32(np.finfo(np.float32).max * np.float64(own.scale[0]))
    words, last = from_c(made, 0, np.array([[np.nextafter(most, np.float32(0))]]))
    assert (words[0, 0], last) == (127, 0)
    x = np.array([[most * np.float32(1.001)]], np.float32)
    assert from_c(made, 0, x)[1] == 1
    with pytest.raises(DataError, match="not finite when scaled"):
        from_python(own, kind, x)


def test_padded_constituents_are_zero(tmp_path: Path) -> None:
    kind = FixedPoint(8, 4, True, "RND", "SAT")
    own = Scaler(("pt", IS_FILLED), np.array([50.0, 0.0]), np.array([16.0, 1.0]))
    rng = np.random.default_rng(0)
    x = np.stack([rng.normal(50, 30, (200, 6)), rng.integers(0, 2, (200, 6))], axis=-1).astype(np.float32)
    made = compiled(interface([port("features", own, kind, rows=6)]), tmp_path)
    words, last = from_c(made, 0, x)
    assert last == 0
    assert np.array_equal(words, from_python(own, kind, x))
    assert (words[..., 0][x[..., 1] == 0] == 0).all()


@pytest.mark.parametrize("flags", [("-xc++", "-std=c++17", "-O3", "-march=native"), ("-xc", "-std=c99", "-O0")])
def test_other_compilers_and_flags_change_nothing(flags: tuple[str, ...], tmp_path: Path) -> None:
    for constants in (SHIFTS, DIVISIONS):
        own, kind = scaler(constants), FixedPoint(10, 3, True, "RND_CONV", "WRAP")
        folder = tmp_path / constants[0][1].hex()
        folder.mkdir()
        made = compiled(interface([port("features", own, kind)]), folder, flags)
        x = adversarial(own, kind)
        assert np.array_equal(from_c(made, 0, x)[0], from_python(own, kind, x))


def test_fast_math_does_not_compile_where_it_would_change_words(tmp_path: Path) -> None:
    kind = FixedPoint(8, 4, True, "RND", "SAT")
    ended = []
    for constants in (DIVISIONS, SHIFTS):
        (tmp_path / "scales.h").write_text(scales.header(interface([port("features", scaler(constants), kind)])))
        # Checked alone: whatever is linked with this option changes the arithmetic of the process that loads it.
        command = ["g++", "-xc", "-ffast-math", "-fsyntax-only", "scales.h"]
        ended.append(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False))
    assert "needs IEEE arithmetic" in ended[0].stderr
    assert [each.returncode for each in ended] == [1, 0]


def test_names_are_text_and_nothing_else(tmp_path: Path) -> None:
    own = Scaler(("*/ #error", '"@port'), np.zeros(2), np.ones(2))
    made = compiled(interface([port("features", own, FixedPoint(4, 2))]), tmp_path)
    code = (
        'extern "C" const char *label(int which) { return which ? tagger_logits_name[0] : tagger_features_feature[1]; }'
    )
    (tmp_path / "label.cc").write_text(f'#include "scales.h"\n{code}\n')
    subprocess.run(["g++", "-shared", "-fPIC", "label.cc", "-o", "label.so"], cwd=tmp_path, check=True)
    library = ctypes.CDLL(str(tmp_path / "label.so"))
    library.label.restype = ctypes.c_char_p
    assert made is not None
    assert library.label(0).decode() == '"@port'
    assert library.label(1).decode() == '*/ "\\x40port FIT $ ü'
