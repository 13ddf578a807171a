from pathlib import Path

import pytest
import torch

import hepprune
from hepprune.errors import HeppruneError
from hepprune.network import Network, identity
from hepprune.store import Journal, Store
from tests.networks import weighted

Pair = tuple[int, float]


def never() -> Pair:
    pytest.fail("made again")


def test_a_value_is_made_once_for_each_name_and_key(tmp_path: Path) -> None:
    store = Store(tmp_path / "deep")
    assert store.value(Pair, "figures", ["a", 1], lambda: (1, 0.1 + 0.2)) == (1, 0.1 + 0.2)
    assert store.value(Pair, "figures", ["a", 1], never) == (1, 0.1 + 0.2)
    assert store.value(Pair, "figures", ["a", 2], lambda: (2, 0.0)) == (2, 0.0)
    assert store.value(Pair, "others", ["a", 1], lambda: (3, 0.0)) == (3, 0.0)


def test_another_version_makes_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(tmp_path).value(int, "figure", "key", lambda: 1)
    monkeypatch.setattr("hepprune.store.__version__", f"{hepprune.__version__}.dev1")
    assert Store(tmp_path).value(int, "figure", "key", lambda: 2) == 2


def test_what_was_damaged_is_refused(tmp_path: Path, tagger: Network) -> None:
    store = Store(tmp_path)
    store.step(int, "step", "key", lambda: (tagger, 1))
    for path in tmp_path.iterdir():
        path.write_bytes(b"[" + path.read_bytes()[1:])
    with pytest.raises(HeppruneError, match=r"step-\w+\.json' is damaged"):
        store.value(int, "step", "key", lambda: 2)
    with pytest.raises(HeppruneError, match=r"step-\w+\.npz'"):
        store.network("step", "key", lambda: tagger)


def test_a_network_and_what_is_told_of_it_are_kept_together(tmp_path: Path, tagger: Network) -> None:
    store = Store(tmp_path)
    assert not store.has("step", "key")
    made, about = store.step(str, "step", "key", lambda: (tagger, "about"))
    assert (identity(made), about) == (identity(tagger), "about")
    assert store.has("step", "key")
    again, about = store.step(str, "step", "key", lambda: pytest.fail("made again"))
    assert (identity(again), about) == (identity(tagger), "about")


def test_a_step_that_was_killed_before_its_end_is_made_again(tmp_path: Path, tagger: Network) -> None:
    store, other = Store(tmp_path), tagger.clone()
    with torch.no_grad():
        weighted(other)[0].weight.mul_(2)
    store.step(str, "step", "key", lambda: (other, "first"))
    next(tmp_path.glob("*.json")).unlink()
    made, about = store.step(str, "step", "key", lambda: (tagger, "second"))
    assert (identity(made), about) == (identity(tagger), "second")


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        Store(tmp_path).value(float, "figure", "key", lambda: 1 / 0)
    assert not list(tmp_path.iterdir())


def test_without_a_folder_nothing_is_kept(tagger: Network) -> None:
    assert [Store().value(int, "figure", "key", lambda n=n: n) for n in (1, 2)] == [1, 2]
    assert Store().network("network", "key", lambda: tagger) is tagger
    assert Store().step(int, "step", "key", lambda: (tagger, 1)) == (tagger, 1)
    assert not Store().has("step", "key")


def test_lines_come_back_exactly_and_are_not_made_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "journal.jsonl"
    value = [0.1 + 0.2, 1e-17, float("inf"), "text"]
    assert Journal(path).remember("a", lambda: value) == value
    assert Journal(path).remember("a", lambda: pytest.fail("made again")) == value


def test_a_torn_line_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.remember("a", lambda: 1)
    journal.remember(["b", {"c": 2}], lambda: 2)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        resumed = Journal(path)
        assert len(resumed) == whole[:length].count(b"\n")
        assert [resumed.remember("a", lambda: 1), resumed.remember(["b", {"c": 2}], lambda: 2)] == [1, 2]
        assert path.read_bytes() == whole


def test_a_line_of_something_else_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path).remember("a", lambda: 1)
    path.write_bytes(b"5\n\xff\xfe\n" + path.read_bytes())
    assert Journal(path).remember("a", lambda: pytest.fail("made again")) == 1


def test_without_a_path_a_journal_remembers_only_for_itself() -> None:
    journal = Journal()
    assert journal.remember("a", lambda: 1) == journal.remember("a", lambda: 2) == 1
