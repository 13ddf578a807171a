"""Reading ROOT trees: chunks add up, padding is marked, and whatever cannot be used is refused by name."""

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from hepprune.data import iterate, read
from hepprune.data.files import root
from hepprune.errors import DataError

CLASSES = ("g", "q")
N_JETS = 1000


def write(path: Path, changes: dict[str, Any] | None = None, *, tree: str = "outnano/Jets") -> str:
    """Write a tree as trigger groups have them, with some columns changed, and return its spec."""
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 6, N_JETS)
    pt = np.arange(counts.sum(), dtype=np.float32) + 1
    columns: dict[str, Any] = {
        "jet_pt": rng.exponential(50, N_JETS),
        "jet_mass": rng.exponential(10, N_JETS).astype(np.float32),
        "jet_hwPt": rng.integers(0, 2**14, N_JETS).astype(np.uint16),
        "jet_isTight": rng.random(N_JETS) > 0.5,
        "label": np.arange(N_JETS) % 2,
        "event": (np.arange(N_JETS) // 2).astype(np.uint64),
        "weight": rng.random(N_JETS),
        "cand": ak.unflatten(ak.zip({"pt": pt, "hwId": np.full(len(pt), 3, np.int8)}), counts),
    }
    columns |= changes or {}
    with uproot.recreate(path) as file:
        made = file.mktree(tree, {name: ak.type(values).content for name, values in columns.items()})
        for start in range(0, len(columns["label"]), 300):
            made.extend({name: values[start : start + 300] for name, values in columns.items()})
    return f"{path}:{tree}"


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("root") / "jets.root")


@pytest.mark.parametrize("step_size", [50, 77, "3 kB", "100 MB"])
def test_chunks_add_up_to_the_whole_tree(spec: str, step_size: str | int) -> None:
    chunks = list(iterate(spec, ["jet_pt", "cand_pt"], step_size=step_size))
    with uproot.open(spec) as tree:
        whole = tree.arrays(["jet_pt", "cand_pt"], library="ak")
    assert ak.concatenate(chunks).to_list() == whole.to_list()
    if isinstance(step_size, int):
        assert all(len(chunk) <= step_size for chunk in chunks)


def test_scalar_features_of_any_type_become_the_matrix(spec: str) -> None:
    names = ("jet_pt", "jet_hwPt", "jet_isTight")
    jets = read(spec, features=names, classes=CLASSES, weight="weight")
    with uproot.open(spec) as tree:
        arrays = tree.arrays(library="np")
    assert jets.x.shape == (N_JETS, 3)
    for index, name in enumerate(names):
        assert (jets.x[:, index] == arrays[name].astype(np.float32)).all()
    assert (jets.y == arrays["label"]).all()
    assert (jets.event == arrays["event"]).all()
    assert (jets.weight == arrays["weight"].astype(np.float32)).all()
    assert (jets.feature_names, jets.class_names) == (names, CLASSES)


def test_jets_without_event_or_weight_are_their_own_events_of_weight_one(spec: str) -> None:
    jets = read(spec, features=["jet_pt"], classes=CLASSES, event=None)
    assert len(np.unique(jets.event)) == N_JETS
    some = read(spec, features=["jet_pt"], classes=CLASSES, event=None, cut="label == 1")
    assert np.array_equal(some.event, jets.event[jets.y == 1])
    assert (jets.weight == 1).all()


@pytest.mark.parametrize("n_constituents", [1, 3, 8])
def test_constituents_are_cut_padded_and_marked(spec: str, n_constituents: int) -> None:
    jets = read(spec, features=["cand_pt", "cand_hwId"], classes=CLASSES, n_constituents=n_constituents)
    assert jets.x.shape == (N_JETS, n_constituents, 3)
    assert jets.feature_names == ("cand_pt", "cand_hwId", "isfilled")
    with uproot.open(spec) as tree:
        lists = tree["cand_pt"].array(library="ak").to_list()
    for row, values in zip(jets.x, lists, strict=True):
        kept = values[:n_constituents]
        padding = [0.0] * (n_constituents - len(kept))
        assert row[:, 0].tolist() == kept + padding
        assert row[:, 1].tolist() == [3.0] * len(kept) + padding
        assert row[:, 2].tolist() == [1.0] * len(kept) + padding


@pytest.mark.parametrize("max_jets", [1, 301, 5000])
def test_no_more_jets_are_read_than_asked_for(spec: str, max_jets: int) -> None:
    jets = read(spec, features=["jet_pt"], classes=CLASSES, max_jets=max_jets)
    whole = read(spec, features=["jet_pt"], classes=CLASSES)
    assert (jets.x == whole.x[:max_jets]).all()


def test_the_only_tree_of_a_file_needs_no_name(spec: str) -> None:
    file = spec.removesuffix(":outnano/Jets")
    assert root.columns(file) == root.columns(spec)
    assert root.columns(spec)["jet_isTight"] == "bool"


