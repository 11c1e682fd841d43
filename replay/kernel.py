"""The fast path's eyes: one session's bars read in compiled code, to the same windows and signals as the desk's, bit for bit.

Not a second strategy: the desk is the definition, and tests hold this equal to it on real, generated and hypothesis-made sessions.
It follows `seconds` and `signals` rule by rule; what they keep in words and objects is here arrays and flags. `read` knows no
setting, so that a session is read once for any number of them; `signals_of` applies the settings of the signal to what was read,
and `replay.positions` those of contract, fill and exit.

Sums: VWAP_60 is the only running one, and it is added up anew every 256 bars; everything else is summed over its window when the
cheaper conditions hold.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from market.seconds import APART, EQUAL, OPEN, REFERENCE_MAX_AGE_S
from signals import RISING_S, ROC_S, SAMPLE_MIN_S, SAMPLE_S, SLOPE_BARS, SLOPE_S

ANEW = 256
BLOCK = 64
NEVER = -1e18

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Rules(NamedTuple):
    """The settings as numbers: percents are fractions of whole numbers, money is mills, times are seconds."""

    warmup_s: int
    trend_on: bool
    volume_on: bool
    lead_on: bool
    relative_min: float
    lag: float
    entry_cooldown_s: float
    signal_cooldown_s: float
    signal_max_age_s: float
    trades_max: int
    loss_halt: int
    delta_low: float
    delta_high: float
    size_min: int
    spread_num: int
    spread_den: int
    spread_percent: float
    volume_min: int
    interest_min: int
    quote_age_s: float
    tracked_max: int
    slippage: int
    fee: int
    stop_num: int
    stop_den: int
    stop_hits: int
    hard_num: int
    hard_den: int
    tight_num: int
    tight_den: int
    chain_poll_s: float
    exit_poll_s: float
    fill: int


class Hours(NamedTuple):
    """A session's times, Unix seconds."""

    open_at: int
    close_at: int
    cutoff_at: float
    time_stop_at: float


class Stream(NamedTuple):
    """Bars of one symbol in order of arrival."""

    at: Floats
    start: Ints
    close: Floats
    volume: Floats
    vwap: Floats


class Readings(NamedTuple):
    """What was known after each moment at which bars came, and the seconds that fulfil conditions 1-4.

    `newest` is the last second with a bar (`OPEN` is the session's first), `close` its close, `vwap` VWAP_60 (NaN: none), `below`
    the second since which the close is below it (0: it is not). A candidate's row: moment, second, close - VWAP_300, relative
    volume, leadership in percentage points; NaN where it cannot be known. `covered` is the first second that is known.
    """

    at: Floats
    newest: Ints
    close: Floats
    vwap: Floats
    below: Ints
    candidates: Floats
    covered: int


@njit(cache=True, nogil=True, inline="always")
def agree(close: float, other: float) -> bool:
    return abs(close - other) <= other * APART


@njit(cache=True, nogil=True)
def close_by(closes: Floats, index: int, end: int) -> float:
    """The close of the last bar at or before `index`, at most ten seconds older; 0 where there is none."""
    for place in range(min(index, end - 1), max(index - REFERENCE_MAX_AGE_S, OPEN) - 1, -1):
        if closes[place] > 0.0:
            return float(closes[place])
    return 0.0


@njit(cache=True, nogil=True)
def surge(volumes: Floats, index: int, covered: int) -> bool:
    """Condition 4: volume above the 95th percentile of the seconds before, those without a bar counted as zero."""
    first = max(covered, index - SAMPLE_S)
    seconds = index - first
    if seconds < SAMPLE_MIN_S:
        return False
    volume = volumes[index]
    rank, hundredths = (seconds - 1) * 95 // 100, (seconds - 1) * 95 % 100
    others, most = 0, seconds - rank - 1  # how many of the sample may be as high
    place = index
    while place > first:
        begin = max(place - BLOCK, first)
        for k in range(begin, place):
            others += volumes[k] >= volume
        if others > most:
            return False
        place = begin
    low, high = 0.0, math.inf  # the nearest below it, and the nearest that is not
    for k in range(first, index):
        if volumes[k] < volume:
            low = max(low, volumes[k])
        else:
            high = min(high, volumes[k])
    if others == most:  # it lies between the two that the percentile lies between
        return bool(volume - (low + (high - low) * hundredths / 100) >= EQUAL)
    if volume - low >= EQUAL:
        return True
    ordered = np.sort(volumes[first:index])
    low, high = ordered[rank], ordered[rank + 1]
    return bool(volume - (low + (high - low) * hundredths / 100) >= EQUAL)


