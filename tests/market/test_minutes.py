"""Minutes: folded, closed in one turn, corrected, replaced where a hole was, silent; and a recorded session against plain grouping."""

from __future__ import annotations

import csv
import gzip
import random
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events import Bar
from market.minutes import Board, Minutes, folded
from utils import Session, SessionCalendar

OPEN = 1_795_185_000
SESSION = Session(date(2026, 11, 20), OPEN, OPEN + 23_400)
GRACE_S = 3.0
RECORDED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "seconds"


def second(at: int, close: float = 100.0, volume: float = 10.0, symbol: str = "QQQ", **parts: float) -> Bar:
    """A bar `at` seconds after the open."""
    given = {"open": close, "high": close, "low": close, "vwap": close} | parts
    return Bar(symbol, OPEN + at, given["open"], given["high"], given["low"], close, volume, given["vwap"])


def minute(place: int, close: float = 100.0, volume: float = 600.0, symbol: str = "QQQ") -> Bar:
    return Bar(symbol, OPEN + 60 * place, close, close, close, close, volume, close)


def live(*bars: Bar, at: float = -600.0) -> Minutes:
    minutes = Minutes("QQQ", SESSION)
    minutes.live(OPEN + at)
    for bar in bars:
        minutes.add(bar)
    return minutes


# --- folding and closing -----------------------------------------------------------------------------------------------


def test_a_minute_is_first_open_last_close_high_low_sum_and_mean_weighted_by_volume() -> None:
    minutes = live(
        second(1, 100.2, 30, open=100.0, high=100.3, low=99.9, vwap=100.1),
        second(59, 100.1, 10, open=100.2, high=100.2, low=100.0, vwap=100.05),
        second(60, 100.5),
    )
    assert minutes.close(OPEN + 63, GRACE_S)
    bar = minutes.bar(0)
    assert bar is not None
    assert (bar.start, bar.open, bar.high, bar.low, bar.close, bar.volume) == (OPEN, 100.0, 100.3, 99.9, 100.1, 40)
    assert bar.vwap == pytest.approx((30 * 100.1 + 10 * 100.05) / 40)


def test_a_minute_closes_when_its_grace_is_over_and_the_forming_one_is_not_read() -> None:
    minutes = live(second(10))
    assert not minutes.close(OPEN + 62.999, GRACE_S)
    assert (minutes.closed, minutes.bar(0)) == (0, None)
    assert minutes.close(OPEN + 63, GRACE_S)
    assert not minutes.close(OPEN + 63.5, GRACE_S)
    assert minutes.closed == 1
    assert minutes.bar(1) is None


def test_all_symbols_close_in_one_turn_and_a_late_turn_closes_all_that_are_due() -> None:
    board = Board(["QQQ", "SPY"], SESSION, GRACE_S)
    board.live(OPEN - 60)
    board.take(second(5), OPEN + 7)
    board.take(second(6, symbol="SPY"), OPEN + 8)
    assert board.close(OPEN + 62) == 0
    assert board.close(OPEN + 63) == 1
    assert board.close(OPEN + 200) == 3
    assert [minutes.closed for minutes in board.minutes.values()] == [3, 3]


def test_a_second_that_comes_or_is_corrected_after_the_closing_changes_the_minute_and_says_from_where() -> None:
    minutes = live(second(10, 100.0), second(70, 100.1))
    minutes.close(OPEN + 130, GRACE_S)
    minutes.revised = minutes.closed
    minutes.add(second(59, 100.4, 20))
    assert (minutes.bar(0) or second(0)).close == 100.4
    assert minutes.revised == 0
    minutes.add(second(59, 100.3, 5))
    assert (minutes.bar(0) or second(0)).volume == 15
    minutes.revised = minutes.closed
    minutes.add(second(70, 100.2))
    assert minutes.revised == 1


def test_a_correction_older_than_every_window_is_dropped() -> None:
    minutes = live(second(10), second(61), second(2000))
    minutes.close(OPEN + 2000, GRACE_S)
    assert minutes.add(second(11, 100.9)) == "dropped:too old"
    assert (minutes.bar(0) or second(0)).close == 100.0


