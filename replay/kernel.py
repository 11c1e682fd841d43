"""The fast path: one session decided in compiled code, the same trades bar for bar and price for price as the desk's.

Not a second strategy: the desk is the definition, and tests hold this equal to it on real, generated and hypothesis-made sessions.
It follows `seconds`, `signals`, `contract_selector`, `risk_manager` and `holding` rule by rule; what they keep in words and
objects is here arrays and flags. The world is the one of `replay.world`: bars `delay` after their end, the chain every
CHAIN_POLL_SECONDS, quotes `ANSWER_S` after the question, a phone and a disk that always answer.

Sums: VWAP_60 is the only running one, and it is added up anew every 256 bars; everything else is summed over its window when the
cheaper conditions hold. Prices of options are whole mills, thresholds fractions of whole numbers, as in `risk_manager`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from events import ExitReason
from replay.options import Chain, day_volume, open_interest, seen

EQUAL = 1e-7
APART = 0.02 + EQUAL
OPEN = 1200
SAMPLE_S, SAMPLE_MIN_S = 1200, 300
RISING_S, SLOPE_S, SLOPE_BARS, ROC_S, REFERENCE_MAX_AGE_S = 30, 30, 10, 300, 10
CHAIN_MAX_AGE_S, FRESH_S, PERSISTENCE_S = 60.0, 5.0, 60
CHAIN_AHEAD_S = 600.0
ANSWER_S = 0.2
CENT = 10
ANEW = 256
BLOCK = 64
NEVER = -1e18
REASONS: tuple[ExitReason, ...] = ("time stop", "stop loss", "hard giveback", "VWAP giveback", "VWAP persistence")
TIME_STOP, STOP_LOSS, HARD_GIVEBACK, VWAP_GIVEBACK, PERSISTENCE = range(5)
AS_RULED, MIDDLE, TICK_WORSE = range(3)
TRADES_MAX, SIGNALS_MAX = 512, 1024

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
    """A session's times, Unix seconds; `premarket`: the feed was heard before the open."""

    open_at: int
    close_at: int
    cutoff_at: float
    time_stop_at: float
    premarket: bool
    momentum_only: bool


class Stream(NamedTuple):
    """Bars of one symbol in order of arrival."""

    at: Floats
    start: Ints
    close: Floats
    volume: Floats
    vwap: Floats


class Decided(NamedTuple):
    """What a session came to. A trade's row: opened, closed, strike, entry, exit, peak, reason, P&L; a signal's: at, index."""

    trades: Floats
    signals: Floats


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


# --- contracts ---------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def liquidity_of(chain: Chain, rules: Rules, at: float, spot: float, strike: int) -> tuple[int, float]:
    """Day volume x mid of a contract that passes every filter, and its distance from the ideal; -1 where it does not."""
    now = seen(chain, at, spot, strike)
    if at >= chain.close_at or not rules.delta_low - EQUAL < now.delta < rules.delta_high + EQUAL:
        return -1, 0.0
    if not 0 < now.bid < now.ask or min(now.bid_size, now.ask_size) < rules.size_min:
        return -1, 0.0
    part, of, volume = 2 * (now.ask - now.bid), now.bid + now.ask, day_volume(chain, at, strike)
    if part * rules.spread_den > rules.spread_num * of or volume < rules.volume_min:
        return -1, 0.0
    if open_interest(chain, strike) < rules.interest_min:
        return -1, 0.0
    if not -5.0 <= at - (at - now.age_s) <= rules.quote_age_s:
        return -1, 0.0
    middle, half = (rules.delta_low + rules.delta_high) / 2, (rules.delta_high - rules.delta_low) / 2
    return volume * of, abs(now.delta - middle) / half + 100 * part / of / rules.spread_percent


@njit(cache=True, nogil=True)
def track(chain: Chain, rules: Rules, at: float, spot: float) -> Ints:
    """The strikes of the tracked contracts, most liquid first."""
    count = len(chain.strikes)
    tracked, worth = np.zeros(rules.tracked_max, np.int64), np.full(rules.tracked_max, -1, np.int64)
    kept = 0
    for k in range(count):
        liquid = liquidity_of(chain, rules, at, spot, chain.strikes[k])[0]
        if liquid < 0:
            continue
        place = kept
        while place > 0 and worth[place - 1] < liquid:
            place -= 1
        if place >= rules.tracked_max:
            continue
        for behind in range(min(kept, rules.tracked_max - 1), place, -1):
            tracked[behind], worth[behind] = tracked[behind - 1], worth[behind - 1]
        tracked[place], worth[place] = chain.strikes[k], liquid
        kept = min(kept + 1, rules.tracked_max)
    return tracked[:kept]


@njit(cache=True, nogil=True)
def choose(chain: Chain, rules: Rules, tracked: Ints, at: float, spot: float) -> int:
    """The one contract's strike; 0 where none passes any more."""
    best, nearest, most = 0, 0.0, 0
    for strike in tracked:
        liquid, distance = liquidity_of(chain, rules, at, spot, strike)
        if liquid < 0:
            continue
        if best == 0 or (distance, -liquid, strike) < (nearest, -most, best):
            best, nearest, most = strike, distance, liquid
    return best


