"""The condor on the desk with the paper broker: from the scan to the last fill, through a restart, and what is told of it."""

from datetime import time

import pytest
from msgspec.structs import replace

from brokers.paper import Paper, Rules
from events import ChainArrived, IndexSeen, QuoteSeen, StopRequested
from strategies.condor.strategy import IronCondor
from tests.kit.condors import DAY, FOUR, ROWS, SPOT, settings
from tests.kit.dealing import OrderBench
from utils import unix_time


class Story:
    """A bench with a condor, and a market of six strikes whose prices are moved by hand. `off` is added to what closing costs."""

    def __init__(self, rows=ROWS, chance: float = 0.25, **given: str) -> None:
        self.settings = settings(condor_scan_seconds="2", **given)
        self.rows = {row.contract: row for row in rows}
        self.spot, self.vix = SPOT, 18.8
        self.bench = OrderBench(
            lambda bench: Paper(lambda: bench.now, Rules(chance=chance), bench.paper_fills()),
            strategy=IronCondor(self.settings), day=DAY, now=unix_time(DAY, time(10)),
        )  # fmt: skip
        self.tell()

    def tell(self) -> None:
        """The market as it is now, all of it fresh."""
        bench, now = self.bench, self.bench.now
        bench.put(IndexSeen(at=now, symbol="VIX", value=self.vix, told_at=now))
        bench.put(IndexSeen(at=now, symbol="XSP", value=self.spot, told_at=now))
        fresh = {
            name: replace(row, quote=replace(row.quote, quoted_at=now), underlying=self.spot)
            for name, row in self.rows.items()
        }
        for right in ("put", "call"):
            rows = tuple(row for row in fresh.values() if row.right == right)
            bench.put(
                ChainArrived(at=now, underlying="XSP", asked_at=now, right=right, expiration=DAY.isoformat(), rows=rows)
            )
        for trade in tuple(bench.desk.state.dealings.trades.values()):
            for leg in trade.legs:
                bench.put(QuoteSeen(at=now, contract=leg.contract, quote=fresh[leg.contract].quote, source="rest"))

    def go_on(self, seconds: float, step: float = 1.0) -> None:
        for _ in range(round(seconds / step)):
            self.bench.tick(step)
            self.tell()

    def move(self, contract: str, bid: int, ask: int, **more) -> None:
        row = self.rows[contract]
        self.rows[contract] = replace(row, quote=replace(row.quote, bid=bid, ask=ask), **more)

    @property
    def trade(self):
        return self.bench.trade

    def titles(self) -> list[str]:
        return [action.title for action in self.bench.delivered]

    def texts(self, word: str) -> list[str]:
        return [action.text for action in self.bench.delivered if word in action.title]

    def limits(self, role: str) -> list[int]:
        return [order.limit for order in self.bench.placed if order.role == role]

    def opened(self) -> "Story":
        """A condor that was sold at the third price, at natural."""
        self.move(FOUR.put_short, 260, 260)
        self.move(FOUR.call_short, 250, 270)
        self.go_on(40)
        assert self.trade.state == "open", (self.trade, self.limits("ENTRY"))
        return self


@pytest.mark.fault("C26")
def test_a_condor_is_scanned_chased_opened_left_at_its_target_and_told():
    story = Story().opened()
    assert story.limits("ENTRY") == sorted(story.limits("ENTRY"))
    assert all(limit <= -200 for limit in story.limits("ENTRY"))
    first, *_ = story.bench.placed
    assert first.ref == "IC-20261120-1-ENTRY-1"
    assert {leg.contract for leg in first.legs} == set(FOUR.contracts)
    (text,) = story.texts("CONDOR OPEN")
    assert "682P/680P 698C/700C 1 of 1" in text
    assert "stop at -$" in text
    assert story.trade.memo["quotes"] == "0.13×0.15 0.24×0.26 0.25×0.27 0.10×0.12"
    for name, price in zip(FOUR.contracts, (10, 20, 30, 20), strict=True):
        story.move(name, price, price + 10)
    story.go_on(60)
    assert (story.trade.state, story.trade.reason) == ("closed", "EXIT")
    assert story.trade.pnl > 0
    assert len(story.texts("closed XSP")) == 1
    assert story.bench.problems() == []


