"""The six conditions against a slow, literal reading of the rules, minute by minute; then the edge of each by table."""

from __future__ import annotations

import csv
import gzip
import random
from datetime import date
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from events import Bar
from market.minutes import Board
from strategies.scalper.conditions import DIRECTIONS, NAMES, Reading, Rules, read, rules_of
from strategies.scalper.settings import Settings
from strategies.scalper.settings import read as read_settings
from strategies.scalper.windows import Window
from utils import Session, SessionCalendar

OPEN = 1_795_185_000
SESSION = Session(date(2026, 11, 20), OPEN, OPEN + 23_400)
RECORDED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "seconds"
EQUAL = 1e-7


def configured(**given: object) -> Settings:
    made, faults = read_settings({f"SCALPER_{name.upper()}": str(value) for name, value in given.items()})
    assert made is not None, faults
    return made


# --- the rules, as slowly as they read ---------------------------------------------------------------------------------


def ema_of(closes: list[float], n: int) -> float:
    value = sum(closes[:n]) / n
    for close in closes[n:]:
        value += 2 / (n + 1) * (close - value)
    return value


def rsi_of(closes: list[float], n: int) -> float:
    changes = [after - before for before, after in pairwise(closes)]
    gain = sum(max(change, 0) for change in changes[:n]) / n
    loss = sum(max(-change, 0) for change in changes[:n]) / n
    for change in changes[n:]:
        gain, loss = (gain * (n - 1) + max(change, 0)) / n, (loss * (n - 1) + max(-change, 0)) / n
    if gain == loss == 0:
        return 50.0
    return 100 - 100 / (1 + gain / loss) if loss else 100.0


MISSING = "missing"
Today = dict[int, Any]  # of each closed minute: its bar, None without a trade, or MISSING


