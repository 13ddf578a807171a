"""Files that other groups published: those of tests/data/reference, and more where they lie beside the checkout."""

import atexit
import shutil
import tempfile
import zipfile
from functools import cache
from pathlib import Path

PACKED = Path(__file__).parent / "data" / "reference"
MORE = Path(__file__).parents[2] / "shared" / "reference"  # larger models, all jets, those under other licences


@cache
def _unpacked() -> Path:
    """Return the folder that this process has unpacked them into; tests must leave it as it is."""
    folder = Path(tempfile.mkdtemp(prefix="hepprune-reference-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for archive in PACKED.glob("*.zip"):
        with zipfile.ZipFile(archive) as files:
            files.extractall(folder)
    return folder


REFERENCE = _unpacked()
REPORTS = REFERENCE / "reports"
