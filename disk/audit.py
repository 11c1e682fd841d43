"""The ledger's audit: does everything in it still hold together? Reads, never writes; over any connection to it.

It ends where SQLite itself finds damage, for what follows would only repeat it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from functools import cache

import msgspec
from msgspec import Struct

from disk import orders
from disk.book import fixed_parts, lines, wrong_sum
from disk.deals import Deals
from disk.schema import APPLICATION_ID, GENESIS, WORKING, Connection, Line, row_digest, upgrade, value_of
from disk.tables import KINDS
from events import Alert, Outgoing, Position, Trade
from pnl_tracker import fold


class Finding(Struct, frozen=True):
    """One check of the audit and what it found wrong, in plain sentences."""

    check: str
    problems: tuple[str, ...]


def audit(connection: Connection) -> list[Finding]:
    """Every check of the ledger, each with its problems. Raises the connection's error where it cannot even be read."""
    found = [text for (text,) in connection.execute("PRAGMA integrity_check(5)").fetchall() if text != "ok"]
    findings = [
        Finding("SQLite's own integrity check", tuple(found)),
        Finding("the schema", tuple(_schema_problems(connection))),
    ]
    if found or findings[-1].problems:
        return findings
    story = _Story(lines(connection))
    return [
        *findings,
        Finding("the hash chain", tuple(_chain_problems(lines(connection)))),
        Finding("the balance: every line, and the sum of all trades", tuple(_sum_problems(lines(connection), story))),
        Finding("every trade opened once, closed once and never changed", tuple(story.problems)),
        Finding("the open position", tuple(_position_problems(connection, story))),
        Finding("orders, executions and the trades made of them", tuple(_order_problems(connection, story))),
        Finding("the alerts and their trades", tuple(_alert_problems(connection, story))),
        Finding("the seal over everything", tuple(_seal_problems(connection))),
    ]


def problems_in(findings: Iterable[Finding]) -> list[str]:
    return [problem for finding in findings for problem in finding.problems]


@cache
def _expected_schema() -> dict[str, str]:
    with sqlite3.connect(":memory:", isolation_level=None) as connection:
        upgrade(connection)
        return _schema(connection)


def _schema(connection: Connection) -> dict[str, str]:
    return dict(
        connection.execute("SELECT type || ' ' || name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite%'").fetchall()
    )


def _schema_problems(connection: Connection) -> list[str]:
    if value_of(connection, "PRAGMA application_id") != APPLICATION_ID:
        return ["this is not one of our ledgers"]
    actual, expected = _schema(connection), _expected_schema()
    changed = [f"{name} is missing or was changed" for name in expected if actual.get(name) != expected[name]]
    return changed + [f"{name} is not ours" for name in actual if name.startswith("trigger") and name not in expected]


def _chain_problems(journal: Iterable[Line]) -> list[str]:
    previous = GENESIS
    for number, line in enumerate(journal, start=1):
        if line.seq != number:
            return [f"line {number} is missing"]
        if line.prev_hash != previous or line.hash != line.digest():
            return [f"line {number} ({line.kind} {line.subject}, {line.time}) is not as it was written"]
        previous = line.hash
    return []


def _sum_problems(journal: Iterable[Line], story: _Story) -> list[str]:
    """Each line's balance is that of its record, a strategy's in a mode: balances are never added up."""
    balances: dict[orders.Record, int] = {orders.VWAP: 0}
    for line in journal:
        record = story.deals.record_of(line)
        balances[record] = balances.get(record, 0) + line.booked
        if line.balance != balances[record]:
            return [
                f"line {line.seq} says a balance of {line.balance} mills where the lines before it make {balances[record]}"
            ]
    totals = {orders.VWAP: fold(story.trades.values()).balance} | story.deals.totals()
    problems = []
    for record, balance in balances.items():
        total, whose = totals.get(record, 0), "" if record == orders.VWAP else f" of {' '.join(record)}"
        if balance != total:
            problems.append(f"the balance{whose} is {balance} mills where the trades make {total}")
    return problems


