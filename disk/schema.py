"""The ledger's tables, pragmas and bytes: what every connection to it is set to, and what is hashed how.

`journal` is append-only and hash-chained: every line that books or explains money, with the balance after it. `position`,
`outbox` and `facts` are what the worker is busy with. `seal` is one row that says what all of it must add up to, so that a
page that was lost, reverted or edited shows.

A line's hash is SHA-256 over the compact UTF-8 JSON array [seq, at, time, kind, subject, body, booked, balance, prev_hash];
the first line's prev_hash is 64 zeros. The seal's `working` is the sum, modulo 2**256, of SHA-256 over the JSON array
[table, key, content] of each row of the three working tables: it is kept up by differences, and no order matters. Bodies
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

from events import Mills
from failpoints import hit
from utils import new_york

APPLICATION_ID = 0x49574D35  # "IWM5"
GENESIS = "0" * 64
WORKING = {"position": ("one", "body"), "outbox": ("id", "body"), "facts": ("key", "value")}

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

TRADES_VIEW = """
CREATE VIEW trades AS                 -- every closed trade as it stands, in the order of closing; `real` as its owner told it
SELECT
    last.subject AS id,
    json_extract(last.body, '$.contract') AS contract,
    opened.time AS opened,
    last.time AS closed,
    json_extract(last.body, '$.entry') / 1000.0 AS entry_usd,
    json_extract(last.body, '$.exit') / 1000.0 AS exit_usd,
    json_extract(last.body, '$.pnl') / 1000.0 AS pnl_usd,
    last.balance / 1000.0 AS balance_usd,
    json_extract(last.body, '$.reason') AS reason,
    json_extract(last.body, '$.detail') AS detail,
    json_extract(last.body, '$.peak') / 1000.0 AS peak_usd,
    json_extract(last.body, '$.entry_quote.bid') / 1000.0 AS entry_bid_usd,
    json_extract(last.body, '$.entry_quote.ask') / 1000.0 AS entry_ask_usd,
    json_extract(last.body, '$.exit_quote.bid') / 1000.0 AS exit_bid_usd,
    json_extract(last.body, '$.exit_quote.ask') / 1000.0 AS exit_ask_usd,
    json_extract(last.body, '$.fees') / 1000.0 AS fees_usd,
    json_extract(last.body, '$.stale') AS stale,
    json_extract(told.body, '$.real_entry') / 1000.0 AS real_entry_usd,
    json_extract(told.body, '$.real_exit') / 1000.0 AS real_exit_usd,
    json_extract(told.body, '$.real_pnl') / 1000.0 AS real_pnl_usd,
    coalesce(json_extract(told.body, '$.skipped') IN (1, 'yes'), 0) AS skipped,
    json_extract(last.body, '$.entry') AS entry_mills,
    json_extract(last.body, '$.exit') AS exit_mills,
    json_extract(last.body, '$.pnl') AS pnl_mills,
    last.balance AS balance_mills
FROM journal AS first
JOIN journal AS opened ON opened.subject = first.subject AND opened.kind = 'opened'
JOIN journal AS last ON last.seq = (
    SELECT max(seq) FROM journal WHERE subject = first.subject AND kind IN ('closed', 'settled'))
JOIN journal AS told ON told.seq = coalesce(
    (SELECT max(seq) FROM journal WHERE subject IN ('took_it', 'sold_it', 'skipped_it') AND kind = 'noted' AND seq > last.seq
     AND json_extract(body, '$.trade') = first.subject AND json_type(body, '$.real_pnl') IS NOT NULL), last.seq)
WHERE first.kind = 'closed'
"""

UPGRADES: tuple[tuple[str, ...], ...] = (
    (
        """
CREATE TABLE journal (                -- append-only; each line carries the hash of the one before
    seq       INTEGER PRIMARY KEY,    -- 1, 2, 3 ... without a gap
    at        REAL NOT NULL,          -- Unix seconds
    time      TEXT NOT NULL,          -- the same moment in New York
    kind      TEXT NOT NULL CHECK (kind IN ('opened', 'closed', 'settled', 'voided', 'alert', 'noted')),
    subject   TEXT NOT NULL,          -- the trade's id, the alert's id, or what a note is about
    body      TEXT NOT NULL CHECK (json_valid(body)),  -- JSON; prices in mills (1 mill = $0.001)
    booked    INTEGER NOT NULL,       -- P&L booked by this line, in mills
    balance   INTEGER NOT NULL,       -- lifetime balance after this line, in mills
    prev_hash TEXT NOT NULL,
    hash      TEXT NOT NULL           -- SHA-256 of the JSON array of the columns before it
) STRICT""",
        "CREATE INDEX journal_by_subject ON journal (subject)",
        """
CREATE TRIGGER journal_is_never_changed BEFORE UPDATE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END""",
        """
CREATE TRIGGER journal_is_never_cut BEFORE DELETE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END""",
        """
CREATE TABLE position (               -- the open position: no row, or one
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    id        TEXT AS (json_extract(body, '$.id')),
    contract  TEXT AS (json_extract(body, '$.contract')),
    entry_usd REAL AS (json_extract(body, '$.entry') / 1000.0),
    peak_usd  REAL AS (json_extract(body, '$.peak') / 1000.0),
    mark_usd  REAL AS (json_extract(body, '$.last_mark') / 1000.0),
    body      TEXT NOT NULL CHECK (json_valid(body))
) STRICT""",
        """
