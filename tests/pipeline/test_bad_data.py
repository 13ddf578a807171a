"""Data that a recipe cannot use: each fault ends in one sentence with its place, and nothing is written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hepprune.errors import DataError
from hepprune.hardware import targets
from hepprune.pipeline import taggers
from hepprune.pipeline.context import Context
from hepprune.recipe import Recipe

N_JETS = 200
Columns = dict[str, NDArray[Any]]


def wrong(name: str, value: float, rows: slice) -> Callable[[Columns], Columns]:
    """Return what puts a value into some rows of a column."""

    def change(columns: Columns) -> Columns:
        columns[name][rows] = value
        return columns

    return change


def same(columns: Columns) -> Columns:
    return columns


FAULTS: dict[str, tuple[Callable[[Columns], Columns], dict[str, Any], str]] = {
    "unknown column": (same, {"features": ["ptt"]}, "has no column 'ptt'; the nearest are: pt"),
    "NaN": (wrong("pt", np.nan, slice(7, 10)), {}, "column 'pt' of .* 3 values that are not finite, the first in row 7"),
    "infinity": (wrong("eta", np.inf, slice(3, 4)), {}, "column 'eta' of .* not finite, the first in row 3"),
    "weight not finite": (wrong("w", np.nan, slice(5, 6)), {"weight": "w"}, "column 'w' of .* not finite, .* row 5"),
    "unequal lengths": (lambda found: found | {"eta": found["eta"][:-1]}, {}, "differ in .*'eta' 199"),
    "no rows": (lambda found: {name: each[:0] for name, each in found.items()}, {}, "no rows|have none|has no jets"),
    "label": (wrong("label", 2, slice(9, 10)), {}, "column 'label' of .*2.* row 9"),
    "negative weights": (wrong("w", -1, slice(0, 4)), {"weight": "w"}, "column 'w' weighs 4 jets less than nothing"),
    "weights of zero": (wrong("w", 0, slice(None)), {"weight": "w"}, "column 'w' weighs all jets 0"),
    "grammar": (same, {"features": ["__import__('os').getpid()"]}, "none of what an expression may have|unknown function"),
    "grammar of cuts": (same, {"cut": "[x for x in pt]"}, "is none of what an expression may have"),
}  # fmt: skip


def read(folder: Path, columns: Columns, wanted: dict[str, Any], *, n_bytes: int | None = None) -> taggers.Samples:
    path = folder / "jets.npz"
    np.savez(path, **columns)  # type: ignore[arg-type]
    path.write_bytes(path.read_bytes()[:n_bytes])
    data = {"file": str(path), "features": ["pt", "eta"], "classes": ["a", "b"]} | wanted
    recipe = Recipe.model_validate({"name": "bad", "data": data, "budget": {"lut": 20_000}})
    return taggers.read_jets(Context(recipe=recipe, target=targets.load(recipe.target), build=folder / "build"))


def sound() -> Columns:
    rng = np.random.default_rng(2)
    columns = {name: rng.exponential(50, N_JETS) for name in ("pt", "eta", "w")}
    return columns | {"label": np.arange(N_JETS) % 2, "event": np.arange(N_JETS)}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_one_sentence_with_its_place_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    change, wanted, said = FAULTS[name]
    with pytest.raises(DataError, match=said) as caught:
        read(tmp_path, change(sound()), wanted)
    assert "\n" not in str(caught.value)
    assert [each.name for each in tmp_path.iterdir()] == ["jets.npz"]


@pytest.mark.parametrize("n_bytes", [0, 20, 3000])
def test_a_file_that_was_cut_short_is_named(n_bytes: int, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="jets.npz' is not an .npz file, or a damaged one") as caught:
        read(tmp_path, sound(), {}, n_bytes=n_bytes)
    assert "\n" not in str(caught.value)
    assert [each.name for each in tmp_path.iterdir()] == ["jets.npz"]


def test_what_is_sound_is_read(tmp_path: Path) -> None:
    found = read(tmp_path, sound(), {"weight": "w"})
    assert len(found.train) + len(found.validation) + len(found.test) == N_JETS
