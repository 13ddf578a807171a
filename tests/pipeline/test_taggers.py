"""Jets of a recipe from files of other formats: split by event where there is one, and by a hash of each where not."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from hepprune.hardware import targets
from hepprune.pipeline import taggers
from hepprune.pipeline.context import Context
from hepprune.recipe import Recipe
from hepprune.search.sensitivity import LEVELS, SensitivityCurve, SensitivityPoint

N_JETS = 400
LIMIT = {"lut": 20_000, "max_loss": {"accuracy": 0.1}}


def files(folder: Path, *, n_files: int, event: bool) -> np.ndarray[Any, Any]:
    """Write jets to some HDF5 files, two of each event, and return their momenta."""
    rng = np.random.default_rng(1)
    pt = rng.exponential(50, N_JETS)
    columns = {"pt": pt, "kind": rng.integers(0, 2, N_JETS), "event": np.arange(N_JETS) // 2}
    for index, rows in enumerate(np.array_split(np.arange(N_JETS), n_files)):
        with h5py.File(folder / f"part{index}.h5", "w") as file:
            for name, values in columns.items():
                if event or name != "event":
                    file[name] = values[rows]
    return pt


def samples(folder: Path, **data: Any) -> taggers.Samples:
    wanted = {"features": ["log(pt)", "pt"], "label": "kind", "classes": ["a", "b"], "scaler": "none"} | data
    recipe = Recipe.model_validate({"name": "small", "data": {"file": f"{folder}/part*.h5"} | wanted, "budget": LIMIT})
    return taggers.read_jets(Context(recipe=recipe, target=targets.load(recipe.target), build=folder / "build"))


def momenta(found: taggers.Samples) -> list[np.ndarray[Any, Any]]:
    return [part.features[:, 1].numpy() for part in (found.train, found.validation, found.test)]


@pytest.mark.parametrize("n_files", [1, 3])
def test_jets_of_one_event_stay_together_however_many_files(tmp_path: Path, n_files: int) -> None:
    pt = files(tmp_path, n_files=n_files, event=True).astype(np.float32)
    found = momenta(samples(tmp_path))
    assert np.array_equal(np.sort(np.concatenate(found)), np.sort(pt))
    for part in found:
        assert set(np.isin(pt.reshape(-1, 2), part).sum(axis=1)) <= {0, 2}


def test_without_an_event_a_hash_of_each_jet_splits_and_a_warning_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files(tmp_path, n_files=1, event=False)
    whole = samples(tmp_path)
    assert "has no column 'event': jets are split one by one, by a hash of each" in caplog.text
    assert [len(part) for part in momenta(whole)] == pytest.approx([240, 60, 100], abs=30)
    some = samples(tmp_path, cut="pt > 40")
    for part, left in zip(momenta(whole), momenta(some), strict=True):
        assert np.array_equal(part[part > 40], left)
    assert torch.equal(whole.train.features, samples(tmp_path).train.features)


def test_the_map_of_losses_shows_what_goes_in_parts() -> None:
    def point(level: float) -> SensitivityPoint:
        return SensitivityPoint(
            level=level, predicted_loss=0.1, loss_change=level, loss_error=0, score_change=0, score_error=0
        )

    kernel = SensitivityCurve("dense", "weight", tuple(point(level) for level in LEVELS))
    branch = SensitivityCurve("sum", "block", (point(1.0),))
    labels, changes = taggers.loss_changes((branch, kernel))
    assert labels == ["dense weight"]
    assert changes.tolist() == [list(LEVELS)]
