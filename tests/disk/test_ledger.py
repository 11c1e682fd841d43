"""The ledger as a worker, an owner and an auditor meet it: what it keeps, refuses and notices, and how it is repaired."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing as closing_resource
from pathlib import Path
from random import Random
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from disk import audit as ledger_audit
from disk import book as ledger_book
from disk import schema as ledger_schema
from disk.folder import DataFolder
from disk.ledger import FILE, Contradiction, Ledger, WrongThread, read
from events import (
    Alert,
    AlertChanged,
    FactSet,
    Noted,
    Outgoing,
    Position,
    PositionClosed,
    PositionMarked,
    PositionOpened,
    PositionVoided,
    Remembered,
    Trade,
)
from pnl_tracker import fold, profit, settle
from tests.kit.books import OPENED_AT, a_position, a_trade, an_alert, closing, commits, delivered, opening, whole

DAY = 86_400.0


@pytest.fixture
def ledger(tmp_path: Path):
    opened = Ledger.open(tmp_path, OPENED_AT)
    yield opened
    opened.close()


def in_memory() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    ledger_schema.upgrade(connection)
    return connection


def reopened(folder: Path, now: float = OPENED_AT) -> Remembered:
    again = Ledger.open(folder, now)
    try:
        return again.remembered()
    finally:
        again.close()


# --- what it keeps -----------------------------------------------------------------------------------------------------


def strategy_of(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type of events: a field that is added later is tried as well."""
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    if get_origin(kind) is dict:
        return st.dictionaries(*(strategy_of(part) for part in get_args(kind)), max_size=4)
    if get_args(kind):
        return st.one_of(*(strategy_of(part) for part in get_args(kind)))
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return st.builds(kind, **{name: strategy_of(hint) for name, hint in get_type_hints(kind).items()})
    return {
        int: st.integers(-(2**53), 2**53),
        float: st.floats(0, 4e9, allow_nan=False),
        str: st.text(st.characters(exclude_categories=("Cs",)), max_size=30),
        bool: st.booleans(),
        type(None): st.none(),
    }[kind]


@pytest.mark.fault("A32")
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_every_field_that_is_saved_is_loaded_again(data: st.DataObject):
    connection = in_memory()
    position: Position = data.draw(strategy_of(Position))
    buy: Outgoing = data.draw(strategy_of(Outgoing))
    buy = replace(buy, alert=replace(buy.alert, kind="BUY", trade_id=position.id))
    facts = data.draw(st.dictionaries(strategy_of(str), strategy_of(float | str | None), max_size=4))
    ledger_book.write(
        connection, whole((PositionOpened(position), AlertChanged(buy), *(FactSet(*fact) for fact in facts.items())))
    )
    first = ledger_book.load(connection, 0.0)
    assert (first.position, first.outbox, first.facts) == (position, (buy,), facts)

    marked = replace(data.draw(strategy_of(Position)), **{name: getattr(position, name) for name in ledger_book.FIXED_PARTS})
    ledger_book.write(connection, whole((PositionMarked(marked),)))
    assert ledger_book.load(connection, 0.0).position == marked

    trade: Trade = data.draw(strategy_of(Trade))
    trade = replace(trade, **{name: getattr(position, name) for name in ledger_book.FIXED_PARTS})
    trade = replace(trade, pnl=None if trade.exit is None else (trade.exit - trade.entry) * 100 - trade.fees)
    ledger_book.write(connection, whole((PositionClosed(trade),)))
    last = ledger_book.load(connection, 0.0)
    assert (last.position, last.trades) == (None, (trade,))
    assert ledger_audit.problems_in(ledger_audit.audit(connection)) == []


