"""Packs the files of other groups that the tests read into the archives beside it, from a folder that has them all.

`python tests/data/reference/pack.py ../shared/reference`; of jets of 16 and 32 constituents, and of single layers, it
takes a part.
"""

import csv
import io
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

N_JETS = 500


def first_jets(path: Path) -> bytes:
    """Return the first jets of an array, as a file."""
    file = io.BytesIO()
    np.save(file, np.load(path, allow_pickle=False)[:N_JETS])
    return file.getvalue()


def finished(path: Path) -> bytes:
    """Return the rows of a table whose synthesis ended well."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        text = io.StringIO()
        written = csv.DictWriter(text, rows.fieldnames or (), lineterminator="\n")
        written.writeheader()
        written.writerows(row for row in rows if row["hls_synth_success"] == "True")
    return text.getvalue().encode()


PARTS: dict[str, Callable[[Path], bytes]] = {
    **{f"jets/{kind}_test_{n}const.npy": first_jets for kind in "xy" for n in (16, 32)},
    "tables/wa_dense_single_layer.csv": finished,
}
ARCHIVES = {
    "reports": ("reports/**/*",),
    "models": ("models/jet-mlp-*.h5", "models/model_QInteractionNetwork_*.h5"),
    "jets": ("jets/*.npy",),
    "tables": ("tables/wa_dense_single_layer.csv", "tables/ntorc_dense_distinct.csv"),
    "nanoaod": ("nanoaod/nanoAOD_*.root",),
}


def pack(source: Path, folder: Path) -> None:
    """Write the archives, the same bytes for the same files."""
    for name, patterns in ARCHIVES.items():
        with zipfile.ZipFile(folder / f"{name}.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for path in sorted({found for pattern in patterns for found in source.glob(pattern) if found.is_file()}):
                inside = path.relative_to(source).as_posix()
                content = PARTS.get(inside, Path.read_bytes)(path)
                archive.writestr(zipfile.ZipInfo(inside), content, zipfile.ZIP_DEFLATED, 9)


if __name__ == "__main__":
    pack(Path(sys.argv[1]), Path(__file__).parent)
