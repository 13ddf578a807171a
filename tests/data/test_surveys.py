"""What a file holds is told column by column, and the section proposed for it is one that a recipe takes and reads."""

from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import pytest
import uproot

from hepprune.data import reading, surveys
from hepprune.recipe.data import Data

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
    (found,) = surveys.surveys(write(tmp_path / "jets.root", columns))
    assert (found.n_rows, found.n_read) == (N_JETS, N_JETS)
    known = {column.name: column for column in found.columns}
    assert (known["mass"].low, known["mass"].high, known["mass"].missing, known["mass"].kind) == (0, 49, 0, "float")
    assert (known["pt"].missing, known["cand_pt"].longest, known["cand_pt"].high) == (2, 5, 7)
    assert known["pt"].high == np.nanmax(columns["pt"])
    assert surveys.proposed(found)["features"] == ["mass"]


def test_every_tree_of_a_file_is_told_and_ranges_are_of_the_first_rows(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "jets.root") as file:
        file["One"], file["Two"] = {"a": np.arange(9)}, {"b": np.arange(3)}
    found = list(surveys.surveys(str(tmp_path / "jets.root")))
    assert [(each.file.rpartition(":")[2], each.n_rows) for each in found] == [("One", 9), ("Two", 3)]
    some = surveys.survey(found[0].file, n_rows=4)
    assert (some.n_rows, some.n_read, some.columns[0].high) == (9, 4, 3)


def test_columns_that_do_not_go_together_are_told_one_by_one(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "jets.h5", "w") as file:
        file["a"], file["b"], file["empty"], file["text"] = np.arange(4), np.ones((3, 2)), np.ones(0), [b"x", b"y"]
    (found,) = surveys.surveys(str(tmp_path / "jets.h5"))
    known = {column.name: column for column in found.columns}
    assert (known["a"].high, known["b"].longest, known["text"].high) == (3, 2, None)
    assert "has no rows" in str(known["empty"].trouble)


COLLECTIONS = {
    "numbers": flat(),
    "one hot": {"pt": np.arange(6.0)}
    | {f"label_{n}": np.arange(6) % 3 == i for i, n in enumerate(("QCD", "top", "Hbb"))},
    "events": {
        "event": np.arange(6),
        "Jet": ak.zip({"pt": [[30.0, 20.0]] * 6, "eta": [[0.5, -1.0]] * 6, "id": [[1, 2]] * 6}),
        "Muon_pt": ak.Array([[1.0]] * 6),
        **{f"HLT_{index}": np.ones(6) for index in range(70)},
    },
    "objects": {
        "MET_hwPt": np.arange(6),
        "L1Mu_hwPt": ak.Array([[9], [], [8, 5], [], [], [7]]),
        "L1Jet_hwPt": ak.Array([[90, 40, 30]] * 5 + [[80]]),
    },
    "constituents": {"part_energy": ak.Array([[1.0, 2.0]] * 6), "part_charge": ak.Array([[1, -1]] * 6)},
}


@pytest.mark.parametrize("name", COLLECTIONS)
def test_the_section_proposed_reads_the_file(name: str, tmp_path: Path) -> None:
    (found,) = surveys.surveys(write(tmp_path / "jets.root", COLLECTIONS[name]))
    section = surveys.proposed(found)
    wanted = Data.model_validate(section)
    jets = reading.read_inputs(
        wanted.file,
        wanted.columns,
        label=wanted.label if wanted.classes else None,
        classes=wanted.classes or (),
        event=None,
        explode=wanted.explode,
        weight=wanted.weight,
    )["features"]
    expected: dict[str, tuple[Any, ...]] = {
        "numbers": (("pt", "mass"), ("class_0", "class_1", "class_2"), 50),
        "one hot": (("pt",), ("QCD", "top", "Hbb"), 6),
        "events": (("Jet_pt", "Jet_eta"), (), 12),
        "objects": (
            ("MET_hwPt", *(f"L1Mu_hwPt[{i}]" for i in range(2)), *(f"L1Jet_hwPt[{i}]" for i in range(3))),
            (),
            6,
        ),
        "constituents": (("part_energy", "part_charge", "isfilled"), (), 6),
    }
    assert (jets.feature_names, jets.class_names, len(jets)) == expected[name]


def test_an_image_of_regions_is_proposed_with_the_classes_that_were_made() -> None:
    found = surveys.survey(f"{CALO}:Jets")
    section = surveys.proposed(found)
    assert section["image"] == {
        "x": "Region_iphi",
        "y": "Region_ieta",
        "weight": "Region_hwEt",
        "bins": [18, 14],
        "range": [[-0.5, 17.5], [-0.5, 13.5]],
    }
    assert section["classes"][:2] == ["minimum bias", "ttbar"]
    assert Data.model_validate(section).features is None


def test_classes_are_counted_where_a_file_names_fewer(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "jets.root") as file:
        file["Jets"], file["metadata"] = {"pt": np.arange(6.0), "label": np.arange(6) % 3}, '{"classes": ["a", "b"]}'
    (found,) = surveys.surveys(str(tmp_path / "jets.root"))
    assert (found.classes, surveys.proposed(found)["classes"]) == (("a", "b"), ["class_0", "class_1", "class_2"])
