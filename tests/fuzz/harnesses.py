"""One harness for each kind of file that strangers write: how to read it, small whole ones to begin with, its error.

A harness may refuse a file with its own error, in one sentence; anything else that is raised is a finding.
"""

import io
import json
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from hepprune import frontends, recipe
from hepprune.data import reading, scaling
from hepprune.data.files import npz, root
from hepprune.errors import DataError, HeppruneError, NetworkError, RecipeError, ReportError
from hepprune.files import stored
from hepprune.firmware import scales
from hepprune.firmware.verilog import patterns
from hepprune.fixed import FixedPoint, interface
from hepprune.hardware import cost, targets
from hepprune.hardware.resources import Measurement, Resources
from hepprune.jobs import ingestion
from hepprune.network import load, save
from hepprune.report import summary
from hepprune.search.plans.pareto import PlanSolution
from hepprune.synthesis import exchange, reports
from hepprune.synthesis.failures import Failure, classify
from hepprune.synthesis.ledger import Ledger
from hepprune.synthesis.reports import registry
from tests.fuzz import seeds

CLOCK_NS = 5.0


@dataclass(frozen=True)
class Harness:
    """`run` reads bytes with the help of a file that it may write; `seeds` are whole files of the kind."""

    error: type[HeppruneError]
    seeds: Callable[[], list[bytes]]
    run: Callable[[bytes, Path], object]

    def check(self, content: bytes, scratch: Path) -> None:
        """Read the content; refusing it in one sentence is right, whatever else is raised is not."""
        try:
            self.run(content, scratch)
        except self.error as problem:
            sentence = str(problem)
            if not sentence or "\n" in sentence or len(sentence) > 4000:
                raise AssertionError(f"the refusal is no one sentence: {sentence[:300]!r}") from problem


def _report(content: bytes, _scratch: Path) -> None:
    """Read a report by its first lines, or else by any parser, so that damaged first lines do not end every run."""
    text = registry.decoded(Path("report"), content)
    names = list(reports.REPORT_PARSERS)
    name = reports.kind_of(text) or names[len(content) % len(names)]
    reports.top_of(text)
    found = reports.REPORT_PARSERS[name].parse(Path("report"), text, CLOCK_NS)
    with Ledger(Path(":memory:")) as book:  # what was read can be kept, and is then what it was
        book.record("key", description="fuzzed")
        if isinstance(found, Measurement):
            book.record("key", found)
        else:
            book.record("key", found)
        assert [record.value for record in book.records()] == [found]


def _log(content: bytes, _scratch: Path) -> None:
    found = classify(content.decode("utf-8", errors="replace"), exit_code=len(content) % 2)
    assert found is None or (isinstance(found, Failure) and found.fix)


def _ingested(content: bytes, scratch: Path) -> None:
    scratch.write_bytes(content)
    ingestion.ingest(scratch, clock_ns=CLOCK_NS)


def _ledger(content: bytes, scratch: Path) -> None:
    with TemporaryDirectory(dir=scratch.parent) as folder:
        path = Path(folder) / "ledger.sqlite"
        path.write_bytes(content)
        with Ledger(path) as book:
            list(exchange.rows(book.records()))
            book.pairs("yosys")
            for design in book.designs()[:3]:
                book.measurement(design.key, stage="yosys")


def _ledger_seeds() -> list[bytes]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        with Ledger(path) as book:
            book.record("key", description="one")
            book.record(
                "key",
                Measurement(
                    stage="yosys",
                    tool="yosys",
                    version="1",
                    part="part",
                    clock_ns=5.0,
                    resources=Resources(lut=1, ff=2, dsp=3, bram18=4),
                    latency_cycles=5,
                    interval_cycles=1,
                ),
            )
            book.record("key", Failure(kind="unknown", message="it failed", fix="read the log"))
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
        connection.close()
        return [path.read_bytes()]


def _file(read: Callable[[Path], object], suffix: str) -> Callable[[bytes, Path], object]:
    """Return a reader of bytes from one that takes a path."""

    def run(content: bytes, scratch: Path) -> object:
        path = scratch.with_suffix(suffix)
        path.write_bytes(content)
        return read(path)

    return run


def _scaler(path: Path) -> None:
    """Read a scaler.json, and make of it what a user would."""
    own = interface.read(path)
    scaling.load(path, input_name=own.inputs[0].name)
    scales.header(own).encode("ascii")
    patterns.packed(own.input_words, np.zeros((2, len(own.input_words))))


def _network(path: Path) -> None:
    """Read a network, run it on one jet and price it, as commands do."""
    import torch

    network = load(path)
    network.activations([torch.zeros(1, *each.features_shape) for each in network.inputs])
    for strategy in ("latency", "distributed_arithmetic"):
        cost.estimate(network, targets.load("generic_vu13p"), strategy=strategy)


def _network_seeds() -> list[bytes]:
    with TemporaryDirectory() as folder:
        return [save(network, Path(folder) / "n.npz").read_bytes() for network in seeds.networks()]


