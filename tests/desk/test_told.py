"""What the owner tells of his own side of a trade: the prices he really had, or that he let it be."""

from __future__ import annotations

import sqlite3
from typing import Any, Literal

import pytest

import pnl_tracker
from disk import audit as ledger_audit
from disk import book as ledger_book
from disk import schema as ledger_schema
from events import Commit, OperatorSpoke, ReceiptSeen, Remembered, Trade
from tests.kit.deskbench import Bench

FIRST = "20261120-1"
Word = Literal["took_it", "sold_it", "skipped_it", "close_now"]


class Told(Bench):
    """A bench whose commits are written into a real ledger."""

    def __init__(self, remembered: Remembered | None = None, **settings: Any) -> None:
        super().__init__(remembered, **settings)
        self.books = sqlite3.connect(":memory:", isolation_level=None)
        ledger_schema.upgrade(self.books)

    def _answer(self, action: Any) -> Any:
        if isinstance(action, Commit):
            ledger_book.write(self.books, action.parts)
        return super()._answer(action)

    def says(self, command: Word, price: int | None = None, trade_id: str | None = FIRST) -> Told:
        self.put(OperatorSpoke(at=self.now, command=command, who="page", price=price, trade_id=trade_id))
        return self

    def trade(self) -> Trade:
        [trade] = self.desk.state.trades
        return trade

    def kept(self) -> tuple[Trade, ...]:
        """The trades as the next life finds them."""
        assert ledger_audit.problems_in(ledger_audit.audit(self.books)) == []
        return ledger_book.load(self.books, self.now).trades

    def view(self, columns: str) -> tuple[Any, ...]:
        row: tuple[Any, ...] = self.books.execute(f"SELECT {columns} FROM trades").fetchone()
        return row


def closed() -> Told:
    """Bought at 0.51, sold at 0.60."""
    bench = Told()
    bench.bought()
    bench.quote(600, 620)
    return bench.says("close_now")


def test_the_price_really_sold_at_makes_a_real_result_beside_the_assumed_one_and_outlives_the_life() -> None:
    bench = closed().says("took_it", 520).says("sold_it", 580)
    trade = bench.trade()
    assert (trade.pnl, trade.real_pnl) == (9_000, 6_000)
    assert bench.desk.state.record.balance == 9_000
    assert bench.kept() == bench.desk.state.trades == bench.desk.state.trades_today
    assert bench.view("pnl_usd, real_entry_usd, real_exit_usd, real_pnl_usd, skipped") == (9.0, 0.52, 0.58, 6.0, 0)
    again = Told(ledger_book.load(bench.books, bench.now))
    again.now = bench.now + 60
    again.start()
    assert again.trade() == trade


def test_what_was_told_before_the_close_is_kept_by_the_trade_and_may_be_told_better_after_it() -> None:
    bench = Told()
    bench.bought()
    bench.says("took_it", 500).says("sold_it", 560)
    bench.quote(600, 620)
    bench.says("close_now")
    assert (bench.trade().real_pnl, bench.kept()) == (6_000, bench.desk.state.trades)
    bench.says("took_it", 490)
    assert (bench.trade().real_exit, bench.trade().real_pnl) == (560, 7_000)
    assert bench.kept() == bench.desk.state.trades
    assert bench.view("real_entry_usd, real_exit_usd, real_pnl_usd") == (0.49, 0.56, 7.0)


def test_of_a_side_that_was_not_told_the_assumed_price_stands_in() -> None:
    assert closed().says("sold_it", 580).trade().real_pnl == 7_000
    assert closed().says("took_it", 520).trade().real_pnl == 8_000
    assert closed().trade().real_pnl is None


def test_the_fee_is_off_the_real_result_too() -> None:
    bench = Told(FEE_PER_CONTRACT="0.65")
    bench.bought()
    bench.quote(600, 620)
    assert bench.says("close_now").says("took_it", 520).says("sold_it", 580).trade().real_pnl == 6_000 - 1_300


