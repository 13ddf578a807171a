"""The ledger: every design, estimate and measurement in one SQLite file, safe when several runs write at once."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from pydantic import TypeAdapter, ValidationError

from hepprune.errors import ReportError
from hepprune.files import content_hash
from hepprune.hardware.resources import Estimate, Measurement

T = TypeVar("T")

_VERSION = 1
_BUSY_S = 60.0
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS design (
        key TEXT PRIMARY KEY, description TEXT NOT NULL, recorded TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)""",
    """CREATE TABLE IF NOT EXISTS estimate (
        id INTEGER PRIMARY KEY, design TEXT NOT NULL REFERENCES design(key), stage TEXT NOT NULL, value TEXT NOT NULL,
        recorded TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, UNIQUE (design, value))""",
    """CREATE TABLE IF NOT EXISTS measurement (
        id INTEGER PRIMARY KEY, design TEXT NOT NULL REFERENCES design(key), stage TEXT NOT NULL, tool TEXT NOT NULL,
        value TEXT NOT NULL, recorded TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, UNIQUE (design, stage, tool, value))""",
    *(
        f"""CREATE TRIGGER IF NOT EXISTS {table}_{verb.lower()} BEFORE {verb} ON {table}
            BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"""
        for table in ("design", "estimate", "measurement")
        for verb in ("UPDATE", "DELETE")
    ),
    f"PRAGMA user_version = {_VERSION}",
)
# A design that was predicted or measured again, by a newer model or tool, counts once: with its last figures.
_PAIRS = """
    SELECT estimate.value, measurement.value FROM measurement JOIN estimate USING (design, stage)
    WHERE measurement.stage = ?
    AND measurement.id IN (SELECT max(id) FROM measurement GROUP BY design, stage)
    AND estimate.id IN (SELECT max(id) FROM estimate GROUP BY design, stage)
    ORDER BY measurement.id"""
_ESTIMATE, _MEASUREMENT = TypeAdapter(Estimate), TypeAdapter(Measurement)


def design_key(network: str, *, strategy: str, part: str, clock_ns: float, tool: str, pipelining: int) -> str:
    """Return the content hash that names a design as one tool sees it, so that nothing is synthesised twice.

    `network` is its identity, `tool` the name and version, `pipelining` the adder levels in one clock cycle.
    """
    return content_hash(network, strategy, part, clock_ns, tool, pipelining)


class Ledger:
    """An append-only SQLite file in WAL mode; use it as a context manager.

    Raises:
        ReportError: the file is damaged, cannot be opened, or was written by a newer version; it is left as it is.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
        try:
            self._open()
        except ReportError:
            self._connection.close()
            raise

    def _open(self) -> None:
        with self._explained():
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                self._connection.execute(f"PRAGMA {pragma}")
            (state,) = self._connection.execute("PRAGMA integrity_check(1)").fetchone()
            if state != "ok":
                raise sqlite3.DatabaseError(" ".join(state.split()))
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            raise ReportError(f"the ledger '{self._path}' has version {version}, this hepprune knows up to {_VERSION}")
        if version < _VERSION:
            with self._transaction():
                for statement in _SCHEMA:
                    self._connection.execute(statement)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what SQLite and the file system say into one sentence."""
        try:
            yield
        except sqlite3.IntegrityError as problem:
            raise ReportError(f"the ledger '{self._path}' refuses this: {problem}") from problem
        except (sqlite3.OperationalError, OSError) as problem:
            raise ReportError(f"the ledger '{self._path}' cannot be used: {problem}") from problem
        except sqlite3.DatabaseError as problem:
            raise ReportError(
                f"the ledger '{self._path}' is damaged ({problem}); move it away to start a new one"
            ) from problem

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Take the write lock at once, so that two writers wait for each other instead of failing half-way."""
        with self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def record(self, key: str, description: str, *, estimate: Estimate, measurement: Measurement) -> None:
        """Add a design with what was predicted for it (uncalibrated) and what was measured; all of it or nothing."""
        with self._transaction():
            self._add("design", key=key, description=description)
            self._add_estimate(key, estimate)
            self._add_measurement(key, measurement)

    def record_design(self, key: str, description: str) -> None:
        """Add a design; one that is known already stays as it is."""
        with self._transaction():
            self._add("design", key=key, description=description)

    def record_estimate(self, key: str, estimate: Estimate) -> None:
        """Add what was predicted, uncalibrated, for a recorded design."""
        with self._transaction():
            self._add_estimate(key, estimate)

    def record_measurement(self, key: str, measurement: Measurement) -> None:
        """Add what was measured of a recorded design."""
        with self._transaction():
            self._add_measurement(key, measurement)

    def _add_estimate(self, key: str, estimate: Estimate) -> None:
        self._add("estimate", design=key, stage=estimate.stage, value=_ESTIMATE.dump_json(estimate).decode())

    def _add_measurement(self, key: str, measured: Measurement) -> None:
        value = _MEASUREMENT.dump_json(measured).decode()
        self._add("measurement", design=key, stage=measured.stage, tool=measured.tool, value=value)

    def _add(self, table: str, **values: str) -> None:
        places = ", ".join("?" * len(values))
        statement = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places}) ON CONFLICT DO NOTHING"  # noqa: S608
        self._connection.execute(statement, tuple(values.values()))

    def measurement(self, key: str, *, stage: str, tool: str | None = None) -> Measurement | None:
        """Return the last measurement of a design at a stage (by one tool); None if it was never measured."""
        query = "SELECT value FROM measurement WHERE design = ? AND stage = ? AND tool = ifnull(?, tool)"
        with self._explained():
            row = self._connection.execute(f"{query} ORDER BY id DESC LIMIT 1", (key, stage, tool)).fetchone()
        return None if row is None else self._parsed(_MEASUREMENT, row[0])

    def pairs(self, stage: str, *, strategy: str | None = None) -> list[tuple[Estimate, Measurement]]:
        """Return (estimate, measurement) of every design (of a strategy) measured at a stage, oldest first."""
        with self._explained():
            rows = self._connection.execute(_PAIRS, (stage,)).fetchall()
        pairs = [(self._parsed(_ESTIMATE, before), self._parsed(_MEASUREMENT, after)) for before, after in rows]
        return [pair for pair in pairs if strategy in {None, pair[0].strategy}]

    def _parsed(self, adapter: TypeAdapter[T], value: str) -> T:
        try:
            return adapter.validate_json(value)
        except ValidationError as problem:
            raise ReportError(f"the ledger '{self._path}' holds no {problem.title} in '{value[:60]}'") from problem