CREATE TABLE outbox (                 -- one row per alert; settled rows are kept for 30 days
    id              TEXT NOT NULL PRIMARY KEY,
    kind            TEXT AS (json_extract(body, '$.alert.kind')),
    outcome         TEXT AS (json_extract(body, '$.outcome')),
    attempts        INTEGER AS (json_extract(body, '$.attempts')),
    created_at      REAL AS (json_extract(body, '$.alert.created_at')),
    settled_at      REAL AS (json_extract(body, '$.settled_at')),
    title           TEXT AS (json_extract(body, '$.alert.title')),
    text            TEXT AS (json_extract(body, '$.alert.text')),
    trade_id        TEXT AS (json_extract(body, '$.alert.trade_id')),
    receipt         TEXT AS (json_extract(body, '$.receipt')),
    acknowledged_at REAL AS (json_extract(body, '$.acknowledged_at')),
    acknowledged_by TEXT AS (json_extract(body, '$.acknowledged_by')),
    body            TEXT NOT NULL CHECK (json_valid(body))
) STRICT""",
        "CREATE TABLE facts (key TEXT NOT NULL PRIMARY KEY, value ANY) STRICT",
        """
CREATE TABLE seal (                   -- what everything must add up to
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    lines   INTEGER NOT NULL,         -- the journal's last seq
    head    TEXT NOT NULL,            -- and its hash
    working TEXT NOT NULL             -- sum of the hashes of all rows of position, outbox and facts
) STRICT""",
        f"INSERT INTO seal VALUES (1, 0, '{GENESIS}', '{GENESIS}')",  # noqa: S608
        """
CREATE VIEW trades AS                 -- every closed trade as it stands, in the order of closing
SELECT
    last.subject AS id,
    json_extract(last.body, '$.contract') AS contract,
    opened.time AS opened,
    last.time AS closed,
    json_extract(last.body, '$.entry') / 1000.0 AS entry_usd,
    json_extract(last.body, '$.exit') / 1000.0 AS exit_usd,
    json_extract(last.body, '$.pnl') / 1000.0 AS pnl_usd,
    last.balance / 1000.0 AS balance_usd,
    json_extract(last.body, '$.reason') AS reason,
    json_extract(last.body, '$.detail') AS detail,
    json_extract(last.body, '$.peak') / 1000.0 AS peak_usd,
    json_extract(last.body, '$.entry_quote.bid') / 1000.0 AS entry_bid_usd,
    json_extract(last.body, '$.entry_quote.ask') / 1000.0 AS entry_ask_usd,
    json_extract(last.body, '$.exit_quote.bid') / 1000.0 AS exit_bid_usd,
    json_extract(last.body, '$.exit_quote.ask') / 1000.0 AS exit_ask_usd,
    json_extract(last.body, '$.fees') / 1000.0 AS fees_usd,
    json_extract(last.body, '$.stale') AS stale,
    json_extract(last.body, '$.real_pnl') / 1000.0 AS real_pnl_usd,
    json_extract(last.body, '$.entry') AS entry_mills,
    json_extract(last.body, '$.exit') AS exit_mills,
    json_extract(last.body, '$.pnl') AS pnl_mills,
    last.balance AS balance_mills
FROM journal AS first
JOIN journal AS opened ON opened.subject = first.subject AND opened.kind = 'opened'
JOIN journal AS last ON last.seq = (
    SELECT max(seq) FROM journal WHERE subject = first.subject AND kind IN ('closed', 'settled'))
WHERE first.kind = 'closed'
ORDER BY first.seq""",
        """
CREATE VIEW lifetime AS
SELECT
    count(*) AS trades,
    coalesce(sum(pnl_mills > 0), 0) AS wins,
    coalesce(sum(pnl_mills <= 0), 0) AS losses,
    coalesce(sum(pnl_mills IS NULL), 0) AS unresolved,
    round(100.0 * sum(pnl_mills > 0) / count(pnl_mills), 1) AS win_rate_percent,
    coalesce(sum(pnl_mills), 0) / 1000.0 AS balance_usd,
    max(pnl_mills) / 1000.0 AS best_usd,
    min(pnl_mills) / 1000.0 AS worst_usd
FROM trades""",
        f"PRAGMA application_id = {APPLICATION_ID}",
    ),
    (
        "DROP VIEW trades",
        f"{TRADES_VIEW}ORDER BY first.seq",
    ),
    (
        "DROP VIEW trades",
        f"""{TRADES_VIEW}AND NOT EXISTS (SELECT 1 FROM journal WHERE subject = first.subject AND kind = 'voided')
ORDER BY first.seq""",  # noqa: S608
    ),
)


class Refused(ValueError):
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
    """Set the pragmas; Refused if SQLite did not take those that durability rests on."""
    for pragma in PRAGMAS:
        connection.execute(pragma).fetchall()
    mode, synchronous = value_of(connection, "PRAGMA journal_mode"), value_of(connection, "PRAGMA synchronous")
    if (mode, synchronous) != ("truncate", 3):
        raise Refused(f"SQLite would not be made durable: journal_mode {mode}, synchronous {synchronous}")


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
    """Compact JSON. Refused for what JSON cannot hold exactly: NaN, infinities, broken text."""
    _refuse_non_finite(value)
    try:
        return msgspec.json.encode(value).decode()
    except (UnicodeError, OverflowError, TypeError) as error:
        raise Refused(f"cannot be stored: {error}") from None


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
            raise Refused("a number that is not finite cannot be stored")
        case Struct():
            _refuse_non_finite(structs.astuple(value))
        case dict():
            _refuse_non_finite(tuple(value.values()))
        case tuple() | list():
            for item in value:
                _refuse_non_finite(item)


def value_of(connection: Connection, sql: str) -> Any:
    return connection.execute(sql).fetchone()[0]