@pytest.mark.fault("X18", "A29")
def test_a_restart_in_mid_trade_finds_entry_peak_counters_and_the_last_alert(tmp_path: Path, ledger: Ledger):
    position = a_position()
    sent = replace(an_alert("BUY", position), outcome="unknown", attempts=1, maybe_seen=True, next_at=OPENED_AT + 5)
    ledger.commit(whole((PositionOpened(position), AlertChanged(sent), FactSet("last_signal_at", OPENED_AT))))
    moved = replace(position, peak=2100, last_mark=1445, stop_hits=1, below_since=1_759_416_030, real_entry=1440)
    ledger.commit(whole((PositionMarked(moved),)))
    ledger.commit(whole((FactSet("alive_at", OPENED_AT + 61.5),)))
    ledger.close()
    again = reopened(tmp_path)
    assert again.position == moved
    assert again.outbox == (sent,)
    assert again.facts == {"last_signal_at": OPENED_AT, "alive_at": OPENED_AT + 61.5}
    assert again.trades_opened_on == {"2025-10-02": 1}


@pytest.mark.fault("A36")
def test_a_trade_of_exactly_zero_is_booked_as_zero_and_not_as_nothing(ledger: Ledger):
    ledger.commit(whole(opening(a_position())))
    ledger.commit(whole(closing(a_position(), exit=1430)))
    assert ledger.remembered().trades[0].pnl == 0
    assert sql(ledger.path, "SELECT pnl_mills, pnl_usd FROM trades") == [(0, 0.0)]
    assert sql(ledger.path, "SELECT wins, losses, unresolved FROM lifetime") == [(0, 1, 0)]


@pytest.mark.fault("A35")
@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_refused_and_what_is_stored_stays_valid_json(ledger: Ledger, number: float):
    held = a_position()
    ledger.commit(whole(opening(held)))
    for write in (
        FactSet("level", number),
        Noted(OPENED_AT, "near miss", {"slope": number}),
        PositionMarked(replace(held, last_quote_at=number)),
        AlertChanged(replace(an_alert("BUY", held), next_at=number)),
    ):
        with pytest.raises(Contradiction, match="not finite"):
            ledger.commit(whole((FactSet("other", 1.0), write)))
    assert "other" not in ledger.remembered().facts
    assert sql(ledger.path, "SELECT count(*) FROM journal WHERE NOT json_valid(body)") == [(0,)]


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_broken_text_is_refused_whole(ledger: Ledger, text: str):
    for write in (FactSet(text, 1.0), FactSet("key", text), Noted(OPENED_AT, text, {}), Noted(OPENED_AT, "x", {"y": text})):
        with pytest.raises(Contradiction):
            ledger.commit(whole((FactSet("other", 1.0), write)))
    assert ledger.remembered() == Remembered()


@pytest.mark.fault("S20")
@pytest.mark.parametrize("text", ["'; DROP TABLE journal; --", '"', "\0", "😀\u202e", "%s {x}"])
def test_text_is_data_and_never_sql(ledger: Ledger, text: str):
    position = a_position(text)
    ledger.commit(whole((*opening(position), FactSet(text, text), Noted(OPENED_AT, text, {text: text}))))
    remembered = ledger.remembered()
    assert remembered.position == position
    assert remembered.facts[text] == text
    assert ledger.check() == []


def test_only_alerts_that_wait_and_those_of_two_days_are_remembered(tmp_path: Path, ledger: Ledger):
    for age in (10, 1, 0):
        alert = Alert(f"ops-{age}", "OPS", "Started", "", 0, OPENED_AT - age * DAY)
        ledger.commit(whole((AlertChanged(Outgoing(alert, "delivered", settled_at=alert.created_at)),)))
    waiting = Outgoing(Alert("old", "OPS", "Started", "", 0, OPENED_AT - 9 * DAY))
    ledger.commit(whole((AlertChanged(waiting),)))
    assert [outgoing.alert.id for outgoing in ledger.remembered().outbox] == ["old", "ops-1", "ops-0"]


def test_days_and_their_trades_are_new_yorks_and_a_voided_buy_keeps_its_number(ledger: Ledger):
    late = OPENED_AT + 10 * 3600  # 20:40 in New York, tomorrow in UTC
    for name, at in (("a", OPENED_AT), ("b", late)):
        ledger.commit(whole(opening(a_position(name, at))))
        ledger.commit(whole(closing(a_position(name, at))))
    ledger.commit(whole(opening(a_position("c", late + 60))))
    ledger.commit(whole((PositionVoided(a_position("c", late + 60), late + 80, "never announced"),)))
    assert ledger.remembered().trades_opened_on == {"2025-10-02": 3}
    assert [trade.id for trade in ledger.remembered().trades] == ["a", "b"]


