"""A first recipe: what it is made of, what it asks for, and that it can be followed."""

from collections.abc import Sequence
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import torch
import uproot
from typer.testing import CliRunner

from hepprune import recipe as recipes
from hepprune.cli import app
from hepprune.errors import DataError, NetworkError, RecipeError
from hepprune.hardware import targets
from hepprune.jobs import drafting
from hepprune.network import Conv, Dense, GlobalPool, Input, Network, save
from hepprune.pipeline import checks
from hepprune.pipeline.context import Context
from hepprune.training import multilayer_perceptron


@pytest.fixture
def jets(tmp_path: Path) -> str:
    """A tree of 60 jets: four numbers, a label of three classes, an event number, a weight."""
    rng = np.random.default_rng(0)
    columns = {name: rng.normal(size=60) for name in ("pt", "j_a", "j_b", "j_c")}
    columns |= {"label": np.arange(60) % 3, "flavour": np.arange(60) % 4, "event": np.arange(60)}
    with uproot.recreate(tmp_path / "jets.root") as file:
        file["Few"], file["Jets"] = {"x": np.arange(3)}, columns | {"weight": np.ones(60)}
    return str(tmp_path / "jets.root")


def model(path: Path, n_in: int, n_out: int) -> str:
    return str(save(multilayer_perceptron(n_in, (6,), n_out, seed=0), path))


def followed(path: Path) -> recipes.Recipe:
    """Return a recipe that a run accepts in its first seconds."""
    found = recipes.load(path)
    checks.check(Context(recipe=found, target=targets.load(found.target), build=path.parent / "build"), "yosys")
    return found


def test_a_recipe_without_a_model_trains_one_on_what_the_file_offers(jets: str, tmp_path: Path) -> None:
    found = drafting.draft(None, jets, tmp_path / "sub" / "recipe.yaml")
    assert "file: ../jets.root:Jets" in found.text  # the tree of most rows, from where the recipe is
    assert found.text.count("# ") >= 6
    recipe = followed(found.path)
    assert set(recipe.data.features or ()) == {"pt", "j_a", "j_b", "j_c", "flavour"}
    assert recipe.data.event == "event"
    assert (recipe.data.label, recipe.data.classes) == ("label", ("class_0", "class_1", "class_2"))
    assert recipe.data.weight == "weight"
    assert (recipe.name, recipe.model.hidden, recipe.model.file) == ("jets", (64, 32, 32), None)
    assert "the names of the classes" in found.open
    with pytest.raises(RecipeError, match="is there already"):
        drafting.draft(None, jets, found.path)


def test_a_model_says_how_many_features_and_classes_there_are(jets: str, tmp_path: Path) -> None:
    own = model(tmp_path / "3-way.npz", 3, 3)
    with pytest.raises(
        RecipeError, match="the model takes 3 features, .* offers 5; name them in its order: .*j_a, j_b"
    ):
        drafting.draft(own, jets, tmp_path / "recipe.yaml")
    assert not (tmp_path / "recipe.yaml").exists()
    found = drafting.draft(own, jets, tmp_path / "recipe.yaml", features=("j_*",))
    recipe = followed(found.path)
    assert recipe.data.features == ("j_a", "j_b", "j_c")
    assert recipe.name == "tagger_3_way"
    assert recipe.model.file == str(tmp_path / "3-way.npz")
    assert "Input, Dense, ReLU, Dense; float" in found.text


