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


@pytest.mark.parametrize("linked", [False, True])
def test_an_interrupt_between_the_two_renames_brings_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, linked: bool
) -> None:
    folder, rename = tmp_path / "project", Path.rename
    place = tmp_path / "elsewhere" if linked else folder
    place.mkdir()
    (place / "file").write_text("old")
    if linked:
        folder.symlink_to("elsewhere")

    def interrupted(path: Path, target: Path) -> Path:
        if path.name == "new":
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), replacing_folder(folder) as new:
        (new / "file").write_text("new")
    assert (folder / "file").read_text() == "old"
    assert set(tmp_path.iterdir()) == {folder, place}
