"""The ledger: every design, estimate and measurement in one SQLite file, safe when several runs write at once."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import TypeAdapter

from hepprune.errors import ReportError
from hepprune.files import content_hash
from hepprune.hardware.resources import Estimate, Measurement

_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS design (
    key TEXT PRIMARY KEY, description TEXT NOT NULL, recorded TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE IF NOT EXISTS estimate (
    id INTEGER PRIMARY KEY, design TEXT NOT NULL REFERENCES design(key), stage TEXT NOT NULL, value TEXT NOT NULL,
    recorded TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, UNIQUE (design, value));
CREATE TABLE IF NOT EXISTS measurement (
    id INTEGER PRIMARY KEY, design TEXT NOT NULL REFERENCES design(key), stage TEXT NOT NULL, tool TEXT NOT NULL,
    value TEXT NOT NULL, recorded TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, UNIQUE (design, stage, tool, value));
"""
_ESTIMATE, _MEASUREMENT = TypeAdapter(Estimate), TypeAdapter(Measurement)


def design_key(network: str, *, strategy: str, part: str, clock_ns: float, tool: str, pipelining: int) -> str:
    """Return the content hash that names a design as one tool sees it, so that nothing is synthesised twice."""
    return content_hash(network, strategy, part, clock_ns, tool, pipelining)


class Ledger:
    """An append-only SQLite file in WAL mode; use it as a context manager.

    Raises:
        ReportError: the file is damaged, or was written by a newer version.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._connection = sqlite3.connect(path, timeout=60, isolation_level=None)
        try:
            self._open()
        except sqlite3.DatabaseError as problem:
            self._connection.close()
            raise ReportError(
                f"the ledger '{path}' is damaged ({problem}); move it away to start a new one"
            ) from problem
        except ReportError:
            self._connection.close()
            raise

    def _open(self) -> None:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "busy_timeout = 60000"):
            self._connection.execute(f"PRAGMA {pragma}")
        (state,) = self._connection.execute("PRAGMA quick_check").fetchone()
        if state != "ok":
            raise sqlite3.DatabaseError(state)
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            raise ReportError(f"the ledger '{self._path}' has version {version}, this hepprune knows up to {_VERSION}")
        if version < _VERSION:
            with self._transaction():
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {_VERSION}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Take the write lock at once, so that two writers wait for each other instead of failing half-way."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def record(self, key: str, description: str, *, estimate: Estimate, measurement: Measurement) -> None:
        """Add a design with what was predicted for it (uncalibrated) and what was measured; all of it or nothing."""
        measured = _MEASUREMENT.dump_json(measurement).decode()
        predicted = _ESTIMATE.dump_json(estimate).decode()
        with self._transaction():
            add = self._connection.execute
            add("INSERT OR IGNORE INTO design (key, description) VALUES (?, ?)", (key, description))
            add(
                "INSERT OR IGNORE INTO estimate (design, stage, value) VALUES (?, ?, ?)",
                (key, estimate.stage, predicted),
            )
            add(
                "INSERT OR IGNORE INTO measurement (design, stage, tool, value) VALUES (?, ?, ?, ?)",
                (key, measurement.stage, measurement.tool, measured),
            )

    def measurement(self, key: str, *, stage: str) -> Measurement | None:
        """Return the last measurement of a design at a stage; None if it was never measured."""
        query = "SELECT value FROM measurement WHERE design = ? AND stage = ? ORDER BY id DESC LIMIT 1"
        row = self._connection.execute(query, (key, stage)).fetchone()
        return None if row is None else _MEASUREMENT.validate_json(row[0])

    def pairs(self, stage: str, *, strategy: str) -> list[tuple[Estimate, Measurement]]:
        """Return (estimate, measurement) of every design of a strategy measured at a stage, oldest first."""
        query = (
            "SELECT estimate.value, measurement.value FROM measurement JOIN estimate USING (design, stage) "
            "WHERE measurement.stage = ? ORDER BY measurement.id"
        )
        rows: list[Any] = self._connection.execute(query, (stage,)).fetchall()
        read = [
            (_ESTIMATE.validate_json(predicted), _MEASUREMENT.validate_json(measured)) for predicted, measured in rows
        ]
        return [(estimate, measurement) for estimate, measurement in read if estimate.strategy == strategy]