@pytest.mark.parametrize("word", ["skipped_it", "sold_it"])
def test_a_sell_of_what_the_owner_does_not_hold_does_not_ring(word: Word) -> None:
    bench = Told()
    bench.bought()
    bench.says(word, 560 if word == "sold_it" else None)
    bench.quote(600, 620)
    bench.tick(2)
    bench.quote(390, 410)
    [sell] = bench.said("SELL")
    assert (sell.priority, sell.retry_s) == (0, None)
    assert sell.title.endswith(" (not yours)")
    assert "nothing to close" in sell.text
    assert "Close at market" not in sell.text
    assert bench.trade().pnl is not None
    assert bench.kept() == bench.desk.state.trades


def test_who_takes_it_after_all_is_told_to_sell_it() -> None:
    bench = Told()
    bench.bought()
    bench.says("skipped_it").says("took_it", 520).says("sold_it", 560).says("took_it", 520)
    bench.says("close_now")
    [sell] = bench.said("SELL")
    assert sell.priority == 2
    assert "Close at market" in sell.text


def test_the_stop_of_what_was_sold_already_is_that_of_the_assumed_fill() -> None:
    bench = Told()
    bench.bought()
    bench.says("took_it", 900).says("sold_it", 900)
    bench.quote(490, 500)
    assert bench.phase == "Holding"


def test_a_blind_alarm_about_what_nobody_holds_is_said_and_does_not_shout() -> None:
    bench = Told()
    bench.bought()
    bench.says("skipped_it").tick(12)
    [blind] = bench.said("BLIND")
    assert blind.priority == 0
    assert "You skipped it" in blind.text


def test_who_says_at_what_he_sold_has_seen_the_sell_and_is_not_rung_up_again() -> None:
    bench = closed().says("sold_it", 580)
    assert bench.desk.state.outbox[f"{FIRST}-SELL"].acknowledged_by == "the page"
    bench.put(ReceiptSeen(at=bench.now, alert_id=f"{FIRST}-SELL", receipt="r" * 30, expired=True))
    bench.tick(900)
    assert len(bench.said("SELL")) == 1
    silent = closed()
    silent.tick(900)
    assert len(silent.said("SELL")) == 2


@pytest.mark.parametrize(("word", "price"), [("sold_it", 62_000), ("sold_it", -10), ("sold_it", None), ("took_it", 5_200)])
def test_a_slip_of_the_finger_is_noted_and_not_taken(word: Word, price: int | None) -> None:
    bench = closed()
    before = bench.trade()
    bench.says(word, price)
    assert bench.trade() == before
    assert bench.kept() == bench.desk.state.trades
    note = bench.desk.state.noted[-1]
    assert (note.kind, bool(note.body["refused"])) == (word, True)


def test_a_call_that_was_let_die_was_sold_at_nothing() -> None:
    assert closed().says("sold_it", 0).trade().real_pnl == -51_000


def test_a_word_about_a_trade_that_never_was_changes_nothing() -> None:
    bench = closed().says("sold_it", 580, "20261119-7")
    assert bench.trade().real_pnl is None
    assert bench.desk.state.noted[-1].body["refused"] == "no such trade"
    late = Told()
    late.bought()
    late.says("close_now", trade_id="20261119-7")
    assert late.phase == "Holding"


def test_the_account_tells_the_owners_own_result(capsys: pytest.CaptureFixture[str]) -> None:
    bench = closed().says("took_it", 520).says("sold_it", 580)
    assert "Your fills: +$6.00 in 1 of them" in pnl_tracker._summary(ledger_book.load(bench.books, bench.now))
    [row] = pnl_tracker.table(bench.kept())
    assert (row["real_entry"], row["real_exit"], row["real_pnl"], row["skipped"]) == ("0.520", "0.580", "6.000", "no")
    [skipped] = pnl_tracker.table(closed().says("skipped_it").kept())
    assert (skipped["real_pnl"], skipped["skipped"]) == ("", "yes")
