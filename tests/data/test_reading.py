"""Jets as a recipe asks for them: expressions, cuts and targets of one file, the same rows for every input."""

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from hepprune.data import read, reading
from hepprune.data.inputs import Columns, Image
from hepprune.errors import DataError

JETS = f"{Path(__file__).parents[2] / 'datasets/jets_constituents.root'}:Jets"
CLASSES = tuple("gqWZt")


@pytest.fixture(scope="module")
def raw() -> Any:
    with uproot.open(JETS) as tree:
        return tree.arrays(library="ak")


def test_inputs_of_numbers_constituents_and_an_image_see_the_same_jets(raw: Any) -> None:
    axis = {"bins": (4, 4), "range": ((-0.8, 0.8), (-0.8, 0.8))}
    inputs = {
        "jet": Columns(features=("mass / pt",)),
        "candidates": Columns(features=("constituent_pt / pt",), n_constituents=3),
        "picture": Image(x="constituent_deta", y="constituent_dphi", weight="constituent_pt", **axis),
    }
    ratio = "clip(pt / sum(first(constituent_pt, 16)), 0.9, 1.5)"
    found = reading.read_inputs(JETS, inputs, classes=CLASSES, targets=[ratio], cut="(pt > 1000) & (label != 2)")
    kept = (raw.pt > 1000) & (raw.label != 2)
    pt = raw.pt[kept].to_numpy()
    for jets in found.values():
        assert np.array_equal(jets.y, raw.label[kept].to_numpy())
        assert np.array_equal(jets.event, raw.event[kept].to_numpy())
        leading = np.array([sum(row[:16]) for row in raw.constituent_pt[kept].to_list()])
        assert jets.targets[:, 0] == pytest.approx(np.clip(pt / leading, 0.9, 1.5), rel=1e-5)
    assert found["jet"].x[:, 0] == pytest.approx(raw.mass[kept].to_numpy() / pt, rel=1e-6)
    first = np.array([row[0] for row in raw.constituent_pt[kept].to_list()])
    assert found["candidates"].x[:, 0, 0] == pytest.approx(first / pt, rel=1e-6)
    total = np.array([sum(row) for row in raw.constituent_pt[kept].to_list()])
    assert (found["picture"].x.sum(axis=(1, 2, 3)) <= total * 1.0001).all()
    assert np.median(found["picture"].x.sum(axis=(1, 2, 3)) / total) == pytest.approx(1)


def test_the_first_jets_are_those_that_pass_the_cut(raw: Any) -> None:
    found = read(JETS, features=["pt"], classes=CLASSES, cut="label == 3", max_jets=7)
    assert np.array_equal(found.x[:, 0], raw.pt[raw.label == 3].to_numpy()[:7])
    assert (found.y == 3).all()


def test_labels_and_weights_may_be_expressions(raw: Any) -> None:
    found = read(JETS, features=["pt"], classes=("light", "heavy"), label="where(label >= 2, 1, 0)", weight="1 / pt")
    assert np.array_equal(found.y, (raw.label.to_numpy() >= 2).astype(int))
    assert found.weight == pytest.approx(1 / raw.pt.to_numpy(), rel=1e-6)


def test_one_hot_codes_of_features_are_spread(raw: Any) -> None:
    found = read(JETS, features=["one_hot(label, 0, 3)"], classes=CLASSES, max_jets=50)
    assert found.feature_names == ("label == 0", "label == 3")
    label = raw.label.to_numpy()[:50]
    assert np.array_equal(found.x, np.stack([label == 0, label == 3], axis=1).astype(np.float32))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cut": "pt > 1e9"}, f"no jet passes the cut 'pt > 1e9' of '{JETS}'"),
        ({"cut": "pt"}, f"the cut 'pt' of '{JETS}' is 'float32' and not yes or no for each jet"),
        ({"cut": "constituent_pt > 3"}, f"column 'constituent_pt > 3' of '{JETS}' is 'var * bool' and not one number"),
        ({"cut": "ptt > 3"}, f"'{JETS}' has no column 'ptt'; the nearest are: pt"),
        ({"features": ["log(pt"]}, "'log(pt' is neither a column nor an expression"),
        ({"features": ["log(label)"], "cut": "pt > 1000"}, "column 'log(label)' of"),
        ({"weight": "pt - 810"}, "column 'pt - 810' weighs "),
        ({"weight": "0 * pt"}, "column '0 * pt' weighs all jets 0"),
        ({"targets": ["constituent_pt / pt"]}, f"column 'constituent_pt / pt' of '{JETS}' is 'var * float64' and not"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        read(JETS, **({"features": ["pt"], "classes": CLASSES} | changes))
    assert str(caught.value).startswith(message)


def test_rows_are_counted_in_the_file_and_not_among_those_that_pass(raw: Any) -> None:
    wrong = int(np.flatnonzero((raw.label.to_numpy() == 0) & (raw.pt.to_numpy() > 1200))[0])
    with pytest.raises(DataError, match=rf"values that are not finite, the first in row {wrong}$"):
        read(JETS, features=["log(label)"], classes=CLASSES, cut="pt > 1200")


@pytest.mark.parametrize(
    ("features", "options", "said"),
    [
        (["text"], {"n_constituents": 2, "event": None}, "column 'text' .* is 'string'"),
        (["when"], {"event": None}, r"column 'when' .* is 'datetime64\[s\]' and not one number per row"),
        (["pt"], {"event": "big"}, "column 'big' .* has 18446744073709551615, beyond the 63 bits"),
    ],
)
def test_what_holds_no_numbers_is_refused_in_one_sentence(features: list[str], options: Any, said: str) -> None:
    big, when = np.array([2**64 - 1, 1], np.uint64), np.array([1, 2], "M8[s]")
    arrays = ak.zip({"text": ["abc", "d"], "pt": [1.0, 2.0], "big": big, "when": when}, depth_limit=1)
    with pytest.raises(DataError, match=said):
        read(arrays, features=features, label=None, **options)


def test_a_path_is_a_file_as_its_name_is() -> None:
    path = Path(JETS.removesuffix(":Jets"))
    found = [read(each, features=["pt"], classes=CLASSES, max_jets=10) for each in (path, str(path))]
    assert np.array_equal(found[0].x, found[1].x)
