"""Trades made of orders in the ledger: what is refused, what each record's balance is, and what the audit proves."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from msgspec.structs import replace

from disk import audit as ledger_audit
from disk import book as ledger_book
from disk import schema as ledger_schema
from events import (
    AlertChanged,
    AnyWrite,
    BrokerTrade,
    Fill,
    FillBooked,
    Leg,
    Order,
    OrderChanged,
    OrderPlanned,
    Part,
    PositionClosed,
    PositionMarked,
    PositionOpened,
    TradeBegun,
    TradeEnded,
)
from tests.kit.books import OPENED_AT, a_position, a_trade, an_alert, closing, opening, whole

CALL = "O:QQQ251002C00600000"
BUY, SELL = Leg(CALL, "buy", True), Leg(CALL, "sell", False)
TRADE = BrokerTrade(
    "SC-20251002-1", "scalper", "paper", "QQQ", "2025-10-02", (BUY,), 2, OPENED_AT, OPENED_AT + 19_200, fee=50
)


def an_order(role: str = "ENTRY", units: int = 2, seq: int = 1, trade: BrokerTrade = TRADE) -> Order:
    legs = (BUY,) if role == "ENTRY" else (SELL,)
    return Order(
        f"{trade.id}-{role}-{seq}", trade.strategy, trade.id, trade.mode, role, seq, legs, units, 1440, OPENED_AT, OPENED_AT
    )


def a_fill(order: Order, quantity: int = 2, price: int = 1440, root: str = "", **parts: Any) -> Fill:
    return Fill(root or f"x-{order.ref}", order.ref, CALL, order.legs[0].side, quantity, price, OPENED_AT + 1, **parts)


def ended(order: Order) -> OrderChanged:
    return OrderChanged(OPENED_AT + 1, replace(order, state="filled", filled=order.units, proven=True))


@pytest.fixture
def connection() -> sqlite3.Connection:
    opened = sqlite3.connect(":memory:", isolation_level=None)
    ledger_schema.upgrade(opened)
    return opened


def write(connection: sqlite3.Connection, *writes: AnyWrite, owner: str = "scalper") -> str | None:
    return ledger_book.write(connection, [Part(owner, writes)]).get(owner)


def problems(connection: sqlite3.Connection) -> list[str]:
    return ledger_audit.problems_in(ledger_audit.audit(connection))


def bought(connection: sqlite3.Connection, trade: BrokerTrade = TRADE) -> Order:
    order = an_order(trade=trade)
    fill = FillBooked(OPENED_AT + 1, trade.id, a_fill(order))
    assert write(connection, TradeBegun(trade), OrderPlanned(order), fill, ended(order), owner=trade.strategy) is None
    return order


def sold(connection: sqlite3.Connection, price: int = 1800, trade: BrokerTrade = TRADE) -> BrokerTrade:
    order = an_order("TP1", trade=trade)
    pnl = 2 * (price - 1440) * 100 - 4 * 50
    closed = replace(trade, state="closed", opened_at=OPENED_AT + 1, closed_at=OPENED_AT + 9, pnl=pnl, fees=200)
    fill = FillBooked(OPENED_AT + 2, trade.id, a_fill(order, price=price))
    end = TradeEnded(OPENED_AT + 9, closed)
    assert write(connection, OrderPlanned(order), fill, ended(order), end, owner=trade.strategy) is None
    return closed


def test_what_was_written_is_read_again(connection: sqlite3.Connection):
    order = bought(connection)
    kept = ledger_book.load(connection, OPENED_AT)
    assert kept.broker_trades == (TRADE,)
    assert [other.ref for other in kept.orders] == [order.ref]
    assert kept.fills == ((TRADE.id, a_fill(order)),)
    closed = sold(connection)
    kept = ledger_book.load(connection, OPENED_AT)
    assert (kept.broker_trades, kept.broker_ended) == ((), (closed,))
    assert problems(connection) == []


def test_balances_are_of_a_strategy_in_a_mode_and_never_added_up(connection: sqlite3.Connection):
    ledger_book.write(connection, whole(opening(a_position())))
    bought(connection)
    other = replace(TRADE, id="IC-20251002-1", strategy="condor")
    bought(connection, other)
    sold(connection, 1800)
    sold(connection, 1400, other)
    ledger_book.write(connection, whole(closing(a_position())))
    rows = connection.execute("SELECT kind, subject, balance FROM journal WHERE kind IN ('ended', 'closed')").fetchall()
    vwap = (1500 - 1430) * 100
    assert rows == [("ended", TRADE.id, 71_800), ("ended", other.id, -8_200), ("closed", "T1", vwap)]
    assert connection.execute("SELECT count(*), sum(pnl_mills) FROM trades").fetchone() == (1, vwap)
    assert connection.execute("SELECT trades, balance_usd FROM lifetime").fetchone() == (1, vwap / 1000)
    assert problems(connection) == []


def refusals() -> list[tuple[str, tuple[AnyWrite, ...]]]:
    exit_order, second = an_order("TP1"), an_order("ENTRY", seq=2)
    wrong = replace(TRADE, state="closed", pnl=1)
    return [
        ("was begun before", (TradeBegun(TRADE),)),
        ("was planned before", (OrderPlanned(an_order()),)),
        ("is not open", (OrderPlanned(an_order(trade=replace(TRADE, id="SC-20251002-9"))),)),
        ("and 2 are held", (OrderPlanned(an_order("TP1", units=3)),)),
        ("is in flight", (OrderPlanned(exit_order), OrderPlanned(an_order("TP2")))),
        ("was never planned", (OrderChanged(OPENED_AT, second),)),
        ("is not as it was planned", (OrderChanged(OPENED_AT, replace(an_order(), limit=1)),)),
        ("which was never planned", (FillBooked(OPENED_AT, TRADE.id, a_fill(second)),)),
        ("is booked already", (FillBooked(OPENED_AT, TRADE.id, a_fill(an_order())),)),
        ("cannot end: it holds", (TradeEnded(OPENED_AT, wrong),)),
    ]


@pytest.mark.parametrize(("reason", "writes"), refusals())
def test_what_contradicts_the_ledger_is_refused_and_costs_its_owner_alone(
    connection: sqlite3.Connection, reason: str, writes: tuple[AnyWrite, ...]
):
    bought(connection)
    before = ledger_book.load(connection, OPENED_AT)
    assert reason in str(write(connection, *writes))
    assert ledger_book.load(connection, OPENED_AT) == before
    assert problems(connection) == []


def test_a_trade_ends_with_the_pnl_of_its_executions_and_no_other(connection: sqlite3.Connection):
    bought(connection)
    order = an_order("TP1")
    forged = replace(TRADE, state="closed", pnl=999, fees=200)
    writes = (
        OrderPlanned(order),
        FillBooked(OPENED_AT + 2, TRADE.id, a_fill(order, price=1800)),
        TradeEnded(OPENED_AT, forged),
    )
    assert "books 999 mills where its executions make 71800" in str(write(connection, *writes))


def test_a_correction_books_the_difference(connection: sqlite3.Connection):
    order = bought(connection)
    closed = sold(connection)
    better = replace(closed, pnl=closed.pnl + 2 * 10 * 100)
    fill = a_fill(order, price=1430, revision=1)
    assert write(connection, FillBooked(OPENED_AT + 20, TRADE.id, fill), TradeEnded(OPENED_AT + 20, better)) is None
    rows = connection.execute("SELECT booked, balance FROM journal WHERE kind = 'ended'").fetchall()
    assert rows == [(71_800, 71_800), (2_000, 73_800)]
    assert problems(connection) == []


def test_the_audit_finds_a_row_that_was_edited(connection: sqlite3.Connection):
    bought(connection)
    connection.execute("UPDATE orders SET body = json_set(body, '$.filled', 1)")
    found = problems(connection)
    assert any("is not as the journal tells it" in text for text in found)
    assert any("working tables" in text for text in found)


def test_an_assumed_position_of_another_strategy_stands_beside_vwaps(connection: sqlite3.Connection):
    ledger_book.write(connection, whole(opening(a_position("T1"))))
    mine = a_position("Q1")
    buy = AlertChanged(an_alert("BUY", mine))
    assert write(connection, PositionOpened(mine), buy, owner="other") is None
    assert write(connection, PositionMarked(replace(mine, peak=2_000)), owner="other") is None
    kept = ledger_book.load(connection, OPENED_AT)
    assert kept.position == a_position("T1")
    assert kept.assumed == (("other", replace(mine, peak=2_000)),)
    assert write(connection, PositionClosed(a_trade(mine)), owner="other") is None
    kept = ledger_book.load(connection, OPENED_AT)
    assert (kept.assumed, kept.trades) == ((), ())
    assert connection.execute("SELECT balance FROM journal WHERE kind = 'ended'").fetchall() == [(7_000,)]
    assert connection.execute("SELECT count(*) FROM trades").fetchone() == (0,)
    assert problems(connection) == []


def test_old_orders_leave_and_the_journal_keeps_them(connection: sqlite3.Connection):
    bought(connection)
    sold(connection)
    ledger_book.prune(connection, OPENED_AT + 10)
    assert connection.execute("SELECT count(*) FROM orders").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM journal WHERE kind = 'ordered'").fetchone() == (2,)
    assert problems(connection) == []
