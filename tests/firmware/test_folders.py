"""Folders are whole or absent."""

from pathlib import Path

import pytest

from hepprune.firmware.folders import replacing_folder


def test_a_failure_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    with replacing_folder(folder) as new:
        (new / "file").write_text("old")
    with pytest.raises(FileNotFoundError), replacing_folder(folder) as new:
        (new / "missing" / "file").write_text("half")
    assert (folder / "file").read_text() == "old"
    assert list(tmp_path.iterdir()) == [folder]
