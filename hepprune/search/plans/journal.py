"""A journal of what took long to compute: one line per value, so that a killed search resumes and ends the same."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Journal:
    """Values by key in a file of JSON lines, or in memory only where there is no path.

    Numbers come back exactly as they went in. A line that was torn by a kill is dropped, and its value made again.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._known: dict[str, Any] = {}
        if path is not None and path.is_file():
            whole = path.read_text(encoding="utf-8").splitlines(keepends=True)
            for line in whole:
                self._take(line)
            if whole and not whole[-1].endswith("\n"):
                path.write_text("".join(whole[:-1]), encoding="utf-8")

    def __len__(self) -> int:
        """Return how many values are known."""
        return len(self._known)

    def _take(self, line: str) -> None:
        try:
            key, value = json.loads(line)
        except ValueError:
            return
        if line.endswith("\n"):
            self._known[key] = value

    def remember(self, key: str, make: Callable[[], Any]) -> Any:
        """Return the JSON value known under a key, or make it and write it down."""
        if key not in self._known:
            value = make()
            if self.path is not None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([key, value]) + "\n")
            self._known[key] = value
        return self._known[key]