def test_a_close_far_off_the_last_waits_until_the_next_agrees() -> None:
    minutes = live(second(10), second(20, 103.0))
    minutes.add(second(21, 100.1))
    minutes.close(OPEN + 63, GRACE_S)
    bar = minutes.bar(0)
    assert bar is not None
    assert (bar.high, bar.volume) == (100.1, 20)
    halted = live(second(10), second(70, 103.0), second(71, 103.1))
    halted.close(OPEN + 123, GRACE_S)
    assert (halted.bar(1) or second(0)).open == 103.0


def test_what_lies_outside_regular_hours_enters_nothing() -> None:
    minutes = live(second(-1, 100.0), second(23_400, 100.0))
    minutes.close(OPEN + 23_700, GRACE_S)
    assert minutes.bars(0, 390) == [None] * 390


# --- whole and not whole -----------------------------------------------------------------------------------------------


def test_whole_without_a_trade_is_no_bar_and_nothing_is_missing() -> None:
    minutes = live(second(10))
    minutes.close(OPEN + 123, GRACE_S)
    assert minutes.bar(1) is None
    assert minutes.lacks(0, 2) == ""
    assert minutes.wanted(OPEN + 300) is None


@pytest.mark.parametrize("lost_at", [61.0, 62.9])
def test_a_minute_is_whole_only_if_the_socket_was_there_until_its_closing(lost_at: float) -> None:
    minutes = live(second(10))
    minutes.lost()
    minutes.live(OPEN + lost_at)
    minutes.close(OPEN + 63, GRACE_S)
    assert minutes.bar(0) is None
    assert minutes.lacks(0, 1) == "minute 09:30 missing"


def test_a_hole_is_asked_for_ten_seconds_after_its_end_and_replaced() -> None:
    minutes = live(second(10))
    minutes.lost()
    minutes.live(OPEN + 70)
    minutes.add(second(75, 100.1))
    minutes.close(OPEN + 123, GRACE_S)
    assert minutes.wanted(OPEN + 69.9) is None
    assert minutes.wanted(OPEN + 70) == (OPEN, OPEN + 60)
    assert minutes.wanted(OPEN + 130) == (OPEN, OPEN + 120)
    minutes.fill(OPEN, [minute(0, 100.7), minute(1, 100.8)])
    assert [bar and bar.close for bar in minutes.bars(0, 2)] == [100.7, 100.8]
    assert minutes.wanted(OPEN + 300) is None
    minutes.add(second(10, 100.2))
    assert (minutes.bar(0) or second(0)).close == 100.7


def test_a_whole_minute_is_never_replaced() -> None:
    minutes = live(second(10))
    minutes.close(OPEN + 123, GRACE_S)
    minutes.fill(OPEN, [minute(0, 101.0), minute(1, 101.0)])
    assert [bar and bar.close for bar in minutes.bars(0, 2)] == [100.0, None]


def test_a_missing_minute_that_rest_does_not_know_had_no_trade_only_if_a_later_one_is_there() -> None:
    minutes = live(at=1000.0)
    minutes.close(OPEN + 190, GRACE_S)
    minutes.fill(OPEN, [minute(0)])
    assert minutes.lacks(0, 3) == "minute 09:31 missing"
    minutes.fill(OPEN, [minute(0), minute(2)])
    assert minutes.lacks(0, 3) == ""
    assert minutes.bars(0, 3)[1] is None
    later = live(at=1000.0)
    later.close(OPEN + 190, GRACE_S)
    later.fill(OPEN + 60, [minute(2)])
    assert later.lacks(0, 3) == "minute 09:30 missing"


def test_a_warm_start_has_earlier_sessions_before_and_today_in_its_places() -> None:
    minutes = live(at=130.0)
    minutes.close(OPEN + 190, GRACE_S)
    minutes.revised = minutes.closed
    yesterday = [minute(-1000), minute(-999)]
    minutes.fill(OPEN - 100_000, [*yesterday, minute(0), minute(1), minute(2)])
    assert minutes.before == tuple(yesterday)
    assert minutes.revised == -1
    assert minutes.lacks(0, 3) == ""


# --- silence -----------------------------------------------------------------------------------------------------------


def heard(board: Board, symbol: str, *seconds: int) -> None:
    for at in seconds:
        board.take(second(at, symbol=symbol), OPEN + at + 2.0)


def board_of_two() -> Board:
    board = Board(["QQQ", "SPY"], SESSION, GRACE_S)
    board.live(OPEN - 60)
    heard(board, "QQQ", 0)
    return board


