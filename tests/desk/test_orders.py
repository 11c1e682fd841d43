"""Orders on the bench: from the intent to the fill, the exit, the P&L, through restarts, silent disks and brokers that do not answer."""

from __future__ import annotations

from tests.kit.dealing import OrderBench


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