class Literal:
    """The six of one symbol at minute m, from all that is known, gathered anew for every question."""

    def __init__(self, rule: Settings, before: list[Bar], today: Today, spy: Today, m: int, at: float) -> None:
        self.rule, self.before, self.today, self.spy, self.m, self.at = rule, before[-rule.warm_bars :], today, spy, m, at
        self.bars = [j for j in range(m + 1) if isinstance(today[j], Bar)]
        self.closes_before = [bar.close for bar in self.before]
        self.no_hole = all(today[j] != MISSING for j in range(m + 1))
        self.memo: dict[Any, float | None] = {}

    def series(self, j: int | None) -> list[float]:
        """The closes up to minute j; up to yesterday's last for None."""
        return self.closes_before + ([] if j is None else [self.today[k].close for k in self.bars if k <= j])

    def at_bar(self, what: str, back: int) -> float | None:
        """An indicator at the bar `back` bars before m, which may be yesterday's."""
        closes = self.series(self.m)
        closes = closes[: len(closes) - back]
        n = {"fast": self.rule.ema_fast, "slow": self.rule.ema_slow, "rsi": self.rule.rsi_bars}[what]
        if (what, back) not in self.memo:
            enough = len(closes) >= n + (what == "rsi")
            self.memo[what, back] = None if not enough else rsi_of(closes, n) if what == "rsi" else ema_of(closes, n)
        return self.memo[what, back]

    def came(self, bars: int, beyond: Any) -> bool:
        for back in range(min(bars, len(self.bars))):
            here, before = beyond(back), beyond(back + 1)
            if here and before is False:
                return True
        return False

    def warm(self) -> bool:
        return self.no_hole and self.m in self.bars and len(self.series(self.m)) >= self.rule.warm_bars

    def cross(self, d: int) -> bool:
        def beyond(back: int) -> bool | None:
            fast, slow = self.at_bar("fast", back), self.at_bar("slow", back)
            return None if fast is None or slow is None else d * (fast - slow) >= EQUAL

        return self.warm() and bool(beyond(0)) and self.came(self.rule.cross_bars, beyond)

    def rsi(self, d: int) -> bool:
        level = self.rule.rsi_low if d > 0 else self.rule.rsi_high

        def beyond(back: int) -> bool | None:
            value = self.at_bar("rsi", back)
            return None if value is None else d * (value - level) >= EQUAL

        if not self.warm() or not beyond(0):
            return False
        return self.rule.rsi_rule == "level" or self.came(self.rule.rsi_cross_bars, beyond)

    def volume(self, _: int) -> bool:
        minutes = [self.today[j] for j in range(max(self.m - self.rule.volume_bars, 0), self.m)]
        if len(minutes) < self.rule.volume_min_bars or MISSING in minutes or self.m not in self.bars:
            return False
        mean = sum(bar.volume for bar in minutes if bar is not None) / len(minutes)
        return self.today[self.m].volume - float(self.rule.volume_ratio) * mean > -EQUAL

    def vwap(self, d: int) -> bool:
        if not self.no_hole or self.m not in self.bars:
            return False

        def beyond(j: int) -> bool:
            bars = [self.today[k] for k in self.bars if k <= j]
            vwap = sum(bar.volume * bar.vwap for bar in bars) / sum(bar.volume for bar in bars)
            return d * (self.today[j].close - vwap) >= EQUAL

        before = self.bars[:-1][-self.rule.vwap_break_bars :]
        return beyond(self.m) and any(not beyond(j) for j in before)

    def strength(self, d: int) -> bool:
        both = [j for j in self.bars if isinstance(self.spy[j], Bar)]
        if self.m not in both:
            return False
        first = self.m - self.rule.rs_minutes
        if first < 0:
            start = both[0]
            reach, field = range(start + 1), "open"
        else:
            late = [j for j in both if first - 2 <= j <= first]
            if not late:
                return False
            start = late[-1]
            reach, field = range(start, first + 1), "close"
        if any(MISSING in (self.today[j], self.spy[j]) for j in reach):
            return False
        own, spy = (100 * (bars[self.m].close / getattr(bars[start], field) - 1) for bars in (self.today, self.spy))
        return d * (own - spy) - float(self.rule.rs_margin) > -EQUAL

    def clock(self, _: int) -> bool:
        return OPEN + 60 <= self.at < OPEN + 7200

    def six(self, d: int) -> list[bool]:
        return [part(d) for part in (self.cross, self.rsi, self.volume, self.vwap, self.strength, self.clock)]


# --- a market of two symbols -------------------------------------------------------------------------------------------


class World:
    """The windows, fed second by second, and beside them what is known of each minute, kept plainly."""

    def __init__(self, rule: Settings, before: dict[str, list[Bar]] | None = None) -> None:
        self.rule = rule
        self.board = Board(["QQQ", "SPY"], SESSION, 3.0)
        self.windows = {symbol: Window(rule, minutes) for symbol, minutes in self.board.minutes.items()}
        self.rules: Rules = rules_of(rule, SESSION)
        self.before = before or {"QQQ": [], "SPY": []}
        self.today: dict[str, Today] = {"QQQ": {}, "SPY": {}}
        for symbol, bars in self.before.items():
            self.board.minutes[symbol].fill(OPEN - 1_000_000, bars)
        self.board.live(OPEN - 60)

    def read(self, m: int, blocked: str = "") -> Reading:
        """The minute closes; what is read of it, after the windows have followed."""
        at = OPEN + 60 * m + 63.0
        self.board.close(at)
        for window in self.windows.values():
            window.follow()
        return read(self.windows["QQQ"], self.windows["SPY"], m, at, self.rules, blocked)

    def compare(self, m: int) -> list[bool]:
        """Read minute m and hold it to the literal reading; which conditions held, long first."""
        reading = self.read(m)
        held = []
        literal = Literal(self.rule, self.before["QQQ"], self.today["QQQ"], self.today["SPY"], m, reading.at)
        for direction, sign in zip(DIRECTIONS, (1, -1), strict=True):
            gates = reading.gates(direction)
            assert tuple(gate.name for gate in gates) == NAMES
            expected = literal.six(sign)
            assert [gate.ok for gate in gates] == expected, (m, direction, gates)
            for gate in gates:
                assert gate.ok or gate.reason or gate.margin is None or gate.margin < EQUAL, gate
                assert not (gate.ok and gate.reason), gate
            held += expected
        return held


