"""Everything that a recipe, its model and its data header can be wrong about is said before jets are read."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import uproot
import yaml

from hepprune import pipeline, recipe, training
from hepprune.errors import HeppruneError, NetworkError
from hepprune.fixed import FixedPoint
from hepprune.hardware import targets
from hepprune.network import Activation, BatchNorm, Conv, Dense, Input, Merge, Network, ReLU, Shared, Softmax, save
from hepprune.network.precision import Precision, quantise
from hepprune.pipeline import checks, taggers
from hepprune.pipeline.context import Context

FEATURES, CLASSES = ["a", "mass", "tau_21"], ["q", "g"]
WIDE = FixedPoint(8, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with jets whose first row is all that a check needs."""
    folder = tmp_path_factory.mktemp("checks")
    rng, n = np.random.default_rng(1), 50
    columns: dict[str, Any] = {name: rng.normal(size=n).astype(np.float32) for name in FEATURES}
    columns |= {"label": np.arange(n, dtype=np.int32) % 2, "event": np.arange(n), "score": columns["a"]}
    with uproot.recreate(folder / "jets.root") as file:
        file["Jets"] = columns
        file["Jagged"] = columns | {"mass": uproot_lists(n)}
    return folder


def uproot_lists(n: int) -> Any:
    import awkward as ak

    return ak.Array([[1.0] * (1 + row % 3) for row in range(n)])


def context(folder: Path, **changes: Any) -> Context:
    """Return a sound recipe with some values changed, at places such as data__label."""
    content: dict[str, Any] = {
        "name": "small",
        "data": {"file": "jets.root:Jets", "features": FEATURES, "classes": CLASSES},
        "model": {"hidden": [4]},
        "budget": {"lut_of_baseline": 0.5},
    }
    for place, value in changes.items():
        *sections, key = place.split("__")
        section = content
        for part in sections:
            section = section.setdefault(part, {})
        section[key] = value
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content))
    found = recipe.load(folder / "recipe.yaml")
    return Context(recipe=found, target=targets.load(found.target), build=folder / "build")


def target(folder: Path, text: str) -> str:
    (folder / "target.yaml").write_text("{name: mine, " + text + "}")
    return "target.yaml"


def dense(name: str, n_in: int, n_out: int) -> Dense:
    return Dense(name, torch.ones(n_out, n_in), torch.zeros(n_out))


