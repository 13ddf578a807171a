"""What fuzzing found: each fault once, by where in hepprune it came out, with the bytes that bring it about."""

import traceback
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.harnesses import Harness


@dataclass
class Findings:
    """Runs a harness on bytes and keeps what it should not have raised, the smallest bytes of each fault."""

    harness: Harness
    folder: Path
    sizes: dict[str, int] = field(default_factory=dict)
    runs: int = 0

    def __call__(self, content: bytes) -> None:
        """Check one content; nothing is raised, so that fuzzing goes on behind a fault that is known."""
        self.runs += 1
        try:
            self.harness.check(content, self.folder / "scratch")
        except Exception as problem:  # noqa: BLE001 - any is a finding
            self._keep(content, problem)

    def _keep(self, content: bytes, problem: Exception) -> None:
        frames = traceback.extract_tb(problem.__traceback__)
        own = [frame for frame in frames if "/hepprune/" in frame.filename] or list(frames)
        name = f"{type(problem).__name__}-{Path(own[-1].filename).stem}-{own[-1].lineno}"
        if len(content) < self.sizes.get(name, 2**31):
            self.sizes[name] = len(content)
            (self.folder / f"{name}.bin").write_bytes(content)
            (self.folder / f"{name}.txt").write_text("".join(traceback.format_exception(problem)), "utf-8", "replace")