@njit(cache=True, nogil=True)
def slope_pct_s(closes: Floats, index: int) -> float:
    """Least squares of close against time over the bars of the last 30 s; NaN with fewer than ten."""
    close, bars, seconds = closes[index], 0, 0
    for place in range(index - SLOPE_S + 1, index + 1):
        if closes[place] > 0.0:
            bars += 1
            seconds += place - index
    if bars < SLOPE_BARS:
        return math.nan
    middle = seconds / bars
    rise = spread = 0.0
    for place in range(index - SLOPE_S + 1, index + 1):
        if closes[place] > 0.0:
            step = place - index - middle
            rise += step * (closes[place] - close)
            spread += step * step
    return float(rise / spread / close * 100)


@njit(cache=True, nogil=True)
def trend(volumes: Floats, pv: Floats, index: int) -> float:
    """VWAP_300; NaN without volume."""
    total = paid = 0.0
    for place in range(index - 299, index + 1):
        total += volumes[place]
        paid += pv[place]
    return paid / total if total > 0.0 else math.nan


@njit(cache=True, nogil=True)
def relative_volume(volumes: Floats, profile: Floats, index: int) -> float:
    """Volume of the last 60 s over what the profile expects of them; NaN where it cannot be known."""
    if len(profile) == 0:
        return math.nan
    minute, into = (index - OPEN) // 60, (index - OPEN) % 60
    expected = profile[minute] * (into + 1)
    if minute > 0 and into < 59:
        expected += profile[minute - 1] * (59 - into)
    total = 0.0
    for place in range(index - 59, index + 1):
        total += volumes[place]
    return float(total * 60 / expected) if expected > 0.0 else math.nan


@njit(cache=True, nogil=True)
def leadership_pp(closes: Floats, leader: Floats, index: int, end: int) -> float:
    """ROC of the symbol less the leader's one second earlier, in percentage points; NaN where a bar is missing."""
    then, now = close_by(closes, index - ROC_S, end), close_by(leader, index - 1, end)
    before = close_by(leader, index - 1 - ROC_S, end)
    if then <= 0.0 or now <= 0.0 or before <= 0.0:
        return math.nan
    return float((closes[index] / then - now / before) * 100)


