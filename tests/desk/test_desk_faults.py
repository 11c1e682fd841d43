"""Faults of the feeds as the desk meets them: what it refuses, what it holds on to, and what it says."""

from __future__ import annotations

import pytest

from events import (
    AnyEvent,
    Backfill,
    BackfillFailed,
    Bar,
    BarClosed,
    BarsFetched,
    ChainFailed,
    CommitFailed,
    Committed,
    Explain,
    FeedConnected,
    FeedRefused,
    HalfSecondPassed,
    JunkDropped,
    Noted,
    Quote,
    QuoteFailed,
    QuotesArrived,
    QuoteSeen,
    Remembered,
    StopRequested,
    ThreadFailed,
)
from tests.kit.deskbench import CONTRACT, OTHER, VOLUME, Bench, row


def bar(symbol: str, second: int, price: float, volume: float = VOLUME) -> BarClosed:
    return BarClosed(at=second + 3.0, bar=Bar(symbol, second, price, price, price, price, volume, price))


def signals(bench: Bench) -> list[Noted]:
    return [
        write
        for action in bench.actions
        for write in getattr(action, "writes", ())
        if isinstance(write, Noted) and write.kind == "signal"
    ]


# --- entries -----------------------------------------------------------------------------------------------------------


@pytest.mark.fault("W24")
@pytest.mark.parametrize("start", ["04:00:00", "09:20:00", "15:59:00", "19:30:00"])
def test_a_surge_outside_regular_hours_is_no_signal(start: str) -> None:
    bench = Bench(at=start).start()
    for step in range(700):
        bench.bar(bench.price + 0.005, VOLUME * (3 + step / 50))
        if bench.session is not None and bench.session.open_at <= bench.now < bench.session.open_at + 1:
            break  # what follows is inside
    assert not signals(bench)
    assert bench.phase == "Flat"


@pytest.mark.fault("W24")
def test_what_was_said_before_the_open_is_in_no_window() -> None:
    bench = Bench(at="09:20:00").start()
    assert bench.session is not None
    while bench.now < bench.session.open_at:
        bench.bar(150.0)
    assert bench.iwm.reading() is None
    bench.bar(220.0)
    reading = bench.iwm.reading()
    assert reading is not None
    assert (reading.vwap_60, reading.coverage_s <= 2) == (220.0, True)


@pytest.mark.fault("R13")
@pytest.mark.parametrize("is_refused", [True, False])
def test_a_chain_that_is_refused_in_mid_day_refuses_entries_at_once_and_is_told_once(is_refused: bool) -> None:
    bench = Bench().ready()
    bench.refresh = lambda action: QuotesArrived(at=bench.now, ticket=action.ticket, rows=(row(at=bench.now),))
    for step in range(40):
        if step % 10 == 5:
            reason = "the plan does not include this (403): upgrade"
            bench.put(ChainFailed(at=bench.now, underlying="IWM", right="call", reason=reason, refused=is_refused))
        bench.bar(bench.price + 0.01, VOLUME * (2 + step / 10) if step > 34 else VOLUME)
    assert len(signals(bench)) <= 1
    assert bool(bench.said("BUY")) is not is_refused  # a last good chain serves a minute, unless we are not let in
    assert len([action for action in bench.delivered if "403" in action.text]) == is_refused


@pytest.mark.fault("W11")
def test_much_bad_input_is_told_once_an_hour_and_a_little_is_not() -> None:
    bench = Bench().ready()
    bench.put(JunkDropped(at=bench.now, feed="stocks", counts={"bar: not finite": 99}))
    assert not [action for action in bench.delivered if "malformed" in action.text]
    for _ in range(5):
        bench.put(JunkDropped(at=bench.now, feed="stocks", counts={"bar: not finite": 70, "frame: not JSON": 50}))
        bench.tick(60)
    told = [action for action in bench.delivered if "malformed" in action.text]
    assert len(told) == 1
    assert "120 malformed pieces in a minute, most of them bar: not finite" in told[0].text
    assert bench.phase == "Flat"


# --- a position --------------------------------------------------------------------------------------------------------


@pytest.mark.fault("W14")
def test_a_tick_of_ten_times_the_price_moves_nothing_and_a_real_gap_is_believed_at_its_second_bar() -> None:
    bench = Bench().bought()
    price = bench.price
    bench.quote(500, 510)
    bench.bar(price * 10)
    assert bench.iwm.fresh_close(bench.now) == pytest.approx(price)
    bench.bar(price)
    bench.quote(500, 510)
    assert bench.phase == "Holding"
    bench.bar(price * 1.03)
    assert bench.iwm.fresh_close(bench.now) == pytest.approx(price)
    bench.bar(price * 1.03)
    assert bench.iwm.fresh_close(bench.now) == pytest.approx(price * 1.03)


