"""The ledger: every design, estimate, measurement and failure in one SQLite file, safe with several writers at once."""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, get_args

from pydantic import TypeAdapter, ValidationError

from hepprune.errors import ReportError, explained
from hepprune.files import content_hash
from hepprune.hardware.resources import Estimate, Measurement
from hepprune.synthesis.failures import Failure


def _append_only(*tables: str) -> tuple[str, ...]:
    return tuple(
        f"""CREATE TRIGGER IF NOT EXISTS {table}_{verb.lower()} BEFORE {verb} ON {table}
            BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"""
        for table in tables
        for verb in ("UPDATE", "DELETE")
    )


# What each version added to the one before it; a ledger of any older version is brought up to the last when opened.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE IF NOT EXISTS design (
            key TEXT PRIMARY KEY, description TEXT NOT NULL, recorded TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)""",
        """CREATE TABLE IF NOT EXISTS estimate (
            id INTEGER PRIMARY KEY, design TEXT NOT NULL REFERENCES design(key), stage TEXT NOT NULL,
            value TEXT NOT NULL, recorded TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, UNIQUE (design, value))""",
        """CREATE TABLE IF NOT EXISTS measurement (
            id INTEGER PRIMARY KEY, design TEXT NOT NULL REFERENCES design(key), stage TEXT NOT NULL,
            tool TEXT NOT NULL, value TEXT NOT NULL, recorded TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
            UNIQUE (design, stage, tool, value))""",
        *_append_only("design", "estimate", "measurement"),
    ),
    (
        """CREATE TABLE IF NOT EXISTS failure (
            id INTEGER PRIMARY KEY, design TEXT NOT NULL REFERENCES design(key), kind TEXT NOT NULL,
            value TEXT NOT NULL, recorded TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, UNIQUE (design, value))""",
        *_append_only("failure"),
    ),
)
_BUSY_S, _VERSION = 60.0, len(MIGRATIONS)
# A design that was predicted or measured again, by a newer model or tool, counts once: with its last figures.
_PAIRS = """
    SELECT estimate.value, measurement.value FROM measurement JOIN estimate USING (design, stage)
    WHERE measurement.stage = ?
    AND measurement.id IN (SELECT id FROM (SELECT id, row_number() OVER last AS place FROM measurement
        WINDOW last AS (PARTITION BY design, stage ORDER BY recorded DESC, id DESC)) WHERE place = 1)
    AND estimate.id IN (SELECT id FROM (SELECT id, row_number() OVER last AS place FROM estimate
        WINDOW last AS (PARTITION BY design, stage ORDER BY recorded DESC, id DESC)) WHERE place = 1)
    ORDER BY measurement.id"""
# The tables of values below a design, each with its columns besides design, value and recorded.
_COLUMNS = {"estimate": ("stage",), "measurement": ("stage", "tool"), "failure": ("kind",)}
Fact = Estimate | Measurement | Failure
_VALUES: dict[str, TypeAdapter[Any]] = {kind.__name__.lower(): TypeAdapter(kind) for kind in get_args(Fact)}


@dataclass(frozen=True, kw_only=True)
class RecordedDesign:
    """A recorded design, and how many values of each kind the ledger has of it; times are UTC."""

    key: str
    description: str
    recorded: str
    estimates: int
    measurements: int
    failures: int


@dataclass(frozen=True)
class Record:
    """One value in the ledger: an estimate, a measurement or a failure of a design, and when it was recorded (UTC)."""

    design: str
    recorded: str
    value: Fact


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
            # all of it or nothing; another process may have just done so
            with self._transaction():
                (version,) = self._connection.execute("PRAGMA user_version").fetchone()
                for statements in MIGRATIONS[version:]:
                    for statement in statements:
                        self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {_VERSION}")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what SQLite and the file system say into one sentence."""
        book = f"the ledger '{self._path}'"
        with (
            # asked from the last one on; SQLite quotes damaged bytes as they are
            explained(
                ReportError, f"{book} is damaged or none; move it away first:", sqlite3.Error, UnicodeDecodeError
            ),
            explained(ReportError, f"{book} cannot be used:", sqlite3.OperationalError, OSError),
            explained(ReportError, f"{book} refuses this:", sqlite3.IntegrityError),
        ):
            yield

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
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

    def record(self, key: str, *values: Fact | None, description: str | None = None) -> None:
        """Add what was predicted of a design, uncalibrated, or measured, or why it was not; all of it or nothing.

        A `description` adds the design itself, which is left as it is where it is known already.
        """
        with self._transaction():
            if description is not None:
                self._add("design", key=key, description=description)
            for value in values:
                if value is not None:
                    self._add_value(key, value)

    def _add_value(self, key: str, value: Fact, **more: str) -> bool:
        table = type(value).__name__.lower()
        columns = {name: getattr(value, name) for name in _COLUMNS[table]}
        return self._add(table, design=key, **columns, value=_VALUES[table].dump_json(value).decode(), **more)

    def _add(self, table: str, **values: str) -> bool:
        places = ", ".join("?" * len(values))
        statement = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places}) ON CONFLICT DO NOTHING"  # noqa: S608
        return self._connection.execute(statement, tuple(values.values())).rowcount > 0

    def merge(self, other: Path) -> int:
        """Take over what another ledger, which stays as it is, holds and this one does not, and return how many values.

        Raises:
            ReportError: the other is missing, damaged or of a newer version; nothing is taken.
        """
        if not other.is_file():
            raise ReportError(f"there is no ledger '{other}' to merge")
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch) / "ledger.sqlite"
            _copy(other, copy)
            with Ledger(copy) as theirs:
                designs, records = theirs.designs(), list(theirs.records())
        with self._transaction():
            for design in designs:
                self._add("design", key=design.key, description=design.description, recorded=design.recorded)
            return sum(self._add_value(each.design, each.value, recorded=each.recorded) for each in records)

    def designs(self) -> list[RecordedDesign]:
        """Return every design, oldest first, with how many values there are of it."""
        counts = ", ".join(f"(SELECT count(*) FROM {table} WHERE design = key)" for table in _COLUMNS)  # noqa: S608
        query = f"SELECT key, description, recorded, {counts} FROM design ORDER BY recorded, rowid"  # noqa: S608
        with self._explained():
            rows = self._connection.execute(query).fetchall()
        names = ("key", "description", "recorded", *(f"{table}s" for table in _COLUMNS))
        return [RecordedDesign(**dict(zip(names, row, strict=True))) for row in rows]

    def records(self, key: str | None = None) -> Iterator[Record]:
        """Yield every value (of one design), kind by kind, oldest first."""
        for table in _VALUES:
            query = f"SELECT design, recorded, value FROM {table} WHERE design = ifnull(?, design) ORDER BY id"  # noqa: S608
            with self._explained():
                rows = self._connection.execute(query, (key,)).fetchall()
            for design, recorded, value in rows:
                yield Record(design, recorded, self._parsed(table, value))

    def design(self, beginning: str) -> RecordedDesign:
        """Return the one design whose key begins so.

        Raises:
            ReportError: there is none, or more than one.
        """
        found = [design for design in self.designs() if design.key.startswith(beginning)]
        if len(found) == 1:
            return found[0]
        state = f"{len(found)} designs whose keys begin" if found else "no design whose key begins"
        raise ReportError(f"the ledger '{self._path}' has {state} with '{beginning}'; `hepprune ledger list` shows all")

    def measurement(self, key: str, *, stage: str, tool: str | None = None) -> Measurement | None:
        """Return the last measurement of a design at a stage (by one tool); None if it was never measured."""
        query = (
            "SELECT value FROM measurement WHERE design = ? AND stage = ? AND tool = ifnull(?, tool) "
            "ORDER BY recorded DESC, id DESC LIMIT 1"
        )
        with self._explained():
            row = self._connection.execute(query, (key, stage, tool)).fetchone()
        return None if row is None else self._parsed("measurement", row[0])

    def pairs(self, stage: str, *, strategy: str | None = None) -> list[tuple[Estimate, Measurement]]:
        """Return (estimate, measurement) of every design (of a strategy) measured at a stage, oldest first."""
        with self._explained():
            rows = self._connection.execute(_PAIRS, (stage,)).fetchall()
        pairs = [(self._parsed("estimate", before), self._parsed("measurement", after)) for before, after in rows]
        return [pair for pair in pairs if strategy in {None, pair[0].strategy}]

    def _parsed(self, table: str, value: str) -> Any:
        sentence = f"the ledger '{self._path}' holds no {table.capitalize()} in '{value[:60]}'"
        with explained(ReportError, sentence, ValidationError):
            return _VALUES[table].validate_json(value)


def existing(path: Path) -> Ledger:
    """Return a ledger that is there already.

    Raises:
        ReportError: there is none, or it cannot be opened.
    """
    if not path.is_file():
        raise ReportError(f"there is no ledger '{path}'")
    return Ledger(path)


def _copy(ledger: Path, copy: Path) -> None:
    with (
        explained(ReportError, f"the ledger '{ledger}' cannot be read:", sqlite3.Error),
        closing(sqlite3.connect(f"{ledger.resolve().as_uri()}?mode=ro", uri=True, timeout=_BUSY_S)) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