# --- a session ---------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def read(own: Stream, other: Stream, profile: Floats, open_at: int, close_at: int, premarket: bool) -> Readings:
    """One session: `own` is the traded symbol's stream, `other` the leader's; `premarket`: the feed was heard before the open.

    In one function, because a compiled call per bar and part would cost more than what it does.
    """
    end = OPEN + close_at - open_at
    closes, volumes, pv = np.zeros(end), np.zeros(end), np.zeros(end)
    leader = np.zeros(end)
    n = len(own.at)
    moments, newests, lasts, vwaps, belows = (
        np.empty(n),
        np.empty(n, np.int64),
        np.empty(n),
        np.empty(n),
        np.empty(n, np.int64),
    )
    candidates = np.empty((n, 5))
    taken = found = 0

    # the windows
    newest, covered, is_covered = OPEN - 1, OPEN, premarket
    sum_v = sum_pv = 0.0
    since_anew = 0
    vwap = run_vwap = math.nan
    run, below = OPEN, 0
    held_index, held_close, held_volume, held_pv = 0, 0.0, 0.0, 0.0
    # the leader's
    leader_newest, leader_held_index, leader_held_close = OPEN - 1, 0, 0.0
    i = j = 0
    while i < n:
        bar_at = own.at[i]
        # --- the leader's bars that have come by now
        while j < len(other.at) and other.at[j] <= bar_at:
            index, close = other.start[j] - open_at + OPEN, other.close[j]
            j += 1
            if not OPEN <= index < end or index < leader_newest - SAMPLE_S:
                continue
            last = leader[leader_newest]
            waiting, waiting_close, leader_held_index = leader_held_index, leader_held_close, 0
            if waiting > 0 and waiting != index:
                if agree(close, waiting_close):
                    leader[waiting] = waiting_close
                    leader[index] = close
                    leader_newest = max(leader_newest, waiting, index)
                    continue
                waiting = 0
            if last > 0.0 and not agree(close, last):
                leader_held_index, leader_held_close = index, close
                continue
            leader[index] = close
            leader_newest = max(leader_newest, index)

        # --- the bars that have come together: all are taken in before anything is decided
        is_new = False
        while i < n and own.at[i] == bar_at:
            index, close, volume = own.start[i] - open_at + OPEN, own.close[i], own.volume[i]
            paid = volume * own.vwap[i]
            i += 1
            if not OPEN <= index < end or index < newest - SAMPLE_S:
                continue
            puts = 1
            waiting, waiting_close, waiting_volume, waiting_pv = held_index, held_close, held_volume, held_pv
            held_index = 0
            if waiting > 0 and waiting != index and agree(close, waiting_close):
                puts = 2
            if puts == 1:
                last = closes[newest]
                if last > 0.0 and not agree(close, last):
                    held_index, held_close, held_volume, held_pv = index, close, volume, paid
                    continue
            for put in range(puts):
                if puts == 2 and put == 0:
                    place, price, traded, worth = waiting, waiting_close, waiting_volume, waiting_pv
                else:
                    place, price, traded, worth = index, close, volume, paid
                if place <= newest:
                    if place > newest - 60:
                        sum_v += traded - volumes[place]
                        sum_pv += worth - pv[place]
                    closes[place], volumes[place], pv[place] = price, traded, worth
                    continue
                if not is_covered:
                    is_covered, covered = True, place
                before, newest = newest, place
                closes[place], volumes[place], pv[place] = price, traded, worth
                since_anew += 1
                if since_anew >= ANEW or place - before >= 60:
                    since_anew, sum_v, sum_pv = 0, 0.0, 0.0
                    for second in range(place - 59, place + 1):
                        sum_v += volumes[second]
                        sum_pv += pv[second]
                else:
                    for second in range(before - 59, place - 59):
                        sum_v -= volumes[second]
                        sum_pv -= pv[second]
                    sum_v += traded
                    sum_pv += worth
                is_new = True
                if sum_v > 0.0:
                    now_vwap = sum_pv / sum_v
                    if before < covered or math.isnan(vwap) or vwap - now_vwap >= EQUAL:
                        run, run_vwap = place, now_vwap
                    if now_vwap - price >= EQUAL:
                        if before < covered or below == 0:
                            below = place
                    else:
                        below = 0
                    vwap = now_vwap
                else:
                    vwap = run_vwap = math.nan
                    below, run = 0, place
        close = closes[newest]
        moments[taken], newests[taken], lasts[taken], vwaps[taken], belows[taken] = bar_at, newest, close, vwap, below
        taken += 1
        if not is_new:
            continue

        # --- conditions 1-4, cheapest first
        if not (close - vwap >= EQUAL and newest - run >= RISING_S and vwap - run_vwap >= EQUAL):
            continue
        if not slope_pct_s(closes, newest) >= EQUAL or not surge(volumes, newest, covered):
            continue
        candidates[found, 0], candidates[found, 1] = bar_at, newest
        candidates[found, 2] = close - trend(volumes, pv, newest)
        candidates[found, 3] = relative_volume(volumes, profile, newest)
        candidates[found, 4] = leadership_pp(closes, leader, newest, end)
        found += 1
    return Readings(
        moments[:taken], newests[:taken], lasts[:taken], vwaps[:taken], belows[:taken], candidates[:found].copy(), covered
    )


@njit(cache=True, nogil=True)
def signals_of(readings: Readings, rules: Rules, hours: Hours) -> Floats:
    """The signals under these settings: rows of moment and second."""
    signals = np.empty((len(readings.candidates), 2))
    count, last_signal = 0, NEVER
    for k in range(len(readings.candidates)):
        at, second, above_trend, relative, leadership = readings.candidates[k]
        if at - last_signal < rules.signal_cooldown_s or second - readings.covered < rules.warmup_s:
            continue
        if rules.trend_on and not above_trend >= EQUAL:
            continue
        if rules.volume_on and not relative - rules.relative_min > -EQUAL:
            continue
        if rules.lead_on and not leadership - rules.lag > -EQUAL:
            continue
        if at - (second - OPEN + hours.open_at) - 1 > rules.signal_max_age_s:
            continue
        last_signal = at
        signals[count, 0], signals[count, 1] = at, second - OPEN
        count += 1
    return signals[:count]


@njit(cache=True, nogil=True)
def last_prices(bars: Stream, open_at: int, seconds: int) -> Floats:
    """The price after each second of the session: the close of the last bar that had ended; before it, the first one's."""
    prices = np.zeros(seconds)
    first = 0.0
    for k in range(len(bars.start)):
        index = bars.start[k] - open_at
        if 0 <= index < seconds:
            prices[index] = bars.close[k]
            if first == 0.0:
                first = bars.close[k]
    last = first
    for index in range(seconds):
        if prices[index] > 0.0:
            last = prices[index]
        prices[index] = last
    return prices