@pytest.mark.fault("W10")
def test_five_seconds_without_a_decision_lose_no_exit_among_the_bars() -> None:
    bench = Bench().bought()
    second = int(bench.now)
    waiting: list[AnyEvent] = []
    for late in range(5):
        waiting += [bar("SPY", second + late, 600.0), bar("IWM", second + late, bench.price)]
    assert bench.phase == "Holding"
    bench.now += 5
    stop = _quote(bench, 10, 20)
    bench.put(*waiting[:4], stop, *waiting[4:])
    assert len(bench.said("SELL")) == 1
    assert bench.phase == "Flat"


def _quote(bench: Bench, bid: int, ask: int) -> AnyEvent:
    from events import Quote, QuoteSeen

    return QuoteSeen(at=bench.now, contract=CONTRACT, quote=Quote(bid, ask, 30, 30, bench.now), source="rest")


@pytest.mark.fault("R18", "A34")
def test_a_held_contract_that_vanishes_is_held_and_the_owner_is_told() -> None:
    bench = Bench().bought()
    bench.quote(500, 510)
    start = bench.now
    while bench.now < start + 12:
        bench.bar()
        bench.chain(row(OTHER, at=bench.now))
        bench.put(QuoteFailed(at=bench.now, contract=CONTRACT, reason="not found (404)"))
    assert bench.phase == "Holding"
    assert not bench.said("SELL")
    assert "404" in bench.said("BLIND")[0].text
    assert CONTRACT in bench.said("BLIND")[0].text


@pytest.mark.fault("R13")
def test_a_key_that_is_refused_while_a_position_is_open_leaves_it_open_and_says_blind() -> None:
    bench = Bench().bought()
    bench.quote(500, 510)
    start = bench.now
    while bench.now < start + 12:
        bench.bar()
        bench.put(QuoteFailed(at=bench.now, contract=CONTRACT, reason="the key is not accepted (401): Unknown API Key"))
    assert bench.phase == "Holding"
    assert "401" in bench.said("BLIND")[0].text


@pytest.mark.fault("W06")
def test_thirty_seconds_of_the_own_symbols_silence_are_blindness_and_twenty_nine_are_not() -> None:
    bench = Bench().bought()
    start = bench.now
    while not bench.said("BLIND") and bench.now < start + 40:
        bench.tick(0.5)
        bench.quote(500, 510)
        bench.put(bar("SPY", int(bench.now) - 2, 600.0))
    assert 29.5 <= bench.now - start <= 31.0


@pytest.mark.fault("W28")
def test_through_a_halt_of_six_minutes_nothing_is_sold_and_afterwards_everything_goes_on() -> None:
    bench = Bench().bought()
    bench.bar()
    bench.quote(600, 610)
    bench.tick(360)
    assert bench.phase == "Holding"
    assert not bench.said("SELL")
    assert len(bench.said("BLIND")) == 1
    assert "halt or outage" in bench.said("BLIND")[0].text or "no fresh quote" in bench.said("BLIND")[0].text
    bench.bar()
    bench.quote(590, 600)
    bench.tick(1)
    assert bench.phase == "Holding"
    assert bench.held.position.peak == 595  # type: ignore[union-attr]
    assert "SEEING" in bench.said("BLIND")[-1].alert_id
    bench.quote(300, 310)
    assert bench.phase == "Flat"


# --- what must not follow from one bad thing ------------------------------------------------------------------------------


@pytest.mark.fault("W20")
@pytest.mark.parametrize("ahead_s", [3600.0, 1e12])
def test_a_quote_stamped_in_the_future_makes_no_later_quote_an_old_one(ahead_s: float) -> None:
    bench = Bench().bought()
    ahead = Quote(500, 510, 30, 30, bench.now + ahead_s)
    bench.put(QuoteSeen(at=bench.now, contract=CONTRACT, quote=ahead, source="stream"))
    bench.tick(1)
    bench.quote(400, 410)
    assert bench.phase == "Flat", "the stop has seen the price"


def test_history_that_comes_after_a_stall_sells_nothing() -> None:
    bench = Bench().bought()
    for _ in range(5):
        bench.bar(bench.price + 0.001)
        bench.quote(500, 510)
    begun, price = int(bench.now), bench.price
    for _ in range(120):
        bench.tick(1)
        bench.quote(500, 510)
    bench.bar(price - 1.25)
    end = int(bench.now)
    for symbol, first in (("SPY", 600.0), ("IWM", price)):
        step = 0.0 if symbol == "SPY" else 0.01
        bars = tuple(bench._bar(symbol, second, first - step * (second - begun)) for second in range(begun, end - 1))
        bench.put(BarsFetched(at=bench.now, symbol=symbol, start=begun, end=end, bars=bars))
    for _ in range(30):
        bench.quote(500, 510)
        bench.bar(bench.price - 0.01)
    assert bench.phase == "Holding", "only bars after the stall count"
    for _ in range(30):
        bench.quote(500, 510)
        bench.bar(bench.price - 0.01)
    assert bench.phase == "Flat"


