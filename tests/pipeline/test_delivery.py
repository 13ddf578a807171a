"""From raw columns of a ROOT file to logits, with nothing but the files in build/, g++ and Verilator."""

import ctypes
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import uproot
from numpy.typing import NDArray

from hepprune import recipe
from hepprune.data import Jets, reading, scaling
from hepprune.firmware.routes import Built
from hepprune.firmware.verilog import verilator
from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import FixedPoints
from hepprune.hardware import targets
from hepprune.network import Argmax, Dense, Layer, Network, Softmax, exact_logits, load, save
from hepprune.pipeline import delivery, firmware, taggers
from hepprune.pipeline.context import Context
from hepprune.task import BinaryLabel, Classes, MultiLabel, Regression, Task

ROOT = Path(__file__).parents[2]
TREE = ROOT / "datasets/jets_features.root"
SCALERS = ["power_of_two", "standard", "none"]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("delivery")]


def delivered(scaler: str, build: Path) -> Path:
    """Return a build folder as a run leaves it, of a small tagger."""
    default = recipe.load(ROOT / "hls_projects/jet_tagger/recipe.yaml")
    bits = recipe.Bits(inputs="ap_fixed<9,4,AP_RND_CONV,AP_SAT>", activations=5)
    training = recipe.Training(float_epochs=2, epochs=2)
    sections = {
        "name": "ports",
        "data": default.data.model_copy(update={"max_jets": 8000, "scaler": scaler}),
        "model": recipe.Model(hidden=(8, 6), bits=bits, training=training),
    }
    own = default.model_copy(update=sections)
    context = Context(recipe=own, target=targets.load(own.target), build=build)
    jets = taggers.read_jets(context)
    network = own_types(taggers.baseline(context, jets, None))
    files = delivery.write(context, firmware.written(context, Built(network=network), "rtl"), jets)
    assert all(Path(file).exists() for file in files.values())
    save(network, build / "network.npz")
    return build


def own_types(network: Network) -> Network:
    """Return a network whose features have 6 to 9 bits, each its own."""
    features, fewer = network.input, np.arange(network.input.n_features) % 4
    kind = features.fixed_result
    assert kind is not None
    types = FixedPoints(
        width=kind.width - fewer,
        integer=np.asarray(kind.integer),
        signed=np.asarray(kind.signed),
        rounding=kind.rounding,
        overflow=kind.overflow,
    )
    return network.replacing({features.name: features.rebuilt(result=types)})