def refusal(spec: str, **changes: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(spec, **({"features": ["jet_pt", "jet_mass"], "classes": CLASSES} | changes))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_missing_column_is_named_with_the_nearest(spec: str) -> None:
    message = refusal(spec, features=["jet_mas"])
    assert message.startswith(f"'{spec}' has no column 'jet_mas'; the nearest are: jet_mass")


def test_a_column_unlike_any_other_is_refused_with_a_list(spec: str) -> None:
    assert "nearest are: cand_hwId, cand_pt" in refusal(spec, features=["zzzzzz"])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert refusal(f"{tmp_path}/none.root:Jets") == f"there is no file '{tmp_path}/none.root'"


def test_a_missing_tree_is_refused_with_those_there(spec: str) -> None:
    assert "has no tree 'Jetz'; it has: outnano/Jets" in refusal(spec.replace("outnano/Jets", "Jetz"))


def test_a_file_that_is_no_root_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.root"
    path.write_text("hello" * 100)
    assert refusal(f"{path}:Jets").startswith(f"'{path}' is not a ROOT file, or a damaged one: ")
    path.write_text("")
    assert refusal(f"{path}:Jets").startswith(f"'{path}' is not a ROOT file, or a damaged one: ")


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_truncated_file_is_refused(spec: str, share: float, tmp_path: Path) -> None:
    data = Path(spec.removesuffix(":outnano/Jets")).read_bytes()
    path = tmp_path / "cut.root"
    path.write_bytes(data[: int(share * len(data))])
    assert str(path) in refusal(f"{path}:outnano/Jets")


@pytest.mark.parametrize("seed", range(10))
def test_a_damaged_file_is_read_or_refused(spec: str, seed: int, tmp_path: Path) -> None:
    data = bytearray(Path(spec.removesuffix(":outnano/Jets")).read_bytes())
    rng = np.random.default_rng(seed)
    for place in rng.integers(0, len(data), 40):
        data[place] = rng.integers(256)
    path = tmp_path / "damaged.root"
    path.write_bytes(data)
    try:
        read(f"{path}:outnano/Jets", features=["jet_pt", "jet_mass"], classes=CLASSES)
    except DataError as error:
        assert str(path) in str(error)  # noqa: PT017 (either end is right)


def test_an_empty_tree_is_refused(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "empty.root") as file:
        file.mktree("Jets", {"jet_pt": "float32", "jet_mass": "float32", "label": "int32", "event": "int64"})
    assert refusal(f"{tmp_path}/empty.root:Jets") == f"the tree of '{tmp_path}/empty.root:Jets' is empty"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_are_not_finite_are_counted_and_placed(value: float, tmp_path: Path) -> None:
    pt = np.ones(N_JETS)
    pt[[437, 801]] = value
    spec = write(tmp_path / "jets.root", {"jet_pt": pt})
    assert refusal(spec) == f"column 'jet_pt' of '{spec}' has 2 values that are not finite, the first in row 437"


def test_constituents_and_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    lists = ak.Array([[1.0, np.nan]] * N_JETS)
    weight = np.ones(N_JETS)
    weight[5] = np.nan
    spec = write(tmp_path / "jets.root", {"bad": ak.values_astype(lists, np.float32), "weight": weight})
    assert "column 'bad'" in refusal(spec, features=["bad"], n_constituents=2)
    assert "column 'weight'" in refusal(spec, weight="weight")
    assert read(spec, features=["bad"], classes=CLASSES, n_constituents=1).x.shape == (N_JETS, 1, 2)


def test_columns_of_the_wrong_kind_are_refused(spec: str) -> None:
    assert "jagged columns are read with n_constituents" in refusal(spec, features=["cand_pt"])
    assert "not a list of numbers per row" in refusal(spec, features=["jet_pt"], n_constituents=4)
    assert "must be an integer" in refusal(spec, label="jet_pt")
    assert "must be an integer" in refusal(spec, event="jet_pt")


def test_constituent_columns_of_different_lengths_are_refused(tmp_path: Path) -> None:
    spec = write(tmp_path / "jets.root", {"short": ak.Array([[1.0]] * N_JETS)})
    assert "'cand_pt' and 'short'" in refusal(spec, features=["cand_pt", "short"], n_constituents=4)


def test_labels_beyond_the_classes_are_refused(tmp_path: Path) -> None:
    label = np.zeros(N_JETS, np.int32)
    label[700] = 2
    spec = write(tmp_path / "jets.root", {"label": label})
    assert refusal(spec) == f"column 'label' of '{spec}' is 2 in row 700, beyond the 2 classes (0 to 1)"


def test_a_file_without_metadata_is_refused(spec: str) -> None:
    with pytest.raises(DataError, match="holds no metadata"):
        root.metadata(Path(spec.removesuffix(":outnano/Jets")))


def test_parts_of_records_are_read_by_the_names_that_are_listed(tmp_path: Path) -> None:
    jets = ak.Array([{"pt": 1.5, "mass": 4.0}, {"pt": 2.5, "mass": 5.0}])
    cands = ak.Array([[{"pt": 7.0}], [{"pt": 8.0}, {"pt": 9.0}]])
    with uproot.recreate(tmp_path / "jets.root") as file:
        file.mkrntuple("Events", ak.zip({"jet": jets, "cand": cands, "label": [0, 1]}, depth_limit=1))
    spec = f"{tmp_path}/jets.root:Events"
    assert set(root.columns(spec)) >= {"jet.pt", "jet.mass", "cand.pt", "label"}
    assert read(spec, features=["jet.pt", "jet.mass"], classes=CLASSES, event=None).x.tolist() == [[1.5, 4], [2.5, 5]]
    constituents = read(spec, features=["cand.pt"], classes=CLASSES, event=None, n_constituents=2)
    assert constituents.x[..., 0].tolist() == [[7, 0], [8, 9]]
    assert "not one number per row" in refusal(spec, features=["jet"], event=None)


def test_a_column_that_uproot_does_not_find_again_is_read(tmp_path: Path) -> None:
    spec = write(tmp_path / "jets.root", {"/mass": np.arange(N_JETS, dtype=np.float32)}, tree="Jets")
    assert root.columns(spec)["/mass"] == "float"
    jets = read(spec, features=["jet_pt", "/mass"], classes=CLASSES)
    assert (jets.x[:, 1] == np.arange(N_JETS)).all()


def test_two_columns_of_one_name_are_listed_and_refused_where_they_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "jets.root"
    spec = write(path, {"twice_a": np.ones(N_JETS), "twice_b": np.zeros(N_JETS)}, tree="Jets")
    path.write_bytes(path.read_bytes().replace(b"twice_b", b"twice_a"))
    assert root.columns(spec)["twice_a"] == "double"
    assert "has 2 columns 'twice_a', which cannot be told apart" in refusal(spec, features=["twice_a"])
    assert read(spec, features=["jet_pt"], classes=CLASSES).x.shape == (N_JETS, 1)


@pytest.mark.slow
@pytest.mark.parametrize("rntuple", [False, True])
def test_a_file_with_one_flipped_bit_is_read_or_refused(rntuple: bool, tmp_path: Path) -> None:  # noqa: FBT001 (a case)
    path, columns = tmp_path / "jets.root", {"pt": np.ones(50, np.float32), "label": np.zeros(50, np.int32)}
    with uproot.recreate(path) as file:
        if rntuple:
            file.mkrntuple("Jets", columns)
        else:
            file["Jets"] = columns
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 211):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        try:
            root.columns(f"{path}:Jets")
            read(f"{path}:Jets", features=["pt"], classes=CLASSES, event=None)
        except DataError as error:
            assert str(path) in str(error)  # noqa: PT017 (either end is right)
            assert "\n" not in str(error)  # noqa: PT017