@pytest.mark.parametrize("stage", ["yosys", "vsynth", "da4ml"])
def test_what_is_right_passes_unread_and_unwritten(folder: Path, stage: str) -> None:
    checks.check(context(folder), stage)
    checks.check(context(folder, budget={"lut": 100, "latency_ns": 20}, prune={"sparsity": 0.5}), stage)
    checks.check(context(folder, model__bits={"layers": {"dense_1": 3, "relu_1": 1}}), stage)
    checks.check(context(folder, target=target(folder, "part: xc7z008sclg400-1, clock_ns: 5")), stage)
    assert not (folder / "build").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data__file": "gone.root:Jets"}, "there is no file '.*gone.root'"),
        ({"data__file": "jets.root:Jet"}, "has no tree 'Jet'; it has: Jets, Jagged"),
        ({"data__features": ["a", "mas"]}, "has no column 'mas'; the nearest are: mass"),
        ({"data__label": "labl"}, "has no column 'labl'; the nearest are: label"),
        ({"data__event": "evnt"}, "has no column 'evnt'; the nearest are: event"),
        ({"data__label": "score"}, "column 'score' of .* must be an integer"),
        ({"data__event": "score"}, "column 'score' of .* must be an integer"),
        ({"data__file": "jets.root:Jagged"}, "column 'mass' of .* and not one number per row"),
        (
            {"model__bits": {"layers": {"dense_3": 4}}},
            "model.bits.layers: unknown layer 'dense_3'; .* dense_2, dense_1",
        ),
        ({"model__bits": {"layers": {"features": 4}}}, "model.bits.layers: unknown layer 'features'"),
        ({"model__bits": {"layers": {"dense_1": 1}}}, "the weights of 'dense_1' take 2 bits or more"),
        ({"budget": {"latency_ns": 4}}, "4 ns is less than one cycle of 5 ns"),
        ({"budget": {"lut": 2e6}}, "2,000,000 lut is more than the 1,728,000"),
        ({"budget": {"dsp": 0.1}}, "0.1 dsp is less than one cell"),
        ({"target": "cms_run3_emtf"}, "'cms_run3_emtf' has no known part"),
        ({"target": "atlas_gep"}, "'atlas_gep' has no known clock"),
        ({"prune": {"sparsity": 0.5, "granularity": "head"}}, "prune: .*nothing to prune at the granularity 'head'"),
        ({"prune": {"sparsity": 0.5, "granularity": "layer"}}, "prune: no block can leave"),
    ],
)
def test_what_a_recipe_says_wrongly_is_refused_at_once(folder: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(HeppruneError, match=said):
        checks.check(context(folder, **changes), "yosys")


def test_a_network_that_cannot_be_unrolled_is_refused_at_once(folder: Path) -> None:
    large = {"model__hidden": [768, 768], "model__bits": {"weights": 8}}
    with pytest.raises(HeppruneError, match=r"about [\d,]+ LUT.* 150,000 here.*reuse factor"):
        checks.check(context(folder, **large), "yosys")
    checks.check(context(folder, **large, budget={"lut": 50_000}), "yosys")


def test_a_part_that_cannot_be_synthesised_is_refused_at_once(folder: Path) -> None:
    asked = context(folder, target=target(folder, "part: 10AX115, clock_ns: 5"))
    checks.check(asked, "vsynth")
    with pytest.raises(HeppruneError, match="Yosys has no family for part '10AX115'"):
        checks.check(asked, "yosys")


HERE = Input("x", 3)
MODELS: dict[str, tuple[Callable[[], Network], str]] = {
    "sound": (lambda: Network([HERE, dense("d", 3, 4), BatchNorm("n", torch.ones(4), torch.ones(4)), ReLU("r"),
                               dense("e", 4, 2), Softmax("s")]), ""),
    "sizes": (lambda: Network([Input("x", 5), dense("d", 5, 7)]), "takes 5 features and gives 7 classes, .* 3 and 2"),
    "tanh": (lambda: Network([HERE, dense("d", 3, 4), Activation("t", "tanh"), dense("e", 4, 2)]), ""),
    "relu6": (lambda: Network([HERE, dense("d", 3, 2), ReLU("r", maximum=6.0)]), ""),
    "residual": (
        lambda: Network(
            [HERE, dense("d", 3, 3), Merge("add", "add"), dense("e", 3, 2)],
            {"d": "x", "add": ("x", "d"), "e": "add"},
        ),
        "",
    ),
    "shared": (lambda: Network([HERE, dense("d", 3, 3), Shared("again", "d"), dense("e", 3, 2)]), ""),
    "image": (
        lambda: Network([Input("x", (4, 4, 1)), Conv("c", torch.ones(2, 3, 3, 1), torch.zeros(2))]),
        r"takes \(4, 4, 1\) features and gives 8 classes, .* 3 and 2",
    ),
    "two outputs": (
        lambda: Network([HERE, dense("d", 3, 2), dense("e", 3, 2)], {"d": "x", "e": "x"}, ["d", "e"]),
        "takes 3 features and gives 2 and 2 classes, .* 3 and 2",
    ),
    "norm": (
        lambda: Network([HERE, dense("d", 3, 2), ReLU("r"), BatchNorm("n", torch.ones(2), torch.ones(2))]),
        "",
    ),
    "half typed": (lambda: Network([Input("x", 3, WIDE), dense("d", 3, 2)]), ""),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_a_run_cannot_take_is_refused_at_once(folder: Path, name: str) -> None:
    make, said = MODELS[name]
    save(make(), folder / f"{name}.npz")
    asked = context(folder, model={"file": f"{name}.npz"})
    if not said:
        checks.check(asked, "yosys")
        return
    with pytest.raises(HeppruneError, match=said):
        checks.check(asked, "yosys")


def test_an_allocation_takes_chains_of_dense_layers(folder: Path) -> None:
    checks.check(context(folder, search={"kind": "allocation"}), "yosys")
    save(MODELS["residual"][0](), folder / "residual.npz")
    for names in (["neuron", "weight", "digit", "bit"], ["digit"]):
        asked = context(folder, model={"file": "residual.npz"}, search={"kind": "allocation", "granularities": names})
        if "bit" not in names:
            checks.check(asked, "yosys")
            continue
        with pytest.raises(NetworkError, match="chains of dense layers .* take the search kind 'stages'"):
            checks.check(asked, "yosys")


def test_an_hls_project_takes_them_too(folder: Path) -> None:
    for name in ("residual", "relu6", "tanh", "norm"):
        save(MODELS[name][0](), folder / f"{name}.npz")
        checks.check(context(folder, strategy="latency", model={"file": f"{name}.npz"}), "csynth")


def test_a_model_with_types_of_its_own_passes(folder: Path) -> None:
    network = training.multilayer_perceptron(3, (4,), 2, seed=1)
    save(quantise(network, np.ones((9, 3)), Precision(inputs=WIDE)), folder / "typed.npz")
    checks.check(context(folder, model={"file": "typed.npz"}), "vsynth")


def test_layers_that_no_firmware_takes_are_refused_by_name_before_jets_are_read(folder: Path) -> None:
    types = {"weight_type": FixedPoint(26, 3), "bias_type": WIDE}
    wide = [Dense(name, torch.ones(3, 3), torch.zeros(3), **types) for name in ("d", "e")]
    last = Dense("f", torch.ones(2, 3), torch.zeros(2), weight_type=WIDE, bias_type=WIDE, reuse_factor=5)
    save(Network([Input("x", 3, WIDE), wide[0], ReLU("r", WIDE), wide[1], ReLU("s", WIDE), last]), folder / "wide.npz")
    said = "cannot build this network: .*'f' has reuse factor 5.*'d' has 26-bit weights; da4ml .*'e' has 26-bit"
    with pytest.raises(HeppruneError, match=said):
        checks.check(context(folder, model={"file": "wide.npz"}), "yosys")


def test_a_run_and_a_comparison_check_before_they_read_jets(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(MODELS["two outputs"][0](), folder / "two.npz")
    asked = context(folder, model={"file": "two.npz"})
    monkeypatch.setattr("hepprune.pipeline.taggers.read_jets", lambda _: pytest.fail("jets were read"))
    for job in (pipeline.run, pipeline.compare):
        started = time.perf_counter()
        with pytest.raises(HeppruneError, match="gives 2 and 2 classes"):
            job(asked.recipe, build=asked.build)
        assert time.perf_counter() - started < 30


def test_a_torch_module_is_found_by_name_and_its_weights_beside_the_recipe(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from torch import nn\ndef mlp():\n    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))\n"
    (tmp_path / "module_of_a_recipe.py").write_text(code)
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    torch.save(module.state_dict(), folder / "weights.pt")
    monkeypatch.chdir(tmp_path)
    asked = context(folder, model={"file": "module_of_a_recipe:mlp@weights.pt"})
    checks.check(asked, "yosys")
    model = taggers.model_of(asked.recipe)
    assert model is not None
    assert torch.equal(model.kernels[0].layer.weight, module[0].weight)
