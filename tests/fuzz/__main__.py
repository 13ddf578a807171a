"""Fuzz the readers of strangers' files: `python -m tests.fuzz reports recipe --seconds 600 --out found`.

Atheris drives each harness twice: with raw bytes, and with hypothesis' structural edits of whole files. Each runs in a
process of its own, which is started again where libFuzzer ended it (a hang, memory, a crash below Python).
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzz.names import ENGINES, NAMES

TIMEOUT_S, MEMORY_MB, MAX_BYTES = 25, 5000, 2**16  # HDF5 itself takes up to 4 GiB for the length that a text claims


def main() -> int:
    """Fuzz, tell what was found, and return 1 if anything was."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("names", nargs="+", choices=("all", *NAMES))
    parser.add_argument("--seconds", type=float, default=60.0, help="for each name, both engines together")
    parser.add_argument("--out", type=Path, default=Path("fuzz-findings"))
    options = parser.parse_args()
    names = NAMES if "all" in options.names else options.names
    found = [path for name in names for path in _fuzz(name, options.seconds, options.out / name)]
    for path in found:
        print(path)
    return 1 if found else 0


def _fuzz(name: str, seconds: float, folder: Path) -> list[Path]:
    for engine in ENGINES:
        end = time.monotonic() + seconds / len(ENGINES)
        while (left := int(end - time.monotonic())) > 0:
            (folder / engine).mkdir(parents=True, exist_ok=True)
            limits = [
                f"-max_total_time={left}",
                f"-timeout={TIMEOUT_S}",
                f"-rss_limit_mb={MEMORY_MB}",
                "-len_control=0",
            ]
            artefacts = [f"-artifact_prefix={folder}/", f"-max_len={MAX_BYTES}", str(folder / engine)]
            command = [sys.executable, "-m", "tests.fuzz.drive", name, engine, str(folder), *limits, *artefacts]
            with (folder / f"{engine}.log").open("ab") as log:
                subprocess.run(command, stdout=log, stderr=log, check=False)
    kinds = ("*.bin", "crash-*", "timeout-*", "oom-*", "leak-*")
    return sorted(path for kind in kinds for path in folder.glob(kind))


if __name__ == "__main__":
    sys.exit(main())
