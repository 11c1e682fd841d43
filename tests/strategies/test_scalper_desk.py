"""The scalper on a real desk with the paper broker: a signal, its order, its fills, its exits, through kills and restarts."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import msgspec
import pytest

from desk.state import Memory as DeskMemory
from desk.state import Sheet, Turn
from events import (
    FeedConnected,
    FeedDropped,
    FetchMinutes,
    OperatorSpoke,
    Order,
    OrderAnswered,
    Remembered,
    ShowQuote,
    StopRequested,
)
from strategies.registry import build
from tests.kit.scalping import QQQ_CALL, QQQ_PUT, ScalperBench


def turn_of(bench: ScalperBench):
    """A turn to ask the strategy with; nothing of it counts."""
    return Turn(bench.config, Sheet(bench.desk.state, {}), bench.now, "scalper", bench.desk.owners["scalper"])


def test_a_signal_becomes_a_position_half_is_sold_at_target_1_and_the_rest_at_target_2() -> None:
    bench = ScalperBench()
    signal = bench.signal()
    assert (signal.id, signal.contract, signal.refusal) == ("20261120-1036-QQQ-L", QQQ_CALL, "")
    assert all(gate.ok for gate in signal.reading.long)
    assert (signal.confidence, signal.verdict, signal.why) == (None, "not calibrated", "no model file")
    answer = bench.execute(2)
    assert (answer.code, answer.trade_id, answer.order_ref) == (None, "SC-20261120-1", "SC-20261120-1-ENTRY-1")
    bench.tick(8)
    assert [(order.ref, order.limit) for order in bench.placed] == [
        ("SC-20261120-1-ENTRY-1", 1_010),
        ("SC-20261120-1-ENTRY-2", 1_020),
    ]
    bench.at(1_270, 1_290).tick(5)
    assert bench.sales() == []
    bench.at(1_280, 1_300).tick(5)
    assert bench.sales() == [("TP1", 1, 1_280)]
    assert bench.trade.state == "open"
    bench.at(1_530, 1_550).tick(5)
    assert bench.sales() == [("TP1", 1, 1_280), ("TP2", 1, 1_530)]
    assert (bench.trade.state, bench.trade.reason) == ("closed", "TP2")
    assert bench.trade.pnl == (1_280 + 1_530 - 2 * 1_020) * 100 - 4 * 50
    assert bench.problems() == []
    assert bench.told() == [
        "[PAPER] ⚡ SCALPER QQQ CALL — SIGNAL",
        "[PAPER] ⚡ SCALPER QQQ CALL — BOUGHT 2",
        "[PAPER] ⚡ SCALPER QQQ CALL — SOLD 1 of 2",
        "[PAPER] scalper closed QQQ: +$76.80",
    ]


# --- entries -----------------------------------------------------------------------------------------------------------


def test_a_short_buys_a_put() -> None:
    bench = ScalperBench()
    signal = bench.signal(down=True)
    assert (signal.id, signal.direction) == ("20261120-1036-QQQ-S", "short")
    assert bench.execute(1).code is None
    bench.tick(8)
    assert (bench.trade.legs[0].contract, bench.trade.state) == (QQQ_PUT, "open")


@pytest.mark.fault("B1")
def test_an_entry_that_nobody_fills_ends_after_its_life_and_is_no_trade() -> None:
    bench = ScalperBench()
    bench.signal()
    bench.execute(2)
    bench.size = 0
    bench.lost = lambda what: isinstance(what, ShowQuote)
    bench.tick(20)
    limits = [order.limit for order in bench.placed]
    assert limits == [1_010, 1_020, 1_020, 1_020]
    assert (bench.trade.state, bench.trade.opened_at, bench.trade.pnl) == ("closed", None, 0)
    assert bench.scalper.day(turn_of(bench), bench.scalper.floor).trades == 0
    assert "BOUGHT" not in "".join(bench.told())


@pytest.mark.fault("B1")
def test_a_partial_fill_is_a_position_of_that_size() -> None:
    bench = ScalperBench()
    bench.signal()
    bench.execute(3)
    bench.size = 2
    bench.tick(5)
    bench.lost = lambda what: isinstance(what, ShowQuote)
    bench.tick(14)
    held = sum(fill.quantity for fill in bench.desk.state.dealings.fills[bench.trade.id])
    assert 1 <= held < 3
    assert bench.trade.state == "open"
    bench.lost = lambda what: False
    bench.at(1_530, 1_550).tick(5)
    assert bench.trade.state == "closed"
    assert sum(units for _, units, _ in bench.sales()) >= held


def test_the_price_running_away_ends_the_entry() -> None:
    bench = ScalperBench()
    bench.signal()
    bench.execute(2)
    bench.price["QQQ"] = 99.9
    bench.tick(6)
    assert (bench.trade.state, bench.trade.opened_at) == ("closed", None)
    assert "is not beyond the VWAP" in bench.trade.reason


@pytest.mark.fault("B9")
def test_a_signal_lives_thirty_seconds() -> None:
    bench = ScalperBench()
    bench.signal()
    bench.tick(30)
    answer = bench.execute()
    assert (answer.code, answer.says) == ("stale_signal", "it is 30 s old, at most 30")
    assert bench.placed == []


@pytest.mark.fault("B7")
def test_one_key_is_one_order_and_a_signal_is_executed_once_across_a_restart() -> None:
    bench = ScalperBench()
    bench.signal()
    first = bench.execute(2, "key-0001")
    assert bench.execute(2, "key-0001") == first
    assert bench.execute(2, "key-0002").code == "already_executed"
    bench.tick(8)
    orders_sent = len(bench.placed)
    bench.begin()
    assert bench.memory.answers["key-0001"].trade_id == first.trade_id
    assert len(bench.placed) == orders_sent


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda bench: bench.put(StopRequested(at=bench.now, reason="SIGTERM")), "stopping"),
        (lambda bench: bench.ask_for("kill"), "killed"),
        (lambda bench: bench.put(OperatorSpoke(at=bench.now, command="stop_entries", who="test")), "way_out"),
        (lambda bench: bench.link(False, "cut"), "broker"),
        (lambda bench: bench.price.update(QQQ=99.0) or bench.tick(6), "data"),
        (lambda bench: setattr(bench, "ask", 1_200) or bench.chains(), "no_contract"),
        (lambda bench: setattr(bench, "quoted", False), "no_contract"),
        (lambda bench: bench.at(9_900, 9_950).chains(), "too_small"),
    ],
    ids=["stopping", "killed", "stopped by hand", "no link", "price", "spread", "no answer", "too dear"],
)
def test_what_refuses_an_entry_is_named_and_leaves_nothing(spoil: Callable[[ScalperBench], object], code: str) -> None:
    bench = ScalperBench()
    bench.signal()
    spoil(bench)
    assert bench.execute().code == code, bench.memory.answers
    bench.tick(2)
    assert [order for order in bench.placed if order.opens] == []
    assert bench.desk.state.dealings.trades == {}


@pytest.mark.fault("B10")
def test_a_command_for_another_mode_is_refused() -> None:
    bench = ScalperBench()
    bench.signal()
    assert bench.execute(mode="alpaca-live").code == "wrong_mode"


@pytest.mark.fault("B2")
def test_more_than_the_cap_is_refused_and_not_cut() -> None:
    bench = ScalperBench()
    bench.signal()
    assert bench.execute(5).code == "over_cap"
    assert bench.execute(1_200, "key-0003").code == "over_cap"


def test_a_signal_is_told_once_in_five_minutes_and_counted_though_it_may_not_be_traded() -> None:
    bench = ScalperBench()
    bench.ready()
    bench.ask_for("kill")
    signal = bench.signal()
    assert signal.refusal == "the kill switch is on, until it is resumed"
    assert len(bench.memory.signals) == 1
    assert bench.sql("SELECT count(*) FROM journal WHERE subject = 'scalper signal'") == [(1,)]


# --- exits -------------------------------------------------------------------------------------------------------------


@pytest.mark.fault("B4")
@pytest.mark.parametrize(
    ("count", "first", "rest"), [(1, ("TP1", 1), None), (2, ("TP1", 1), 1), (3, ("TP1", 2), 1), (4, ("TP1", 2), 2)]
)
def test_targets_of_one_two_three_and_four_contracts(count: int, first: tuple[str, int], rest: int | None) -> None:
    bench = ScalperBench().bought(count)
    bench.at(1_280, 1_300).tick(4)
    assert [sale[:2] for sale in bench.sales()] == [first]
    assert bench.trade.state == ("closed" if rest is None else "open")
    if rest is not None:
        bench.at(1_010, 1_030).tick(4)
        assert [sale[:2] for sale in bench.sales()][1:] == [("STOP", rest)]
        assert bench.trade.reason == "STOP"


def test_the_stop_sells_all_at_the_bid_and_goes_on_down() -> None:
    bench = ScalperBench().bought(2)
    bench.at(500, 520)
    bench.lost = lambda what: isinstance(what, ShowQuote)
    bench.tick(10)
    assert bench.sales()[:4] == [("STOP", 2, 500), ("STOP", 2, 490), ("STOP", 2, 480), ("STOP", 2, None)]
    bench.lost = lambda what: False
    bench.tick(3)
    assert (bench.trade.state, bench.trade.reason) == ("closed", "STOP")
    assert bench.trade.pnl == (2 * 500 - 2 * 1_020) * 100 - 4 * 50


@pytest.mark.fault("B5", "B15")
def test_at_half_past_eleven_all_is_sold_and_a_working_target_is_cancelled_first() -> None:
    bench = ScalperBench().bought(2)
    bench.until("11:29:58")
    bench.lost = lambda what: isinstance(what, ShowQuote)
    bench.at(1_280, 1_300).tick(1)
    assert [sale[0] for sale in bench.sales()] == ["TP1"]
    bench.lost = lambda what: False
    bench.at(1_000, 1_020).until("11:30:03")
    assert [sale[:2] for sale in bench.sales()][-1] == ("FLATTEN", 2)
    assert (bench.trade.state, bench.trade.reason) == ("closed", "FLATTEN")


@pytest.mark.fault("B5")
def test_at_half_past_eleven_without_quotes_it_is_the_market_at_once() -> None:
    bench = ScalperBench().bought(2)
    bench.until("11:29:40")
    bench.quoted = False
    bench.until("11:30:01")
    assert bench.sales() == [("FLATTEN", 2, None)]
    assert any("BLIND" in title for title in bench.told())
    bench.quoted = True
    bench.tick(3)
    assert bench.trade.state == "closed"


@pytest.mark.fault("B5", "B3")
def test_a_rejected_close_rings_once_and_is_tried_again_after_growing_pauses() -> None:
    bench = ScalperBench().bought(2)
    bench.until("11:29:59")
    place, refused = bench.broker.place, []

    def refuse(order: Order) -> OrderAnswered:
        refused.append((bench.now, order.limit))
        return OrderAnswered(at=bench.now, mode="paper", ref=order.ref, answer="rejected", reason="not now")

    bench.broker.place = refuse  # type: ignore[method-assign]
    bench.until("11:30:20")
    pauses = [after[0] - before[0] for before, after in pairwise(refused)]
    assert pauses == [1, 2, 4, 8]
    assert sum("CLOSE REJECTED" in title for title in bench.told()) == 1
    bench.broker.place = place  # type: ignore[method-assign]
    bench.tick(20)
    assert bench.trade.state == "closed"


@pytest.mark.fault("B5")
def test_a_start_just_before_half_past_eleven_reconciles_and_flattens() -> None:
    bench = ScalperBench().bought(2)
    bench.until("11:29:58")
    bench.begin()
    bench.until("11:30:05")
    assert (bench.trade.state, bench.trade.reason) == ("closed", "FLATTEN")
    assert bench.problems() == []


def test_a_life_that_ends_between_the_targets_goes_on_where_it_was() -> None:
    bench = ScalperBench().bought(3)
    bench.at(1_280, 1_300).tick(4)
    bench.begin()
    bench.tick(3)
    assert [sale[:2] for sale in bench.sales()] == [("TP1", 2)]
    bench.at(1_010, 1_030).tick(4)
    assert [sale[:2] for sale in bench.sales()] == [("TP1", 2), ("STOP", 1)]
    assert bench.trade.pnl == (2 * 1_280 + 1_010 - 3 * 1_020) * 100 - 6 * 50
    assert bench.problems() == []


@pytest.mark.parametrize("command", ["kill", "close"])
@pytest.mark.fault("B10")
def test_kill_and_close_by_hand_sell_all(command: str) -> None:
    bench = ScalperBench().bought(2)
    bench.ask_for(command, bench.trade.id)
    bench.tick(3)
    assert (bench.trade.state, bench.trade.reason) == ("closed", "FLATTEN")


def test_the_kill_switch_outlives_a_restart_until_it_is_resumed() -> None:
    bench = ScalperBench().bought(2)
    bench.ask_for("kill")
    bench.begin()
    bench.tick(5)
    assert bench.memory.killed
    assert bench.trade.state == "closed"
    bench.ask_for("resume")
    bench.begin()
    assert not bench.memory.killed


@pytest.mark.parametrize(("setting", "state"), [("close", "closed"), ("keep", "open")])
def test_a_shutdown_flattens_or_leaves_it_to_the_next_life(setting: str, state: str) -> None:
    bench = ScalperBench(on_shutdown=setting).bought(2)
    bench.put(StopRequested(at=bench.now, reason="SIGTERM"))
    bench.tick(10)
    assert bench.trade.state == state


@pytest.mark.fault("B6")
def test_two_losses_end_the_day_across_a_restart() -> None:
    bench = ScalperBench(signal_cooldown_seconds="0")
    for number in (1, 2):
        bench.bought_again(number)
        bench.at(400, 420).tick(4)
        assert bench.trade.reason == "STOP"
        bench.at(1_000, 1_020)
    assert any("STOPPED FOR TODAY" in title for title in bench.told())
    bench.begin()
    bench.tick(2)
    assert bench.scalper.refusal(turn_of(bench)) == "2 losses in a row"


@pytest.mark.fault("B12")
def test_without_the_benchmark_there_is_no_signal() -> None:
    bench = ScalperBench().ready()
    bench.until("10:36:00")
    del bench.price["SPY"]
    bench.price["QQQ"], bench.volume = 100.5, 500.0
    bench.until("10:37:03")
    assert bench.memory.signals == ()
    assert bench.memory.readings["QQQ"].long[4].reason == "no bar of SPY at 10:36"


def test_a_hole_is_asked_for_and_until_then_what_needs_it_is_false() -> None:
    bench = ScalperBench().ready()
    bench.put(FeedDropped(at=bench.now, feed="stocks", reason="cut"))
    bench.tick(2)
    bench.put(FeedConnected(at=bench.now, feed="stocks"))
    reasons = {}
    for clock in ("10:36:04", "10:37:04", "10:38:04"):
        reasons[clock] = bench.until(clock).memory.readings["QQQ"].long[3].reason
    assert reasons == {
        "10:36:04": "minute 10:35 missing",
        "10:37:04": "minute 10:36 missing",
        "10:38:04": "",
    }
    asked = [action for action in bench.actions if isinstance(action, FetchMinutes) and not action.before]
    assert [(action.symbol, (action.start - bench.session.open_at) // 60) for action in asked[-2:]] == [
        ("QQQ", 66),
        ("SPY", 66),
    ]


def test_a_tape_decided_again_gives_the_same_orders() -> None:
    first, second = (ScalperBench().bought(2).at(1_280, 1_300) for _ in range(2))
    for bench in (first, second):
        bench.tick(5)
    assert first.placed == second.placed


def test_what_it_remembers_is_kept_on_a_tape_and_read_again() -> None:
    bench = ScalperBench().bought(2)
    kept = msgspec.json.decode(msgspec.json.encode(bench.desk.memory()), type=DeskMemory)
    other = build(bench.config, bench.calendar, Remembered())
    other.recall(kept)
    assert other.owners["scalper"].memory == bench.memory
    assert bench.memory.walls["QQQ"].reason == "only 1 call strikes with open interest"
