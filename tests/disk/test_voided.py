"""A closed trade is taken out again when its BUY turns out to have reached nobody: what the ledger keeps of it, and refuses."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from disk.ledger import Contradiction, Ledger
from events import AlertChanged, AnyWrite, FactSet, PositionClosed, TradeVoided
from tests.kit.books import OPENED_AT, a_position, a_trade, an_alert, closing, opening, whole

VOIDED = TradeVoided("T2", OPENED_AT + 90, "closed before its BUY could be delivered")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """T1 closed at +$7.00, T2 at -$22.00, T3 unresolved, T4 open."""
    opened = Ledger.open(tmp_path, OPENED_AT)
    for name, exit in (("T1", 1500), ("T2", 1210), ("T3", None)):
        opened.commit(whole(opening(a_position(name))))
        opened.commit(whole(closing(a_position(name), exit)))
    opened.commit(whole(opening(a_position("T4"))))
    yield opened
    opened.close()


def rows(ledger: Ledger, statement: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(ledger.path) as connection:
        return connection.execute(statement).fetchall()


def test_it_is_out_of_the_record_the_views_and_the_balance_and_its_number_is_kept(ledger: Ledger) -> None:
    ledger.commit(whole((VOIDED, FactSet("last_exit_at", OPENED_AT + 60))))
    kept = ledger.remembered()
    assert [trade.id for trade in kept.trades] == ["T1", "T3"]
    assert kept.position is not None
    assert kept.trades_opened_on == {"2025-10-02": 4}
    assert rows(ledger, "SELECT id, pnl_usd FROM trades") == [("T1", 7.0), ("T3", None)]
    assert rows(ledger, "SELECT trades, wins, losses, unresolved, balance_usd FROM lifetime") == [(2, 1, 0, 1, 7.0)]
    assert rows(ledger, "SELECT kind, booked, balance, body ->> '$.trade.pnl' FROM journal ORDER BY seq DESC LIMIT 1") == [
        ("voided", 22_000, 7_000, -22_000)
    ]
    assert ledger.check() == []


def test_it_stays_out_after_a_restart_and_its_alerts_may_still_change(tmp_path: Path, ledger: Ledger) -> None:
    ledger.commit(whole((VOIDED, AlertChanged(an_alert("SELL", a_position("T2"), OPENED_AT + 95)))))
    before = ledger.remembered()
    ledger.close()
    again = Ledger.open(tmp_path, OPENED_AT + 100)
    assert again.remembered() == before
    assert again.check() == []
    again.close()


def test_one_that_was_unresolved_books_nothing_back(ledger: Ledger) -> None:
    ledger.commit(whole((TradeVoided("T3", OPENED_AT + 90, "its BUY failed"),)))
    assert [trade.id for trade in ledger.remembered().trades] == ["T1", "T2"]
    assert rows(ledger, "SELECT balance_usd, unresolved FROM lifetime") == [(-15.0, 0)]
    assert ledger.check() == []


@pytest.mark.parametrize(
    ("why", "writes"),
    [
        ("is not closed", (TradeVoided("T9", OPENED_AT + 90, "never opened"),)),
        ("is not closed", (TradeVoided("T4", OPENED_AT + 90, "still open"),)),
        ("was voided before", (VOIDED, VOIDED)),
        ("is voided", (TradeVoided("T3", OPENED_AT + 90, "x"), PositionClosed(a_trade(a_position("T3"), 1500)))),
        ("was opened before", (*closing(a_position("T4")), VOIDED, *opening(a_position("T2")))),
    ],
)
def test_what_contradicts_the_ledger_is_refused_and_nothing_of_its_commit_is_written(
    ledger: Ledger, why: str, writes: tuple[AnyWrite, ...]
) -> None:
    before = rows(ledger, "SELECT * FROM journal"), rows(ledger, "SELECT * FROM seal")
    with pytest.raises(Contradiction, match=why):
        ledger.commit(whole(writes))
    assert (rows(ledger, "SELECT * FROM journal"), rows(ledger, "SELECT * FROM seal")) == before
    assert ledger.check() == []
