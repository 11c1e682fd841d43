"""What a commit writes into the ledger, and what a new life reads from it, over any connection to it.

One transaction holds all of a commit or none of it. A write that would break an invariant of the ledger is refused
(`Contradiction`), so that nothing this module wrote can fail the audit: one position at a time, with its BUY; a trade opened once,
closed once and never changed, its P&L made of its prices; no alert about a trade that never was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from msgspec import structs

from disk import orders
from disk.schema import WORKING, Connection, Contradiction, Line, Savepoint, Transaction, moment, row_digest, to_json
from events import (
    AlertChanged,
    AnyWrite,
    FactSet,
    Mills,
    Noted,
    Outgoing,
    Part,
    Position,
    PositionClosed,
    PositionMarked,
    PositionOpened,
    PositionVoided,
    Remembered,
    Trade,
    TradeVoided,
)
from pnl_tracker import profit

DESK = "desk"
DAY_S = 86_400
REMEMBERED_ALERTS_S = 2 * DAY_S
REMEMBERED_NOTES = 300
FIXED_PARTS = ("id", "contract", "strike", "expiration", "opened_at", "entry", "entry_quote", "signal")


def write(connection: Connection, parts: Sequence[Part]) -> dict[str, str]:
    """All parts in one transaction, or none: Contradiction, or the connection's own error.

    A strategy's part that contradicts the ledger is left out alone; the answer says why, by owner. The desk's own raises it.
    """
    refused: dict[str, str] = {}
    with Transaction(connection):
        book = _Book(connection)
        for part in parts:
            try:
                with Savepoint(connection), book.kept():
                    book.enter_all(part.writes, part.owner)
            except Contradiction as why:
                if part.owner == DESK:
                    raise
                refused[part.owner] = str(why)
        book.seal()
    return refused


def prune(connection: Connection, before: float) -> int:
    """Forget alerts settled before this Unix time, and orders of trades that ended before; what they told stays in the journal."""
    with Transaction(connection):
        book = _Book(connection)
        old = connection.execute("SELECT id FROM outbox WHERE settled_at < ?", (before,)).fetchall()
        for (key,) in old:
            book.put("outbox", key, None)
        for ref in orders.old_orders(connection, before):
            book.put("orders", ref, None)
        book.seal()
    return len(old)


def mark_restored(connection: Connection, now: float, snapshot: str, kept_copy: str | None) -> None:
    """Tell the journal of a restoring, and every alert that still waits that it may have been said since the snapshot."""
    waiting = [outgoing for outgoing in load(connection, now).outbox if outgoing.settled_at is None]
    said = [structs.replace(out, attempts=max(out.attempts, 1), maybe_seen=True, outcome="unknown") for out in waiting]
    note = Noted(now, "restored", {"snapshot": snapshot, "kept_copy": kept_copy})
    write(connection, [Part(DESK, (note, *map(AlertChanged, said)))])


class _Book:
    """The ledger inside one transaction: appends lines, changes working rows, and keeps the seal of both."""

    def __init__(self, connection: Connection) -> None:
        self.sql = connection
        self._lines, self._head, working = connection.execute("SELECT lines, head, working FROM seal").fetchone()
        self._working = int(working, 16)
        self._balances: dict[orders.Record, Mills] = {}

    def enter(self, item: AnyWrite, owner: str) -> None:
        if orders.enter(self, item, owner):
            return
        match item:
            case PositionOpened(position):
                self._open(position)
            case PositionMarked(position):
                self._same_as_open(position)
                self.put("position", 1, to_json(position))
            case PositionClosed(trade):
                self._close(trade)
            case PositionVoided(position, voided_at, reason):
                self._same_as_open(position)
                self.line(voided_at, "voided", position.id, to_json({"reason": reason, "position": position}))
                self.put("position", 1, None)
            case TradeVoided(trade_id, voided_at, reason):
                self._void(trade_id, voided_at, reason)
            case AlertChanged(outgoing):
                self._change_alert(outgoing)
            case FactSet(key, value):
                to_json(value)
                self.put("facts", key, value)
            case Noted(at, kind, body):
                self.line(at, "noted", kind, to_json(body))

    def enter_all(self, writes: Sequence[AnyWrite], owner: str) -> None:
        """One part; Contradiction where it does not hold together as a whole."""
        for item in writes:
            self.enter(item, owner)
        alerts = [item.outgoing.alert for item in writes if isinstance(item, AlertChanged)]
        for alert in alerts:
            if alert.trade_id is not None and not self.lines_of(alert.trade_id, "opened", "begun"):
                raise Contradiction(f"alert {alert.id} speaks of trade {alert.trade_id}, which was never opened")
        for item in writes:
            if isinstance(item, PositionOpened) and not any(
                alert.kind == "BUY" and alert.trade_id == item.position.id for alert in alerts
            ):
                raise Contradiction(f"position {item.position.id} was opened without its BUY")

    @contextmanager
    def kept(self) -> Iterator[None]:
        """What was added up so far stands if what follows is refused."""
        before = self._lines, self._head, self._working, dict(self._balances)
        try:
            yield
        except Contradiction:
            self._lines, self._head, self._working, self._balances = before
            raise

    def seal(self) -> None:
        """Write down what everything adds up to."""
        self.sql.execute(
            "UPDATE seal SET lines = ?, head = ?, working = ?", (self._lines, self._head, f"{self._working:064x}")
        )

    def put(self, table: str, key: int | str, content: float | str | None) -> None:
        """Insert, replace or (None, but for facts) delete one working row."""
        key_column, column = WORKING[table]
        found = self.sql.execute(f"SELECT {column} FROM {table} WHERE {key_column} = ?", (key,)).fetchone()  # noqa: S608
        if found:
            self._working -= row_digest(table, key, found[0])
        if content is None and table != "facts":
            self.sql.execute(f"DELETE FROM {table} WHERE {key_column} = ?", (key,))  # noqa: S608
        else:
            self.sql.execute(
                f"INSERT INTO {table} ({key_column}, {column}) VALUES (?1, ?2)"  # noqa: S608
                f" ON CONFLICT ({key_column}) DO UPDATE SET {column} = ?2",
                (key, content),
            )
            self._working += row_digest(table, key, content)
        self._working %= 1 << 256

    def line(
        self, at: float, kind: str, subject: str, body: str, booked: Mills = 0, record: orders.Record = orders.VWAP
    ) -> None:
        """Append a line. Its balance is that of its record, a strategy's in a mode: balances are never added up."""
        if record not in self._balances:
            self._balances[record] = orders.balance_of(self.sql, record)
        self._balances[record] += booked
        balance = self._balances[record]
        line = Line(self._lines + 1, float(at), moment(at), kind, subject, body, booked, balance, self._head, "")
        line = structs.replace(line, hash=line.digest())
        self.sql.execute("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", structs.astuple(line))
        self._lines, self._head = line.seq, line.hash

    def _open(self, position: Position) -> None:
        if self._position() is not None:
            raise Contradiction(f"position {position.id} cannot be opened: another one is open")
        if self.lines_of(position.id, "opened"):
            raise Contradiction(f"position {position.id} was opened before")
        self.line(position.opened_at, "opened", position.id, to_json(position))
        self.put("position", 1, to_json(position))

    def _close(self, trade: Trade) -> None:
        _refuse_wrong_sum(trade)
        earlier = self.lines_of(trade.id, "closed", "settled")
        if earlier:
            if self.lines_of(trade.id, "voided"):
                raise Contradiction(f"trade {trade.id} is voided: it is never settled")
            before = msgspec.json.decode(earlier[-1], type=Trade)
            if before.pnl is not None or trade.pnl is None or fixed_parts(before) != fixed_parts(trade):
                raise Contradiction(f"trade {trade.id} is closed: it is never changed")
            self.line(trade.closed_at, "settled", trade.id, to_json(trade), trade.pnl)
            return
        self._same_as_open(trade)
        self.line(trade.closed_at, "closed", trade.id, to_json(trade), trade.pnl or 0)
        self.put("position", 1, None)

    def _void(self, trade_id: str, voided_at: float, reason: str) -> None:
        booked = self.lines_of(trade_id, "closed", "settled")
        if not booked or self.lines_of(trade_id, "voided"):
            raise Contradiction(f"trade {trade_id} is not closed, or was voided before")
        trade = msgspec.json.decode(booked[-1], type=Trade)
        self.line(voided_at, "voided", trade_id, to_json({"reason": reason, "trade": trade}), -(trade.pnl or 0))

    def _change_alert(self, outgoing: Outgoing) -> None:
        alert = outgoing.alert
        found = self.sql.execute("SELECT body FROM outbox WHERE id = ?", (alert.id,)).fetchone()
        before = msgspec.json.decode(found[0], type=Outgoing) if found else Outgoing(alert)
        self.put("outbox", alert.id, to_json(outgoing))
        if alert.trade_id is not None and _fate(outgoing) != _fate(before):
            moments = (alert.created_at, outgoing.settled_at, outgoing.acknowledged_at)
            at, record = max(at for at in moments if at is not None), orders.record_of(self, alert.trade_id)
            self.line(at, "alert", alert.id, to_json(outgoing), record=record)

    def _same_as_open(self, other: Position | Trade) -> None:
        position = self._position()
        if position is None or position.id != other.id:
            raise Contradiction(f"position {other.id} is not open")
        if fixed_parts(position) != fixed_parts(other):
            raise Contradiction(f"position {other.id} is not as it was opened")

    def _position(self) -> Position | None:
        found = self.sql.execute("SELECT body FROM position").fetchone()
        return msgspec.json.decode(found[0], type=Position) if found else None

    def lines_of(self, subject: str, *kinds: str) -> list[str]:
        found = self.sql.execute("SELECT kind, body FROM journal WHERE subject = ? ORDER BY seq", (subject,)).fetchall()
        return [body for kind, body in found if kind in kinds]