@pytest.fixture(scope="module", params=SCALERS[:1])
def build(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return delivered(request.param, tmp_path_factory.mktemp("ports") / "build")


@pytest.fixture(scope="module")
def described(build: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((build / "scaler.json").read_text())
    return value


@pytest.fixture(scope="module")
def raw(described: dict[str, Any]) -> NDArray[np.float32]:
    names = [feature["name"] for feature in described["inputs"][0]["features"]]
    with uproot.open(TREE) as file:
        columns = file["Jets"].arrays(names, entry_start=9000, entry_stop=10000, library="np")
    return np.stack([columns[name].astype(np.float32) for name in names], axis=1)


@pytest.fixture(scope="module")
def words(build: Path, raw: NDArray[np.float32]) -> NDArray[np.int64]:
    """The input words of raw jets, by the C header alone."""
    call = "ports_features_words(x + i * ports_features_VALUES, words + i * ports_features_VALUES)"
    body = f"for (long i = 0; i < n; ++i) if (int bad = {call}) return bad; return 0;"
    code = f'#include "scales.h"\nextern "C" int words(const float *x, int64_t *words, long n) {{ {body} }}\n'
    source, library = build / "words.cc", build / "words.so"
    source.write_text(code)
    subprocess.run(["g++", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC", source, "-o", library], check=True)
    got = np.zeros(raw.shape, np.int64)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (raw, got)]
    assert ctypes.CDLL(str(library)).words(*pointers, ctypes.c_long(len(raw))) == 0
    return got


@pytest.mark.parametrize("build", SCALERS, indirect=True)
def test_the_header_gives_the_words_of_the_scaler(
    build: Path, described: dict[str, Any], raw: NDArray[np.float32], words: NDArray[np.int64]
) -> None:
    scaler = scaling.load(build / "scaler.json")
    n = len(raw)
    jets = Jets(
        x=raw,
        y=np.zeros(n),
        weight=np.ones(n),
        event=np.arange(n),
        feature_names=scaler.feature_names,
        class_names=("g",),
    )
    kinds = [FixedPoint.parse(word["type"]) for word in described["inputs"][0]["words"]]
    assert {kind.width for kind in kinds} == {6, 7, 8, 9}
    columns = scaler.apply(jets).x.astype(np.float64).T
    expected = np.stack([kind.integers(column) for kind, column in zip(kinds, columns, strict=True)], axis=1)
    assert np.array_equal(words, expected)
    assert len(np.unique(words)) > 100


@pytest.mark.parametrize("build", SCALERS, indirect=True)
def test_the_header_computes_in_integers_where_the_scaler_shifts(build: Path, described: dict[str, Any]) -> None:
    shifts = all("shift" in feature for feature in described["inputs"][0]["features"])
    assert ("double" in (build / "scales.h").read_text()) != shifts


def test_the_verilog_given_raw_columns_puts_out_the_logits(
    build: Path, described: dict[str, Any], words: NDArray[np.int64], simulation: Path, tmp_path: Path
) -> None:
    scaler, network = scaling.load(build / "scaler.json"), load(build / "network.npz")
    jets = reading.read(f"{TREE}:Jets", features=scaler.feature_names, classes=list("gqWZt"), max_jets=10000)
    logits = exact_logits(network, scaler.apply(jets).x[9000:])
    (port,) = described["outputs"]
    kinds = [FixedPoint.parse(word["type"]) for word in port["words"]]
    wanted = np.stack([column / kind.step for column, kind in zip(logits.T, kinds, strict=True)], axis=1)
    assert (wanted == np.round(wanted)).all()
    assert len(np.unique(wanted)) > 100
    write(tmp_path / "inputs.hex", words, described["inputs"][0]["words"])
    write(tmp_path / "outputs.hex", wanted.astype(np.int64), port["words"])
    assert played(simulation, tmp_path) == ["1000 jets, 0 mismatches"]
    assert [word["name"] for word in port["words"]] == list("gqWZt")
    assert port["meaning"] == "class logits"


def test_the_patterns_play_without_a_mismatch_and_a_wrong_one_shows(
    build: Path, simulation: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "patterns"
    shutil.copytree(build / "patterns", folder)
    assert len((folder / "inputs.hex").read_text().splitlines()) == 1000
    assert played(simulation, folder) == ["1000 jets, 0 mismatches"]
    outputs = (folder / "outputs.hex").read_text().splitlines()
    assert len(set(outputs)) > 50
    wrong = f"{int(outputs[7], 16) ^ 1:0{len(outputs[7])}x}"
    (folder / "outputs.hex").write_text("".join(f"{line}\n" for line in [*outputs[:7], wrong, *outputs[8:]]))
    assert played(simulation, folder) == [f"jet 7: {outputs[7]} instead of {wrong}", "1000 jets, 1 mismatches"]


@pytest.mark.parametrize(
    ("last", "task", "meaning"),
    [
        (Dense("d", torch.ones(2, 2), torch.zeros(2)), Classes(), "class logits"),
        (Dense("d", torch.ones(1, 2), torch.zeros(1)), BinaryLabel(), "label logits"),
        (Dense("d", torch.ones(2, 2), torch.zeros(2)), MultiLabel(), "label logits"),
        (Dense("d", torch.ones(2, 2), torch.zeros(2)), Regression(), "values"),
        (Softmax("s"), Classes(), "probabilities"),
        (Argmax("a"), Classes(), "values"),
    ],
)
def test_an_output_means_what_its_last_layer_and_its_task_make_of_it(last: Layer, task: Task, meaning: str) -> None:
    assert delivery._meaning(last, task) == meaning


def write(path: Path, words: NDArray[np.int64], places: list[dict[str, Any]]) -> None:
    """Write words as scaler.json says that they lie in a port."""
    path.write_text("".join(f"{joined(row, places):x}\n" for row in words.tolist()))


def joined(words: list[int], places: list[dict[str, Any]]) -> int:
    return sum((word & (1 << at["width"]) - 1) << at["low"] for word, at in zip(words, places, strict=True))


@pytest.fixture(scope="module")
def simulation(build: Path, described: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The testbench of the build, compiled with its Verilog."""
    sources, made = build / described["verilog"] / "src", tmp_path_factory.mktemp("sim")
    files = [*sorted(sources.glob(f"{described['top']}*.v")), *sorted((sources / "static").glob("*.v"))]
    files = [file for file in files if not file.stem.endswith("_wrapper")]
    flags = [each for setting in verilator._SETTINGS for each in ("-MAKEFLAGS", setting)] + ["-CFLAGS", "-std=gnu++20"]
    command = ["verilator", *flags, "--binary", "--timing", "-Wno-lint", "--Mdir", made, "-j", "1"]
    command += ["--top-module", "testbench", build / "patterns/testbench.v", *files]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | verilator._environment())
    return made / "Vtestbench"


def played(simulation: Path, folder: Path) -> list[str]:
    """Return what the testbench says of the words in a folder."""
    done = subprocess.run([simulation], cwd=folder, check=True, capture_output=True, text=True)
    return [line for line in done.stdout.splitlines() if not line.startswith("- ")]
