"""Faults of the feeds as the desk meets them: what it refuses, what it holds on to, and what it says."""

from __future__ import annotations

import pytest

from events import (
    AnyEvent,
    Bar,
    BarClosed,
    ChainFailed,
    JunkDropped,
    Noted,
    QuoteFailed,
    QuotesArrived,
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
    assert bench.desk.market.reading() is None
    bench.bar(220.0)
    reading = bench.desk.market.reading()
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
            bench.put(ChainFailed(at=bench.now, right="call", reason=reason, refused=is_refused))
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
    assert bench.desk.market.fresh_close(bench.now) == pytest.approx(price)
    bench.bar(price)
    bench.quote(500, 510)
    assert bench.phase == "Holding"
    bench.bar(price * 1.03)
    assert bench.desk.market.fresh_close(bench.now) == pytest.approx(price)
    bench.bar(price * 1.03)
    assert bench.desk.market.fresh_close(bench.now) == pytest.approx(price * 1.03)


@pytest.mark.fault("W10")
def test_five_seconds_without_a_decision_lose_no_exit_among_the_bars() -> None:
    bench = Bench().bought()
    second = int(bench.now)
    waiting: list[AnyEvent] = []
    for late in range(5):
        waiting += [bar("SPY", second + late, 600.0), bar("IWM", second + late, bench.price)]
    sold = bench.desk.state.phase
    assert type(sold).__name__ == "Holding"
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
    assert bench.desk.state.phase.position.peak == 595  # type: ignore[union-attr]
    assert "SEEING" in bench.said("BLIND")[-1].alert_id
    bench.quote(300, 310)
    assert bench.phase == "Flat"