# --- what it refuses ---------------------------------------------------------------------------------------------------


def refusals() -> list[tuple[str, tuple[Any, ...]]]:
    held, other = a_position("T1"), a_position("T2", OPENED_AT + 900)
    forged = replace(a_trade(held), pnl=123)
    return [
        ("another one is open", opening(other)),
        ("is not open", (PositionMarked(other),)),
        ("is not open", closing(other)),
        ("is not as it was opened", (PositionMarked(replace(held, entry=1)),)),
        ("is not as it was opened", (PositionClosed(replace(a_trade(held), strike=1)),)),
        ("books 123 mills", (PositionClosed(forged),)),
        ("was never opened", (AlertChanged(an_alert("SELL", other)),)),
        ("it is never changed", (*closing(held), PositionClosed(a_trade(held, 1)))),
        ("was opened before", (*closing(held), *opening(held))),
    ]


@pytest.mark.parametrize(("reason", "writes"), refusals())
def test_a_commit_that_contradicts_the_ledger_is_refused_whole(ledger: Ledger, reason: str, writes: Sequence[Any]):
    ledger.commit(whole(opening(a_position("T1"))))
    before = ledger.remembered()
    with pytest.raises(Contradiction, match=reason):
        ledger.commit(whole((FactSet("other", 1.0), *writes)))
    assert ledger.remembered() == before
    assert ledger.check() == []


def test_a_position_is_not_opened_without_its_buy(ledger: Ledger):
    with pytest.raises(Contradiction, match="without its BUY"):
        ledger.commit(whole((PositionOpened(a_position()),)))
    assert ledger.remembered() == Remembered()


def test_an_unresolved_trade_is_settled_once_and_keeps_its_place(ledger: Ledger):
    for name in ("a", "b"):
        ledger.commit(whole(opening(a_position(name))))
        ledger.commit(whole(closing(a_position(name), None if name == "a" else 1500)))
    assert ledger.remembered().trades[0].pnl is None
    settled = settle(a_position("a"), 0, at=OPENED_AT + DAY, reason="expired", detail="IWM 214.10")
    ledger.commit(whole((PositionClosed(settled),)))
    assert [trade.pnl for trade in ledger.remembered().trades] == [-143_000, 7_000]
    assert sql(ledger.path, "SELECT id, balance_usd FROM trades") == [("a", -136.0), ("b", 7.0)]
    with pytest.raises(Contradiction, match="never changed"):
        ledger.commit(whole((PositionClosed(settled),)))
    assert ledger.check() == []


@pytest.mark.fault("X23")
def test_a_second_thread_or_a_forked_process_may_not_use_the_ledger(ledger: Ledger):
    caught: list[BaseException] = []

    def intrude() -> None:
        try:
            ledger.commit(whole((FactSet("x", 1.0),)))
        except WrongThread as error:
            caught.append(error)

    thread = threading.Thread(target=intrude)
    thread.start()
    thread.join()
    assert len(caught) == 1
    child = os.fork()
    if child == 0:
        intrude()
        os._exit(len(caught))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    assert ledger.remembered() == Remembered()


# --- what an auditor sees ----------------------------------------------------------------------------------------------