@njit(cache=True, nogil=True)
def entry_of(rules: Rules, bid: int, ask: int) -> int:
    """The assumed fill: one tick over the ask, capped at mid + slippage, never under the ask; rounded up to a cent."""
    if rules.fill == MIDDLE:
        return (bid + ask) // 2
    capped = (bid + ask + 2 * rules.slippage + 1) // 2
    price = max(ask, min(ask + CENT, capped))
    price = -(-price // CENT) * CENT
    return price + CENT if rules.fill == TICK_WORSE else price


@njit(cache=True, nogil=True)
def exit_of(rules: Rules, bid: int, mark: int) -> int:
    if rules.fill == MIDDLE:
        return mark if mark > 0 else bid
    return max(bid - CENT, 0) if rules.fill == TICK_WORSE else bid


# --- a session ---------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def last_prices(stream: Stream, truth: Stream, open_at: int, seconds: int) -> Floats:
    """The price after each second of the session: the close of the last bar that had ended; before it, the first one's."""
    bars = truth if len(truth.start) > 0 else stream
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


@njit(cache=True, nogil=True, inline="always")
def spot_at(prices: Floats, open_at: int, at: float) -> float:
    return float(prices[min(max(math.floor(at) - 1 - open_at, 0), len(prices) - 1)])


@njit(cache=True, nogil=True)
def decide(own: Stream, other: Stream, truth: Stream, profile: Floats, chain: Chain, rules: Rules, hours: Hours) -> Decided:
    """One session: `own` is the traded symbol's stream, `other` the leader's, `truth` the final bars (empty: `own` are).

    In one function, because a compiled call per bar and part would cost more than what it does.
    """
    open_at = hours.open_at
    seconds = hours.close_at - open_at
    end = OPEN + seconds
    closes, volumes, pv = np.zeros(end), np.zeros(end), np.zeros(end)
    leader = np.zeros(end)
    trades, signals = np.empty((TRADES_MAX, 8)), np.empty((SIGNALS_MAX, 2))
    n_trades = n_signals = 0
    prices = last_prices(own, truth, open_at, seconds)

    # the windows
    newest, covered, is_covered = OPEN - 1, OPEN, hours.premarket
    sum_v = sum_pv = 0.0
    since_anew = 0
    vwap = run_vwap = math.nan
    run, below = OPEN, 0
    held_index, held_close, held_volume, held_pv = 0, 0.0, 0.0, 0.0
    # the leader's
    leader_newest, leader_held_index, leader_held_close = OPEN - 1, 0, 0.0
    j = 0
    # the desk
    last_exit, last_signal = NEVER, NEVER
    pnl_today = 0
    # the refresh that was asked for
    seeking, answered_at = False, 0.0
    tracked = np.empty(0, np.int64)
    # the position
    holding = False
    opened_at = poll_from = marked_at = quoted_at = 0.0
    polls = strike = entry = peak = last_mark = last_bid = hits = 0

    i, n = 0, len(own.at)
    while i < n or holding or seeking:
        bar_at = own.at[i] if i < n else 1e18
        if seeking and answered_at < bar_at:
            # --- the refreshed quotes are here: check again, choose, open
            seeking = False
            if refused(rules, hours, answered_at, last_exit, n_trades, pnl_today) or closes[newest] - vwap < EQUAL:
                continue
            if math.isnan(vwap) or answered_at - (newest - OPEN + open_at) - 1 > rules.signal_max_age_s:
                continue
            spot = spot_at(prices, open_at, answered_at)
            strike = choose(chain, rules, tracked, answered_at, spot)
            if strike == 0 or n_trades >= TRADES_MAX:
                continue
            now = seen(chain, answered_at, spot, strike)
            holding, opened_at, poll_from, polls = True, answered_at, answered_at + ANSWER_S, 0
            entry, peak, last_bid = entry_of(rules, now.bid, now.ask), (now.bid + now.ask) // 2, now.bid
            last_mark, hits, marked_at, quoted_at = 0, 0, NEVER, 0.0
            continue
        if holding:
            # --- what comes before the next bar: quotes of the held contract, and the time stop
            at = poll_from + polls * rules.exit_poll_s
            if min(bar_at, at) > hours.time_stop_at:
                at, reason = hours.time_stop_at, TIME_STOP
            elif at < bar_at:
                polls += 1
                now = seen(chain, at, spot_at(prices, open_at, at), strike)
                said_at = at - now.age_s
                if quoted_at > 0.0 and said_at < quoted_at:
                    continue
                quoted_at = said_at
                last_bid = now.bid
                usable = 0 < now.bid <= now.ask and 4 * (now.ask - now.bid) <= now.bid + now.ask
                if usable:
                    mark = (now.bid + now.ask) // 2
                    if last_mark > 0:
                        peak = max(peak, min(last_mark, mark))
                    hits = hits + 1 if (mark - entry) * rules.stop_den <= -rules.stop_num * entry else 0
                    last_mark, marked_at = mark, at
                reason = -1
                if at >= hours.time_stop_at:
                    reason = TIME_STOP
                elif not usable and now.ask > 0 and (now.ask - entry) * rules.stop_den <= -rules.stop_num * entry:
                    reason = STOP_LOSS
                else:
                    reason = leave(rules, at, marked_at, last_mark, peak, hits, newest, below, opened_at, open_at)
                if reason < 0:
                    continue
            else:
                reason = -1
            if reason >= 0:
                n_trades, pnl_today = book(
                    trades, n_trades, pnl_today, rules, opened_at, at, strike, entry, last_bid, last_mark, peak, reason
                )
                holding, last_exit = False, at
                continue
        if i >= n:
            break

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
        at, is_new = bar_at, False
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
        if not is_new:
            continue

        # --- exits first
        if holding:
            reason = TIME_STOP
            if at < hours.time_stop_at:
                reason = leave(rules, at, marked_at, last_mark, peak, hits, newest, below, opened_at, open_at)
            if reason >= 0:
                n_trades, pnl_today = book(
                    trades, n_trades, pnl_today, rules, opened_at, at, strike, entry, last_bid, last_mark, peak, reason
                )
                holding, last_exit = False, at

        # --- then the signal, cheapest conditions first
        if at - last_signal < rules.signal_cooldown_s:
            continue
        close = closes[newest]
        if not (close - vwap >= EQUAL and newest - run >= RISING_S and vwap - run_vwap >= EQUAL):
            continue
        if newest - covered < rules.warmup_s or not slope_pct_s(closes, newest) >= EQUAL:
            continue
        if not surge(volumes, newest, covered):
            continue
        if rules.trend_on and not close - trend(volumes, pv, newest) >= EQUAL:
            continue
        if not hours.momentum_only:
            if rules.volume_on and not relative_volume(volumes, profile, newest) - rules.relative_min > -EQUAL:
                continue
            if rules.lead_on and not leadership_pp(closes, leader, newest, end) - rules.lag > -EQUAL:
                continue
        if at - (newest - OPEN + open_at) - 1 > rules.signal_max_age_s:
            continue
        asked_at = open_at - CHAIN_AHEAD_S
        asked_at += math.floor((at - asked_at) / rules.chain_poll_s) * rules.chain_poll_s
        last_signal = at
        if n_signals < SIGNALS_MAX:
            signals[n_signals, 0], signals[n_signals, 1] = at, newest - OPEN
            n_signals += 1
        if hours.momentum_only or holding or seeking or refused(rules, hours, at, last_exit, n_trades, pnl_today):
            continue
        tracked = track(chain, rules, asked_at, spot_at(prices, open_at, asked_at))
        if len(tracked) > 0:
            seeking, answered_at = True, at + ANSWER_S
    return Decided(trades[:n_trades].copy(), signals[:n_signals].copy())


@njit(cache=True, nogil=True)
def refused(rules: Rules, hours: Hours, at: float, last_exit: float, trades: int, pnl: int) -> bool:
    """Condition 8, but for a position that is open."""
    if not hours.open_at <= at < hours.close_at or at >= hours.cutoff_at:
        return True
    if rules.entry_cooldown_s - (at - last_exit) > 0:
        return True
    if rules.trades_max > 0 and trades >= rules.trades_max:
        return True
    return rules.loss_halt > 0 and pnl <= -rules.loss_halt


@njit(cache=True, nogil=True)
def leave(
    rules: Rules,
    at: float,
    marked_at: float,
    mark: int,
    peak: int,
    hits: int,
    newest: int,
    below: int,
    opened_at: float,
    open_at: int,
) -> int:
    """The exits 2-5 in their order, by what is known: the first that holds, or -1."""
    marked = at - marked_at <= FRESH_S
    if marked and mark > 0 and hits >= rules.stop_hits:
        return STOP_LOSS
    if marked and mark > 0:
        given = peak - mark
        if given * rules.hard_den >= rules.hard_num * peak:
            return HARD_GIVEBACK
        if below > 0 and given * rules.tight_den >= rules.tight_num * peak:
            return VWAP_GIVEBACK
    if below > 0:
        since = max(below - OPEN + open_at, math.ceil(opened_at))
        if newest - OPEN + open_at - since >= PERSISTENCE_S:
            return PERSISTENCE
    return -1


@njit(cache=True, nogil=True)
def book(
    trades: Floats,
    n: int,
    pnl_today: int,
    rules: Rules,
    opened_at: float,
    at: float,
    strike: int,
    entry: int,
    bid: int,
    mark: int,
    peak: int,
    reason: int,
) -> tuple[int, int]:
    """Write a trade down; the count and the day's P&L after it."""
    sold = exit_of(rules, bid, mark)
    pnl = (sold - entry) * 100 - 2 * rules.fee
    row = trades[n]
    row[0], row[1], row[2], row[3], row[4] = opened_at, at, strike, entry, sold
    row[5], row[6], row[7] = peak, reason, pnl
    return n + 1, pnl_today + pnl