@pytest.mark.fault("P19", "A44")
def test_two_things_that_fail_in_one_second_are_both_told() -> None:
    bench = Bench().ready()
    bench.phone = lambda action: None
    for thread in ("quotes", "chain"):
        bench.put(ThreadFailed(at=bench.now, thread=thread, reason="RuntimeError"))
    bench.put(FeedRefused(at=bench.now, feed="stocks", reason="authentication failed"))
    bench.put(
        ChainFailed(at=bench.now, underlying="IWM", right="call", reason="the plan does not include this", refused=True)
    )
    titles = {row.alert.title for row in bench.desk.state.outbox.values()}
    assert {"🧵 IWM quotes was replaced", "🧵 IWM chain was replaced"} <= titles
    assert {"⛔ IWM stocks feed refused", "⛔ IWM option chain refused"} <= titles


def test_a_turn_that_fails_has_said_nothing_and_keeps_what_was_due(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench().ready()
    bench.now = bench.session.close_at + 61 if bench.session else 0.0
    with monkeypatch.context() as broken:
        broken.setattr(bench.desk, "_stop_in_order", lambda turn: 1 / 0)
        assert bench.desk.decide([HalfSecondPassed(at=bench.now)]) == []
        assert [type(fault.raised) for fault in bench.desk.faults] == [ZeroDivisionError]
    bench.tick(30)
    assert any("SUMMARY" in action.alert_id for action in bench.delivered)


@pytest.mark.fault("R13")
def test_a_plan_without_second_bars_is_said_once_and_asked_again_every_five_minutes() -> None:
    bench = Bench().ready()
    asked = bench.put(FeedConnected(at=bench.now, feed="stocks"))
    questions = 0
    for _ in range(1800):
        for question in (action for action in asked if isinstance(action, Backfill)):
            questions += 1
            for symbol in question.symbols:
                bench.put(BackfillFailed(at=bench.now, symbol=symbol, reason="not in the plan (403)", refused=True))
        before = len(bench.actions)
        bench.tick(1)
        asked = bench.actions[before:]
    assert questions == 6
    assert sum("history of bars refused" in action.title for action in bench.delivered) == 1
    lines = [action for action in bench.actions if isinstance(action, Explain) and "could not be had" in action.text]
    assert len(lines) == 2, "once a symbol"


@pytest.mark.fault("X11")
def test_a_clock_that_is_put_back_does_not_tell_the_day_again() -> None:
    bench = Bench().ready()
    bench.now = bench.session.close_at + 61 if bench.session else 0.0
    bench.tick(5)
    bench.now -= 30
    bench.tick(60)
    assert sum("SUMMARY" in action.alert_id for action in bench.delivered) == 1


@pytest.mark.fault("X11")
def test_a_cooldown_of_a_life_whose_clock_was_ahead_is_no_longer_than_any_other() -> None:
    bench = Bench(Remembered(facts={"last_signal_at": 4e9, "last_exit_at": 4e9}), ENTRY_COOLDOWN_SECONDS="30").ready()
    for _ in range(60):
        bench.bar()
    bench.chain(row(at=bench.now))
    bench.surge()
    assert bench.phase == "Holding"


def test_a_refresh_has_as_long_as_its_requests_may_take() -> None:
    bench = Bench(HTTP_TIMEOUT_SECONDS="6").ready()
    bench.refresh = lambda action: None
    bench.surge()
    seeking = bench.memory.seeking
    assert seeking is not None
    bench.tick(seeking.since + 6.0 - bench.now)
    assert bench.phase == "Seeking"
    bench.tick(1.0)
    assert bench.phase != "Seeking"


def test_keep_leaves_no_position_that_nobody_was_told_of() -> None:
    bench = Bench(ON_SHUTDOWN="keep").ready()
    bench.phone = bench.fails("failed")
    bench.surge()
    assert bench.phase == "Holding"
    bench.put(StopRequested(at=bench.now, reason="SIGTERM"))
    assert bench.phase == "Flat"
    assert not any("going down" in action.title for action in bench.delivered)


@pytest.mark.fault("X04")
def test_a_ledger_that_cannot_be_written_for_a_minute_is_told_once_and_a_short_trouble_is_not() -> None:
    bench = Bench().ready()
    for minutes, told in ((0.5, 0), (3, 1)):
        bench.writes = False
        for _ in range(round(minutes * 12)):
            bench.put(CommitFailed(at=bench.now, commit=0, reason="the ledger is held by another program"))
            bench.tick(5)
        assert sum("ledger not written" in action.title for action in bench.delivered) == told
        bench.writes = True
        bench.put(Committed(at=bench.now, commit=0))
        bench.tick(5)
    assert "held by another program" in next(action.text for action in bench.delivered if "not written" in action.title)
