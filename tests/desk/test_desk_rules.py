"""The rules, sentence by sentence, on a desk at the bench: what the founders' page says must be what the desk does."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import pytest
from msgspec.structs import replace

from desk.state import Holding
from events import (
    AnyAction,
    AnyEvent,
    Backfill,
    BackfillFailed,
    Bar,
    BarClosed,
    BarsFetched,
    ChainArrived,
    ChainRow,
    Commit,
    CommitFailed,
    Committed,
    Explain,
    FactSet,
    FeedConnected,
    FeedRefused,
    FetchProfile,
    HalfSecondPassed,
    Noted,
    OperatorSpoke,
    PhoneChecked,
    Position,
    PositionClosed,
    PositionOpened,
    PositionVoided,
    ProfileFailed,
    Quote,
    QuoteSeen,
    Remembered,
    SettlementArrived,
    StopRequested,
)
from tests.kit.deskbench import CONTRACT, Bench, row
from utils import clock_text


def writes(bench: Bench, kind: type) -> list:
    done = [action for action in bench.actions if isinstance(action, Commit)]
    return [write for commit in done for write in commit.writes if isinstance(write, kind)]


def lines(bench: Bench, word: str) -> list[str]:
    return [action.text for action in bench.actions if isinstance(action, Explain) and word in action.text]


def held(bench: Bench) -> Position:
    assert isinstance(bench.desk.state.phase, Holding)
    return bench.desk.state.phase.position


def bar_of(symbol: str, start: float, price: float, volume: float = 500.0, at: float | None = None) -> BarClosed:
    bar = Bar(symbol, int(start), price, price, price, price, volume, price)
    return BarClosed(at=start + 1.5 if at is None else at, bar=bar)


def quote_of(bench: Bench, bid: int | None, ask: int | None, at: float | None = None) -> QuoteSeen:
    at = bench.now if at is None else at
    return QuoteSeen(at=at, contract=CONTRACT, quote=Quote(bid, ask, 30, 30, at), source="rest")


# --- §1: the day -------------------------------------------------------------------------------------------------------


@pytest.mark.fault("A41")
def test_after_two_months_everybody_who_holds_the_calendar_knows_the_day() -> None:
    """The chain, the stocks socket and the errands go by the same calendar as the desk."""
    bench = Bench().ready()
    held_by_others = bench.calendar
    bench.now += 60 * 86_400
    bench.tick()
    day = bench.desk.state.day
    assert day is not None
    assert bench.desk.state.session is not None
    assert held_by_others.on(day) == bench.desk.state.session
    assert len(held_by_others.full_before(day, 10)) == 10


# --- §2: what waits together -------------------------------------------------------------------------------------------


def test_a_quote_that_waits_between_two_bars_is_judged_on_the_newest() -> None:
    """At 20 % given back a quote sells below VWAP_60, and the newest bar is above it."""
    bench = Bench().bought()
    bench.quote(1000, 1010)
    bench.quote(1000, 1010)
    start, price = int(bench.now), bench.price
    bench.now += 2.5
    low = bar_of("IWM", start, price - 1, at=bench.now)
    high = bar_of("IWM", start + 1, price + 0.1, at=bench.now)
    bench.put(low, quote_of(bench, 795, 805), high)
    assert bench.phase == "Holding"


def test_a_quote_that_waited_too_long_is_no_fresh_one() -> None:
    bench = Bench().bought()
    bench.quote(500, 510)
    dip = quote_of(bench, 10, 20, at=bench.now + 1)
    bench.now += 20
    bench.put(dip, HalfSecondPassed(at=bench.now))
    assert bench.phase == "Holding"


def test_what_is_decided_together_is_decided_now() -> None:
    bench = Bench().bought()
    early = quote_of(bench, 10, 20)
    bench.now += 3
    bench.put(early, HalfSecondPassed(at=bench.now))
    (closed,) = writes(bench, PositionClosed)
    assert closed.trade.closed_at == bench.now


# --- §3: signals -------------------------------------------------------------------------------------------------------


def test_signals_that_follow_at_once_do_not_keep_restarting_the_choice() -> None:
    bench = Bench(SIGNAL_COOLDOWN_SECONDS="0").ready()
    bench.refresh = lambda action: None
    bench.surge()
    asked = [action.ticket for action in bench.actions if type(action).__name__ == "RefreshQuotes"]
    assert len(asked) == 1 or bench.phase == "Holding"
    bench.tick(3)
    assert bench.phase == "Holding"


# --- §3, warm start ----------------------------------------------------------------------------------------------------


def backfills(bench: Bench) -> list[Backfill]:
    return [action for action in bench.actions if isinstance(action, Backfill)]


def test_the_history_of_one_symbol_is_asked_for_again_though_the_others_came() -> None:
    bench = Bench().start()
    bench.put(FeedConnected(at=bench.now, feed="stocks"))
    start, end = backfills(bench)[-1].start, backfills(bench)[-1].end
    bench.put(BackfillFailed(at=bench.now, symbol="IWM", reason="no answer"))
    bench.put(BarsFetched(at=bench.now, symbol="SPY", start=start, end=end, bars=()))
    before = len(backfills(bench))
    bench.tick(20)
    assert "IWM" in [symbol for action in backfills(bench)[before:] for symbol in action.symbols]


def test_history_that_nobody_answers_is_asked_for_again_and_what_came_is_not() -> None:
    bench = Bench().start()
    bench.put(FeedConnected(at=bench.now, feed="stocks"))
    first = backfills(bench)[-1]
    bench.tick(61)
    assert len(backfills(bench)) > 1
    for symbol in ("IWM", "SPY"):
        bench.put(BarsFetched(at=bench.now, symbol=symbol, start=first.start, end=int(bench.now), bars=()))
    asked = len(backfills(bench))
    bench.tick(130)
    assert len(backfills(bench)) == asked


def test_a_new_connection_knows_nothing_of_the_seconds_before_it_whether_or_not_its_loss_was_told() -> None:
    bench = Bench().ready()
    bench.put(FeedConnected(at=bench.now, feed="stocks"))
    bench.bar()
    assert bench.desk.market.coverage_s() > 1700
    bench.now += 20
    bench.put(FeedConnected(at=bench.now, feed="stocks"))
    bench.bar()
    assert bench.desk.market.coverage_s() < 5


# --- §5 and §6: the position -------------------------------------------------------------------------------------------


def test_the_run_below_the_vwap_begins_with_the_first_bar_since_the_entry() -> None:
    """A bar of before the entry comes late and below; then there is silence of ten seconds: the run begins after it."""
    bench = Bench().bought()
    opened, price = int(held(bench).opened_at), bench.price
    bench.now += 0.4
    bench.put(bar_of("IWM", opened, price - 1, at=bench.now))
    first = opened + 9
    for second in range(opened + 1, first + 61):
        assert bench.phase == "Holding"
        bench.now = second + 1.5
        bench.put(bar_of("SPY", second, 600.0, at=bench.now))
        if second >= first:
            bench.put(bar_of("IWM", second, price - 1 - (second - first) / 100, at=bench.now))
            assert bench.phase == "Flat" or held(bench).below_since == first
        bench.quote(500, 510)
    (closed,) = writes(bench, PositionClosed)
    assert closed.trade.reason == "VWAP persistence"
    assert closed.trade.detail == "60s below VWAP (2 × 30s)"


@pytest.mark.fault("P12")
def test_a_buy_that_waits_for_the_disk_is_not_said_once_its_position_is_left() -> None:
    bench = Bench().ready()
    bench.writes = None
    bench.surge()
    assert bench.phase == "Holding"
    bench.quote(400, 410)
    assert bench.phase == "Flat"
    bench.tick(3)
    for number in tuple(bench.desk.state.pending):
        bench.put(Committed(at=bench.now, commit=number))
    bench.writes = True
    bench.tick(30)
    assert not bench.said("BUY")
    assert not bench.said("SELL")
    assert writes(bench, PositionVoided)
    assert bench.desk.state.record.trades == 0


@pytest.mark.fault("X04")
def test_a_disk_that_refuses_what_was_given_up_meanwhile_is_no_surprise() -> None:
    bench = Bench().ready()
    bench.writes = None
    bench.surge()
    bench.quote(400, 410)
    bench.tick(3)
    bench.writes = False
    for number in tuple(bench.desk.state.pending):
        bench.put(CommitFailed(at=bench.now, commit=number, reason="the disk is full"))
    assert bench.phase == "Flat"
    assert not bench.desk.state.pending
    bench.writes = True
    bench.tick(10)
    assert [type(write).__name__ for write in writes(bench, PositionOpened | PositionVoided)][-2:] == [
        "PositionOpened",
        "PositionVoided",
    ]
    assert not bench.said("BUY")


def test_a_position_nobody_was_told_of_is_not_settled_but_voided() -> None:
    first = Bench().ready()
    first.phone = first.fails("failed")
    first.surge()
    state = first.desk.state
    second = Bench(
        Remembered(position=held(first), outbox=tuple(state.outbox.values()), trades_opened_on={"2026-11-20": 1}),
        at="16:05:00",
    )
    second.start()
    second.put(SettlementArrived(at=second.now, trade_id="20261120-1", close=225.0))
    second.tick(3)
    assert writes(second, PositionVoided)
    assert not writes(second, PositionClosed)


def test_a_position_of_yesterday_counts_among_yesterdays_trades() -> None:
    first = Bench().bought()
    monday = Bench(Remembered(position=held(first)), day=date(2026, 11, 23), at="09:31:00", MAX_TRADES_PER_DAY="1")
    monday.start()
    monday.put(SettlementArrived(at=monday.now, trade_id="20261120-1", close=225.0))
    assert monday.desk.state.record.trades == 1
    assert not monday.desk.state.trades_today


def test_the_last_words_last_ten_seconds_from_the_close() -> None:
    bench = Bench().bought()
    bench.phone = lambda action: None if action.kind == "SELL" else bench.accepts(action)
    bench.put(StopRequested(at=bench.now, reason="SIGTERM"))
    bench.quote(480, 490)
    asked = bench.now
    bench.tick(0.5)
    while bench.exit_code is None:
        bench.tick(0.5)
    assert bench.now - asked == pytest.approx(10.5, abs=0.6)


def test_an_options_socket_that_is_refused_again_and_again_is_told_once_an_hour() -> None:
    bench = Bench(OPTIONS_STREAM="on").ready()
    for _ in range(20):
        bench.put(FeedRefused(at=bench.now, feed="options", reason="not authorized"))
        bench.bar()
    assert len([action for action in bench.said("OPS") if "refused" in action.title]) == 1


# --- §4: the chain -----------------------------------------------------------------------------------------------------


@pytest.mark.fault("R07")
def test_an_empty_answer_is_no_empty_chain_and_the_last_good_one_serves_sixty_seconds() -> None:
    bench = Bench().ready()
    good = bench.desk.state.chain
    bench.chain()
    assert bench.desk.state.chain == good
    for _ in range(61):
        bench.bar()
    bench.chain()
    assert bench.desk.refusal(bench.now) == "chain is 61s old"


@pytest.mark.fault("A19")
def test_a_day_whose_chain_was_never_there_has_no_entry() -> None:
    bench = Bench()
    bench.rows = ()
    ready = bench.start()
    ready.chain()
    assert ready.desk.state.chain is not None
    assert ready.desk.state.chain.selection.why() == "no contract: the chain is empty"


# --- §7 and §8: what is said and written -------------------------------------------------------------------------------


@pytest.mark.fault("X19")
def test_a_crashing_worker_says_so_three_times_an_hour_and_no_more() -> None:
    facts: dict[str, float | str | None] = {}
    told = 0
    for life in range(20):
        bench = Bench(Remembered(facts=facts), at=f"10:{30 + life}:00")
        bench.start()
        bench.tick(20)
        facts |= {write.key: write.value for write in writes(bench, FactSet)} | {"alive_at": bench.now}
        told += len(bench.delivered)
    assert told == 3


def test_a_disk_that_fails_twice_is_logged_twice() -> None:
    bench = Bench().ready()
    for _ in range(2):
        bench.put(CommitFailed(at=bench.now, commit=0, reason="the disk is full"))
        assert bench.desk.refusal(bench.now) == "the disk is full"
        bench.put(Committed(at=bench.now, commit=0))
        assert bench.desk.refusal(bench.now) is None
    errors = [action for action in bench.actions if isinstance(action, Explain) and action.level == "error"]
    assert [action.text for action in errors] == ["the ledger could not be written: the disk is full"] * 2


def test_a_position_whose_buy_may_have_arrived_is_marked_possibly_announced() -> None:
    bench = Bench().ready()
    bench.phone = bench.fails("unknown")
    bench.surge()
    for _ in range(25):
        bench.bar()
        bench.quote(500, 510)
    assert bench.phase == "Holding"
    assert [note.body["id"] for note in writes(bench, Noted) if note.kind == "possibly announced"] == ["20261120-1"]
    assert lines(bench, "possibly announced")


def test_an_unknown_quota_is_a_warning_and_a_known_shortage_refuses_entries() -> None:
    bench = Bench().ready()
    bench.put(PhoneChecked(at=bench.now, ok=True, reason="valid", quota_left=199))
    assert "199 messages left" in (bench.desk.refusal(bench.now) or "")
    unknown = Bench()
    unknown.put(PhoneChecked(at=unknown.now, ok=True, reason="valid"))
    assert lines(unknown, "left this month is not known")
    assert unknown.desk.state.way_out.phone is None


def test_the_log_calls_a_feed_active_only_while_it_is() -> None:
    bench = Bench().ready()
    for _ in range(61):
        bench.bar()
    assert lines(bench, "📊")[-1].startswith("📊 Data feed active: IWM $220.00, VWAP $220.00, Vol ")
    bench.tick(61)
    assert lines(bench, "📊")[-1].startswith("📊 Data feed stalled for ")


# --- §1: clock rules on short days -------------------------------------------------------------------------------------


def short_day(day: date, at: str, **settings: str) -> Bench:
    """A bench on another day, ready, with a chain that expires then."""
    bench = Bench(day=day, at=at, **settings)
    contract = f"O:IWM{day:%y%m%d}C00220000"

    def chain(*rows: ChainRow) -> None:
        young = Quote(490, 500, 35, 40, bench.now)
        bench.rows = (row(contract, at=bench.now, expiration=day.isoformat(), quote=young),)
        bench.put(ChainArrived(at=bench.now, asked_at=bench.now, right="call", expiration=day.isoformat(), rows=bench.rows))

    bench.chain = chain  # type: ignore[method-assign]
    return bench.ready()


@pytest.mark.fault("A38", "A39", "X13")
@pytest.mark.parametrize("day", [date(2026, 11, 27), date(2026, 12, 24)])
def test_on_an_early_close_every_clock_rule_moves_with_the_close(day: date) -> None:
    bench = short_day(day, "12:25:00")
    bench.surge()
    assert bench.phase == "Holding"
    contract = held(bench).contract
    assert "Time Stop 12:55 ET" in bench.said("BUY")[0].text
    while bench.phase == "Holding" and bench.now < bench.session.close_at:  # type: ignore[union-attr]
        bench.bar(bench.price)
        bench.quote(500, 510, contract)
    (closed,) = writes(bench, PositionClosed)
    assert closed.trade.reason == "time stop"
    assert closed.trade.detail == "Time stop 12:55 ET"
    assert clock_text(closed.trade.closed_at) == "12:55:00"
    reminders = lines(bench, "⏰")
    assert set(reminders) == {"⏰ No entries allowed after 12:30 ET"}
    assert len(reminders) == 6


@pytest.mark.parametrize(("at", "phase"), [("15:29:22", "Holding"), ("15:29:24", "Flat")])
def test_an_entry_needs_a_decision_before_the_cutoff(at: str, phase: str) -> None:
    """The surge is decided on half a minute after it began: at 15:29:59 or at 15:30:01."""
    bench = Bench(at=at).ready()
    bench.surge()
    assert bench.phase == phase
    if phase == "Flat":
        assert bench.why_not() == "no entry: no entries after 15:30 ET"


@pytest.mark.fault("A40", "X12")
@pytest.mark.parametrize("day", [date(2026, 3, 6), date(2026, 3, 9), date(2026, 10, 30), date(2026, 11, 2)])
def test_the_session_is_half_past_nine_to_four_in_new_york_on_both_sides_of_daylight_saving(day: date) -> None:
    bench = Bench(day=day, at="09:29:30").start()
    bench.tick(29)
    assert bench.desk.refusal(bench.now) == "session closed"
    bench.tick(1.5)
    assert bench.desk.refusal(bench.now) != "session closed"
    session = bench.desk.state.session
    assert session is not None
    assert (clock_text(session.open_at), clock_text(session.close_at)) == ("09:30:00", "16:00:00")


# --- §3: cooldowns and limits ------------------------------------------------------------------------------------------


def signals(bench: Bench) -> list[float]:
    return [note.at for note in writes(bench, Noted) if note.kind == "signal"]


def test_a_signal_counts_though_a_position_is_held_and_the_next_one_needs_its_cooldown() -> None:
    bench = Bench().bought()
    first = signals(bench)
    assert len(first) == 1
    for step in range(200):
        if step % 10 == 9:
            bench.chain(*(replace(item, quote=bench.young(item.quote)) for item in bench.rows))
        bench.bar(bench.price + 0.01, 4000 + 40 * step)
        bench.quote(500, 510)
    gaps = [later - earlier for earlier, later in pairwise(signals(bench))]
    assert gaps
    assert set(gaps) == {60.0}
    assert bench.why_not() == "no entry: position open"


@pytest.mark.parametrize(("away_s", "why"), [(299.0, "entry cooldown, 1s left"), (300.0, None)])
def test_the_entry_cooldown_is_over_at_three_hundred_seconds_in_the_next_life_too(away_s: float, why: str | None) -> None:
    now = Bench().now
    bench = Bench(Remembered(facts={"last_exit_at": now - away_s + 0.5})).ready()
    assert bench.desk.refusal(bench.now) == why


@pytest.mark.parametrize(
    ("settings", "exit_bid", "why"),
    [
        ({"MAX_TRADES_PER_DAY": "1"}, 500, "1 trades today, MAX_TRADES_PER_DAY reached"),
        ({"MAX_TRADES_PER_DAY": "2"}, 500, None),
        ({"DAILY_LOSS_HALT": "11"}, 400, "DAILY_LOSS_HALT reached"),
        ({"DAILY_LOSS_HALT": "11.01"}, 400, None),
    ],
)
def test_the_days_limits_are_inclusive(settings: dict[str, str], exit_bid: int, why: str | None) -> None:
    bench = Bench(ENTRY_COOLDOWN_SECONDS="0", SIGNAL_COOLDOWN_SECONDS="0", **settings).bought()
    bench.quote(exit_bid, exit_bid + 10)
    bench.put(OperatorSpoke(at=bench.now, command="close_now", who="a test"))
    assert bench.phase == "Flat"
    assert bench.desk.refusal(bench.now) == why


def test_the_chain_serves_sixty_seconds_and_no_longer() -> None:
    bench = Bench().ready()
    for _ in range(60):
        bench.bar()
    assert bench.desk.refusal(bench.now) is None
    bench.bar()
    assert bench.desk.refusal(bench.now) == "chain is 61s old"


@pytest.mark.fault("A14", "A18")
def test_without_a_profile_the_phone_is_told_once_and_it_is_tried_every_minute() -> None:
    bench = Bench()
    answer = bench._answer
    asked = []

    def no_profile(action: AnyAction) -> AnyEvent | None:
        if isinstance(action, FetchProfile):
            asked.append(bench.now)
            return ProfileFailed(at=bench.now, date=action.date, reason="7 sessions found")
        return answer(action)

    bench._answer = no_profile  # type: ignore[method-assign]
    bench.ready()
    bench.surge()
    bench.tick(600)
    assert bench.phase == "Flat"
    assert len([action for action in bench.said("OPS") if "no volume profile" in action.title]) == 1
    assert {later - earlier for earlier, later in pairwise(asked)} == {60.0}
    assert not signals(bench)


# --- §5 to §8 ----------------------------------------------------------------------------------------------------------


def test_blindness_is_told_ten_seconds_after_the_last_fresh_quote_and_not_before() -> None:
    bench = Bench().bought()
    bench.quote(500, 510)
    seen_at = bench.now
    while not bench.said("BLIND"):
        bench.bar()
    assert bench.now - seen_at == 10.0


@pytest.mark.fault("A33")
def test_one_wild_mid_makes_no_peak_and_two_in_a_row_make_the_lower() -> None:
    bench = Bench().bought()
    for bid, ask, peak in ((500, 510, 495), (900, 910, 505), (520, 530, 525), (700, 710, 525), (690, 700, 695)):
        bench.quote(bid, ask)
        assert held(bench).peak == peak


def test_a_fresh_bid_of_nothing_is_a_price() -> None:
    bench = Bench().bought()
    bench.quote(0, 10)
    (closed,) = writes(bench, PositionClosed)
    assert (closed.trade.reason, closed.trade.exit, closed.trade.pnl) == ("stop loss", 0, -51_000)
    assert "🔴 P&L: -100.0% (-$51.00)" in bench.said("SELL")[0].text


def test_a_critical_loss_is_told_at_each_step_once() -> None:
    bench = Bench(CRITICAL_LOSS="-10", ENTRY_COOLDOWN_SECONDS="0", SIGNAL_COOLDOWN_SECONDS="0").bought()
    bench.quote(200, 210)
    assert [action.text.splitlines()[0] for action in bench.said("CRITICAL")] == [
        f"Lifetime balance -$31.00: it has fallen to -${step}0.00." for step in (1, 2, 3)
    ]


def test_the_end_is_told_and_in_order() -> None:
    bench = Bench().bought()
    bench.put(StopRequested(at=bench.now, reason="SIGTERM"))
    bench.quote(480, 490)
    bench.tick(3)
    assert [action.kind for action in bench.delivered][-2:] in (["OPS", "SELL"], ["SELL", "OPS"])
    assert bench.exit_code == 0
    assert writes(bench, FactSet)[-1] == FactSet("crashes", 0.0)


@pytest.mark.fault("A30")
def test_a_position_that_is_settled_is_not_called_resumed() -> None:
    first = Bench().bought()
    for at, words in (("10:33:00", "Position resumed:"), ("16:05:00", "Position of an ended session, being settled:")):
        later = Bench(Remembered(position=held(first), trades_opened_on={"2026-11-20": 1}), at=at).start()
        assert words in later.said("OPS")[0].text


@pytest.mark.fault("X11")
def test_a_clock_that_is_put_back_by_an_hour_leaves_nobody_waiting_for_an_hour() -> None:
    bench = Bench(at="11:40:00").bought()
    bench.quote(500, 510)
    bench.now -= 3600
    bench.tick(15)
    assert len(bench.said("BLIND")) == 1
    assert bench.desk.state.stalled_since is not None
    bench.phone = bench.fails("failed")
    bench.quote(400, 410)
    assert bench.phase == "Flat"
    bench.now -= 3600
    bench.tick(31)
    assert len(bench.said("SELL")) == 2
