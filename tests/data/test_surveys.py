"""What a file holds is told column by column, and the section proposed for it is one that a recipe takes and reads."""

from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import uproot

from hepprune.data import sources

N_JETS = 50
CALO = Path(__file__).parents[2] / "datasets/calo_regions.root"


def write(path: Path, columns: dict[str, Any], tree: str = "Jets") -> str:
    with uproot.recreate(path) as file:
        file.mktree(tree, {name: ak.type(ak.Array(values)).content for name, values in columns.items()})
        file[tree].extend(columns)
    return f"{path}:{tree}"


def flat() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    columns = {
        "pt": rng.exponential(50, N_JETS),
        "mass": np.arange(N_JETS, dtype=np.float32),
        "label": np.arange(N_JETS) % 3,
    }
    return columns | {"event": np.arange(N_JETS), "weight": np.ones(N_JETS)}


def test_ranges_kinds_and_what_is_not_finite_are_told(tmp_path: Path) -> None:
    columns = flat()
    columns["pt"][[3, 4]] = np.nan
    columns["cand_pt"] = ak.Array([[1.0, 2.0]] * 49 + [[7.0] * 5])
    (found,) = sources.surveys(write(tmp_path / "jets.root", columns))
    assert (found.n_rows, found.n_read) == (N_JETS, N_JETS)
    known = {column.name: column for column in found.columns}
    assert (known["mass"].low, known["mass"].high, known["mass"].missing, known["mass"].kind) == (0, 49, 0, "float")
    assert (known["pt"].missing, known["cand_pt"].longest, known["cand_pt"].high) == (2, 5, 7)
    assert known["pt"].high == np.nanmax(columns["pt"])


def test_every_tree_of_a_file_is_told_and_ranges_are_of_the_first_rows(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "jets.root") as file:
        file["One"], file["Two"] = {"a": np.arange(9)}, {"b": np.arange(3)}
    found = list(sources.surveys(str(tmp_path / "jets.root")))
    assert [(each.file.rpartition(":")[2], each.n_rows) for each in found] == [("One", 9), ("Two", 3)]
    some = sources.survey(found[0].file, n_rows=4)
    assert (some.n_rows, some.n_read, some.columns[0].high) == (9, 4, 3)


def test_columns_that_do_not_go_together_are_told_one_by_one(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "jets.h5", "w") as file:
        file["a"], file["b"], file["empty"], file["text"] = np.arange(4), np.ones((3, 2)), np.ones(0), [b"x", b"y"]
    (found,) = sources.surveys(str(tmp_path / "jets.h5"))
    known = {column.name: column for column in found.columns}
    assert (known["a"].high, known["b"].longest, known["text"].high) == (3, 2, None)
    assert "has no rows" in str(known["empty"].trouble)
