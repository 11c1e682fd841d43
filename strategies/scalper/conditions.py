"""The six conditions at a closed minute, of both directions. Pure: the windows, the minute and the moment are arguments.

An input that is missing makes its condition false and says what is missing; nothing is made up. Computed reals closer than 1e-7 are
equal. A gate's margin is how far its value lies beyond the threshold, in its direction: a condition that holds has none below 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

from msgspec import Struct

from market.minutes import hhmm
from signals import Gate, above, at_least
from strategies.scalper.windows import Window
from utils import Session

if TYPE_CHECKING:
    from strategies.scalper.settings import Settings

Direction = Literal["long", "short"]
DIRECTIONS: tuple[Direction, ...] = ("long", "short")
NAMES = ("ema_cross", "rsi", "volume_spike", "vwap_breakout", "relative_strength", "time_window")
LATEST_OUT_S = 3600.0  # before the close
REFERENCE_LATE = 2  # minutes that the bar of condition 5's beginning may be older


class Rules(NamedTuple):
    """The settings of the six as numbers, and the window of this session [opens, closes) in Unix seconds."""

    warm_bars: int
    cross_bars: int
    rsi_rule: str
    rsi_low: float
    rsi_high: float
    rsi_cross_bars: int
    volume_ratio: float
    volume_min_bars: int
    volume_bars: int
    break_bars: int
    rs_minutes: int
    rs_margin: float
    opens: float
    closes: float


def force_close(settings: Settings, session: Session) -> float:
    """When all is sold: FORCE_CLOSE, or an hour before an early close."""
    return min(session.at(settings.force_close), session.close_at - LATEST_OUT_S)


def rules_of(settings: Settings, session: Session) -> Rules:
    return Rules(
        settings.warm_bars,
        settings.cross_bars,
        settings.rsi_rule,
        float(settings.rsi_low),
        float(settings.rsi_high),
        settings.rsi_cross_bars,
        float(settings.volume_ratio),
        settings.volume_min_bars,
        settings.volume_bars,
        settings.vwap_break_bars,
        settings.rs_minutes,
        float(settings.rs_margin),
        session.at(settings.window_start),
        min(session.at(settings.window_end), force_close(settings, session)),
    )


class Reading(Struct, frozen=True):
    """All that is known of a symbol at the closing of the minute that starts at `start`, decided at `at`; None is unknown.

    Dollars; `volume_ratio` to the mean; `relative_strength` and `benchmark_roc` in percentage points.
    """

    symbol: str
    start: int
    at: float
    price: float | None
    ema_fast: float | None
    ema_slow: float | None
    rsi: float | None
    vwap: float | None
    volume_ratio: float | None
    relative_strength: float | None
    benchmark_roc: float | None
    long: tuple[Gate, ...]
    short: tuple[Gate, ...]

    def gates(self, direction: Direction) -> tuple[Gate, ...]:
        return self.long if direction == "long" else self.short

    def holds(self, direction: Direction) -> bool:
        return all(gate.ok for gate in self.gates(direction))


def read(own: Window, benchmark: Window, place: int, at: float, rules: Rules, blocked: str = "") -> Reading:
    """The six at minute `place`, in both directions; `blocked` is why none may hold, whatever the bars say."""
    minutes = own.minutes
    index = own.index_of(place)
    bar = None if index is None else minutes.bar(place)
    absent = minutes.lacks(place, place + 1) or (
        "" if bar is not None else f"no trade in minute {hhmm(minutes.start_of(place))}"
    )
    fast = slow = rsi = vwap = None
    if index is not None:
        fast, slow, rsi = own.trend.fast[index], own.trend.slow[index], own.trend.rsi[index]
        vwap = own.vwap(index)
    ratio, spiked, quiet = _volume(own, place, rules)
    ahead, roc, apart = _relative(own, benchmark, place, rules)
    hole = absent or minutes.lacks(0, place + 1) or _cold(index, rules)
    price = None if bar is None else bar.close

    def six(sign: int) -> tuple[Gate, ...]:
        gates = (
            _cross(own, index, sign, rules, hole),
            _rsi(own, index, sign, rules, hole),
            _gate(3, ratio, rules.volume_ratio, 1, quiet, holds=spiked),
            _breakout(own, index, place, sign, rules, absent or minutes.lacks(0, place + 1)),
            _gate(5, ahead, sign * rules.rs_margin, sign, absent or apart),
            _window(at, rules),
        )
        return gates if not blocked else tuple(_blocked(gate, blocked) for gate in gates)

    return Reading(
        minutes.symbol, minutes.start_of(place), at, price, fast, slow, rsi, vwap, ratio, ahead, roc, six(1), six(-1)
    )  # fmt: skip


def _gate(
    number: int,
    value: float | None,
    threshold: float | None,
    sign: int,
    reason: str,
    *,
    holds: bool | None = None,
    compare: Callable[[float, float], bool] = at_least,
) -> Gate:
    """One condition. `reason` makes it false; `holds` is its answer where the comparison alone is not."""
    margin = None if value is None or threshold is None else sign * (value - threshold)
    beyond = margin is not None and compare(margin, 0.0)
    ok = not reason and (beyond if holds is None else holds)
    return Gate(number, NAMES[number - 1], ok, value, threshold, margin, reason)


def _blocked(gate: Gate, why: str) -> Gate:
    return Gate(gate.number, gate.name, False, gate.value, gate.threshold, gate.margin, why)


def _cold(index: int | None, rules: Rules) -> str:
    """Whether the series is long enough at a bar."""
    known = 0 if index is None else index + 1
    return "" if known >= rules.warm_bars else f"{known} of {rules.warm_bars} bars"


# --- 1 and 2: what crossed ---------------------------------------------------------------------------------------------


def came_through(beyond: Callable[[int], bool | None], index: int, bars: int, first: int) -> int | None:
    """How many bars ago it came to be beyond: it is there, and at the bar before it was not. None: not at the last `bars` of today."""
    for at in range(index, max(index - bars, first - 1), -1):
        if beyond(at) and at > 0 and beyond(at - 1) is False:
            return index - at
    return None


def crossed(own: Window, sign: int) -> Callable[[int], bool | None]:
    """Whether at a bar the fast EMA is beyond the slow one; None where one is unknown."""
    fast, slow = own.trend.fast, own.trend.slow

    def beyond(at: int) -> bool | None:
        one, other = fast[at], slow[at]
        return None if one is None or other is None else above(sign * one, sign * other)

    return beyond


def rsi_beyond(own: Window, sign: int, level: float) -> Callable[[int], bool | None]:
    """Whether at a bar the RSI is beyond its level; None where it is unknown."""
    values = own.trend.rsi

    def beyond(at: int) -> bool | None:
        value = values[at]
        return None if value is None else above(sign * value, sign * level)

    return beyond


def _cross(own: Window, index: int | None, sign: int, rules: Rules, hole: str) -> Gate:
    fast = None if index is None else own.trend.fast[index]
    slow = None if index is None else own.trend.slow[index]
    if index is None or fast is None or slow is None:
        return _gate(1, None, 0.0, sign, hole or "too few bars for EMA")
    beyond = crossed(own, sign)
    ago = came_through(beyond, index, rules.cross_bars, own.first_today)
    reason = hole
    if not reason and beyond(index) and ago is None:
        reason = f"no cross at the last {rules.cross_bars} bars"
    return _gate(1, fast - slow, 0.0, sign, reason, compare=above)


def _rsi(own: Window, index: int | None, sign: int, rules: Rules, hole: str) -> Gate:
    level = rules.rsi_low if sign > 0 else rules.rsi_high
    value = None if index is None else own.trend.rsi[index]
    if index is None or value is None:
        return _gate(2, None, level, sign, hole or "too few bars for RSI")
    reason = hole
    if not reason and rules.rsi_rule == "cross":
        ago = came_through(rsi_beyond(own, sign, level), index, rules.rsi_cross_bars, own.first_today)
        reason = "" if ago is not None else f"did not come through {level:g} at the last {rules.rsi_cross_bars} bars"
    return _gate(2, value, level, sign, reason, compare=above)


# --- 3: volume ---------------------------------------------------------------------------------------------------------


def _volume(own: Window, place: int, rules: Rules) -> tuple[float | None, bool, str]:
    """v(m) over the mean of the minutes before, whether it is enough of it, and what is missing. A minute without a trade is 0."""
    minutes = own.minutes
    first = max(place - rules.volume_bars, 0)
    known = place - first
    if reason := minutes.lacks(first, place + 1):
        return None, False, reason
    if known < rules.volume_min_bars:
        return None, False, f"{known} of {rules.volume_min_bars} minutes since the open"
    mean = sum(bar.volume for bar in minutes.bars(first, place) if bar is not None) / known
    bar = minutes.bar(place)
    volume = 0.0 if bar is None else bar.volume
    enough = bar is not None and at_least(volume, rules.volume_ratio * mean)
    return volume / mean if mean > 0.0 else None, enough, ""


# --- 4: VWAP -----------------------------------------------------------------------------------------------------------


def _breakout(own: Window, index: int | None, place: int, sign: int, rules: Rules, hole: str) -> Gate:
    vwap = None if index is None else own.vwap(index)
    if index is None or vwap is None:
        return _gate(4, None, None, sign, hole or "nothing traded since the open")
    closes, reason = own.trend.closes, hole

    def beyond(at: int) -> bool:
        there = own.vwap(at)
        return there is None or above(sign * closes[at], sign * there)

    if not reason and beyond(index):
        before = range(max(index - rules.break_bars, own.first_today), index)
        if all(beyond(at) for at in before):
            reason = f"no bar of the last {rules.break_bars} was on the other side"
    return _gate(4, closes[index], vwap, sign, reason, compare=above)


# --- 5: relative strength ----------------------------------------------------------------------------------------------


def _relative(own: Window, benchmark: Window, place: int, rules: Rules) -> tuple[float | None, float | None, str]:
    """ROC less the benchmark's, and the benchmark's, in percentage points, over the same minutes of both; and what is missing."""
    ours, theirs = own.minutes, benchmark.minutes
    name, when = theirs.symbol, hhmm(theirs.start_of(place))
    if reason := theirs.lacks(place, place + 1):
        return None, None, f"{name}: {reason}"
    now, then = ours.bar(place), theirs.bar(place)
    if then is None:
        return None, None, f"no bar of {name} at {when}"
    if now is None:
        return None, None, f"no bar at {when}"
    at_open = place < rules.rs_minutes
    last = place - rules.rs_minutes
    places = range(place + 1) if at_open else range(last, max(last - REFERENCE_LATE, 0) - 1, -1)
    for at in places:
        if reason := ours.lacks(at, at + 1) or theirs.lacks(at, at + 1):
            return None, None, f"of both: {reason}"
        mine, its = ours.bar(at), theirs.bar(at)
        if mine is not None and its is not None:
            from_mine, from_its = (mine.open, its.open) if at_open else (mine.close, its.close)
            roc = then.close / from_its
            return (now.close / from_mine - roc) * 100, (roc - 1) * 100, ""
    return None, None, f"no bar of both at {hhmm(ours.start_of(last))}"


# --- 6: the window of time ---------------------------------------------------------------------------------------------


def _window(at: float, rules: Rules) -> Gate:
    """The value is the seconds left of the window; more than there are in it: it has not opened yet."""
    left, inside = rules.closes - at, rules.opens <= at < rules.closes
    reason = "" if inside else f"opens at {hhmm(rules.opens)}" if at < rules.opens else f"closed at {hhmm(rules.closes)}"
    return Gate(6, NAMES[5], inside, left, 0.0, left if inside else min(left, at - rules.opens, 0.0), reason)
