import io
import tarfile
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepprune.errors import ReportError
from hepprune.synthesis import artefacts


def tar(path: Path, *members: tuple[str, bytes], link: str | None = None) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        if link:
            info = tarfile.TarInfo("link.rpt")
            info.type, info.linkname = tarfile.SYMTYPE, link
            archive.addfile(info)
    return path


def zipped(path: Path, *members: tuple[str, bytes], link: str | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
        if link:
            info = zipfile.ZipInfo("link.rpt")
            info.external_attr = 0o120777 << 16
            archive.writestr(info, link)
    return path


MEMBERS = (
    ("a/run.log", b"one"),
    ("a/firmware/weights/w2.txt", b"1"),
    ("a/model.h5", b"\x89HDF"),
    ("b/x.rpt", b"\xff\xfe"),
)


@pytest.mark.parametrize("pack", [tar, zipped])
def test_texts_are_taken_and_what_is_none_is_refused(tmp_path: Path, pack: type[object]) -> None:
    found = artefacts.collect(pack(tmp_path / "ci", *MEMBERS, link="/etc/passwd"))  # type: ignore[call-arg,arg-type]
    assert [(str(each.path), each.text) for each in found.artefacts] == [("a/run.log", "one")]
    assert {name for name, _ in found.refused} == {"b/x.rpt", "link.rpt"}


@pytest.mark.parametrize("pack", [tar, zipped])
@pytest.mark.parametrize("name", ["../up.rpt", "/abs.rpt", "a/../../b.log", "C:/x.rpt", "a\\b.rpt", "a\nb.rpt"])
def test_a_name_outside_refuses_the_whole_archive(tmp_path: Path, pack: type[object], name: str) -> None:
    path = pack(tmp_path / "ci", ("fine.rpt", b"x"), (name, b"x"))  # type: ignore[call-arg]
    with pytest.raises(ReportError, match="outside it; nothing"):
        artefacts.collect(path)  # type: ignore[arg-type]
    assert [each.name for each in tmp_path.iterdir()] == ["ci"]


@pytest.mark.parametrize("pack", [tar, zipped])
def test_a_bomb_is_refused_by_what_it_says_it_holds(
    tmp_path: Path, pack: type[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pack(tmp_path / "ci", ("zeros.bin", bytes(2**22)), ("x.rpt", b"x"))  # type: ignore[call-arg]
    assert (tmp_path / "ci").stat().st_size < 2**14
    monkeypatch.setattr(artefacts, "MAX_TOTAL_BYTES", 2**21)
    with pytest.raises(ReportError, match="GiB; nothing in it was read"):
        artefacts.collect(path)  # type: ignore[arg-type]


@pytest.mark.parametrize("step", [1, -1])
def test_a_header_larger_than_any_name_is_not_read(tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artefacts, "MAX_BYTES", 2**10)  # what is read of any member
    with tarfile.open(tmp_path / "ci.tgz", "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for name, headers in (("a.rpt", {}), ("b.rpt", {"comment": "0" * 2**24}))[::step]:
            info = tarfile.TarInfo(name)
            info.pax_headers = headers
            archive.addfile(info)
    assert (tmp_path / "ci.tgz").stat().st_size < 2**16
    tracemalloc.start()
    try:
        with suppress(ReportError):  # the first one makes it no tar
            assert artefacts.collect(tmp_path / "ci.tgz").artefacts == ()
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_a_member_larger_than_it_says_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "ci.zip", ("x.rpt", b"y" * 5000))
    content = path.read_bytes().replace((5000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    path.write_bytes(content)
    monkeypatch.setattr(artefacts, "MAX_BYTES", 100)
    try:
        found = artefacts.collect(path)
    except ReportError:
        return
    assert sum(len(each.text) for each in found.artefacts) <= 101


@pytest.mark.parametrize("pack", [tar, zipped])
def test_an_archive_in_an_archive_is_looked_into_once(tmp_path: Path, pack: type[object]) -> None:
    innermost = tar(tmp_path / "innermost", ("deep.rpt", b"deep")).read_bytes()
    inner = pack(tmp_path / "inner", ("p/x.rpt", b"x"), ("q.tar.gz", innermost)).read_bytes()  # type: ignore[call-arg,attr-defined]
    path = zipped(tmp_path / "ci.zip", ("job/project.tar.gz", inner), ("job/y.log", b"y"), ("broken.zip", b"PK no"))
    found = artefacts.collect(path)
    assert [str(each.path) for each in found.artefacts] == ["job/project.tar.gz/p/x.rpt", "job/y.log"]
    path = zipped(tmp_path / "ci.zip", ("a.tgz", tar(tmp_path / "bad", ("../x.rpt", b"x")).read_bytes()))
    with pytest.raises(ReportError, match=r"'a\.tgz' names the file '../x.rpt', which lies outside"):
        artefacts.collect(path)


def test_links_and_huge_files_in_a_folder_are_not_followed_or_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "link.rpt").symlink_to(tmp_path / "secret")
    with (folder / "huge.log").open("wb") as file:
        file.truncate(artefacts.MAX_BYTES + 1)
    found = artefacts.collect(folder)
    assert found.artefacts == ()
    assert {name for name, _ in found.refused} == {"huge.log", "link.rpt"}


def test_a_file_that_is_named_is_looked_into_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "download").write_text("text")
    assert artefacts.collect(tmp_path / "download").artefacts[0].text == "text"
    with pytest.raises(ReportError, match="there is no folder, archive or report"):
        artefacts.collect(tmp_path / "nothing")


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([tar, zipped]), st.lists(st.tuples(st.integers(0, 5000), st.binary(max_size=8)), max_size=4))
def test_a_damaged_archive_is_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, pack: type[object], cuts: list[tuple[int, bytes]]
) -> None:
    path = tmp_path_factory.mktemp("a") / "ci"
    pack(path, *MEMBERS)  # type: ignore[call-arg]
    content = bytearray(path.read_bytes())
    for place, piece in cuts:
        start = place % max(len(content), 1)
        content[start : start + 4] = piece
    path.write_bytes(content)
    try:
        artefacts.collect(path)
    except ReportError:
        return
