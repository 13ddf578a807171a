"""One process of fuzzing: `python -m tests.fuzz.drive NAME ENGINE FOLDER [options of libFuzzer] CORPUS`."""

import logging
import random
import sys
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["hepprune"]):
    from tests.fuzz.edits import edited
    from tests.fuzz.findings import Findings
    from tests.fuzz.harnesses import HARNESSES


def main(name: str, engine: str, folder: Path) -> None:
    """Fuzz one harness until libFuzzer's options end it."""
    logging.disable(logging.CRITICAL)
    corpus = Path(sys.argv[-1])
    findings = Findings(HARNESSES[name], folder)
    begin = {"bytes": _bytes, "edits": _edits}[engine]
    atheris.Setup([sys.argv[0], *sys.argv[4:]], begin(findings, corpus))
    atheris.Fuzz()


def _bytes(findings: Findings, corpus: Path) -> Callable[[bytes], None]:
    for number, seed in enumerate(findings.harness.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    return findings


def _edits(findings: Findings, corpus: Path) -> Callable[[bytes], None]:
    """Let libFuzzer choose hypothesis' choices; from nothing it would long make too few of them for a single edit."""
    from hypothesis import given, settings

    for number in range(100):
        (corpus / f"seed-{number}").write_bytes(random.Random(number).randbytes(64 + 8 * number))

    @settings(database=None, deadline=None)
    @given(edited(findings.harness.seeds()))
    def one(content: bytes) -> None:
        findings(content)

    return lambda data: one.hypothesis.fuzz_one_input(data) and None


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
