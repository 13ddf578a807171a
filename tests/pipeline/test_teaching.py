"""Teachers: trained before the recipe's network, kept, and what their scores of each jet are."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from hepprune.errors import DataError, NetworkError, RecipeError
from hepprune.hardware import targets
from hepprune.network import load
from hepprune.pipeline import taggers, teaching
from hepprune.pipeline.context import Context
from hepprune.recipe import Recipe

N_JETS = 600
AUTOENCODER = {"hidden": [4], "transform": "log1p", "epochs": 30, "batch_size": 64, "learning_rate": 0.02}


def recipe(folder: Path, teacher: dict[str, Any], *, signal_size: float = 2.0, **data: Any) -> Recipe:
    """Return a recipe of four features, which lie in a plane but for a third of the jets, the signal."""
    rng = np.random.default_rng(3)
    plane, signal = rng.normal(size=(N_JETS, 2)), np.arange(N_JETS) % 3 == 0
    x = plane @ np.array([[1.0, 0, 1, 0], [0, 1, 0, -1]]) + 0.1 * rng.normal(size=(N_JETS, 4))
    x[signal] += signal_size * rng.normal(size=(signal.sum(), 4))
    columns = {f"x{index}": column for index, column in enumerate(x.T.astype(np.float32))}
    np.savez(folder / "jets.npz", **columns, label=signal.astype(np.int64), event=np.arange(N_JETS))
    known = {"file": str(folder / "jets.npz"), "features": list(columns), "signal": "label == 1", "scaler": "none"}
    content = {
        "name": "taught",
        "task": "regression",
        "data": known | {"teacher": teacher} | data,
        "model": {"hidden": [4]},
        "budget": {"lut": 20_000, "max_loss": {"correlation": 0.1}},
    }
    return Recipe.model_validate(content)


def read(folder: Path, wanted: Recipe) -> taggers.Samples:
    return taggers.read_jets(Context(recipe=wanted, target=targets.load(wanted.target), build=folder / "build"))


def test_what_an_autoencoder_loses_of_each_jet_is_the_target(tmp_path: Path) -> None:
    found = read(tmp_path, recipe(tmp_path, AUTOENCODER))
    (kept,) = (tmp_path / "build" / "state").glob("teacher-*.npz")
    network = load(kept)
    for sample in (found.train, found.validation, found.test):
        (target, signal), x = sample.truth, sample.features
        lost = ((network.logits(x, quantised=False) - x) ** 2).mean(dim=1).detach().numpy()
        np.testing.assert_allclose(target[:, 0], np.log1p(lost), rtol=1e-5)
        assert 0.2 < signal.mean() < 0.5
        assert roc_auc_score(signal, target[:, 0]) > 0.9
    before = kept.stat().st_mtime_ns
    again = read(tmp_path, recipe(tmp_path, AUTOENCODER | {"transform": "none"}))  # the same teacher
    assert kept.stat().st_mtime_ns == before
    np.testing.assert_allclose(np.log1p(again.test.truth[0]), found.test.truth[0], rtol=1e-5)


def test_it_learns_nothing_of_signal_whose_score_the_network_learns(tmp_path: Path) -> None:
    for name, size in (("one", 2.0), ("other", 5.0)):
        (tmp_path / name).mkdir()
        wanted = recipe(tmp_path / name, AUTOENCODER, signal_size=size)
        found = read(tmp_path / name, wanted)
        assert found.train.truth[1].any()
        raw = wanted.meaning
        losses = raw.each(found.train.y[0] + 1, found.train.y)
        assert (losses == 1).all() or np.allclose(losses, 1, atol=1e-4)
    one, other = (load(next((tmp_path / name / "build" / "state").glob("teacher-*"))) for name in ("one", "other"))
    for first, second in zip(one.parameters(), other.parameters(), strict=True):
        assert first.equal(second)


def test_a_teacher_that_tells_signal_gives_its_logit(tmp_path: Path) -> None:
    wanted = recipe(tmp_path, AUTOENCODER | {"task": "binary", "hidden": [16], "transform": "none"})
    target, signal = read(tmp_path, wanted).test.truth
    assert target.min() < 0 < target.max()
    assert roc_auc_score(signal, target[:, 0]) > 0.9


def test_latent_values_are_standardised_and_their_squares_tell_signal(tmp_path: Path) -> None:
    wanted = recipe(tmp_path, AUTOENCODER | {"task": "latent", "hidden": [8, 2], "transform": "none"}, signal_size=4.0)
    assert [*wanted.outputs[""].values] == ["mu_0", "mu_1"]
    found = read(tmp_path, wanted)
    (mu, signal), others = found.train.truth, found.test
    np.testing.assert_allclose(mu[signal == 0].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(mu[signal == 0].std(axis=0), 1, rtol=1e-6)
    (kept,) = (tmp_path / "build" / "state").glob("teacher-*.npz")
    latent = load(kept).activations(others.features, quantised=False)["dense_2"].detach().numpy()
    assert np.abs(np.corrcoef(latent[:, 0], others.truth[0][:, 0])[0, 1]) == pytest.approx(1)
    told = others.judged((others.truth[0],), ["auc"])["auc"].value  # by the sum of mu^2, where nothing else is named
    assert told == pytest.approx(roc_auc_score(others.truth[1], (others.truth[0] ** 2).sum(axis=1)))
    assert told > 0.8


def test_signal_is_left_out_of_what_is_learned_where_the_teacher_says_so(tmp_path: Path) -> None:
    found = read(tmp_path, recipe(tmp_path, AUTOENCODER | {"of_signal": False}))
    assert not found.train.truth[1].any()
    assert found.validation.truth[1].any()
    losses = found.validation.task.each(found.validation.y[0] + 1, found.validation.y)
    np.testing.assert_allclose(losses, 1 - found.validation.truth[1], atol=1e-4)


@pytest.mark.parametrize(
    ("teacher", "said"),
    [
        ({"architecture": {"kind": "deepsets"}}, "DeepSets takes values"),
        ({"architecture": {"kind": "convolutional"}}, "Convolutional takes values"),
    ],
)
def test_a_teacher_that_does_not_take_the_input_is_refused(tmp_path: Path, teacher: dict[str, Any], said: str) -> None:
    with pytest.raises(NetworkError, match=said):
        teaching.check(recipe(tmp_path, teacher))


def test_hidden_sizes_and_signal_alone_are_refused(tmp_path: Path) -> None:
    image = {"x": "x0", "y": "x1", "bins": [4, 4], "range": [[0, 1], [0, 1]]}
    architecture = {"architecture": {"kind": "convolutional", "filters": [2]}}
    wanted = recipe(tmp_path, AUTOENCODER)
    content = wanted.model_dump(exclude_unset=True)
    content["data"] |= {"image": image}
    del content["data"]["features"]
    with pytest.raises(RecipeError, match="hidden sizes take one number a feature"):
        teaching.check(Recipe.model_validate(content | {"model": architecture}))
    with pytest.raises(DataError, match="'label >= 0' is true of all jets, and none is left to teach"):
        read(tmp_path, recipe(tmp_path, AUTOENCODER, signal="label >= 0"))
