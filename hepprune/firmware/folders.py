"""Project folders: names the vendor tools can bear, written whole or not at all."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hepprune.errors import NetworkError

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_names(name: str, *, part: str, clock_ns: float) -> None:
    """Refuse what would end up as broken Verilog, C++ or Tcl.

    Raises:
        NetworkError: the name is not an identifier, the part no part number, or the clock period not positive.
    """
    check_identifier(name)
    if not _PART.fullmatch(part):
        raise NetworkError(f"'{part}' is not an FPGA part; write for example xcvu13p-flga2577-2-e")
    if not 0.1 <= clock_ns <= 1000:
        raise NetworkError(f"a clock period of {clock_ns} ns is not between 0.1 and 1000 ns")


def check_identifier(name: str) -> None:
    """Refuse what is not a name in Verilog, VHDL or C++.

    Raises:
        NetworkError: it is not letters, digits and underscores, a letter first.
    """
    if not _NAME.fullmatch(name):
        raise NetworkError(f"'{name}' is not a firmware name; use letters, digits and underscores, a letter first")


def check_folder(folder: Path) -> None:
    """Refuse a folder whose path no script can quote; blanks, quotes and letters of any alphabet are fine.

    Raises:
        NetworkError: the path has control characters, a line break for example, or is not text.
    """
    text = str(folder.absolute())
    if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", text):
        raise NetworkError(f"the path {text!a} has characters that no build script can quote; take another folder")


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `folder` when the block ends well, and vanishes otherwise.

    What was there stays, or comes back, whatever interrupts.

    Raises:
        NetworkError: no script can quote the folder's path.
    """
    check_folder(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    new, old = temporary / "new", temporary / "old"
    try:
        new.mkdir()
        yield new
        if os.path.lexists(folder):  # a link too, whether it leads anywhere or not
            folder.rename(old)
        new.rename(folder)
    finally:
        if os.path.lexists(old) and not os.path.lexists(folder):  # stopped between the two
            old.rename(folder)
        shutil.rmtree(temporary, ignore_errors=True)
