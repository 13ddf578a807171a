"""What is in a project folder, a tarball, a zip or a bare report: the texts that parsers may read, nothing else.

Archives are untrusted: they are read in memory and never unpacked. One that names a place outside itself, or that is
larger than any build, is refused whole; links, devices, and files that are too large or no text are refused one by one.
"""

import lzma
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from hepprune.errors import ReportError
from hepprune.synthesis.reports import MAX_BYTES, decoded

MAX_FILES = 100_000
MAX_TOTAL_BYTES = 2**32  # of all that an archive says it holds
MAX_TEXT_BYTES = 2**29  # of all texts together
_WANTED = re.compile(r"(?i)\.(xml|rpt|ndjson|json|log|txt|out)$|^(project\.tcl|hls4ml_config\.yml|parameters\.h)$")
_SKIPPED = {"weights", "tb_data", "nnet_utils", "ap_types", ".autopilot", ".git", "csim", "verilog", "vhdl", "systemc"}
_HOSTILE = re.compile(r"[\x00-\x1f\\]|^/|^[A-Za-z]:|(^|/)\.\.(/|$)")
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
    """A file as its folder or archive describes it; `refusal` is why it may not be read."""

    name: str
    size: int
    read: Callable[[], bytes]
    refusal: str | None = None

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
    try:
        for count, member in enumerate(_members(path)):
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
    except _BROKEN as problem:
        raise ReportError(f"'{path}' cannot be read: {problem or type(problem).__name__}") from problem
    return Collection(tuple(artefacts), tuple(refused))


def _text(path: Path, member: _Member, room: int) -> tuple[str | None, str]:
    """Return a member's text, or None and why there is none."""
    if member.refusal:
        return None, member.refusal
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
    if zipfile.is_zipfile(path):
        return _zip(path)
    if _is_tar(path):
        return _tar(path)
    # A file that was named itself is looked into, whatever it is called.
    name = path.name if _WANTED.search(path.name) else f"{path.name}.txt"
    return iter([_Member(name, path.stat().st_size, lambda: _head(path))])


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _is_tar(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except _BROKEN:
        return False


def _folder(root: Path) -> Iterator[_Member]:
    """Yield the files below a folder, links not followed."""
    for folder, below, names in os.walk(root):
        below[:] = sorted(name for name in below if name not in _SKIPPED)
        for name in sorted(names):
            file = Path(folder) / name
            state = file.lstat()
            refusal = None if stat.S_ISREG(state.st_mode) else "a link or no regular file"
            relative = file.relative_to(root).as_posix()
            yield _Member(relative, state.st_size, partial(_head, file), refusal)


def _zip(path: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        _check_total(path, sum(info.file_size for info in infos))
        for info in infos:
            _check_name(path, info.filename)
            kind = stat.S_IFMT(info.external_attr >> 16)
            refusal = "a link or no regular file" if kind not in {0, stat.S_IFREG, stat.S_IFDIR} else None
            if not info.is_dir():
                yield _Member(info.filename, info.file_size, partial(_unzipped, archive, info), refusal)


def _unzipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as file:
        return file.read(MAX_BYTES + 1)


def _tar(path: Path) -> Iterator[_Member]:
    with tarfile.open(path) as archive:
        total = 0
        for info in archive:
            _check_name(path, info.name)
            total += info.size
            _check_total(path, total)  # before the next header is sought behind this member's content
            refusal = None if info.isreg() else "a link or no regular file"
            if not info.isdir():
                yield _Member(info.name, info.size, partial(_untarred, archive, info), refusal)


def _untarred(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(info)
    return b"" if file is None else file.read(MAX_BYTES + 1)


def _check_name(path: Path, name: str) -> None:
    if _HOSTILE.search(name):
        raise ReportError(f"'{path}' names the file {name[:80]!r}, which lies outside it; nothing in it was read")


def _check_total(path: Path, total: int) -> None:
    if total > MAX_TOTAL_BYTES:
        raise ReportError(f"'{path}' holds more than {MAX_TOTAL_BYTES // 2**30} GiB; nothing in it was read")
