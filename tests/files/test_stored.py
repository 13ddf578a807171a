import math
from pathlib import Path

import pytest

from hepprune.errors import DataError
from hepprune.files import stored
from hepprune.report.summary import Summary


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[1, 2", "the file: Invalid JSON"),
        (b'[1, "x"]', "1: Input should be a valid integer"),
        (b"\xff", "the file: Invalid JSON"),
        (b"[" * 100_000, "the file: Invalid JSON"),
        (b"{}", "the file: Input should be a valid array"),
    ],
)
def test_a_value_that_was_damaged_is_refused_by_its_place(tmp_path: Path, content: bytes, said: str) -> None:
    path, kind = tmp_path / "kept.json", tuple[int, int]
    path.write_bytes(b"[1, 2]")
    assert stored.read(kind, path) == (1, 2)
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"kept.json' is damaged or of another version of hepprune \\({said}"):
        stored.read(kind, path, error=DataError)


def test_what_reads_a_type_is_made_once() -> None:
    assert stored.adapter(dict[str, Summary]) is stored.adapter(dict[str, Summary])


def test_numbers_without_end_come_back(tmp_path: Path) -> None:
    stored.write(tuple[float, float | None], tmp_path / "kept.json", (math.inf, -math.inf))
    assert stored.read(tuple[float, float | None], tmp_path / "kept.json") == (math.inf, -math.inf)


def test_a_note_speaks_for_its_content_alone(tmp_path: Path) -> None:
    path = tmp_path / "note.json"
    assert stored.noted(int, path, "a") is None
    assert stored.note(int, path, "a", 3) == 3
    assert stored.noted(int, path, "a") == 3
    assert stored.noted(int, path, "b") is None
    assert stored.noted(tuple[int, ...], path, "a") is None  # what another version wrote
    path.write_bytes(path.read_bytes()[:-3])
    assert stored.noted(int, path, "a") is None
