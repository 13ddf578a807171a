"""Files of every format, several of them and arrays in memory give the same jets; what is damaged is refused."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from hepprune.data import read, sources
from hepprune.data.files import parquet, slabs
from hepprune.errors import DataError
from tests.reference import REFERENCE

CLASSES = ("g", "q", "t")
N_JETS, N_CONSTITUENTS = 60, 4


def arrays(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "pt": rng.exponential(50, N_JETS).astype(np.float32),
        "n": rng.integers(0, 9, N_JETS).astype(np.int16),
        "cand": rng.normal(size=(N_JETS, N_CONSTITUENTS)).astype(np.float32),
        "label": rng.integers(0, 3, N_JETS),
        "event": np.arange(N_JETS) // 2,
    }


def to_root(path: Path, columns: dict[str, Any]) -> str:
    with uproot.recreate(path) as file:
        file["Jets"] = columns
    return f"{path}:Jets"


def to_rntuple(path: Path, columns: dict[str, Any]) -> str:
    with uproot.recreate(path) as file:
        lists = {
            name: ak.from_regular(ak.from_numpy(each), axis=None) for name, each in columns.items() if each.ndim > 1
        }
        file.mkrntuple("Jets", columns | lists)
    return str(path)


def to_hdf5(path: Path, columns: dict[str, Any]) -> str:
    with h5py.File(path, "w") as file:
        for name, each in columns.items():
            file.create_dataset(name, data=each, compression="gzip" if len(each) else None)
    return str(path)


def to_parquet(path: Path, columns: dict[str, Any]) -> str:
    lists = {name: each.tolist() if each.ndim > 1 else each for name, each in columns.items()}
    pq.write_table(pa.table(lists), path, row_group_size=25)
    return str(path)


def to_npz(path: Path, columns: dict[str, Any]) -> str:
    np.savez(path, **columns)
    return str(path)


def to_folder(path: Path, columns: dict[str, Any]) -> str:
    path.mkdir()
    for name, each in columns.items():
        np.save(path / f"{name}.npy", each)
    return str(path)


def in_memory(_: Path, columns: dict[str, Any]) -> Any:
    return columns


def as_records(_: Path, columns: dict[str, Any]) -> Any:
    return ak.zip({name: ak.Array(each) for name, each in columns.items()}, depth_limit=1)


WRITERS: dict[str, Callable[[Path, dict[str, Any]], Any]] = {
    "jets.root": to_root,
    "tuple.root": to_rntuple,
    "jets.h5": to_hdf5,
    "jets.parquet": to_parquet,
    "jets.npz": to_npz,
    "folder": to_folder,
    "numpy": in_memory,
    "awkward": as_records,
}
FILES = {name: writer for name, writer in WRITERS.items() if name not in {"numpy", "awkward"}}


@pytest.mark.parametrize("name", WRITERS)
def test_every_source_gives_the_same_jets(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slabs, "CHUNK_BYTES", 300)
    columns = arrays()
    source = WRITERS[name](tmp_path / name, columns)
    cut = columns["n"] > 3
    flat = read(source, features=["pt", "log(pt) + n", "cand[1]"], classes=CLASSES, cut="n > 3")
    expected = np.stack(
        [columns["pt"], np.log(columns["pt"].astype(float)) + columns["n"], columns["cand"][:, 1]], axis=1
    )
    assert flat.x == pytest.approx(expected[cut].astype(np.float32), rel=1e-6)
    assert np.array_equal(flat.y, columns["label"][cut])
    assert np.array_equal(flat.event, columns["event"][cut])
    lists = read(source, features=["cand", "cand * 2"], classes=CLASSES, n_constituents=3, is_filled=False, max_jets=7)
    assert np.array_equal(lists.x[..., 0], columns["cand"][:7, :3])
    assert lists.x[..., 1] == pytest.approx(2 * columns["cand"][:7, :3])
    assert {"pt", "n", "cand", "label", "event"} <= set(sources.columns(source))
    with pytest.raises(DataError, match=r"has no column 'ptt'; the nearest are: pt|the columns .* no column 'ptt'"):
        read(source, features=["ptt"], classes=CLASSES)


@pytest.mark.parametrize("name", ["jets.h5", "jets.parquet", "folder"])
def test_files_are_read_in_chunks(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slabs, "CHUNK_BYTES", 300)
    columns = arrays()
    chunks = list(sources.iterate(WRITERS[name](tmp_path / name, columns), ["pt", "cand"]))
    assert len(chunks) > 3
    assert np.array_equal(ak.concatenate(chunks).cand.to_numpy(), columns["cand"])


def test_several_files_and_patterns_are_read_one_after_the_other(tmp_path: Path) -> None:
    specs = [to_root(tmp_path / f"part{index}.root", arrays(index)) for index in (0, 1, 2)]
    wanted: dict[str, Any] = {"features": ["pt"], "classes": CLASSES}
    whole = np.concatenate([arrays(index)["pt"] for index in (0, 1, 2)])
    named = {f"{tmp_path}/part0.root": "Jets", f"{tmp_path}/part[12].root": None}
    for source in (
        specs,
        named,
        f"{tmp_path}/part*.root:Jets",
        [f"{tmp_path}/part0.root:Jets", f"{tmp_path}/part[12].root"],
    ):
        assert np.array_equal(read(source, **wanted).x[:, 0], whole)
        assert np.array_equal(read(source, **wanted, max_jets=N_JETS + 5).x[:, 0], whole[: N_JETS + 5])
    some = read(specs, **wanted, cut="n == 8")
    assert np.array_equal(some.x[:, 0], whole[np.concatenate([arrays(index)["n"] for index in (0, 1, 2)]) == 8])
    with pytest.raises(DataError, match=rf"no file matches '{tmp_path}/none\*.root'"):
        read(f"{tmp_path}/none*.root", **wanted)
    with pytest.raises(DataError, match="no file of jets is named"):
        read([], **wanted)


def test_lists_of_any_length_in_hdf5_are_constituents(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "jets.h5", "w") as file:
        lists = file.create_dataset("cand_pt", (4,), dtype=h5py.vlen_dtype(np.dtype("float32")))
        file.create_dataset("swapped", (4,), dtype=h5py.vlen_dtype(np.dtype(">f4")))
        file.create_dataset("tables", (4, 2), dtype=h5py.vlen_dtype(np.dtype("float32")))
        for index, values in enumerate(([3.0, 2.0, 1.0], [], [5.0], [])):
            lists[index] = values
        file["mass"], file["event"] = np.arange(1.0, 5), np.arange(4)
    spec = str(tmp_path / "jets.h5")
    assert sources.columns(spec) == {"cand_pt": "var * float32", "event": "int64", "mass": "float64"}
    jets = read(spec, features=["cand_pt", "cand_pt / mass"], n_constituents=2, label=None)
    filled = [[3, 3, 1], [2, 2, 1]], [[5, 5 / 3, 1], [0, 0, 0]]
    assert jets.x[[0, 2]] == pytest.approx(np.array(filled, np.float32))
    assert not jets.x[[1, 3]].any()


def test_texts_of_objects_are_labels_of_exploded_jets() -> None:
    events = {"Jet_pt": ak.Array([[30.0, 20.0], [], [50.0]]), "Jet_kind": ak.Array([["b", "light"], [], ["light"]])}
    source = ak.zip(events | {"event": ak.Array([1, 2, 3])}, depth_limit=1)
    jets = read(source, features=["Jet_pt"], explode="Jet", label="Jet_kind", classes=("light", "b"))
    assert (jets.x[:, 0].tolist(), jets.y.tolist(), jets.event.tolist()) == ([30, 20, 50], [1, 0, 0], [1, 1, 3])


def test_what_is_wrong_in_one_of_several_files_is_placed_in_it(tmp_path: Path) -> None:
    bad = arrays(1)
    bad["pt"][17] = np.nan
    specs = [to_root(tmp_path / "a.root", arrays(0)), to_root(tmp_path / "b.root", bad)]
    message = f"column 'pt' of '{specs[1]}' has 1 values that are not finite, the first in row 17"
    with pytest.raises(DataError, match=re.escape(message)):
        read(specs, features=["pt"], classes=CLASSES)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_or_damaged_file_is_refused(name: str, tmp_path: Path) -> None:
    wanted: dict[str, Any] = {"features": ["pt"], "classes": CLASSES}
    if name != "folder":
        with pytest.raises(DataError, match="there is no file"):
            read(str(tmp_path / name), **wanted)
    FILES[name](tmp_path / name, arrays())
    path = tmp_path / name if name != "folder" else tmp_path / name / "pt.npy"
    whole = path.read_bytes()
    for content in (b"", b"hello" * 30, whole[: len(whole) // 3]):
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            read(str(tmp_path / name), **wanted)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["jets.h5", "jets.npz", "folder", "numpy"])
def test_columns_of_different_lengths_and_without_rows_are_refused(name: str, tmp_path: Path) -> None:
    columns = arrays() | {"short": np.ones(3), "empty": np.ones(0)}
    source = WRITERS[name](tmp_path / name, columns)
    with pytest.raises(DataError, match=r"differ in their numbers of rows.*: 'pt' 60, 'short' 3"):
        read(source, features=["pt", "short"], label=None, event=None)
    with pytest.raises(DataError, match=r"has no rows|have none"):
        read(source, features=["empty"], label=None, event=None)


def test_the_lhc_jets_of_hdf5_are_read_by_the_names_in_the_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    jets, particles = rng.normal(size=(20, 6)), rng.normal(size=(20, 5, 3))
    jets[:, 3:] = np.eye(3)[rng.integers(0, 3, 20)]
    particles[:, 3:] = 0
    with h5py.File(tmp_path / "jets.h5", "w") as file:
        file["jets"], file["jetConstituentList"] = jets, particles
        file["jetFeatureNames"] = np.array([b"j_pt", b"j_eta", b"j_mass", b"j_g", b"j_q", b"j_t"])
        file["particleFeatureNames"] = np.array(
            [b"j1_px", b"j1_pt", b"j1_e", b"j1_pdgid"]
        )  # one too many, as published
        file["tracks"] = np.zeros((20, 4), [("d0", "f4"), ("valid", "?")])
        file["flavour"] = np.array([b"u", b"b"] * 10)
        file["elsewhere"] = h5py.ExternalLink("/etc/passwd", "x")
    path = str(tmp_path / "jets.h5")
    known = sources.columns(path)
    assert list(known) == ["flavour", "j1_px", "j1_pt", "j1_e", *("j_pt", "j_eta", "j_mass", "j_g", "j_q", "j_t"), "tracks.d0", "tracks.valid"]  # fmt: skip
    assert (known["j1_pt"], known["j_pt"]) == ("var * float64", "float64")
    labels = ["j_g", "j_q", "j_t"]
    found = read(path, features=["j_mass"], classes=CLASSES, label=labels, event=None)
    assert found.x[:, 0] == pytest.approx(jets[:, 2].astype(np.float32))
    assert np.array_equal(found.y, jets[:, 3:].argmax(axis=1))
    constituents = read(
        path, features=["j1_pt[j1_e != 0]"], classes=CLASSES, label=labels, event=None, n_constituents=4
    )
    assert constituents.x[:, :3, 0] == pytest.approx(particles[:, :3, 1].astype(np.float32))
    assert constituents.x[..., 1].sum() == 60
    flavours = read(path, features=["tracks.d0[0]"], label="flavour", classes=("b", "u"), event=None)
    assert flavours.y.tolist() == [1, 0] * 10
    with pytest.raises(DataError, match="column 'flavour' of '.*' is 'u' in row 0, none of the classes b, c"):
        read(path, features=["j_pt"], label="flavour", classes=("b", "c"), event=None)
    assert sources.columns(f"{path}:/") == known
    with pytest.raises(DataError, match="has no group 'nothing'"):
        read(f"{path}:nothing", features=["j_pt"], event=None)


def test_one_hot_rows_and_columns_are_labels(tmp_path: Path) -> None:
    y = np.random.default_rng(0).integers(0, 3, N_JETS)
    source = to_folder(tmp_path / "test", {"x_test": np.ones((N_JETS, 8, 3), np.float32), "y_test": np.eye(3)[y]})
    assert sources.columns(source) == {
        **{f"x_test_{index}": "var * float32" for index in range(3)},
        "y_test": "var * float64",
    }
    found = read(source, features=["x_test_2"], label="y_test", classes=CLASSES, event=None, n_constituents=8)
    assert np.array_equal(found.y, y)
    columns = {f"label_{name}": y == index for index, name in enumerate(CLASSES)} | {"pt": np.arange(N_JETS)}
    labels = [f"label_{name}" for name in CLASSES]
    assert np.array_equal(read(columns, features=["pt"], label=labels, classes=CLASSES, event=None).y, y)
    columns["label_q"] = columns["label_q"] ^ (np.arange(N_JETS) == 5)
    with pytest.raises(
        DataError, match=r"label_q label_t' of .* is .* in row 5, and not 1 for one class and 0 for all"
    ):
        read(columns, features=["pt"], label=labels, classes=CLASSES, event=None)
    with pytest.raises(DataError, match="has 2 values for each jet, and there are 3 classes"):
        read(columns, features=["pt"], label=labels[:2], classes=CLASSES, event=None)


def test_parquet_of_one_hot_jets_and_strings_is_read_and_missing_values_are_counted(tmp_path: Path) -> None:
    table = pa.table(
        {
            "j1_ptrel": [[0.5, 0.2], [0.9], []],
            "j_pt": [1.0, None, 3.0],
            "kind": ["g", "q", "t"],
            "holes": [[1.0, None], [2.0], []],
        }
    )
    pq.write_table(table, tmp_path / "jets.parquet")
    path = str(tmp_path / "jets.parquet")
    assert parquet.columns(path)["kind"] == "string"
    found = read(path, features=["j1_ptrel"], label="kind", classes=CLASSES, event=None, n_constituents=2)
    assert found.y.tolist() == [0, 1, 2]
    assert found.x[..., 0] == pytest.approx(np.array([[0.5, 0.2], [0.9, 0], [0, 0]], np.float32))
    for name, features in (("j_pt", {"features": ["j_pt"]}), ("holes", {"features": ["holes"], "n_constituents": 2})):
        with pytest.raises(DataError, match=f"column '{name}' of '.*jets.parquet' lacks 1 values"):
            read(path, **features, label=None, event=None)


def test_collections_of_events_are_exploded_to_jets_or_read_as_leading_objects(tmp_path: Path) -> None:
    jet = ak.zip({"pt": [[30.0, 20.0], [], [50.0]], "bx": [[0, -1], [], [0]], "hadronFlavour": [[5, 0], [], [4]]})
    egamma = ak.Array([[7.0], [9.0, 8.0], []])
    with uproot.recreate(tmp_path / "nano.root") as file:
        file.mktree(
            "Events", {"Jet": jet.type.content, "L1EG_pt": egamma.type.content, "event": "int64", "MET_pt": "float64"}
        )
        file["Events"].extend(
            {"Jet": jet, "L1EG_pt": egamma, "event": np.array([11, 12, 13]), "MET_pt": np.arange(3.0)}
        )
    spec = f"{tmp_path}/nano.root:Events"
    jets = read(
        spec,
        features=["Jet_pt", "MET_pt", "count(L1EG_pt)"],
        explode="Jet",
        label="where(Jet_hadronFlavour == 5, 1, 0)",
        classes=("light", "b"),
    )
    assert jets.x.tolist() == [[30, 0, 1], [20, 0, 1], [50, 2, 0]]
    assert (jets.y.tolist(), jets.event.tolist()) == ([1, 0, 0], [11, 11, 13])
    assert read(spec, features=["Jet_pt"], label=None, explode="Jet", cut="Jet_bx == 0").x.tolist() == [[30], [50]]
    features = ["MET_pt", "leading(Jet_pt[Jet_bx == 0], 2)", "leading(L1EG_pt, 2)"]
    events = read(spec, features=features, label=None)
    assert events.x.tolist() == [[0, 30, 0, 7, 0], [1, 0, 0, 9, 8], [2, 50, 0, 0, 0]]
    assert events.feature_names[1:3] == ("Jet_pt[Jet_bx == 0][0]", "Jet_pt[Jet_bx == 0][1]")
    with pytest.raises(DataError, match=r"has no lists 'Muon_\*' among the columns that are read"):
        read(spec, features=["MET_pt"], label=None, explode="Muon")


NANO = REFERENCE / "nanoaod/nanoAOD_2015_CMS_Open_Data_ttbar.root"
PUBLISHED = REFERENCE / "jets"


def test_published_nanoaod_is_read_as_jets_and_as_events() -> None:
    jets = read(
        f"{NANO}:Events",
        features=["Jet_pt", "Jet_mass / Jet_pt", "MET_pt"],
        explode="Jet",
        label="where(abs(Jet_hadronFlavour) == 5, 1, 0)",
        classes=("light", "b"),
        cut="(Jet_pt > 30) & (abs(Jet_eta) < 2.4)",
    )
    with uproot.open(f"{NANO}:Events") as tree:
        raw = tree.arrays(["Jet_pt", "Jet_eta", "Jet_hadronFlavour", "event"], library="ak")
    kept = (raw.Jet_pt > 30) & (abs(raw.Jet_eta) < 2.4)
    assert np.array_equal(jets.x[:, 0], ak.flatten(raw.Jet_pt[kept]).to_numpy())
    assert np.array_equal(jets.y, (ak.flatten(raw.Jet_hadronFlavour[kept]) == 5).to_numpy().astype(int))
    assert len(np.unique(jets.event)) < len(jets)
    events = read(f"{NANO}:Events", features=["leading(Jet_pt, 4)", "leading(Muon_pt, 2)", "MET_pt"], label=None)
    assert events.x.shape == (200, 7)
    assert (np.diff(events.x[:, :4], axis=1) <= 0).all()


def test_published_jets_in_a_folder_are_read() -> None:
    features = [f"x_test_16const_{index}" for index in range(3)]
    wanted: dict[str, Any] = {"label": "y_test_16const", "classes": list("gqWZt"), "event": None}
    jets = read(str(PUBLISHED), features=features, n_constituents=16, is_filled=False, **wanted)
    assert np.array_equal(jets.x, np.load(PUBLISHED / "x_test_16const.npy").astype(np.float32))
    assert np.array_equal(jets.y, np.load(PUBLISHED / "y_test_16const.npy").argmax(axis=1))


def test_what_lies_outside_an_hdf5_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(np.arange(5, dtype=np.float64).tobytes())
    with h5py.File(tmp_path / "jets.h5", "w") as file:
        file["pt"] = np.arange(5.0)
        file.create_dataset("told", (5,), "f8", external=[(str(tmp_path / "secret.bin"), 0, 40)])
    assert list(sources.columns(str(tmp_path / "jets.h5"))) == ["pt"]


def test_names_go_with_the_last_axis_of_several_and_each_with_one(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "jets.h5", "w") as file:
        file["jets"], file["jetFeatureNames"] = np.arange(3.0), [b"a", b"b", b"c", b"d"]
    assert list(sources.columns(str(tmp_path / "jets.h5"))) == ["jets"]
    with h5py.File(tmp_path / "twice.h5", "w") as file:
        file["jets"], file["jetFeatureNames"] = np.ones((3, 2)), [b"a", b"a"]
    with pytest.raises(DataError, match="dataset 'jets' names two of its columns 'a'"):
        sources.columns(str(tmp_path / "twice.h5"))
