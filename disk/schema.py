"""The ledger's tables, pragmas and bytes: what every connection to it is set to, and what is hashed how.

`journal` is append-only and hash-chained: every line that books or explains money, with the balance after it. `position`, `positions`,
`orders`, `outbox` and `facts` are what the worker is busy with. `seal` is one row that says what all of it must add up to, so that a
page that was lost, reverted or edited shows.

A line's hash is SHA-256 over the compact UTF-8 JSON array [seq, at, time, kind, subject, body, booked, balance, prev_hash];
the first line's prev_hash is 64 zeros. The seal's `working` is the sum, modulo 2**256, of SHA-256 over the JSON array
[table, key, content] of each row of the working tables: it is kept up by differences, and no order matters. Bodies
are the JSON of the structs in events; NaN and infinities have none and are refused.

Everything here runs over stdlib's sqlite3 and over apsw alike: the power cuts of the tests go through these very statements.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, Protocol

import msgspec
from msgspec import Struct, structs

from disk.tables import APPLICATION_ID as APPLICATION_ID
from disk.tables import GENESIS as GENESIS
from disk.tables import UPGRADES as UPGRADES
from events import Mills
from failpoints import hit
from utils import new_york

WORKING = {
    "position": ("one", "body"),
    "outbox": ("id", "body"),
    "facts": ("key", "value"),
    "positions": ("id", "body"),
    "orders": ("ref", "body"),
}

PRAGMAS = (
    "PRAGMA busy_timeout = 2000",
    "PRAGMA trusted_schema = ON",  # SQLite 3.40 does not let json_extract into columns otherwise; we add no function to it
    "PRAGMA cell_size_check = ON",
    "PRAGMA mmap_size = 0",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA fullfsync = ON",
    "PRAGMA locking_mode = NORMAL",
    "PRAGMA journal_mode = TRUNCATE",
    "PRAGMA synchronous = EXTRA",
)


class Contradiction(ValueError):
    """A write that contradicts the ledger, or holds what cannot be stored. Nothing of its commit was written."""


class Cursor(Protocol):
    def __iter__(self) -> Iterator[Any]: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...


class Connection(Protocol):
    """What sqlite3.Connection (isolation_level None) and apsw.Connection have in common."""

    @property
    def in_transaction(self) -> bool: ...
    def execute(self, sql: str, parameters: tuple[Any, ...] = (), /) -> Cursor: ...


class Line(Struct, frozen=True):
    """One line of the journal."""

    seq: int
    at: float
    time: str
    kind: str
    subject: str
    body: str
    booked: Mills
    balance: Mills
    prev_hash: str
    hash: str

    def digest(self) -> str:
        return sha256(compact_json(structs.astuple(self)[:-1]).encode()).hexdigest()


# --- setting up --------------------------------------------------------------------------------------------------------


def configure(connection: Connection) -> None:
    """Set the pragmas; Contradiction if SQLite did not take those that durability rests on."""
    for pragma in PRAGMAS:
        connection.execute(pragma).fetchall()
    mode, synchronous = value_of(connection, "PRAGMA journal_mode"), value_of(connection, "PRAGMA synchronous")
    if (mode, synchronous) != ("truncate", 3):
        raise Contradiction(f"SQLite would not be made durable: journal_mode {mode}, synchronous {synchronous}")


def schema_version(connection: Connection) -> int:
    return int(value_of(connection, "PRAGMA user_version"))


def upgrade(connection: Connection) -> None:
    """Bring the schema to the newest version, from nothing if need be, in one transaction."""
    with Transaction(connection):
        for version in range(schema_version(connection), len(UPGRADES)):
            for statement in UPGRADES[version]:
                connection.execute(statement)
                hit("schema.statement")
            connection.execute(f"PRAGMA user_version = {version + 1}")


class Transaction:
    """BEGIN IMMEDIATE ... COMMIT; ROLLBACK if anything fails."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


class Savepoint:
    """What is done inside is undone alone if it fails."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("SAVEPOINT part")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._connection.in_transaction:
            if kind is not None:
                self._connection.execute("ROLLBACK TO part")
            self._connection.execute("RELEASE part")


# --- bytes -------------------------------------------------------------------------------------------------------------


def to_json(value: Any) -> str:
    """Compact JSON. Contradiction for what JSON cannot hold exactly: NaN, infinities, broken text."""
    _refuse_non_finite(value)
    try:
        return msgspec.json.encode(value).decode()
    except (UnicodeError, OverflowError, TypeError) as error:
        raise Contradiction(f"cannot be stored: {error}") from None


def row_digest(table: str, key: int | str, content: float | str | None) -> int:
    return int.from_bytes(sha256(compact_json((table, key, content)).encode()).digest(), "big")


def moment(at: float) -> str:
    """`2025-10-02T10:42:17.250-04:00`: a Unix time in New York."""
    return new_york(at).isoformat(timespec="milliseconds")


def compact_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _refuse_non_finite(value: Any) -> None:
    match value:
        case float() if not math.isfinite(value):
            raise Contradiction("a number that is not finite cannot be stored")
        case Struct():
            _refuse_non_finite(structs.astuple(value))
        case dict():
            _refuse_non_finite(tuple(value.values()))
        case tuple() | list():
            for item in value:
                _refuse_non_finite(item)


def value_of(connection: Connection, sql: str) -> Any:
    return connection.execute(sql).fetchone()[0]
