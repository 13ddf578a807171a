import json
import stat
from pathlib import Path

import pytest

from hepprune import files


def test_a_block_that_ends_well_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "figure.png"
    with files.replacing(path) as temporary:
        assert temporary.suffix == ".png"
        assert temporary.parent == path.parent
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert [p.name for p in path.parent.iterdir()] == ["figure.png"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = files.write_text(tmp_path / "a.txt", "old")
    with pytest.raises(KeyboardInterrupt), files.replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_comes_back_in_the_order_given(tmp_path: Path) -> None:
    value = {"b": 1, "a": [1.5, None, "é"]}
    path = files.write_json(tmp_path / "a.json", value)
    assert list(json.loads(path.read_text(encoding="utf-8"))) == ["b", "a"]
    assert json.loads(path.read_text(encoding="utf-8")) == value


def test_json_refuses_nan_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", float("nan"))
    assert not list(tmp_path.iterdir())


def test_content_hash_names_content() -> None:
    one = files.content_hash({"a": 1, "b": 2}, b"xyz")
    assert one == files.content_hash({"b": 2, "a": 1}, b"xyz")
    assert len(one) == 16
    assert len({one, files.content_hash({"a": 1, "b": 2}), files.content_hash({"a": 1, "b": 3}, b"xyz")}) == 3


def test_content_hash_tells_parts_apart() -> None:
    assert files.content_hash(b"ab", b"c") != files.content_hash(b"a", b"bc")
