"""Every reader of strangers' files on whole files, on those that once broke it, and on some edits of them."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.edits import edited
from tests.fuzz.harnesses import HARNESSES
from tests.fuzz.names import NAMES

CORPUS = Path(__file__).parent / "corpus"


def test_every_harness_has_its_name() -> None:
    assert tuple(HARNESSES) == NAMES
    assert {folder.name for folder in CORPUS.iterdir()} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_whole_files_are_read(name: str, tmp_path: Path) -> None:
    harness = HARNESSES[name]
    for seed in harness.seeds():
        harness.run(seed, tmp_path / "file")


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_once_broke_a_reader_is_refused_in_one_sentence(path: Path, tmp_path: Path) -> None:
    HARNESSES[path.parent.name].check(path.read_bytes(), tmp_path / "file")


@pytest.mark.parametrize("name", NAMES)
def test_edited_files_are_read_or_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    harness = HARNESSES[name]

    @settings(max_examples=10)
    @given(st.binary(max_size=100) | edited(harness.seeds()))
    def check(content: bytes) -> None:
        harness.check(content, tmp_path / "file")

    check()
