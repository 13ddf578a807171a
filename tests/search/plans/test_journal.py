from pathlib import Path

import pytest

from hepprune.search.plans.journal import Journal


def test_values_come_back_exactly_and_are_not_made_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "journal.jsonl"
    value = [0.1 + 0.2, 1e-17, float("inf"), "text"]
    assert Journal(path).remember("a", lambda: value) == value
    assert Journal(path).remember("a", lambda: pytest.fail("made again")) == value


def test_a_torn_line_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.remember("a", lambda: 1)
    journal.remember("b", lambda: 2)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        resumed = Journal(path)
        assert len(resumed) == whole[:length].count(b"\n")
        assert [resumed.remember("a", lambda: 1), resumed.remember("b", lambda: 2)] == [1, 2]
        assert path.read_bytes() == whole


def test_without_a_path_it_remembers_only_for_itself() -> None:
    journal = Journal()
    assert journal.remember("a", lambda: 1) == journal.remember("a", lambda: 2) == 1
