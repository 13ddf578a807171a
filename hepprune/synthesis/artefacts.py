"""What is in a project folder, a tarball, a zip or a bare report: the texts that parsers may read, nothing else.

Archives are untrusted: they are read in memory and never unpacked. One that names a place outside itself, or that is
larger than any build, is refused whole; links, devices, and files that are too large or no text are refused one by one.
An archive in an archive, as CI jobs make them of a project's tarball, is looked into; one inside that is not.
"""

import io
import lzma
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from hepprune.errors import ReportError, explained
from hepprune.synthesis.reports.registry import MAX_BYTES, decoded

MAX_FILES = 100_000
MAX_TOTAL_BYTES = 2**32  # of all that an archive says it holds
MAX_TEXT_BYTES = 2**29  # of all texts together
_WANTED = re.compile(r"(?i)\.(xml|rpt|ndjson|json|log|txt|out)$|^(project\.tcl|hls4ml_config\.yml|parameters\.h)$")
_ARCHIVE = re.compile(r"(?i)\.(zip|tgz|tar|tar\.(gz|bz2|xz))$")
_HEADERS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_BEFORE_A_MEMBER = (*_HEADERS, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_LONGEST_NAMES = 2**16  # bytes
_SKIPPED = {"weights", "tb_data", "nnet_utils", "ap_types", ".autopilot", ".git", "csim", "verilog", "vhdl", "systemc"}
_HOSTILE = re.compile(r"^$|[\x00-\x1f\\]|^/|^[A-Za-z]:|(^|/)\.\.(/|$)")
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # a way of compressing that this Python does not know
    RuntimeError,  # an encrypted member
    ValueError,
    OSError,
)


@dataclass(frozen=True)
class Artefact:
    """A text and its place: the path in the folder or archive, for messages and to tell projects apart."""

    path: Path
    text: str


@dataclass(frozen=True)
class Collection:
    """The texts that were found, and what was refused, each with the reason."""

    artefacts: tuple[Artefact, ...]
    refused: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Member:
    """A file as its folder or archive describes it; only a `regular` one is read."""

    name: str
    size: int
    read: Callable[[], bytes]
    regular: bool = True

    @property
    def wanted(self) -> bool:
        place = PurePosixPath(self.name)
        return bool(_WANTED.search(place.name)) and not _SKIPPED.intersection(place.parts[:-1])


def collect(path: Path) -> Collection:
    """Return the texts in a folder, archive or file that could be reports, logs or descriptions of a project.

    Raises:
        ReportError: there is nothing at the path, or it is a broken, hostile or oversized archive.
    """
    artefacts: list[Artefact] = []
    refused: list[tuple[str, str]] = []
    room = MAX_TEXT_BYTES
    with explained(ReportError, f"'{path}' cannot be read:", *_BROKEN):
        for count, member in enumerate(_looked_into(_members(path))):
            if count >= MAX_FILES:
                raise ReportError(f"'{path}' holds more than {MAX_FILES:,} files; give the project's own folder")
            if not member.wanted:
                continue
            text, why = _text(path, member, room)
            if text is None:
                refused.append((member.name, why))
            else:
                room -= len(text)
                artefacts.append(Artefact(Path(member.name), text))
    return Collection(tuple(artefacts), tuple(refused))


def _text(path: Path, member: _Member, room: int) -> tuple[str | None, str]:
    if not member.regular:
        return None, "a link or no regular file"
    if member.size > MAX_BYTES:
        return None, f"larger than {MAX_BYTES // 2**20} MiB"
    if member.size > room:
        raise ReportError(f"'{path}' holds more than {MAX_TEXT_BYTES // 2**20} MiB of reports; give one project")
    try:
        return decoded(Path(member.name), member.read()), ""
    except ReportError as problem:
        return None, str(problem)


def _members(path: Path) -> Iterator[_Member]:
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise ReportError(f"there is no folder, archive or report '{path}'")
    if (members := _archive(path)) is not None:
        return members
    # A file that was named itself is looked into, whatever it is called.
    name = path.name if _WANTED.search(path.name) else f"{path.name}.txt"
    return iter([_Member(name, path.stat().st_size, partial(_start, partial(path.open, "rb")))])


def _start(opened: Callable[[], Any]) -> bytes:
    """Return the beginning of a file, long enough to see that it is too large."""
    file = opened()
    if file is None:
        return b""
    with file:
        return bytes(file.read(MAX_BYTES + 1))


def _archive(path: Path, content: bytes | None = None) -> Iterator[_Member] | None:
    """Return what is in a zip or tar, a file or the content of one; None where it is neither."""

    def source() -> Any:
        return path if content is None else io.BytesIO(content)

    if zipfile.is_zipfile(source()):
        return _zip(path, zipfile.ZipFile(source()))
    try:
        return _tar(path, tarfile.open(**{"name" if content is None else "fileobj": source()}, tarinfo=_TarInfo))
    except _BROKEN:
        return None


class _TarInfo(tarfile.TarInfo):
    """A header of a tar: those before a member, and maps of sparse files, would be read whole, however large."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _BEFORE_A_MEMBER and not 0 <= self.size <= _LONGEST_NAMES:
            raise tarfile.ReadError(f"a header of {self.size:,} bytes")
        found: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return found

    def _proc_sparse(self, *_: Any) -> tarfile.TarInfo:
        raise tarfile.ReadError("a sparse file")

    _proc_gnusparse_10 = _proc_sparse


def _looked_into(members: Iterator[_Member]) -> Iterator[_Member]:
    """Yield members, those of an archive among them in its place."""
    for member in members:
        is_archive = _ARCHIVE.search(member.name) and member.regular and member.size <= MAX_BYTES
        inner = _archive(Path(member.name), member.read()) if is_archive else None
        if inner is None:
            yield member
        else:
            yield from (replace(each, name=f"{member.name}/{each.name}") for each in inner)


def _folder(root: Path) -> Iterator[_Member]:
    """Yield the files below a folder, links not followed."""
    for folder, below, names in os.walk(root):
        below[:] = sorted(name for name in below if name not in _SKIPPED)
        for name in sorted(names):
            file = Path(folder) / name
            state = file.lstat()
            read = partial(_start, partial(file.open, "rb"))
            yield _Member(file.relative_to(root).as_posix(), state.st_size, read, stat.S_ISREG(state.st_mode))


def _zip(path: Path, archive: zipfile.ZipFile) -> Iterator[_Member]:
    with archive:
        infos = archive.infolist()
        _check_total(path, sum(info.file_size for info in infos))
        for info in infos:
            _check_name(path, info.filename)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if not info.is_dir():
                read = partial(_start, partial(archive.open, info))
                yield _Member(info.filename, info.file_size, read, kind in {0, stat.S_IFREG, stat.S_IFDIR})


def _tar(path: Path, archive: tarfile.TarFile) -> Iterator[_Member]:
    with archive:
        total = 0
        for info in archive:
            _check_name(path, info.name)
            total += info.size
            _check_total(path, total)  # before the next header is sought behind this member's content
            if not info.isdir():
                yield _Member(info.name, info.size, partial(_start, partial(archive.extractfile, info)), info.isreg())


def _check_name(path: Path, name: str) -> None:
    if _HOSTILE.search(name):
        raise ReportError(f"'{path}' names the file {name[:80]!r}, which lies outside it; nothing in it was read")


def _check_total(path: Path, total: int) -> None:
    if total > MAX_TOTAL_BYTES:
        raise ReportError(f"'{path}' holds more than {MAX_TOTAL_BYTES // 2**30} GiB; nothing in it was read")
