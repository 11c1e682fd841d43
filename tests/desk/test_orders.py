"""An order on the bench: from the intent to the fill, the exit and the P&L, through restarts and a clock that steps."""

from __future__ import annotations

from desk.state import Dealings
from events import HalfSecondPassed, PlaceOrder, ShowQuote, TakeSnapshot
from tests.kit.dealing import OrderBench
from tests.kit.deskbench import Bench


def test_an_order_is_written_sent_filled_booked_sold_and_told_once_through_two_restarts():
    bench = OrderBench().bought()
    assert [row[0] for row in bench.sql("SELECT kind FROM journal WHERE kind IN ('begun','ordered','filled')")] == [
        "begun", "ordered", "filled",
    ]  # fmt: skip
    bench.begin()
    assert bench.trade.state == "open"
    bench.tick(2)
    bench.quote(1800, 1840)
    bench.tick(1)
    bench.quote(1800, 1840)
    assert bench.trade.state == "closed"
    assert bench.trade.pnl == 2 * (1800 - 1440) * 100 - 4 * 50
    bench.begin()
    bench.tick(5)
    assert bench.trade.pnl == 2 * (1800 - 1440) * 100 - 4 * 50
    assert [action.alert_id for action in bench.delivered if "CLOSED" in action.alert_id] == [f"{bench.trade.id}-CLOSED"]
    assert bench.problems() == []
    assert bench.sql("SELECT count(*) FROM trades") == [(0,)]
    assert bench.sql("SELECT balance FROM journal WHERE kind = 'ended'") == [(71_800,)]


def test_a_clock_that_steps_leaves_no_moment_ahead_and_orders_are_asked_for_at_once():
    bench = OrderBench().bought()
    bench.now -= 3600.0
    bench.put(HalfSecondPassed(at=bench.now, moved_s=-3600.0))
    bench.tick(2)
    (account,) = bench.desk.state.dealings.accounts.values()
    assert account.complete_at is not None
    assert account.complete_at <= bench.now
    assert all(course.since <= bench.now for course in bench.desk.state.dealings.courses.values())
    assert bench.trade.state == "open"


def test_a_vwap_desk_has_no_dealings_and_asks_no_broker():
    bench = Bench().bought()
    assert bench.desk.state.dealings == Dealings()
    assert not [action for action in bench.actions if isinstance(action, PlaceOrder | TakeSnapshot | ShowQuote)]
