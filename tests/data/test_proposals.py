"""The section proposed for a file is one that a recipe takes and reads."""

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from hepprune.data import proposals, reading, sources
from hepprune.data.sources import Column, Survey
from hepprune.recipe.data import Data
from tests.data.test_surveys import flat, write

CALO = Path(__file__).parents[2] / "datasets/calo_regions.root"
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
    (found,) = sources.surveys(write(tmp_path / "jets.root", COLLECTIONS[name]))
    section = proposals.proposed(found)
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
    found = sources.survey(f"{CALO}:Jets")
    section = proposals.proposed(found)
    assert section["image"] == {
        "x": "Region_iphi",
        "y": "Region_ieta",
        "weight": "Region_hwEt",
        "bins": [18, 14],
        "range": [[-0.5, 17.5], [-0.5, 13.5]],
    }
    assert section["classes"][:2] == ["minimum bias", "ttbar"]
    assert Data.model_validate(section).features is None


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ('{"classes": ["g", "q", "t", "more"]}', ["g", "q", "t", "more"]),
        ('{"classes": ["g", "q"]}', []),
        ('{"classes": ["g", "q", "q"]}', []),
        ('{"classes": ["g", "q", " "]}', []),
        ('{"classes": ["g", "q", "t\\u001b[2J"]}', []),
        ('{"classes": ["g", "q", 3]}', []),
        ('{"classes": "gqt"}', []),
        (f'{{"classes": {[str(i) for i in range(99)]}}}'.replace("'", '"'), []),
        ("[1, 2]", []),
        ("null", []),
        ("{", []),
    ],
)
def test_classes_are_counted_where_a_file_does_not_name_them_well(
    written: str, named: list[str], tmp_path: Path
) -> None:
    with uproot.recreate(tmp_path / "jets.root") as file:
        file["Jets"], file["metadata"] = {"pt": np.arange(6.0), "label": np.arange(6) % 3}, written
    (found,) = sources.surveys(str(tmp_path / "jets.root"))
    assert proposals.proposed(found)["classes"] == (named or ["class_0", "class_1", "class_2"])


def columns(*names: str, kind: str = "int8_t[]", high: float = 5.0) -> tuple[Column, ...]:
    return tuple(Column(name=name, kind=kind, low=0.0, high=high, longest=4) for name in names)


NUMBER = Column(name="MET", kind="float", low=0.0, high=9.0)


@pytest.mark.parametrize(
    "found",
    [
        columns("R_iphi", "R_ieta", "R_hwEt", kind="float[]"),
        columns("R_iphi", "R_ieta", "R_hwEt", high=2.0**30),
        columns("R_iphi", "T_ieta", "E_hwEt"),
        columns("R_iphi", "R_ieta", "R_hwEt", "R_et"),
        (NUMBER, *columns("R_iphi", "R_ieta", "R_hwEt")),
    ],
    ids=["no numbers of cells", "too many cells", "of several lists", "two energies", "beside numbers"],
)
def test_no_image_is_proposed_of_anything_else(found: tuple[Column, ...]) -> None:
    assert "image" not in proposals.proposed(Survey(file="x", n_rows=1, n_read=1, columns=found))


def test_no_more_objects_are_proposed_than_a_network_reads() -> None:
    many = Survey(
        file="x", n_rows=1, n_read=1, columns=(NUMBER, *columns(*(f"{kind}_pt" for kind in "abcdefghijklmnop")))
    )
    assert proposals.proposed(many)["features"] == ["MET"]
    alone = Survey(file="x", n_rows=1, n_read=1, columns=(NUMBER, *columns("Jet_pt", "Jet_btag_deep")))
    assert proposals.proposed(alone)["features"] == ["MET"]