def _network_header(content: bytes, scratch: Path) -> None:
    """Read a network whose structure is the content, beside sound arrays: the archive's checksums hide it else."""
    text = content.decode("utf-8", errors="replace")
    whole = _whole_networks()[len(seeds.networks()) - 1 if "Recurrent" in text or "Conv" in text else 0]
    arrays = dict(np.load(io.BytesIO(whole), allow_pickle=False))
    arrays["structure"] = np.array(text)
    np.savez(scratch.with_suffix(".npz"), **arrays)
    _network(scratch.with_suffix(".npz"))


@cache
def _whole_networks() -> list[bytes]:
    return _network_seeds()


def _structure_seeds() -> list[bytes]:
    return [json.dumps(network.structure()).encode() for network in seeds.networks()]


def _jets_member(content: bytes, scratch: Path) -> None:
    """Read jets whose classes are the content, beside sound features: the archive's checksums hide them else."""
    path = scratch.with_suffix(".npz")
    with zipfile.ZipFile(io.BytesIO(seeds.jets()[0])) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            new.writestr(entry.filename, content if entry.filename == "y.npy" else old.read(entry))
    npz.read(path)


def _jets_member_seeds() -> list[bytes]:
    with zipfile.ZipFile(io.BytesIO(seeds.jets()[0])) as archive:
        return [archive.read("y.npy")]


def _tree(path: Path) -> None:
    columns = root.columns(str(path))
    reading.read(str(path), features=list(columns)[:1], classes=("g", "q"), event=None)


def _member(whole: Callable[[], bytes], ending: str, suffix: str) -> Callable[[bytes, Path], object]:
    """Return a reader of one member's bytes in an archive that is sound otherwise: its checksums hide it else."""

    def run(content: bytes, scratch: Path) -> object:
        path = scratch.with_suffix(suffix)
        with zipfile.ZipFile(io.BytesIO(whole())) as old, zipfile.ZipFile(path, "w") as new:
            for entry in old.infolist():
                new.writestr(entry.filename, content if entry.filename.endswith(ending) else old.read(entry))
        return frontends.read(path)

    return run


def _member_seeds(whole: Callable[[], bytes], ending: str) -> Callable[[], list[bytes]]:
    def found() -> list[bytes]:
        with zipfile.ZipFile(io.BytesIO(whole())) as archive:
            return [archive.read(name) for name in archive.namelist() if name.endswith(ending)]

    return found


def _archived(whole: Callable[[], bytes], ending: str, suffix: str) -> Harness:
    once = cache(whole)
    return Harness(NetworkError, _member_seeds(once, ending), _member(once, ending, suffix))


def _tarball() -> bytes:
    """Return an uncompressed tar of small reports in a project's folders."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, text in seeds.PROJECT.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return content.getvalue()


def _zipped() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in seeds.PROJECT.items():
            archive.writestr(name, text)
    return content.getvalue()


def _solution(content: bytes, _: Path) -> PlanSolution:
    return stored.parse(PlanSolution, content, "solution.json")


HARNESSES: dict[str, Harness] = {
    "reports": Harness(ReportError, seeds.reports, _report),
    "logs": Harness(ReportError, seeds.logs, _log),
    "artefacts": Harness(ReportError, lambda: [_tarball(), _zipped()], _ingested),
    "ledger": Harness(ReportError, _ledger_seeds, _ledger),
    "summary": Harness(ReportError, lambda: [seeds.summary()], _file(summary.read, ".json")),
    "solution": Harness(HeppruneError, lambda: [seeds.solution()], _solution),
    "recipe": Harness(RecipeError, seeds.recipes, _file(recipe.load, ".yaml")),
    "target": Harness(RecipeError, seeds.targets, _file(targets.load, ".yaml")),
    "fixed": Harness(NetworkError, seeds.fixed, lambda content, _: FixedPoint.parse(content.decode("latin-1"))),
    "scaler": Harness(DataError, seeds.scalers, _file(_scaler, ".json")),
    "network": Harness(HeppruneError, _network_seeds, _file(_network, ".npz")),
    "network_structure": Harness(HeppruneError, _structure_seeds, _network_header),
    "jets": Harness(DataError, seeds.jets, _file(npz.read, ".npz")),
    "jets_classes": Harness(DataError, _jets_member_seeds, _jets_member),
    "root": Harness(DataError, seeds.trees, _file(_tree, ".root")),
    "onnx": Harness(NetworkError, seeds.onnx, _file(frontends.read, ".onnx")),
    "keras_h5": Harness(NetworkError, lambda: [seeds.keras_h5()], _file(frontends.read, ".h5")),
    "keras_config": _archived(seeds.keras_archive, "config.json", ".keras"),
    "hgq_config": _archived(seeds.hgq_archive, "config.json", ".keras"),
    "pt2_program": _archived(seeds.pt2, "models/model.json", ".pt2"),
}