def test_a_symbol_is_silent_only_while_others_are_heard() -> None:
    board = board_of_two()
    heard(board, "SPY", 0, 30, 59)
    assert board.silence("QQQ") == 59
    heard(board, "SPY", 60)
    assert board.silence("QQQ") == 60
    assert board.silence("SPY") == 0


def test_a_stall_of_all_and_a_new_connection_are_nobodys_own_silence() -> None:
    for pause in (Board.stalled, lambda board: board.live(OPEN + 100)):
        board = board_of_two()
        heard(board, "SPY", 1)
        pause(board)
        assert board.silence("QQQ") == 0
        heard(board, "SPY", 300, 310)
        assert board.silence("QQQ") == 10
        assert board.halted("QQQ") == ""


def test_after_a_halt_five_bars_must_close_before_a_condition_may_hold() -> None:
    board = board_of_two()
    heard(board, "SPY", *range(1, 119))
    assert board.halted("QQQ") == ""
    heard(board, "SPY", 120)
    assert board.halted("QQQ") == "silent for 120 s"
    heard(board, "SPY", 150)
    for step in range(5):
        heard(board, "QQQ", 155 + 60 * step)
        heard(board, "SPY", 156 + 60 * step)
        board.close(OPEN + 180 + 60 * step + GRACE_S)
        assert board.halted("QQQ") == ("" if step == 4 else f"{step + 1} of 5 bars since a halt")


def test_what_is_asked_of_rest_is_said_for_each_symbol() -> None:
    board = Board(["QQQ", "SPY"], SESSION, GRACE_S)
    board.live(OPEN + 30)
    board.close(OPEN + 63)
    assert board.wanted(OPEN + 70) == {"QQQ": (OPEN, OPEN + 60), "SPY": (OPEN, OPEN + 60)}


# --- any order, any correction, and a recorded session -------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(9_950, 10_050), st.integers(0, 50)), min_size=1, max_size=80),
    st.randoms(use_true_random=False),
)
def test_whatever_the_order_a_closed_minute_is_made_of_the_last_version_of_each_second(
    drawn: list[tuple[int, int, int]], chance: random.Random
) -> None:
    """Seconds come shuffled within twenty minutes, each may be corrected, and closings fall anywhere between them."""
    minutes = live()
    known: dict[int, Bar] = {}
    for at, cents, volume in drawn:
        bar = second(at, cents / 100, volume)
        if minutes.add(bar) != "held":
            known[at] = bar
        if chance.random() < 0.3:
            minutes.close(OPEN + at + 63, GRACE_S)
    minutes.close(OPEN + 480, GRACE_S)
    for place in range(7):
        expected = folded("QQQ", OPEN + 60 * place, {at: bar for at, bar in known.items() if at // 60 == place})
        assert minutes.bar(place) == expected


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded seconds are not beside this checkout")
@pytest.mark.parametrize("day", ["20131007", "20131008", "20131009"])
def test_a_recorded_session_folds_to_the_minutes_that_plain_grouping_gives(day: str) -> None:
    session = SessionCalendar(date(2013, 10, 8)).on(date(int(day[:4]), int(day[4:6]), int(day[6:])))
    assert session is not None
    minutes = Minutes("SPY", session)
    minutes.live(session.open_at - 60)
    groups: dict[int, list[Bar]] = {}
    with gzip.open(RECORDED / f"SPY_{day}.csv.gz", "rt") as file:
        for line in csv.DictReader(file):
            parts = (float(line[name]) for name in ("open", "high", "low", "close", "volume", "vwap"))
            bar = Bar("SPY", int(line["timestamp_ns_utc"]) // 10**9, *parts)
            if session.open_at <= bar.start < session.close_at:
                groups.setdefault((bar.start - session.open_at) // 60, []).append(bar)
                minutes.close(bar.start + 2.0, GRACE_S)
                minutes.add(bar)
    minutes.close(session.close_at + 3.0, GRACE_S)
    assert len(groups) == minutes.closed == 390
    for place, bars in groups.items():
        mine = minutes.bar(place)
        assert mine is not None
        assert mine.volume == sum(bar.volume for bar in bars)
        assert (mine.open, mine.close) == (bars[0].open, bars[-1].close)
        assert (mine.high, mine.low) == (max(bar.high for bar in bars), min(bar.low for bar in bars))
        assert mine.vwap == pytest.approx(sum(bar.volume * bar.vwap for bar in bars) / mine.volume, abs=1e-9)
