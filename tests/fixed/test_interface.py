"""scaler.json: what is written is read, and what is damaged is refused in one sentence with its place."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepprune.data import scaling
from hepprune.errors import DataError
from hepprune.fixed import interface
from hepprune.fixed.interface import Interface


def value() -> dict[str, Any]:
    words = [
        {"name": "pt", "type": "ap_fixed<8,4,AP_RND,AP_SAT>", "low": 0, "width": 8},
        {"name": "mass", "type": "ap_fixed<8,4,AP_RND,AP_SAT>", "low": 8, "width": 8},
    ]
    features = [
        {"name": "pt", "offset": 96.0, "scale": 32.0, "shift": 5},
        {"name": "mass", "offset": 0.1, "scale": 0.7},
    ]
    logits = [{"name": "q", "type": "ap_fixed<11,5>", "low": 0, "width": 11}, {"name": "g", "low": 11, "width": 0}]
    return {
        "name": "tagger",
        "top": "tagger_rtl",
        "verilog": "verilog/abc",
        "clock_ns": 2.5,
        "latency_cycles": 3,
        "interval_cycles": 1,
        "inputs": [{"name": "features", "shape": [2], "features": features, "words": words}],
        "outputs": [{"name": "dense_2", "shape": [2], "meaning": "class logits", "words": logits}],
    }


def written(content: Any, folder: Path) -> Path:
    path = folder / "scaler.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    own = interface.read(written(value(), tmp_path))
    again = interface.write(own, tmp_path / "again" / "scaler.json")
    assert interface.read(again) == own
    assert json.loads(again.read_text()) == value()
    assert own.inputs[0].features[0].units == 3
    assert not own.inputs[0].is_integer
    assert own.outputs[0].words[1].kind is None


def test_the_scaler_comes_back_by_name_or_alone(tmp_path: Path) -> None:
    path = written(value(), tmp_path)
    for scaler in (scaling.load(path), scaling.load(path, input_name="features")):
        assert scaler.feature_names == ("pt", "mass")
        assert scaler.offset.tolist() == [96.0, 0.1]
        assert scaler.scale.tolist() == [32.0, 0.7]
    with pytest.raises(DataError, match="unknown input 'jets'; choose one of: features"):
        scaling.load(path, input_name="jets")


def test_one_of_several_inputs_has_to_be_named(tmp_path: Path) -> None:
    two = value()
    second = json.loads(json.dumps(two["inputs"][0])) | {"name": "tracks"}
    second["features"][0] |= {"offset": 0.0}
    for word in second["words"]:
        word["low"] += 16
    path = written(two | {"inputs": [two["inputs"][0], second]}, tmp_path)
    assert scaling.load(path, input_name="tracks").offset.tolist() == [0.0, 0.1]
    with pytest.raises(DataError, match="has the inputs features, tracks; name one of them"):
        scaling.load(path)


@pytest.mark.parametrize(
    ("place", "new", "said"),
    [
        ("inputs", [], "inputs: .*at least 1 item"),
        ("inputs.0.shape", [3], r"inputs.0: input 'features' of shape \(3,\) does not hold 2 features"),
        (
            "inputs.0.words.0.type",
            "ap_fixed<8,4>",
            "inputs.0: words of input 'features' differ in rounding or overflow",
        ),
        ("inputs.0.features.0.offset", 97.0, r"inputs.0.features.0: the shift 5 is not that of offset 97.0"),
        ("inputs.0.features.0.shift", 4, "inputs.0.features.0: the shift 4 is not that of"),
        ("inputs.0.features.1.scale", 0, "inputs.0.features.1.scale: .*greater than 0"),
        ("inputs.0.features.1.offset", "much", "inputs.0.features.1.offset: .*valid number"),
        ("inputs.0.words.1.low", 7, "word 'mass' begins at bit 7 and not at bit 8"),
        ("inputs.0.words.1.width", 9, "inputs.0.words.1: 9 bits are not the width of ap_fixed<8,4"),
        ("inputs.0.words.0.type", "int8", "inputs.0.words.0.type: 'int8' is not a fixed-point type"),
        ("inputs.0.mark", "isfilled", "inputs.0: input 'features' has no feature 'isfilled'"),
        (
            "outputs.0.meaning",
            "what",
            "outputs.0.meaning: .*'class logits', 'label logits', 'probabilities' or 'values'",
        ),
        ("outputs.0.shape", [5], r"outputs.0: 'dense_2' of shape \(5,\) does not hold 2 words"),
        ("latency_cycles", 0, "latency_cycles: .*greater than or equal to 1"),
        ("name", "a b", "name: .*match pattern"),
        ("extra", 1, "extra: Extra inputs are not permitted"),
    ],
)
def test_damage_is_named_with_its_place(place: str, new: object, said: str, tmp_path: Path) -> None:
    content: Any = value()
    at = content
    *way, last = [int(part) if part.isdigit() else part for part in place.split(".")]
    for step in way:
        at = at[step]
    at[last] = new
    with pytest.raises(DataError, match=f"is damaged or of another version of hepprune \\(.*{said}"):
        scaling.load(written(content, tmp_path))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is damaged or of another version"),
        (json.dumps(value() | {"verilog": "\ud800"}), "is damaged or of another version"),
        ("[" * 100_000, "is damaged or of another version"),
        ('{"name": NaN}', "is damaged or of another version"),
        (json.dumps(value()).replace("0.7", "1e999"), "finite"),
        (" " * (interface.MAX_BYTES + 1), "is larger than"),
    ],
    ids=["empty", "surrogate", "deep", "nan", "infinite", "large"],
)
def test_what_is_no_such_file_is_refused(content: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said) as problem:
        scaling.load(written(content, tmp_path))
    assert "\n" not in str(problem.value)
    with pytest.raises(DataError, match="cannot be read"):
        scaling.load(tmp_path)


@given(st.integers(-149, 127), st.integers(-(2**24), 2**24))
def test_a_shift_is_found_where_integers_do(exponent: int, units: int) -> None:
    scale = 2.0**exponent
    assert interface.shift(units * scale, scale) == exponent
    assert interface.shift((units + 0.25) * scale, scale) is None
    assert interface.shift(units * scale, scale * 1.5) is None
    assert interface.shift((2**24 + 1) * scale, scale) is None


def test_the_fitted_scaler_of_powers_of_two_needs_integers_alone() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(rng.normal(0, 10, 6), np.exp(rng.normal(0, 3, 6)), (500, 6)).astype(np.float32)
    jets = scaling.Jets(
        x=x,
        y=np.zeros(500),
        weight=np.ones(500),
        event=np.arange(500),
        feature_names=tuple("abcdef"),
        class_names=("g",),
    )
    for name, integer in (("power_of_two", True), ("none", True), ("standard", False)):
        own = scaling.SCALERS[name](jets)
        shifts = [interface.shift(o, s) for o, s in zip(own.offset.tolist(), own.scale.tolist(), strict=True)]
        assert all(shift is not None for shift in shifts) == integer


def test_values_are_frozen() -> None:
    own = Interface.model_validate(value())
    with pytest.raises(ValueError, match="frozen"):
        own.latency_cycles = 4  # type: ignore[misc]
