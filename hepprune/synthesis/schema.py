"""The tables of the ledger, and how a file of an older version gets those of a newer one."""


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