def flat(symbol: str, minute: int, close: float, volume: float = 600.0, opens: float | None = None) -> Bar:
    opens = close if opens is None else opens
    return Bar(symbol, OPEN + 60 * minute, opens, max(opens, close), min(opens, close), close, volume, close)


def lay(world: World, symbol: str, minute: int, bar: Bar | None, *, hole: bool = False) -> None:
    """A minute that was one second of trading, nothing, or not seen whole."""
    world.today[symbol][minute] = MISSING if hole else bar
    if bar is not None:
        world.board.minutes[symbol].add(replace(bar, start=bar.start + 30))
    if hole:
        world.board.minutes[symbol].lost()
        world.board.minutes[symbol].live(bar.start + 45 if bar is not None else OPEN + 60 * minute + 45)


def yesterday(closes: list[float]) -> list[Bar]:
    return [flat("QQQ", at - len(closes) - 1_000, close) for at, close in enumerate(closes)]


# --- recorded sessions -------------------------------------------------------------------------------------------------


@cache
def recorded(day: str) -> list[tuple[int, Bar]]:
    """The regular seconds of a recorded session, by how many seconds after its open they start."""
    session = SessionCalendar(date(2013, 10, 8)).on(date(int(day[:4]), int(day[4:6]), int(day[6:])))
    assert session is not None
    with gzip.open(RECORDED / f"SPY_{day}.csv.gz", "rt") as file:
        rows = [
            Bar("SPY", int(line["timestamp_ns_utc"]) // 10**9, *(float(line[name]) for name in FIELDS))
            for line in csv.DictReader(file)
        ]
    return [(bar.start - session.open_at, bar) for bar in rows if session.open_at <= bar.start < session.close_at]


FIELDS = ("open", "high", "low", "close", "volume", "vwap")


def grouped(seconds: list[tuple[int, Bar]], symbol: str, shift: int = 0) -> dict[int, Bar]:
    groups: dict[int, list[Bar]] = {}
    for at, bar in seconds:
        groups.setdefault(at // 60, []).append(bar)
    made = {}
    for minute, bars in groups.items():
        volume = sum(bar.volume for bar in bars)
        vwap = sum(bar.volume * bar.vwap for bar in bars) / volume
        high, low = max(bar.high for bar in bars), min(bar.low for bar in bars)
        made[minute] = Bar(symbol, OPEN + 60 * (minute + shift), bars[0].open, high, low, bars[-1].close, volume, vwap)
    return made


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded seconds are not beside this checkout")
@pytest.mark.parametrize("rule", ["level", "cross"])
@pytest.mark.parametrize(
    ("last", "day", "other", "seed"), [("20131007", "20131008", "20131009", 1), ("20131008", "20131009", "20131007", 2)]
)
def test_a_recorded_session_is_read_as_the_rules_say(rule: str, last: str, day: str, other: str, seed: int) -> None:
    """One recorded day is the symbol, another its benchmark; the socket is lost now and then, and REST fills the holes later."""
    chance = random.Random(seed)
    earlier = grouped(recorded(last), "QQQ", -1_000)
    world = World(configured(rsi_rule=rule), {"QQQ": list(earlier.values()), "SPY": []})
    known = {"QQQ": grouped(recorded(day), "QQQ"), "SPY": grouped(recorded(other), "SPY")}
    seconds = sorted(
        (at, symbol, bar) for symbol, when in (("QQQ", day), ("SPY", other)) for at, bar in recorded(when) if at < 7_500
    )
    holds, place, lost = [0] * 12, 0, False
    for m in range(125):
        while place < len(seconds) and seconds[place][0] < 60 * (m + 1):
            at, symbol, bar = seconds[place]
            if not lost:
                world.board.take(replace(bar, symbol=symbol, start=OPEN + at), OPEN + at + 2.0)
            place += 1
        for symbol, today in world.today.items():
            today[m] = MISSING if lost else known[symbol].get(m)
        for before in [j for j, bar in world.today["QQQ"].items() if bar == MISSING and j < m - 3]:
            for symbol in world.today:
                rest = [known[symbol][j] for j in range(before, m - 2) if j in known[symbol]]
                world.board.minutes[symbol].fill(OPEN + 60 * before, rest)
                world.today[symbol].update({j: known[symbol].get(j) for j in range(before, m - 2)})
        holds = [total + ok for total, ok in zip(holds, world.compare(m), strict=True)]
        was_lost, lost = lost, chance.random() < 0.04
        if lost:
            world.board.lost()
        elif was_lost:
            world.board.live(OPEN + 60 * m + 60)
    assert all(holds[place] for place in (0, 2, 3, 4, 5, 6, 8, 9, 10, 11)), holds


# --- made sessions -----------------------------------------------------------------------------------------------------

steps = st.tuples(st.integers(-40, 40), st.integers(-12, 12), st.sampled_from([0, 1, 1, 1, 2, 3, 8]), st.integers(0, 30))


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(steps, min_size=16, max_size=60),
    st.integers(0, 60),
    st.sampled_from(["level", "cross"]),
    st.sampled_from([0, 5, 30]),
)
def test_made_sessions_are_read_as_the_rules_say(
    drawn: list[tuple[int, int, int, int]], before: int, rule: str, trend: int
) -> None:
    """Cents and round volumes, so that equal values are common; minutes without trades, holes, and few bars of yesterday."""
    chosen = configured(
        rsi_rule=rule, warm_bars=50, ema_fast=3, ema_slow=6, rsi_bars=4, volume_min_bars=5, rsi_low=45, rsi_high=55
    )
    world = World(chosen, {"QQQ": yesterday([100 + at % 7 / 100 for at in range(before)]), "SPY": []})
    price, spy = 10_000, 60_000
    for m, (move, of_spy, volume, fate) in enumerate(drawn):
        price, spy = price + move + (trend if m % 11 < 5 else -trend), spy + 6 * of_spy
        for symbol, cents, moved, odd in (("QQQ", price, move, 1), ("SPY", spy, 6 * of_spy, 2)):
            bar = flat(symbol, m, cents / 100, 100.0 * (volume + 1), (cents - moved) / 100)
            lay(world, symbol, m, None if fate == odd else bar, hole=fate == odd + 2)
        world.compare(m)


# --- the edges of each -------------------------------------------------------------------------------------------------


def warmed(rule: Settings | None = None, count: int = 250, close: float = 100.0) -> World:
    """Yesterday flat at 100: the averages are equal, and the RSI is 50."""
    return World(rule or configured(), {"QQQ": yesterday([close] * count), "SPY": []})


def play(
    world: World, closes: list[float], *, volumes: list[float] | None = None, spy: list[float | None] | None = None
) -> Reading:
    for m, close in enumerate(closes):
        lay(world, "QQQ", m, flat("QQQ", m, close, 600.0 if volumes is None else volumes[m]))
        of_spy = 600.0 if spy is None else spy[m]
        lay(world, "SPY", m, None if of_spy is None else flat("SPY", m, of_spy))
        reading = world.read(m)
    return reading


def gate(reading: Reading, number: int, direction: str = "long"):
    return reading.gates(direction)[number - 1]  # type: ignore[arg-type]


@pytest.mark.fault("B11")
@pytest.mark.parametrize(("after", "ok"), [(0, True), (2, True), (3, False)])
def test_a_cross_confirms_for_three_bars(after: int, ok: bool) -> None:
    reading = play(warmed(), [100.0, 100.0, *[100.5] * (after + 1)])
    assert gate(reading, 1).ok is ok
    assert gate(reading, 1).reason == ("" if ok else "no cross at the last 3 bars")
    assert not gate(reading, 1, "short").ok


@pytest.mark.fault("B11")
def test_yesterdays_cross_confirms_nothing_and_the_forming_minute_enters_nothing() -> None:
    world = World(configured(), {"QQQ": yesterday([100.0] * 249 + [100.5]), "SPY": []})
    assert gate(play(world, [100.5]), 1).reason == "no cross at the last 3 bars"
    world = warmed()
    lay(world, "QQQ", 0, flat("QQQ", 0, 100.0))
    lay(world, "QQQ", 1, flat("QQQ", 1, 101.0))
    assert not gate(world.read(0), 1).ok
    assert gate(world.read(1), 1).ok


@pytest.mark.fault("B11")
def test_too_few_bars_of_warm_up_hold_nothing_of_1_and_2() -> None:
    reading = play(warmed(count=119), [100.5])
    assert gate(reading, 1).reason == gate(reading, 2).reason == "120 of 250 bars"
    assert (gate(reading, 1).ok, gate(reading, 2).ok) == (False, False)


@pytest.mark.fault("B11")
def test_rsi_by_level_and_by_cross() -> None:
    assert gate(play(warmed(), [100.5]), 2).ok
    crossing = configured(rsi_rule="cross")
    assert gate(play(warmed(crossing), [100.5]), 2).reason == "did not come through 30 at the last 30 bars"
    fall = [100.0 - step / 10 for step in range(1, 6)]
    assert gate(play(warmed(crossing), [*fall, 100.5]), 2).ok
    assert gate(play(warmed(crossing), fall), 2).ok is False
    assert gate(play(warmed(crossing), [*fall, *[100.5] * 30]), 2).ok
    assert gate(play(warmed(crossing), [*fall, *[100.5] * 31]), 2).ok is False
    rise = [100.0 + step / 10 for step in range(1, 6)]
    assert gate(play(warmed(crossing), [*rise, 99.5]), 2, "short").ok


@pytest.mark.parametrize(("minutes", "volume", "ok"), [(9, 5_000.0, False), (10, 1_200.0, True), (10, 1_199.0, False)])
def test_a_volume_spike_is_twice_the_mean_of_at_least_ten_minutes(minutes: int, volume: float, ok: bool) -> None:
    reading = play(warmed(), [100.0] * (minutes + 1), volumes=[600.0] * minutes + [volume])
    assert gate(reading, 3).ok is ok
    assert gate(reading, 3).reason == ("9 of 10 minutes since the open" if minutes == 9 else "")


def test_a_minute_without_a_trade_counts_as_no_volume_and_holds_nothing_itself() -> None:
    world = warmed()
    for m in range(11):
        lay(world, "QQQ", m, None if m == 5 else flat("QQQ", m, 100.0, 1_080.0 if m == 10 else 600.0))
        lay(world, "SPY", m, flat("SPY", m, 600.0))
    assert gate(world.read(10), 3).value == pytest.approx(2.0)
    lay(world, "QQQ", 11, None)
    reading = world.read(11)
    assert (reading.price, reading.holds("long"), reading.holds("short")) == (None, False, False)
    assert gate(reading, 4).reason == "no trade in minute 09:41"


def test_a_breakout_needs_a_bar_of_the_last_five_on_the_other_side() -> None:
    closes = [100.0, 99.0, *[101.0] * 6]
    assert gate(play(warmed(), closes[:7]), 4).ok
    assert gate(play(warmed(), closes), 4).reason == "no bar of the last 5 was on the other side"
    assert gate(play(warmed(), [100.0, 101.0, 99.0]), 4, "short").ok


@pytest.mark.parametrize(("spy", "ok"), [(600.0, True), (600.3, True), (600.9, False)])
def test_relative_strength_is_over_fifteen_minutes_and_since_the_open_before(spy: float, ok: bool) -> None:
    closes = [100.0] * 20 + [100.1]
    assert gate(play(warmed(), closes, spy=[600.0] * 20 + [spy]), 5).ok is ok
    assert gate(play(warmed(), [100.0, 100.1], spy=[600.0, spy]), 5).ok is ok


@pytest.mark.fault("B12")
def test_without_a_bar_of_the_benchmark_relative_strength_is_false_with_its_reason() -> None:
    reading = play(warmed(), [100.0] * 20 + [101.0], spy=[600.0] * 20 + [None])
    for direction in ("long", "short"):
        assert (gate(reading, 5, direction).ok, gate(reading, 5, direction).reason) == (False, "no bar of SPY at 09:50")
    late = play(warmed(), [100.0] * 20 + [101.0], spy=[600.0] * 3 + [None] * 3 + [600.0] * 15)
    assert gate(late, 5).reason == "no bar of both at 09:35"
    in_time = play(warmed(), [100.0] * 20 + [101.0], spy=[600.0] * 4 + [None] * 2 + [600.0] * 15)
    assert gate(in_time, 5).ok


def test_a_missing_minute_is_named_by_what_needs_it() -> None:
    world = warmed()
    for m in range(30):
        lay(world, "QQQ", m, flat("QQQ", m, 100.0), hole=m == 2)
        lay(world, "SPY", m, flat("SPY", m, 600.0))
        reading = world.read(m)
    assert [gate(reading, number).reason for number in (1, 2, 4)] == ["minute 09:32 missing"] * 3
    assert (gate(reading, 3).reason, gate(reading, 5).reason) == ("", "")
    world.board.minutes["QQQ"].fill(OPEN + 120, [flat("QQQ", 2, 100.0), flat("QQQ", 3, 100.0)])
    assert gate(world.read(29), 2).ok


@pytest.mark.parametrize(
    ("at", "ok", "reason"),
    [(59.9, False, "opens at 09:31"), (60.0, True, ""), (7_199.9, True, ""), (7_200.0, False, "closed at 11:30")],
)
def test_the_window_is_judged_at_the_moment_of_decision(at: float, ok: bool, reason: str) -> None:
    world = warmed()
    play(world, [100.0])
    reading = read(world.windows["QQQ"], world.windows["SPY"], 0, OPEN + at, world.rules)
    assert (gate(reading, 6).ok, gate(reading, 6).reason) == (ok, reason)


def test_on_an_early_close_the_window_ends_an_hour_before_it() -> None:
    half_day = Session(date(2026, 11, 27), OPEN, OPEN + 12_600)
    rules = rules_of(configured(window_end="15:00", force_close="15:00"), half_day)
    assert rules.closes == half_day.close_at - 3_600


def test_what_blocks_holds_all_six_down_and_leaves_their_values() -> None:
    world = warmed()
    play(world, [100.0, 100.5])
    reading = world.read(1, "data feed stalled")
    assert {each.reason for each in (*reading.long, *reading.short)} == {"data feed stalled"}
    assert not any(each.ok for each in (*reading.long, *reading.short))
    assert gate(reading, 1).value is not None


@pytest.mark.fault("B17")
@pytest.mark.parametrize("day", [date(2026, 3, 6), date(2026, 3, 9), date(2026, 10, 30), date(2026, 11, 2)])
def test_the_window_is_new_yorks_in_the_weeks_in_which_clocks_change(day: date) -> None:
    session = SessionCalendar(day).on(day)
    assert session is not None
    rules = rules_of(configured(), session)
    assert (rules.opens - session.open_at, rules.closes - session.open_at) == (60, 7_200)
    gates = [read(*two_windows(session), 0, session.open_at + at, rules).long[5] for at in (59, 60, 7_199, 7_200)]
    assert [each.ok for each in gates] == [False, True, True, False]
    assert (gates[0].reason, gates[-1].reason) == ("opens at 09:31", "closed at 11:30")


def two_windows(session: Session) -> tuple[Window, Window]:
    board = Board(["QQQ", "SPY"], session, 3.0)
    return Window(configured(), board.minutes["QQQ"]), Window(configured(), board.minutes["SPY"])
