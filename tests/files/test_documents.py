"""YAML of strangers: bounded in size and time."""

import time
from contextlib import suppress
from pathlib import Path

import pytest

from hepprune.errors import RecipeError
from hepprune.files import documents


def _read(path: Path, text: str) -> dict[str, object]:
    path.write_text(text)
    return documents.read(path, kind="recipe", keys="name")


def test_numbers_in_base_60_stay_text_and_all_others_are_numbers(tmp_path: Path) -> None:
    text = "plain: 1:30:00\nfloat: 1:30.5\ntagged: !!int 1:30\ninteger: 1_000\nhex: 0xff\nreal: 1.5\nnone: .inf\n"
    found = _read(tmp_path / "r.yaml", text)
    assert found == {
        "plain": "1:30:00",
        "float": "1:30.5",
        "tagged": "1:30",
        "integer": 1000,
        "hex": 255,
        "real": 1.5,
        "none": float("inf"),
    }


@pytest.mark.slow
@pytest.mark.parametrize("text", ["a: 1{}\n", "a: !!int 1{}\n", "a: !!float 1{}.5\n"])
def test_endless_numbers_in_base_60_take_no_time(text: str, tmp_path: Path) -> None:
    start = time.process_time()
    _read(tmp_path / "r.yaml", text.format(":1" * 30_000))
    assert time.process_time() - start < 5


@pytest.mark.slow
@pytest.mark.parametrize("text", ["a: [" + "a," * 32_000 + "a]", "a: " + "- " * 32_000, "a: {" + "a," * 32_000 + "}"])
def test_the_largest_documents_take_seconds(text: str, tmp_path: Path) -> None:
    start = time.process_time()
    with suppress(RecipeError):
        _read(tmp_path / "r.yaml", text)
    assert time.process_time() - start < 10


def test_a_document_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="is larger than 65536 bytes, so it is not a recipe"):
        _read(tmp_path / "r.yaml", "a: " + "b" * documents.MAX_BYTES)


def test_half_a_character_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="a text has half a character"):
        _read(tmp_path / "r.yaml", 'a: ["x\\ud800"]')