class _Story:
    """The journal read as a story: which position was open when, and what became of it."""

    def __init__(self, journal: Iterable[Line]) -> None:
        self.opened: dict[str, Position] = {}
        self.trades: dict[str, Trade] = {}
        self.open: Position | None = None
        self.problems: list[str] = []
        self.deals = Deals()
        for line in journal:
            try:
                problem = self._read(line)
            except (msgspec.DecodeError, KeyError) as error:
                problem = f"cannot be read: {error}"
            if problem:
                self.problems.append(f"line {line.seq} ({line.kind} {line.subject}): {problem}")

    def _read(self, line: Line) -> str | None:
        match line.kind:
            case "opened":
                return self._opened(line)
            case kind if kind in KINDS:
                return self.deals.read(line)
            case "closed" | "settled":
                return self._closed(line)
            case "voided" if line.subject in self.trades:
                back = -(self.trades.pop(line.subject).pnl or 0)
                return None if line.booked == back else f"books {line.booked} mills back where the trade says {back}"
            case "voided":
                if self.open is None or self.open.id != line.subject:
                    return "was not open"
                self.open = None
            case "alert":
                msgspec.json.decode(line.body, type=Outgoing)
        return None if line.booked == 0 else "books a P&L, which it must not"

    def _opened(self, line: Line) -> str | None:
        position = msgspec.json.decode(line.body, type=Position)
        problem = "opened while another was open" if self.open else None
        if line.subject in self.opened or position.id != line.subject:
            problem = "opened twice, or under another name"
        self.open = self.opened[line.subject] = position
        return problem

    def _closed(self, line: Line) -> str | None:
        trade = msgspec.json.decode(line.body, type=Trade)
        before = self.trades.get(line.subject)
        self.trades[line.subject] = trade
        start = self.opened.get(line.subject)
        if start is None or trade.id != line.subject or fixed_parts(start) != fixed_parts(trade):
            return "is not as it was opened"
        if line.kind == "closed":
            if self.open is None or self.open.id != line.subject:
                return "was not open"
            self.open = None
        elif before is None or before.pnl is not None:
            return "was not unresolved"
        if line.booked != (trade.pnl or 0):
            return f"books {line.booked} mills where the trade says {trade.pnl}"
        return wrong_sum(trade)


def _position_problems(connection: Connection, story: _Story) -> list[str]:
    rows = connection.execute("SELECT body FROM position").fetchall()
    if len(rows) > 1:
        return [f"{len(rows)} positions are open at once"]
    if not rows:
        return [f"position {story.open.id} was opened and never closed, and its row is gone"] if story.open else []
    position = msgspec.json.decode(rows[0][0], type=Position)
    if story.open is None or story.open.id != position.id:
        return [f"position {position.id} is open, and the journal does not say so"]
    if fixed_parts(position) != fixed_parts(story.open):
        return [f"position {position.id} is not as it was opened"]
    if any(alert.kind == "BUY" and alert.trade_id == position.id for _, alert in _alerts(connection)):
        return []
    return [f"position {position.id} is open, and its BUY is not in the outbox"]


def _order_problems(connection: Connection, story: _Story) -> list[str]:
    """What is open by the journal is in the tables as it was begun, and the other way round."""
    rows = dict(connection.execute("SELECT id, body FROM positions").fetchall())
    kept = dict(connection.execute("SELECT ref, body FROM orders").fetchall())
    return story.deals.problems_of(rows, kept)


def _alerts(connection: Connection) -> Iterator[tuple[str, Alert]]:
    """Row by row: a month of alerts at once would be the most that the worker ever holds."""
    for key, body in connection.execute("SELECT id, body FROM outbox"):
        yield key, msgspec.json.decode(body, type=Outgoing).alert


def _alert_problems(connection: Connection, story: _Story) -> list[str]:
    problems = []
    for key, alert in _alerts(connection):
        if alert.id != key:
            problems.append(f"alert {key} calls itself {alert.id}")
        if alert.trade_id is not None and alert.trade_id not in story.opened and alert.trade_id not in story.deals.begun:
            problems.append(f"alert {key} speaks of trade {alert.trade_id}, which was never opened")
    return problems


def _seal_problems(connection: Connection) -> list[str]:
    ends_at = connection.execute("SELECT seq, hash FROM journal ORDER BY seq DESC LIMIT 1").fetchone() or (0, GENESIS)
    sealed = connection.execute("SELECT lines, head, working FROM seal").fetchall()
    if len(sealed) != 1:
        return ["the seal is missing"]
    problems = []
    if sealed[0][:2] != ends_at:
        problems.append(f"the journal ends at line {ends_at[0]}; it was sealed at line {sealed[0][0]}")
    total = 0
    for table, (key_column, column) in WORKING.items():
        for key, content in connection.execute(f"SELECT {key_column}, {column} FROM {table}"):  # noqa: S608
            total += row_digest(table, key, content)
    if f"{total % (1 << 256):064x}" != sealed[0][2]:
        problems.append("the working tables are not as the last commit left them")
    return problems