def test_only_what_is_open_is_asked_for(jets: str, tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(question: str, choices: Sequence[str]) -> str:
        asked.append(question)
        assert "flavour" in choices
        return "j_b, j_a" if "features" in question else "flavour"

    found = drafting.draft(model(tmp_path / "a.npz", 2, 4), jets, tmp_path / "recipe.yaml", ask=answer)
    assert [question.split()[0] for question in asked] == ["the", "which"]
    recipe = followed(found.path)
    assert (recipe.data.features, recipe.data.label) == (("j_b", "j_a"), "flavour")
    assert recipe.data.classes == ("class_0", "class_1", "class_2", "class_3")
    with pytest.raises(RecipeError, match="'flavour' counts 4 classes, and the model tells 3 apart"):
        drafting.draft(model(tmp_path / "b.npz", 1, 3), jets, tmp_path / "b.yaml", features=("pt",), label="flavour")
    with pytest.raises(RecipeError, match=r"column 'pt' of .* counts no classes"):
        drafting.draft(None, jets, tmp_path / "b.yaml", label="pt")


def test_a_model_of_constituents_reads_lists(tmp_path: Path) -> None:
    import awkward as ak

    rng = np.random.default_rng(0)
    n = rng.integers(1, 6, 50)
    lists = {name: ak.unflatten(rng.normal(size=n.sum()), n) for name in ("cand_x", "cand_y")}
    with uproot.recreate(tmp_path / "jets.root") as file:
        file.mktree("Jets", dict.fromkeys(lists, "var * float64") | {"label": "int64"})
        file["Jets"].extend(lists | {"label": np.arange(50) % 2})
    data = f"{tmp_path / 'jets.root'}:Jets"
    sets = Network(
        [
            Input("x", (4, 3)),
            Conv("phi", torch.randn(5, 1, 3), torch.zeros(5)),
            GlobalPool("pool", "average"),
            Dense("out", torch.randn(2, 5), torch.zeros(2)),
        ]
    )
    found = drafting.draft(str(save(sets, tmp_path / "sets.npz")), data, tmp_path / "a.yaml")
    recipe = recipes.load(found.path)
    assert (recipe.data.n_constituents, recipe.data.isfilled) == (4, True)  # two features and the mark make three
    assert next(iter(recipe.data.columns.values())).shape == (4, 3)
    trained = recipes.load(drafting.draft(None, data, tmp_path / "b.yaml").path)
    assert trained.model.architecture is not None


def test_the_command_writes_a_recipe_or_says_what_is_open(jets: str, tmp_path: Path) -> None:
    out = tmp_path / "recipe.yaml"
    outcome = CliRunner().invoke(app, ["init", "-", jets, "--yes", "-o", str(out)])
    assert outcome.exit_code == 0, outcome.output
    assert f"then: hepprune run {out}" in outcome.output
    assert recipes.load(out).target == "generic_vu13p"
    alone = CliRunner().invoke(app, ["init", jets, "--yes", "-o", str(tmp_path / "alone.yaml")])
    assert alone.exit_code == 0, alone.output
    assert (tmp_path / "alone.yaml").read_text() == out.read_text()
    refused = CliRunner().invoke(app, ["init", "--yes"])
    assert (refused.exit_code, "name a file of jets" in refused.output) == (1, True)
    refused = CliRunner().invoke(app, ["init", str(tmp_path / "none.npz"), jets, "-o", str(tmp_path / "b.yaml")])
    assert refused.exit_code == 1
    with pytest.raises(NetworkError):
        drafting.draft(str(tmp_path / "none.npz"), jets, tmp_path / "b.yaml")


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (["z*"], "no column matches 'z\\*'; there are "),
        (["j_d"], "unknown column 'j_d'"),
        (["log(ptt)"], "unknown column 'ptt'"),
    ],
)
def test_features_that_no_column_has_are_refused(jets: str, tmp_path: Path, features: list[str], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        drafting.draft(None, jets, tmp_path / "recipe.yaml", features=features)
    assert not (tmp_path / "recipe.yaml").exists()


def test_a_model_of_images_and_a_file_without_trees_are_refused(jets: str, tmp_path: Path) -> None:
    image = Network([Input("x", (4, 4, 1)), Conv("c", torch.ones(2, 3, 3, 1), torch.zeros(2))])
    save(image, tmp_path / "image.npz")
    with pytest.raises(RecipeError, match=r"values of shape \(4, 4, 1\); write data.image"):
        drafting.draft(str(tmp_path / "image.npz"), jets, tmp_path / "recipe.yaml")
    with uproot.recreate(tmp_path / "empty.root") as file:
        file["word"] = "nothing"
    with pytest.raises(DataError, match="holds no tree of jets"):
        drafting.draft(None, str(tmp_path / "empty.root"), tmp_path / "recipe.yaml")


def test_an_image_goes_to_a_convolution_and_to_a_model_of_its_shape_alone(tmp_path: Path) -> None:
    calo = str(Path(__file__).parents[2] / "datasets/calo_regions.root")
    recipe = followed(drafting.draft(None, calo, tmp_path / "own.yaml").path)
    assert recipe.data.image is not None
    assert recipe.model.architecture is not None
    assert recipe.model.architecture.kind == "convolutional"
    for bins, fits in (((18, 14), True), ((14, 18), False)):
        network = Network(
            [Input("x", (*bins, 1)), Conv("c", torch.ones(5, 3, 3, 1), torch.zeros(5)), GlobalPool("p", "max")]
        )
        file = str(save(network, tmp_path / f"{bins[0]}.npz"))
        if fits:
            assert drafting.draft(file, calo, tmp_path / "fits.yaml").path.is_file()
        else:
            with pytest.raises(RecipeError, match="data.image"):
                drafting.draft(file, calo, tmp_path / "other.yaml")


def test_a_model_takes_the_numbers_alone_or_all_objects_too(tmp_path: Path) -> None:
    columns = {"MET": np.arange(60.0), "HT": np.arange(60.0), "label": np.arange(60) % 3}
    lists = {"Mu_pt": ak.Array([[3.0, 2.0], [1.0]] * 30), "Jet_pt": ak.Array([[9.0], [8.0, 4.0, 2.0]] * 30)}
    with uproot.recreate(tmp_path / "events.root") as file:
        file["Events"] = columns | lists
    offered = {
        2: {"MET", "HT"},
        7: {"MET", "HT", *(f"Mu_pt[{i}]" for i in range(2)), *(f"Jet_pt[{i}]" for i in range(3))},
    }
    for n_in, features in offered.items():
        drafted = drafting.draft(
            model(tmp_path / f"{n_in}.npz", n_in, 3), str(tmp_path / "events.root"), tmp_path / f"{n_in}.yaml"
        )
        assert set(followed(drafted.path).data.features or ()) == features
    with pytest.raises(RecipeError, match="takes 4 features, .* offers 7"):
        drafting.draft(model(tmp_path / "4.npz", 4, 3), str(tmp_path / "events.root"), tmp_path / "4.yaml")