def sql(path: Path, statement: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(path) as connection:
        return connection.execute(statement).fetchall()


@pytest.mark.fault("A50")
def test_plain_sql_shows_the_trades_and_they_add_up_to_the_record(ledger: Ledger):
    for count, exit in enumerate((1550, 1430, 0, 1999)):
        position = a_position(f"T{count}", OPENED_AT + 600 * count)
        ledger.commit(whole(opening(position)))
        ledger.commit(whole(closing(position, exit)))
    record = fold(ledger.remembered().trades)
    assert sql(ledger.path, "SELECT id, opened, closed, entry_usd, exit_usd, pnl_usd, balance_usd FROM trades LIMIT 1") == [
        ("T0", "2025-10-02T10:40:00.000-04:00", "2025-10-02T10:41:00.000-04:00", 1.43, 1.55, 12.0, 12.0)
    ]
    assert sql(ledger.path, "SELECT sum(booked) FROM journal") == [(record.balance,)]
    assert sql(ledger.path, "SELECT wins, losses, balance_usd, best_usd, worst_usd, win_rate_percent FROM lifetime") == [
        (2, 2, record.balance / 1000, 56.9, -143.0, 50.0)
    ]
    assert [row[0] for row in sql(ledger.path, "SELECT pnl_mills FROM trades")] == [
        profit(1430, exit) for exit in (1550, 1430, 0, 1999)
    ]


def test_the_journal_can_be_neither_changed_nor_cut_by_plain_sql(ledger: Ledger):
    ledger.commit(whole(opening(a_position())))
    for statement in ("UPDATE journal SET booked = 1", "DELETE FROM journal"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            sql(ledger.path, statement)


def test_the_hash_chain_can_be_followed_with_nothing_but_json_and_sha256(ledger: Ledger):
    import hashlib
    import json

    for writes in commits(Random(1), 30):
        ledger.commit(whole(writes))
    previous = "0" * 64
    for *columns, digest in sql(ledger.path, "SELECT * FROM journal ORDER BY seq"):
        assert columns[-1] == previous
        line = json.dumps(columns, separators=(",", ":"), ensure_ascii=False)
        assert hashlib.sha256(line.encode()).hexdigest() == digest
        previous = digest


def test_what_became_of_a_trades_alert_stays_in_the_journal_when_the_outbox_forgets_it(ledger: Ledger):
    ledger.commit(whole(opening(a_position())))
    ledger.commit(whole(closing(a_position())))
    ledger.commit(whole((delivered(an_alert("BUY", a_position()), OPENED_AT + 1),)))
    sell = replace(
        an_alert("SELL", a_position(), OPENED_AT + 60), outcome="delivered", attempts=2, settled_at=OPENED_AT + 62
    )
    ledger.commit(whole((AlertChanged(sell),)))
    ledger.commit(whole((AlertChanged(replace(sell, acknowledged_at=OPENED_AT + 70, acknowledged_by="phone")),)))
    ledger.snapshot_if_due(OPENED_AT + 29 * DAY)
    assert sql(ledger.path, "SELECT count(*) FROM outbox") == [(2,)]
    ledger.snapshot_if_due(OPENED_AT + 31 * DAY)
    assert sql(ledger.path, "SELECT count(*) FROM outbox") == [(0,)]
    told = "SELECT subject, body ->> '$.outcome', body ->> '$.acknowledged_by' FROM journal WHERE kind = 'alert'"
    assert sql(ledger.path, told) == [
        ("T1-BUY", "delivered", None), ("T1-SELL", "delivered", None), ("T1-SELL", "delivered", "phone"),
    ]  # fmt: skip
    assert ledger.check() == []


# --- any order of commits ----------------------------------------------------------------------------------------------


class LedgerMachine(RuleBasedStateMachine):
    """Whatever a worker does, the ledger holds what a plain model of it holds, and passes its own audit."""

    def __init__(self) -> None:
        super().__init__()
        self.connection = in_memory()
        self.position: Position | None = None
        self.trades: dict[str, Trade] = {}
        self.outbox: dict[str, Outgoing] = {}
        self.facts: dict[str, float | str | None] = {}
        self.count = 0

    def write(self, *writes: Any) -> None:
        ledger_book.write(self.connection, whole(writes))
        for write in writes:
            if isinstance(write, AlertChanged):
                self.outbox[write.outgoing.alert.id] = write.outgoing
            if isinstance(write, FactSet):
                self.facts[write.key] = write.value

    @precondition(lambda self: self.position is None)
    @rule(entry=st.integers(1, 5000))
    def open(self, entry: int) -> None:
        self.count += 1
        self.position = a_position(f"T{self.count}", OPENED_AT + self.count, entry)
        self.write(*opening(self.position))

    @precondition(lambda self: self.position is not None)
    @rule(peak=st.integers(0, 9000), run=st.none() | st.integers(0, 2**31))
    def mark(self, peak: int, run: int | None) -> None:
        self.position = replace(self.position, peak=peak, below_since=run)
        self.write(PositionMarked(self.position))

    @precondition(lambda self: self.position is not None)
    @rule(exit=st.none() | st.integers(0, 9000))
    def close(self, exit: int | None) -> None:
        writes = closing(self.position, exit)
        self.write(*writes)
        self.trades[self.position.id] = writes[0].trade
        self.position = None

    @precondition(lambda self: self.position is not None)
    @rule()
    def void(self) -> None:
        self.write(PositionVoided(self.position, OPENED_AT, "never announced"))
        self.position = None

    @precondition(lambda self: any(trade.pnl is None for trade in self.trades.values()))
    @rule(exit=st.integers(0, 9000), data=st.data())
    def settle(self, exit: int, data: st.DataObject) -> None:
        trade = data.draw(st.sampled_from([trade for trade in self.trades.values() if trade.pnl is None]))
        settled = replace(trade, exit=exit, pnl=profit(trade.entry, exit), reason="expired")
        self.write(PositionClosed(settled))
        self.trades[trade.id] = settled

    @precondition(lambda self: self.outbox)
    @rule(data=st.data(), outcome=st.sampled_from(["failed", "unknown", "delivered", "dropped"]))
    def alert(self, data: st.DataObject, outcome: Any) -> None:
        outgoing = self.outbox[data.draw(st.sampled_from(sorted(self.outbox)))]
        ended = OPENED_AT if outcome in ("delivered", "dropped") else None
        self.write(AlertChanged(replace(outgoing, outcome=outcome, attempts=outgoing.attempts + 1, settled_at=ended)))

    @rule(key=st.sampled_from("abc"), value=st.none() | st.floats(-9, 9) | st.text("xyz"))
    def fact(self, key: str, value: float | str | None) -> None:
        self.write(FactSet(key, value), Noted(OPENED_AT, key, {"value": value}))

    @rule()
    def nonsense(self) -> None:
        with pytest.raises(Contradiction):
            ledger_book.write(self.connection, whole((FactSet("lost", 1.0), PositionMarked(a_position("nobody")))))

    @invariant()
    def everything_is_there(self) -> None:
        remembered = ledger_book.load(self.connection, OPENED_AT)
        assert remembered.position == self.position
        assert {trade.id: trade for trade in remembered.trades} == self.trades
        assert {outgoing.alert.id: outgoing for outgoing in remembered.outbox} == self.outbox
        assert remembered.facts == self.facts
        assert ledger_audit.problems_in(ledger_audit.audit(self.connection)) == []


TestAnyOrderOfCommits = LedgerMachine.TestCase
TestAnyOrderOfCommits.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


@pytest.mark.fault("X08")
def test_a_ledger_that_a_killed_life_left_in_mid_commit_can_be_read_while_the_next_life_starts(tmp_path: Path):
    (tmp_path / "first").mkdir()
    first = Ledger.open(tmp_path / "first", OPENED_AT)
    first.commit(whole(opening(a_position())))
    first.close()
    with connected(tmp_path / "first" / FILE) as dying:
        dying.execute("PRAGMA cache_size = 1")
        dying.execute("BEGIN IMMEDIATE")
        dying.execute("CREATE TABLE big (line)")
        dying.executemany("INSERT INTO big VALUES (?)", [("x" * 200,)] * 5_000)
        shutil.copytree(tmp_path / "first", tmp_path / "next")
        dying.execute("ROLLBACK")
    folder, ask = tmp_path / "next", "SELECT count(*) FROM journal"
    with (
        connected(f"{(folder / FILE).as_uri()}?mode=ro") as reader,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        reader.execute(ask)

    with DataFolder(folder).lock(), ThreadPoolExecutor(1) as hand:
        asked = hand.submit(read, folder, OPENED_AT)
        with pytest.raises(TimeoutError):
            asked.result(timeout=0.3)
        with connected(folder / FILE) as starting:
            starting.execute(ask)
        findings, remembered = asked.result(timeout=10)
    assert not ledger_audit.problems_in(findings)
    assert remembered is not None
    assert remembered.position == a_position()


def connected(path: Path | str) -> closing_resource[sqlite3.Connection]:
    return closing_resource(sqlite3.connect(path, isolation_level=None, uri=isinstance(path, str)))
