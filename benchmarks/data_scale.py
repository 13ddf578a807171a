"""Write a file of jets that is larger than memory should be, read what passes a cut, and print the peak memory.

python benchmarks/data_scale.py --gigabytes 10 --format root --folder /tmp
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

N_COLUMNS, N_CONSTITUENTS, ROWS = 60, 24, 100_000
READ = """
import json, resource, sys, time
from hepprune import data
start = time.perf_counter()
constituents = data.read(sys.argv[1], features=["log(constituent_pt)", "constituent_eta / x0"], n_constituents=16,
                         label=None, event="event", cut="x1 > 0.95")
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
size = constituents.x.nbytes / 1e9
print(json.dumps({"jets": len(constituents), "result_gb": size, "peak_gb": peak, "seconds": seconds}))
"""


def chunks(n_rows: int, *, zipped: bool) -> Iterator[dict[str, Any]]:
    """Yield columns of a hundred thousand jets: numbers and constituents, about 440 bytes a jet."""
    rng = np.random.default_rng(0)
    for start in range(0, n_rows, ROWS):
        size = min(ROWS, n_rows - start)
        counts = rng.integers(1, N_CONSTITUENTS, size)
        columns: dict[str, Any] = {f"x{index}": 1 + rng.random(size, np.float32) - 1 for index in range(N_COLUMNS)}
        columns["x0"] += 1
        lists = {name: rng.random(counts.sum(), np.float32) + 0.1 for name in ("pt", "eta")}
        columns |= {"event": np.arange(start, start + size)}
        if zipped:
            yield columns | {"constituent": ak.unflatten(ak.zip(lists), counts)}
        else:
            yield columns | {f"constituent_{name}": ak.unflatten(each, counts) for name, each in lists.items()}


def to_root(path: Path, n_rows: int, *, rntuple: bool) -> None:
    """Write jets to a TTree, or to an RNTuple, without compression."""
    import uproot

    with uproot.recreate(path, compression=None) as file:
        tree: Any = None
        for columns in chunks(n_rows, zipped=not rntuple):
            if tree is None:
                kinds = {name: ak.type(ak.Array(values)).content for name, values in columns.items()}
                tree = file.mkrntuple("Jets", columns) if rntuple else file.mktree("Jets", kinds)
                if rntuple:
                    continue
            tree.extend(columns)


def to_parquet(path: Path, n_rows: int) -> None:
    """Write jets to a Parquet file without compression."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer: Any = None
    for columns in chunks(n_rows, zipped=False):
        table = pa.table({name: ak.to_arrow(ak.Array(each), extensionarray=False) for name, each in columns.items()})
        writer = writer or pq.ParquetWriter(path, table.schema, compression="none", use_dictionary=False)
        writer.write_table(table)
    writer.close()


WRITERS = {
    "root": lambda path, n_rows: to_root(path, n_rows, rntuple=False),
    "rntuple": lambda path, n_rows: to_root(path, n_rows, rntuple=True),
    "parquet": to_parquet,
}


def main() -> None:
    """Write, read in a process of its own, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--format", choices=WRITERS, default="root")
    parser.add_argument("--folder", type=Path, default=Path("/tmp"))  # noqa: S108 -- a file of its own name, removed
    asked = parser.parse_args()
    path = asked.folder / f"data_scale.{'parquet' if asked.format == 'parquet' else 'root'}"
    start = time.perf_counter()
    try:
        WRITERS[asked.format](path, int(asked.gigabytes * 1e9 / (4 * N_COLUMNS + 8 + 4 + 8 * N_CONSTITUENTS / 2)))
        written = {
            "format": asked.format,
            "file_gb": path.stat().st_size / 1e9,
            "written_s": time.perf_counter() - start,
        }
        done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True)
    finally:
        path.unlink(missing_ok=True)
    print(json.dumps(written | json.loads(done.stdout)))


if __name__ == "__main__":
    main()