def _refuse_wrong_sum(trade: Trade) -> None:
    problem = wrong_sum(trade)
    if problem:
        raise Contradiction(problem)


def wrong_sum(trade: Trade) -> str | None:
    """What is wrong with a trade's own arithmetic, if anything."""
    expected = None if trade.exit is None else profit(trade.entry, trade.exit, trade.fees)
    if trade.pnl != expected:
        return f"trade {trade.id} books {trade.pnl} mills where its prices make {expected}"
    return None


def fixed_parts(item: Position | Trade) -> tuple[Any, ...]:
    return tuple(getattr(item, name) for name in FIXED_PARTS)


def _fate(outgoing: Outgoing) -> tuple[Any, ...]:
    """The part of a delivery that is worth a line in the journal: how it ended, and who saw it."""
    ended = outgoing.outcome if outgoing.settled_at is not None else None
    return ended, outgoing.settled_at, outgoing.acknowledged_at, outgoing.fallback in ("delivered", "failed")


# --- reading -----------------------------------------------------------------------------------------------------------


def load(connection: Connection, now: float) -> Remembered:
    """Everything a new life needs: the alerts are those not settled and those of the last two days, the notes the last day's."""
    found = connection.execute("SELECT body FROM position").fetchone()
    trades: dict[str, Trade] = {}
    opened: dict[str, str] = {}
    for kind, subject, time, body in connection.execute(
        "SELECT kind, subject, time, body FROM journal WHERE kind IN ('opened', 'closed', 'settled', 'voided')"
        " OR (kind = 'noted' AND subject IN ('took_it', 'sold_it', 'skipped_it')) ORDER BY seq"
    ).fetchall():
        if kind == "opened":
            opened[subject] = time[:10]
        elif kind == "noted":
            _hear(trades, msgspec.json.decode(body))
        elif kind == "voided":
            trades.pop(subject, None)
        else:
            trades[subject] = msgspec.json.decode(body, type=Trade)
    rows = connection.execute(
        "SELECT body FROM outbox WHERE settled_at IS NULL OR created_at >= ? ORDER BY created_at, rowid",
        (now - REMEMBERED_ALERTS_S,),
    ).fetchall()
    noted = connection.execute(
        "SELECT at, subject, body FROM journal WHERE kind = 'noted' AND at >= ? ORDER BY seq DESC LIMIT ?",
        (now - DAY_S, REMEMBERED_NOTES),
    ).fetchall()
    return Remembered(
        position=msgspec.json.decode(found[0], type=Position) if found else None,
        trades=tuple(trades.values()),
        outbox=tuple(msgspec.json.decode(body, type=Outgoing) for (body,) in rows),
        facts=dict(connection.execute("SELECT key, value FROM facts ORDER BY key").fetchall()),
        trades_opened_on=dict(Counter(sorted(opened.values()))),
        notes=tuple(Noted(at, subject, msgspec.json.decode(body)) for at, subject, body in reversed(noted)),
        **orders.load(connection, now - DAY_S),
    )


def _hear(trades: dict[str, Trade], word: dict[str, Any]) -> None:
    """What the owner told of a closed trade: the last word of it stands. Of an open one, the closed trade has it already."""
    trade = trades.get(word.get("trade") or "")
    if trade is not None and "real_pnl" in word:
        side = {name: word[name] for name in ("real_entry", "real_exit", "real_pnl")}
        trades[trade.id] = structs.replace(trade, **side, skipped=word["skipped"] == "yes")


def holds_position(connection: Connection) -> bool:
    return connection.execute("SELECT 1 FROM position UNION ALL SELECT 1 FROM positions").fetchone() is not None


def lines(connection: Connection) -> Iterator[Line]:
    """The journal, line by line: all of it at once would be the most that the worker ever holds."""
    return (Line(*row) for row in connection.execute("SELECT * FROM journal ORDER BY seq"))


def head(connection: Connection) -> tuple[int, str]:
    """The journal's last seq and hash, as sealed."""
    found = connection.execute("SELECT lines, head FROM seal").fetchone()
    return int(found[0]), str(found[1])