@pytest.mark.fault("C18")
def test_a_chase_that_nobody_takes_ends_at_the_floor_is_told_once_and_waits():
    story = Story(chance=0.0)
    story.move(FOUR.put_short, 200, 300)
    story.go_on(120)
    assert story.limits("ENTRY") == [-260, -250, -240, -230, -220, -210, -200]
    assert (story.trade.state, story.trade.opened_at) == ("closed", None)
    (text,) = story.texts("CHASE FAILED")
    assert "0.19 is under the floor of 0.20" in text
    story.go_on(60)
    assert len(story.limits("ENTRY")) == 7
    assert "chase cooldown" in story.bench.tiny.status(None).refusal
    assert story.bench.problems() == []


def test_a_chase_stops_when_a_condition_goes():
    story = Story()
    story.move(FOUR.put_short, 200, 300)
    story.go_on(5)
    story.vix = 26.0
    story.go_on(20)
    assert len(story.limits("ENTRY")) == 1
    assert "VIX: 26 > 25" in story.texts("CHASE FAILED")[0]


def test_the_stop_takes_a_condor_back_after_three_marks_and_not_for_one_wild_quote():
    story = Story().opened()
    story.move(FOUR.put_short, 1400, 1440)
    story.go_on(1)
    story.move(FOUR.put_short, 260, 260)
    story.go_on(5)
    assert story.trade.state == "open"
    story.move(FOUR.put_short, 1400, 1440)
    story.go_on(10)
    assert (story.trade.state, story.trade.reason) == ("closed", "EXIT")
    assert story.trade.pnl < -100_000
    assert all(limit < 2000 for limit in story.limits("EXIT"))


def test_the_touch_takes_it_back_without_an_option_quote_to_confirm_it():
    story = Story().opened()
    story.spot = 681.9
    story.go_on(10)
    assert story.trade.state == "closed"


def test_a_position_is_taken_up_by_the_next_life_and_told_once():
    story = Story().opened()
    story.bench.begin(IronCondor(story.settings))
    story.tell()
    story.go_on(5)
    assert story.trade.state == "open"
    assert len(story.texts("CONDOR OPEN")) == 1
    story.spot = 681.9
    story.go_on(10)
    assert story.trade.state == "closed"
    assert len([title for title in story.titles() if "closed XSP" in title]) == 1
    assert story.bench.problems() == []


def test_an_entry_on_its_way_is_dropped_by_the_next_life():
    story = Story(chance=0.0)
    story.move(FOUR.put_short, 200, 300)
    story.go_on(3)
    story.bench.begin(IronCondor(story.settings))
    story.tell()
    story.bench.tick(40)
    assert (story.trade.id, story.trade.state, story.trade.opened_at) == ("IC-20261120-1", "closed", None)
    assert len(story.limits("ENTRY")) == 1
    story.go_on(250)
    assert len(story.limits("ENTRY")) == 1


def test_blindness_is_told_once_and_its_end():
    story = Story().opened()
    for _ in range(90):
        story.bench.tick(1)
    assert len(story.texts("CONDOR BLIND")) == 1
    story.go_on(3)
    assert len(story.texts("sees again")) == 1


@pytest.mark.fault("C28")
def test_a_stop_of_the_worker_keeps_the_condor():
    story = Story().opened()
    story.bench.put(StopRequested(at=story.bench.now, reason="SIGTERM"))
    story.go_on(5)
    assert story.trade.state == "open"
    assert not story.limits("EXIT")


def test_without_an_expiry_today_nothing_is_sold_and_it_is_told_once():
    story = Story([replace(row, expiration="2026-11-27") for row in ROWS])
    story.go_on(10)
    assert story.bench.placed == []
    (text,) = story.texts("CONDOR BLOCKED")
    assert text.startswith("no XSP expiry today")


def test_only_so_many_a_day_and_not_soon_after_another():
    story = Story(condor_max_trades_per_day="1", condor_entry_cooldown_seconds="0").opened()
    story.spot = 681.9
    story.go_on(10)
    assert story.trade.state == "closed"
    story.spot = SPOT
    story.go_on(40)
    assert len({order.trade_id for order in story.bench.placed}) == 1
    assert "MAX_TRADES_PER_DAY reached" in story.bench.tiny.status(None).refusal