def test_a_damaged_column_is_named_with_its_file_and_tree(tmp_path: Path) -> None:
    spec = write(tmp_path / "jets.root", tree="Jets")
    path = tmp_path / "jets.root"
    with uproot.open(spec) as tree:
        place = tree["jet_mass"].member("fBasketSeek")[0]
    content = bytearray(path.read_bytes())
    content[place : place + 200] = bytes(200)
    path.write_bytes(content)
    assert refusal(spec).startswith(f"column 'jet_mass' of '{spec}' cannot be read: ")


def test_targets_and_weights_are_read_and_labels_only_where_they_are_wanted(spec: str) -> None:
    jets = read(spec, features=["jet_pt"], label=None, targets=["jet_mass", "jet_isTight"], weight="weight")
    with uproot.open(spec) as tree:
        raw = tree.arrays(library="np")
    assert np.array_equal(jets.targets, np.stack([raw["jet_mass"], raw["jet_isTight"]], axis=1).astype(np.float32))
    assert np.array_equal(jets.weight, raw["weight"].astype(np.float32))
    assert (jets.y.any(), jets.class_names) == (False, ())
    assert read(spec, features=["jet_pt"], classes=CLASSES).targets.shape == (N_JETS, 0)
    some = jets.take(np.array([3, 5]))
    assert np.array_equal(some.targets, jets.targets[[3, 5]])


@pytest.mark.parametrize("column", ["targets", "weight"])
def test_targets_and_weights_that_are_not_finite_are_named(tmp_path: Path, column: str) -> None:
    bad = write(tmp_path / "jets.root", {"truth": np.where(np.arange(N_JETS) == 7, 1e300, 1.0)})
    wanted: dict[str, Any] = {column: "truth" if column == "weight" else ["truth"]}
    with pytest.raises(DataError, match="column 'truth' of .* has 1 values that are not finite, the first in row 7"):
        read(bad, features=["jet_pt"], label=None, **wanted)
