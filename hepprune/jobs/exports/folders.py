"""Folders that exports leave: each has a mark, and nothing but an earlier export is ever replaced."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hepprune.errors import HeppruneError
from hepprune.files import write_json
from hepprune.firmware.folders import replacing_folder

MARK = "export.json"


@contextmanager
def folder(out: Path, *, build: Path, what: str) -> Iterator[Path]:
    """Yield an empty folder that becomes `out`, marked as an export of `what`, when the block ends well.

    Raises:
        HeppruneError: `out` is a file, the run itself, above or inside it, holds what no export wrote, or cannot be
            written.
    """
    try:
        _check(out, build)
        with replacing_folder(out) as new:
            yield new
            write_json(new / MARK, {"hepprune export": what})
    except OSError as problem:
        raise HeppruneError(f"the export to '{out}' failed: {problem}") from problem


def _check(out: Path, build: Path) -> None:
    """Refuse to replace what no export wrote."""
    place, run = (Path(os.path.realpath(each)) for each in (out, build))  # which bears links in a circle
    if place == run or place in run.parents or run in place.parents:
        raise HeppruneError(f"'{out}' is the run '{build}' itself, above it or inside it; write to another folder")
    if not out.exists():
        return
    if not out.is_dir():
        raise HeppruneError(f"'{out}' is a file; write to a folder that is new, empty or an earlier export")
    if any(out.iterdir()) and not (out / MARK).is_file():
        raise HeppruneError(
            f"'{out}' holds what no export wrote ('{MARK}' is not there); write to a new or an empty folder"
        )
