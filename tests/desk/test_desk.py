"""The desk's day, told in events: what it says, when, and why not."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from events import (
    AlertChanged,
    AlertFailed,
    Bar,
    BarClosed,
    BarsFetched,
    CancelReceipt,
    ClockChecked,
    Commit,
    Committed,
    Deliver,
    FeedConnected,
    FeedDropped,
    FetchSettlement,
    OperatorSpoke,
    PhoneChecked,
    PositionClosed,
    PositionOpened,
    PositionVoided,
    Quote,
    QuotesArrived,
    QuoteSeen,
    ReceiptSeen,
    Remembered,
    SettlementArrived,
    StopRequested,
    TakeBack,
)
from pnl_tracker import Record
from tests.kit.deskbench import CONTRACT, OTHER, Bench, row


def writes(bench: Bench, kind: type) -> list[object]:
    return [
        write for action in bench.actions if isinstance(action, Commit) for write in action.writes if isinstance(write, kind)
    ]


def position_of(bench: Bench) -> object:
    return bench.held.position


# --- entry -------------------------------------------------------------------------------------------------------------


def test_a_signal_opens_a_position_and_tells_the_phone_once() -> None:
    bench = Bench().bought()
    assert bench.phase == "Holding"
    assert [action.alert_id for action in bench.said("BUY")] == ["20261120-1-BUY"]
    assert bench.said("BUY")[0].title.startswith("🔥 IWM 0DTE CALL — BUY 2")


def test_the_opening_its_buy_and_the_count_of_the_first_attempt_are_one_commit() -> None:
    bench = Bench().bought()
    commit = next(
        action
        for action in bench.actions
        if isinstance(action, Commit) and any(isinstance(w, PositionOpened) for w in action.writes)
    )
    buy = next(write.outgoing for write in commit.writes if isinstance(write, AlertChanged))
    assert buy.alert.id == "20261120-1-BUY"
    assert buy.attempts == 1


def test_nothing_is_said_before_it_is_durable() -> None:
    bench = Bench().ready()
    bench.writes = None
    bench.surge()
    assert bench.phase == "Holding"
    assert not bench.said("BUY")


@pytest.mark.fault("X04")
def test_a_buy_that_cannot_be_written_is_no_position() -> None:
    bench = Bench().ready()
    bench.writes = False
    bench.surge()
    assert bench.phase == "Flat"
    assert not bench.said("BUY")
    bench.writes = True
    bench.tick(20)
    assert writes(bench, PositionVoided)


@pytest.mark.parametrize(
    ("break_it", "why"),
    [
        (lambda b: b.put(PhoneChecked(at=b.now, ok=False, reason="user identifier is invalid")), "refuses the keys"),
        (lambda b: b.put(PhoneChecked(at=b.now, ok=True, reason="valid", quota_left=199)), "199 messages left"),
        (lambda b: b.put(ClockChecked(at=b.now, skew_s=2.5, source="the market's time")), "clock is +2.5s off"),
        (lambda b: b.put(OperatorSpoke(at=b.now, command="stop_entries", who="a test")), "entries stopped by hand"),
        (lambda b: b.chain(row(at=b.now, delta=0.50), row(OTHER, at=b.now, delta=0.17)), "delta in [0.30, 0.45]"),
    ],
)
@pytest.mark.fault("P02", "W20")
def test_no_buy_unless_the_way_out_is_proven_and_the_reason_is_said(break_it: object, why: str) -> None:
    bench = Bench().ready()
    break_it(bench)  # type: ignore[operator]
    bench.surge()
    assert bench.phase == "Flat"
    assert not bench.said("BUY")
    assert why in (bench.why_not() or "")


def test_a_contract_that_fell_out_while_the_quotes_were_refreshed_is_not_bought() -> None:
    bench = Bench().ready()
    wide = row(bid=400, ask=500, at=bench.now + 40)
    bench.refresh = lambda action: QuotesArrived(at=bench.now, ticket=action.ticket, rows=(wide,))
    bench.surge()
    assert bench.phase == "Flat"
    assert "spread within 4%" in (bench.why_not() or "")


def test_a_refresh_that_fails_leaves_the_snapshots_rows_while_they_are_young() -> None:
    bench = Bench().ready()
    bench.refresh = lambda action: QuotesArrived(at=bench.now, ticket=action.ticket, rows=(), reason="no answer")
    bench.surge()
    assert bench.phase == "Holding"


def test_an_answer_that_never_comes_does_not_keep_the_desk_seeking() -> None:
    bench = Bench().ready()
    bench.refresh = lambda action: None
    bench.surge()
    bench.tick(3)
    assert bench.phase == "Holding"


def test_a_late_answer_carries_an_old_ticket_and_is_ignored() -> None:
    bench = Bench().bought()
    before = bench.desk.state.held
    bench.put(QuotesArrived(at=bench.now, ticket=1, rows=(row(OTHER, at=bench.now),)))
    assert bench.desk.state.held == before


@pytest.mark.fault("W19")
def test_a_burst_after_a_reconnect_decides_once_on_the_newest_second() -> None:
    bench = Bench().ready()
    start = int(bench.now)
    bars = []
    for step in range(40):
        price = 220.0 + step / 100
        volume = 3000.0 if step > 30 else 500.0
        bars.append(Bar("SPY", start + step, 600.0, 600.0, 600.0, 600.0, 500.0, 600.0))
        bars.append(Bar("IWM", start + step, price, price, price, price, volume, price))
    bench.tick(40)
    bench.chain(row(at=bench.now))
    bench.put(*(BarClosed(at=bench.now, bar=bar) for bar in bars))
    assert len(bench.said("BUY")) == 1


def test_a_backlog_cannot_buy() -> None:
    bench = Bench().ready()
    second = int(bench.now)
    bench.tick(12)
    bench.chain(row(at=bench.now))
    bench.put(*(
        BarClosed(at=bench.now, bar=Bar("IWM", second + i - 10, 220.0 + i, 230.0, 220.0, 220.0 + i, 9000.0, 220.0 + i))
        for i in range(2)
    ))  # fmt: skip
    assert bench.phase == "Flat"


def test_the_signal_cooldown_starts_with_every_signal_and_the_entry_cooldown_with_every_exit() -> None:
    bench = Bench().bought()
    bench.quote(400, 410)
    assert bench.phase == "Flat"
    bench.chain(row(at=bench.now))
    bench.surge()
    bench.surge()
    assert len(bench.said("BUY")) == 1
    assert "cooldown" in (bench.why_not() or "")


# --- position ----------------------------------------------------------------------------------------------------------


@pytest.mark.fault("A48", "A50")
def test_every_exit_is_one_sell_whose_result_is_the_ledgers() -> None:
    bench = Bench().bought()
    bench.quote(700, 710)
    bench.quote(700, 710)
    bench.quote(480, 490)
    sells = bench.said("SELL")
    (closed,) = writes(bench, PositionClosed)
    assert len(sells) == 1
    assert closed.trade.pnl == (480 - 510) * 100  # type: ignore[attr-defined]
    assert "🔴 P&L: -5.9% (-$3.00)" in sells[0].text
    assert "LIFETIME: -$3.00" in sells[0].text
    assert sells[0].text.startswith("Reason: Giveback 31.2% (Hard cap 30%)")


@pytest.mark.fault("A25", "A35", "R09")
@pytest.mark.parametrize(("bid", "ask"), [(0, 0), (None, None), (600, 500), (50, 9000), (100, 700), (0, 600)])
def test_an_unusable_quote_moves_neither_mark_nor_peak_and_closes_nothing(bid: int | None, ask: int | None) -> None:
    bench = Bench().bought()
    bench.quote(500, 510)
    before = position_of(bench)
    bench.quote(bid, ask)
    after = position_of(bench)
    assert (after.peak, after.last_mark) == (before.peak, before.last_mark)  # type: ignore[attr-defined]


def test_a_quote_of_another_contract_is_nobodys() -> None:
    bench = Bench().bought()
    bench.quote(10, 20, OTHER)
    assert bench.phase == "Holding"


@pytest.mark.fault("R10")
def test_delayed_quotes_never_mark_a_position_and_the_owner_is_told_after_ten_seconds() -> None:
    bench = Bench().bought()
    for _ in range(12):
        bench.bar()
        bench.quote(10, 20, delayed=True)
    assert bench.phase == "Holding"
    (blind,) = bench.said("BLIND")
    assert "DELAYED" in blind.text


@pytest.mark.fault("A34", "R03")
def test_ten_seconds_without_a_fresh_quote_are_told_once_and_the_return_of_sight_too() -> None:
    bench = Bench().bought()
    bench.quote(500, 510)
    for _ in range(30):
        bench.bar()
    assert [action.alert_id.split("-")[2] for action in bench.said("BLIND")] == ["BLIND"]
    bench.quote(500, 510)
    bench.tick(1)
    assert [action.alert_id.split("-")[2] for action in bench.said("BLIND")] == ["BLIND", "SEEING"]


def test_the_time_stop_closes_a_blind_position_at_the_last_bid_marked_stale() -> None:
    bench = Bench(HARD_TIME_STOP="10:32", NO_ENTRY_AFTER="10:31").bought()
    bench.quote(520, 530)
    while bench.phase == "Holding":
        bench.bar()
    (closed,) = writes(bench, PositionClosed)
    trade = closed.trade  # type: ignore[attr-defined]
    assert (trade.reason, trade.exit, trade.stale) == ("time stop", 520, True)
    assert "stale" in bench.said("SELL")[0].text.lower()


@pytest.mark.fault("W06")
def test_silence_of_all_symbols_is_told_within_sixteen_seconds_while_holding() -> None:
    bench = Bench().bought()
    start = bench.now
    while not bench.said("BLIND") and bench.now < start + 20:
        bench.tick(0.5)
        bench.quote(500, 510)
    assert bench.now - start <= 16
    assert "market-wide halt or outage" in bench.said("BLIND")[0].text


def test_without_bars_the_stop_still_fires_by_its_quotes_and_the_phone_is_told_so() -> None:
    bench = Bench().bought()
    while not bench.said("BLIND"):
        bench.tick(0.5)
        bench.quote(500, 510)
    assert "Stop loss, hard giveback and time stop go on while its quotes come." in bench.said("BLIND")[0].text
    bench.quote(400, 410)
    assert "Stop loss" in bench.said("SELL")[0].text
    unquoted = Bench().bought()
    unquoted.tick(12)
    assert "Only the time stop still works." in unquoted.said("BLIND")[0].text


@pytest.mark.fault("W28")
def test_a_halt_of_the_symbol_is_told_apart_from_an_outage_and_closes_nothing() -> None:
    bench = Bench().bought()
    for _ in range(40):
        second = int(bench.now)
        bench.tick(1)
        bench.put(BarClosed(at=bench.now, bar=Bar("SPY", second, 600.0, 600.0, 600.0, 600.0, 500.0, 600.0)))
        bench.quote(500, 510)
    assert bench.phase == "Holding"
    assert "while others trade: trading halt" in bench.said("BLIND")[0].text
    bench.bar()
    bench.tick(1)
    assert "SEEING" in bench.said("BLIND")[-1].alert_id


@pytest.mark.fault("R19")
def test_a_quote_that_goes_by_another_underlying_price_is_no_trusted_price() -> None:
    bench = Bench().bought()
    spot = bench.price
    bench.put(replace(_quote(bench, 10, 20), underlying=spot * 1.006))
    assert bench.phase == "Holding"
    bench.put(replace(_quote(bench, 10, 20), underlying=spot * 1.004))
    assert bench.phase == "Flat"


def _quote(bench: Bench, bid: int, ask: int) -> object:
    return QuoteSeen(at=bench.now, contract=CONTRACT, quote=Quote(bid, ask, 30, 30, bench.now), source="rest")


@pytest.mark.fault("R16")
def test_an_answer_that_a_newer_quote_overtook_is_ignored_whatever_the_quotes_own_time() -> None:
    bench = Bench().bought()
    bench.quote(500, 510)
    fallen = Quote(10, 20, 30, 30, bench.now + 1)
    bench.put(QuoteSeen(at=bench.now, contract=CONTRACT, quote=fallen, source="rest", asked_at=bench.now - 0.2))
    assert bench.phase == "Holding"
    bench.tick(1)
    old = replace(fallen, quoted_at=bench.now - 60)
    bench.put(QuoteSeen(at=bench.now, contract=CONTRACT, quote=old, source="rest", asked_at=bench.now - 0.2))
    assert bench.phase == "Flat", "fresh is what was received lately, however old its own time stamp"


@pytest.mark.fault("R19")
def test_a_chain_that_goes_by_another_price_for_ten_seconds_is_told_once() -> None:
    bench = Bench().ready()
    for _ in range(30):
        bench.bar()
        if int(bench.now) % 10 == 0:
            bench.chain(row(at=bench.now, underlying=bench.price * 1.03))
    told = [action for action in bench.delivered if "option chain disagrees" in action.title]
    assert ["3.0% from the stream's" in action.text for action in told] == [True]


@pytest.mark.fault("R19")
def test_nothing_is_bought_on_a_row_whose_price_of_the_underlying_no_exit_would_trust() -> None:
    bench = Bench().ready()
    bench.chain(row(at=bench.now))
    bench.refresh = lambda action: QuotesArrived(
        at=bench.now, ticket=action.ticket, rows=(row(at=bench.now, underlying=bench.price * 1.02),)
    )
    bench.surge()
    assert bench.phase == "Flat"
    assert "another price of the underlying" in str(bench.why_not())


def test_a_stall_pauses_the_vwap_exits_and_forgets_the_run() -> None:
    bench = Bench().bought()
    for _ in range(50):
        bench.bar(bench.price - 0.02)
        bench.quote(500, 510)
    bench.tick(8)
    assert position_of(bench).id
    for _ in range(30):
        bench.bar(bench.price - 0.02)
        bench.quote(500, 510)
    assert bench.phase == "Holding"
    for _ in range(40):
        bench.bar(bench.price - 0.02)
        bench.quote(500, 510)
    (closed,) = writes(bench, PositionClosed)
    assert closed.trade.reason == "VWAP persistence"  # type: ignore[attr-defined]


# --- the phone ---------------------------------------------------------------------------------------------------------


@pytest.mark.fault("P13", "A47")
def test_a_buy_that_certainly_reached_nobody_is_dropped_after_twenty_seconds_with_its_position() -> None:
    bench = Bench().ready()
    bench.phone = bench.fails("failed")
    bench.surge()
    tries = []
    for _ in range(60):
        bench.bar()
        tries.append(len(bench.said("BUY")))
    assert bench.phase == "Flat"
    assert max(tries) == 4
    assert writes(bench, PositionVoided)
    assert not bench.said("SELL")
    bench.phone = bench.accepts
    bench.tick(120)
    assert any("Missed" in action.title for action in bench.said("OPS"))


@pytest.mark.fault("P05", "A42")
def test_after_an_unknown_outcome_the_position_stays_and_the_next_try_says_repeat() -> None:
    bench = Bench().ready()
    bench.phone = bench.fails("unknown")
    bench.surge()
    for _ in range(40):
        bench.bar()
        bench.quote(500, 510)
    buys = bench.said("BUY")
    assert bench.phase == "Holding"
    assert len(buys) > 1
    assert len({action.alert_id for action in buys}) == 1
    assert not buys[0].text.startswith("REPEAT")
    assert all(action.text.startswith("REPEAT of #20261120-1-BUY, do not buy twice") for action in buys[1:])


@pytest.mark.fault("P12")
def test_a_buy_is_not_tried_again_once_its_position_is_closed() -> None:
    bench = Bench().ready()
    bench.phone = bench.fails("unknown")
    bench.surge()
    count = len(bench.said("BUY"))
    bench.quote(400, 410)
    bench.tick(30)
    assert len(bench.said("BUY")) == count
    assert bench.said("SELL")


@pytest.mark.fault("P03", "P04", "P07")
def test_a_sell_is_tried_until_it_is_delivered() -> None:
    bench = Bench().bought()
    bench.phone = bench.fails("failed")
    bench.quote(400, 410)
    bench.tick(1800)
    tries = len(bench.said("SELL"))
    assert tries > 20
    bench.phone = bench.accepts
    bench.tick(120)
    last = bench.said("SELL")[-1]
    assert "LATE" in last.text
    assert last.alert_id == "20261120-1-SELL"


@pytest.mark.fault("X04", "X06")
@pytest.mark.parametrize("disk", [None, False])
def test_a_sell_that_cannot_be_written_goes_out_all_the_same_and_says_so(disk: bool | None) -> None:
    bench = Bench().bought()
    bench.writes = disk
    bench.quote(400, 410)
    bench.tick(1.5)
    (sell,) = bench.said("SELL")
    assert "NOT RECORDED" in sell.text
    bench.writes = True
    bench.tick(10)
    assert len(bench.said("SELL")) == 1


@pytest.mark.fault("P01")
def test_a_refused_sell_goes_to_the_fallback_channel_at_once() -> None:
    bench = Bench(FALLBACK_ALERT_URLS="json://127.0.0.1:9/").bought()

    def answer(action: Deliver) -> object:
        return bench.accepts(action) if action.channel == "fallback" else bench.fails("refused")(action)

    bench.phone = answer  # type: ignore[assignment]
    bench.quote(400, 410)
    bench.tick(1)
    assert [action.channel for action in bench.said("SELL")] == ["pushover", "fallback"]


@pytest.mark.fault("P14")
def test_a_sell_nobody_has_seen_is_said_once_more_and_then_elsewhere() -> None:
    bench = Bench(FALLBACK_ALERT_URLS="json://127.0.0.1:9/").bought()
    bench.quote(400, 410)
    bench.tick(1300)
    sells = bench.said("SELL")
    assert [action.channel for action in sells] == ["pushover", "pushover", "fallback"]
    assert all("becomes 100 shares" in action.text for action in sells[1:])


@pytest.mark.fault("P17", "A49")
def test_a_flapping_feed_makes_three_messages_an_hour_and_not_hundreds() -> None:
    bench = Bench().ready()
    for _ in range(100):
        bench.tick(7)
        bench.bar()
    assert len(bench.said("OPS")) <= 4


# --- lives -------------------------------------------------------------------------------------------------------------


def remembered(bench: Bench, **facts: float) -> Remembered:
    state = bench.desk.state
    position = bench.held.position if state.held else None
    return Remembered(
        position=position,
        trades=state.trades,
        outbox=tuple(state.outbox.values()),
        facts={"alive_at": bench.now, "last_signal_at": bench.memory.last_signal_at, **facts},
        trades_opened_on={"2026-11-20": 1},
    )


@pytest.mark.fault("A29", "X18", "X21")
def test_the_next_life_goes_on_with_the_position_prices_it_first_and_says_how_long_it_was_away() -> None:
    first = Bench().bought()
    first.quote(700, 710)
    first.quote(700, 710)
    second = Bench(remembered(first), at="10:34:52")
    second.start()
    assert second.phase == "Holding"
    assert position_of(second).peak == 705  # type: ignore[attr-defined]
    assert "was away 4 m" in second.said("OPS")[0].text
    assert not second.said("SELL")
    second.quote(400, 410)
    assert second.said("SELL")


@pytest.mark.fault("A30", "X17")
@pytest.mark.parametrize(
    ("close", "exit", "words"), [(221.37, 1370, "EXPIRED"), (219.0, 0, "EXPIRED"), (None, None, "EXPIRED")]
)
def test_a_position_whose_session_has_ended_is_settled_and_never_resumed(
    close: float | None, exit: int | None, words: str
) -> None:
    first = Bench().bought()
    second = Bench(remembered(first), at="16:05:00")
    second.start()
    for _ in range(8):
        second.put(SettlementArrived(at=second.now, trade_id="20261120-1", close=close, reason="no bars"))
        second.tick(31)
    (closed,) = writes(second, PositionClosed)
    assert closed.trade.exit == exit  # type: ignore[attr-defined]
    assert words in second.said("SELL")[0].title
    assert second.desk.state.record.unresolved == (exit is None)


def test_an_unresolved_trade_is_asked_for_again_and_joins_the_record_once_its_close_is_known() -> None:
    first = Bench().bought()
    second = Bench(remembered(first), at="16:05:00").start()
    for _ in range(8):
        second.put(SettlementArrived(at=second.now, trade_id="20261120-1", close=None, reason="no bars"))
        second.tick(31)
    assert second.desk.state.record.unresolved == 1
    third = Bench(remembered(second), at="16:20:00").start()
    third.tick(7300)
    asked = [action for action in third.actions if isinstance(action, FetchSettlement)]
    assert [(action.trade_id, action.date) for action in asked] == [("20261120-1", "2026-11-20")] * 3, "at once, then hourly"
    for _ in range(2):
        third.put(SettlementArrived(at=third.now, trade_id="20261120-1", close=221.37))
    record = third.desk.state.record
    assert (record.trades, record.unresolved, record.balance) == (1, 0, (1370 - 510) * 100)
    assert third.phase == "Flat"
    third.tick(1)
    told = [action for action in third.delivered if "now resolved" in action.title]
    assert ["+$86.00" in action.text for action in told] == [True]
    assert [trade.exit for trade in remembered(third).trades] == [1370]


def test_a_trade_that_is_resolved_later_sounds_the_alarm_of_the_level_it_crosses() -> None:
    first = Bench(CRITICAL_LOSS="-50").bought()
    second = Bench(remembered(first), at="16:05:00", CRITICAL_LOSS="-50").start()
    for _ in range(8):
        second.put(SettlementArrived(at=second.now, trade_id="20261120-1", close=None, reason="no bars"))
        second.tick(31)
    assert not second.said("CRITICAL")
    second.put(SettlementArrived(at=second.now, trade_id="20261120-1", close=219.0))
    second.tick(1)
    (alarm,) = second.said("CRITICAL")
    assert alarm.text.startswith("Lifetime balance -$51.00: it has fallen to -$50.00.")


def closed_while_its_buy_waits(**settings: str) -> Bench:
    """The BUY was handed over and nothing is heard of it; then the stop fires."""
    bench = Bench(**settings).ready()
    bench.phone = lambda action: None if action.kind == "BUY" else bench.accepts(action)
    bench.surge()
    bench.quote(400, 410)
    assert TakeBack("20261120-1-BUY") in bench.actions
    return bench


def buy_failed(bench: Bench, outcome: str = "failed") -> AlertFailed:
    told = AlertFailed(at=bench.now, alert_id="20261120-1-BUY", attempt=1, outcome=outcome, reason="as told")  # type: ignore[arg-type]
    bench.put(told)
    return told


def test_a_buy_that_fails_for_certain_before_its_sell_has_left_was_no_trade() -> None:
    bench = Bench().ready()
    bench.phone = lambda action: None if action.kind == "BUY" else bench.accepts(action)
    bench.surge()
    bench.writes = None
    bench.quote(400, 410)
    buy_failed(bench)
    assert (bench.phase, bench.desk.state.trades, bench.desk.state.record.balance) == ("Flat", (), 0)
    assert bench.desk.state.last_exit_at is None, "only the signal's cooldown was begun"
    bench.writes = True
    for commit in tuple(bench.desk.state.pending):
        bench.put(Committed(at=bench.now, commit=commit))
    bench.tick(2)
    assert not bench.said("SELL")
    assert [told.title for told in bench.said("OPS")][-1] == "Missed IWM BUY"
    assert not remembered(bench).trades


def test_a_buy_that_fails_for_certain_behind_its_sell_is_kept_out_of_the_record_and_said() -> None:
    bench = closed_while_its_buy_waits(CRITICAL_LOSS="-500")
    assert bench.said("SELL")
    assert bench.desk.state.record.trades == 1
    buy_failed(bench)
    assert (bench.desk.state.trades, bench.desk.state.record) == ((), Record())
    bench.tick(700)
    (told,) = bench.said("CRITICAL")
    assert told.title == "↩️ IWM — that BUY never reached you"
    assert "there is nothing to sell" in told.text
    assert len(bench.said("SELL")) == 1, "it is not said once more, unseen though it is"
    assert any(isinstance(action, CancelReceipt) and action.alert_id.endswith("SELL") for action in bench.actions)
    assert len(bench.said("BUY")) == 1
    assert not remembered(bench).trades


def test_a_buy_that_may_have_arrived_stays_a_trade_whatever_fails_behind_its_sell() -> None:
    bench = closed_while_its_buy_waits()
    buy_failed(bench, "unknown")
    bench.tick(60)
    assert bench.desk.state.record.trades == 1
    assert len(bench.said("BUY")) == 1


def test_what_of_a_buy_has_not_begun_when_it_expires_is_taken_back_and_its_position_void() -> None:
    bench = Bench().ready()
    bench.phone = lambda action: None if action.kind == "BUY" else bench.accepts(action)
    bench.surge()
    for _ in range(10):
        bench.tick(1)
        bench.quote(490, 500)
    assert TakeBack("20261120-1-BUY") not in bench.actions
    bench.tick(10)
    assert TakeBack("20261120-1-BUY") in bench.actions
    buy_failed(bench)
    bench.tick(1)
    assert (bench.phase, bench.desk.state.record.trades) == ("Flat", 0)


def test_an_emergency_buy_stops_ringing_when_its_position_closes() -> None:
    bench = Bench(BUY_PRIORITY="2").bought()
    bench.quote(400, 410)
    bench.tick(1)
    (cancel,) = [action for action in bench.actions if isinstance(action, CancelReceipt)]
    assert cancel.alert_id == "20261120-1-BUY"
    bench.tick(5)
    assert sum(isinstance(action, CancelReceipt) for action in bench.actions) == 2, "asked again until it is so"
    bench.put(ReceiptSeen(at=bench.now, alert_id=cancel.alert_id, receipt=cancel.receipt, expired=True))
    bench.tick(20)
    assert sum(isinstance(action, CancelReceipt) for action in bench.actions) == 2


@pytest.mark.fault("A28", "P11")
def test_a_buy_on_the_wire_when_the_process_died_goes_out_again_as_a_repeat() -> None:
    first = Bench().ready()
    first.phone = lambda action: None
    first.surge()
    second = Bench(remembered(first), at="10:30:45")
    second.start()
    (buy,) = second.said("BUY")
    assert buy.text.startswith("REPEAT of #20261120-1-BUY")


@pytest.mark.fault("X19")
def test_three_unclean_ends_in_a_row_refuse_entries_until_the_worker_has_stood_ten_minutes() -> None:
    bench = Bench(Remembered(facts={"running_since": 0.0, "alive_at": 1.0, "crashes": 2.0})).ready()
    bench.surge()
    assert "3 unclean ends" in (bench.why_not() or "")


@pytest.mark.fault("A51", "X02")
def test_the_end_closes_the_position_with_a_last_quote_and_waits_for_its_sell() -> None:
    bench = Bench().bought()
    bench.put(StopRequested(at=bench.now, reason="SIGTERM"))
    bench.quote(480, 490)
    bench.tick(1)
    (closed,) = writes(bench, PositionClosed)
    assert closed.trade.reason == "shutdown"  # type: ignore[attr-defined]
    bench.tick(6)
    assert bench.exit_code == 0


@pytest.mark.fault("A50")
def test_the_worker_says_that_it_ended_after_its_sell_and_with_the_balance_that_the_sell_left() -> None:
    bench = Bench().bought()
    bench.put(StopRequested(at=bench.now, reason="SIGTERM"))
    bench.quote(480, 490)
    bench.tick(6)
    (sell,), (ended,) = bench.said("SELL"), [action for action in bench.said("OPS") if "ended" in action.title]
    assert sell.text.split("LIFETIME: ")[1].split("\n")[0] == ended.text.split("LIFETIME: ")[1].split("\n")[0]
    kinds = [action.title for action in bench.actions if isinstance(action, Deliver)]
    assert kinds.index(sell.title) < kinds.index(ended.title)


@pytest.mark.fault("A51")
def test_keep_leaves_the_position_to_the_next_start_and_tells_the_phone() -> None:
    bench = Bench(ON_SHUTDOWN="keep").bought()
    bench.put(StopRequested(at=bench.now, reason="SIGTERM"))
    bench.tick(6)
    assert bench.exit_code == 0
    assert bench.phase == "Halted"
    assert not writes(bench, PositionClosed)
    assert any("holding" in action.title for action in bench.said("BLIND"))


# --- the feed ----------------------------------------------------------------------------------------------------------


def test_after_a_lost_socket_nothing_is_a_signal_until_the_gap_is_filled() -> None:
    bench = Bench().ready()
    bench.put(FeedDropped(at=bench.now, feed="stocks", reason="cut"))
    bench.tick(3)
    bench.put(FeedConnected(at=bench.now, feed="stocks"))
    gap = int(bench.now)
    bench.surge()
    assert bench.phase == "Flat"
    price = 220.0
    bars = tuple(Bar("IWM", second, price, price, price, price, 500.0, price) for second in range(gap - 600, gap))
    bench.put(BarsFetched(at=bench.now, symbol="IWM", start=gap - 600, end=gap + 1, bars=bars))
    bench.tick(60)
    bench.chain(row(at=bench.now))
    bench.surge()
    assert bench.phase == "Holding"


def test_quiet_seconds_between_history_and_the_first_live_bar_are_no_gap() -> None:
    bench = Bench().start()
    bench.put(ClockChecked(at=bench.now, skew_s=0.0, source="the market's time"))
    bench.put(FeedConnected(at=bench.now, feed="stocks"))
    now, price = int(bench.now), 220.0
    bars = tuple(Bar("IWM", second, price, price, price, price, 500.0, price) for second in range(now - 1800, now - 2))
    bench.put(BarsFetched(at=bench.now, symbol="IWM", start=now - 1800, end=now + 1, bars=bars))
    bench.tick(4)
    bench.bar()
    assert bench.iwm.coverage_s() > 1790


@pytest.mark.fault("W26")
def test_a_delayed_feed_is_not_traded_on_and_the_reason_is_said() -> None:
    bench = Bench().start()
    bench.chain(row(at=bench.now))
    start = int(bench.now) - 1500
    for step in range(700):
        bench.tick(1)
        price = 220.0 + step / 100
        bench.put(BarClosed(at=bench.now, bar=Bar("IWM", start + step, price, price, price, price, 500.0 + step, price)))
    assert bench.phase == "Flat"
    assert any("delayed" in (action.title + action.text).lower() for action in bench.said("OPS"))


@pytest.mark.fault("W26")
def test_a_delayed_socket_is_found_out_though_the_history_is_not_delayed() -> None:
    bench = Bench().ready()
    start = int(bench.now) - 900
    for step in range(15):
        bench.tick(1)
        bench.put(BarClosed(at=bench.now, bar=Bar("IWM", start + step, 220.0, 220.0, 220.0, 220.0, 500.0, 220.0)))
    bench.tick(60)
    lines = [getattr(action, "text", "") for action in bench.actions]
    assert [line for line in lines if line.startswith("📊")][-1].startswith("📊 Data feed stalled for")
    assert any("delayed" in (action.title + action.text).lower() for action in bench.said("OPS"))


@pytest.mark.fault("W17")
def test_late_corrections_are_no_delayed_feed() -> None:
    bench = Bench().ready()
    for step in range(30):
        bench.bar()
        old = int(bench.now) - 800 + step
        bench.put(BarClosed(at=bench.now, bar=Bar("IWM", old, 220.0, 220.0, 220.0, 220.0, 900.0, 220.0)))
    assert not any("delayed" in action.text.lower() for action in bench.said("OPS"))


@pytest.mark.fault("A41", "A17")
def test_the_day_is_made_anew_at_midnight() -> None:
    bench = Bench().ready()
    bench.tick(3600)
    before = bench.iwm.windows
    bench.now += 86_400 * 3 - 3600  # the same hour on Monday
    bench.tick(1)
    assert str(bench.desk.state.day) == "2026-11-23"
    assert bench.iwm.windows is not before
    assert bench.desk.state.opened_today == 0


@pytest.mark.fault("A39", "X13", "W24")
def test_a_holiday_has_no_signals_no_stall_alerts_and_no_entries() -> None:
    from datetime import date

    bench = Bench(day=date(2026, 11, 26), at="10:30:00")
    bench.start()
    bench.tick(60)
    for _ in range(40):
        bench.bar(bench.price + 0.01)
    assert [action.alert_id[-7:] for action in bench.delivered] == ["STARTED"]
