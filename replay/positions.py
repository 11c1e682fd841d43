"""The fast path's hands: contract, fill and exits under one set of rules, over a session that `replay.kernel` has read.

It follows `contract_selector`, `risk_manager` and `strategies.vwap` rule by rule, with their constants, and goes from signal to
signal: what happens while nothing is held cannot change a trade. The world is the one of `replay.world`: the chain every
CHAIN_POLL_SECONDS, quotes `ANSWER_S` after the question, a phone and a disk that always answer. Prices of options are whole mills,
thresholds fractions of whole numbers, as in `risk_manager`.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from events import ExitReason
from market.seconds import EQUAL, OPEN
from replay.kernel import NEVER, Floats, Hours, Ints, Readings, Rules
from replay.options import Chain, day_volume, open_interest, seen
from replay.world import ANSWER_S, CHAIN_AHEAD_S
from risk_manager import FRESH_S, PERSISTENCE_S
from utils import CENT

REASONS: tuple[ExitReason, ...] = ("time stop", "stop loss", "hard giveback", "VWAP giveback", "VWAP persistence")
TIME_STOP, STOP_LOSS, HARD_GIVEBACK, VWAP_GIVEBACK, PERSISTENCE = range(5)
AS_RULED, MIDDLE, TICK_WORSE = range(3)
TRADES_MAX = 512
# Why a signal became no trade; a filter of `contract_selector` that emptied the list is NO_CONTRACT plus its place.
TRADED, CLOSED, LATE, COOLDOWN, ENOUGH_TRADES, LOSS_HALT, HELD, CHOOSING, FELL_BACK, OLD_BAR, NO_CONTRACT = range(11)
DELTA, TWO_SIDED, SIZES, SPREAD, VOLUME, INTEREST, AGE = range(2, 9)


@njit(cache=True, nogil=True)
def liquidity_of(chain: Chain, rules: Rules, at: float, spot: float, strike: int) -> tuple[int, float]:
    """Day volume x mid of a contract that passes every filter, and its distance from the ideal; else -1 - the filter's place."""
    now = seen(chain, at, spot, strike)
    if at >= chain.close_at:
        return -1, 0.0
    if not rules.delta_low - EQUAL < now.delta < rules.delta_high + EQUAL:
        return -1 - DELTA, 0.0
    if not 0 < now.bid < now.ask:
        return -1 - TWO_SIDED, 0.0
    if min(now.bid_size, now.ask_size) < rules.size_min:
        return -1 - SIZES, 0.0
    part, of, volume = 2 * (now.ask - now.bid), now.bid + now.ask, day_volume(chain, at, strike)
    if part * rules.spread_den > rules.spread_num * of:
        return -1 - SPREAD, 0.0
    if volume < rules.volume_min:
        return -1 - VOLUME, 0.0
    if open_interest(chain, strike) < rules.interest_min:
        return -1 - INTEREST, 0.0
    if not -5.0 <= at - (at - now.age_s) <= rules.quote_age_s:
        return -1 - AGE, 0.0
    middle, half = (rules.delta_low + rules.delta_high) / 2, (rules.delta_high - rules.delta_low) / 2
    return volume * of, abs(now.delta - middle) / half + 100 * part / of / rules.spread_percent


@njit(cache=True, nogil=True)
def emptied_by(chain: Chain, rules: Rules, strikes: Ints, at: float, spot: float) -> int:
    """The place of the filter that took the last of these contracts."""
    last = 0
    for strike in strikes:
        last = max(last, -1 - liquidity_of(chain, rules, at, spot, strike)[0])
    return last


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


@njit(cache=True, nogil=True, inline="always")
def spot_at(prices: Floats, open_at: int, at: float) -> float:
    return float(prices[min(max(math.floor(at) - 1 - open_at, 0), len(prices) - 1)])


@njit(cache=True, nogil=True)
def trades_of(
    readings: Readings, signals: Floats, prices: Floats, chain: Chain, rules: Rules, hours: Hours
) -> tuple[Floats, Ints]:
    """The session's trades, a row each: opened, closed, strike, entry, exit, peak, reason, P&L; and what became of each signal.

    `prices` is what the underlying stood at after each second, by which options are modelled.
    """
    open_at, moments = hours.open_at, readings.at
    trades = np.empty((min(TRADES_MAX, len(signals)), 8))
    fates = np.zeros(len(signals), np.int64)
    count = pnl_today = 0
    last_exit = busy_until = chosen_at = NEVER
    left_on_a_bar = False  # then that bar's own signal comes after the exit
    for k in range(len(signals)):
        asked_at = signals[k, 0]
        if asked_at < busy_until or (asked_at == busy_until and not left_on_a_bar):
            shut = out_of_hours(hours, asked_at)
            fates[k] = CHOOSING if asked_at <= chosen_at else shut if shut else HELD
            continue
        fates[k] = refused(rules, hours, asked_at, last_exit, count, pnl_today)
        if fates[k]:
            continue
        polled_at = open_at - CHAIN_AHEAD_S
        polled_at += math.floor((asked_at - polled_at) / rules.chain_poll_s) * rules.chain_poll_s
        spot = spot_at(prices, open_at, polled_at)
        tracked = track(chain, rules, polled_at, spot)
        if len(tracked) == 0:
            fates[k] = NO_CONTRACT + emptied_by(chain, rules, chain.strikes, polled_at, spot)
            continue

        # --- the refreshed quotes are here: check again, choose, open
        at = asked_at + ANSWER_S
        busy_until, chosen_at, left_on_a_bar = at, at, False
        i = np.searchsorted(moments, at, side="right") - 1
        newest, vwap = readings.newest[i], readings.vwap[i]
        fates[k] = refused(rules, hours, at, last_exit, count, pnl_today)
        if at - (newest - OPEN + open_at) - 1 > rules.signal_max_age_s:
            fates[k] = OLD_BAR
        elif not fates[k] and not readings.close[i] - vwap >= EQUAL:
            fates[k] = FELL_BACK
        if fates[k]:
            continue
        spot = spot_at(prices, open_at, at)
        strike = choose(chain, rules, tracked, at, spot)
        if strike == 0 or count >= TRADES_MAX:
            fates[k] = NO_CONTRACT + emptied_by(chain, rules, tracked, at, spot)
            continue
        now = seen(chain, at, spot, strike)
        opened_at, entry, peak, bid = at, entry_of(rules, now.bid, now.ask), (now.bid + now.ask) // 2, now.bid
        mark, hits, polls, marked_at, reason = 0, 0, 0, NEVER, -1

        # --- held: its quotes, the bars and the time stop in their order
        while reason < 0:
            bar_at = moments[i + 1] if i + 1 < len(moments) else math.inf
            at = opened_at + ANSWER_S + polls * rules.exit_poll_s
            if min(bar_at, at) > hours.time_stop_at:
                at, reason, left_on_a_bar = hours.time_stop_at, TIME_STOP, False
            elif at < bar_at:
                polls += 1
                left_on_a_bar = False
                now = seen(chain, at, spot_at(prices, open_at, at), strike)
                bid = now.bid
                usable = 0 < now.bid <= now.ask and 4 * (now.ask - now.bid) <= now.bid + now.ask
                if usable:
                    before, mark, marked_at = mark, (now.bid + now.ask) // 2, at
                    if before > 0:
                        peak = max(peak, min(before, mark))
                    hits = hits + 1 if (mark - entry) * rules.stop_den <= -rules.stop_num * entry else 0
                if at >= hours.time_stop_at:
                    reason = TIME_STOP
                elif not usable and now.ask > 0 and (now.ask - entry) * rules.stop_den <= -rules.stop_num * entry:
                    reason = STOP_LOSS
                else:
                    reason = leave(rules, readings, i, at, marked_at, mark, peak, hits, opened_at, open_at)
            else:
                i += 1
                at, left_on_a_bar = bar_at, True
                if readings.newest[i] == readings.newest[i - 1]:
                    continue
                if at >= hours.time_stop_at:
                    reason = TIME_STOP
                else:
                    reason = leave(rules, readings, i, at, marked_at, mark, peak, hits, opened_at, open_at)
        busy_until = last_exit = at
        sold = exit_of(rules, bid, mark)
        pnl = (sold - entry) * 100 - 2 * rules.fee
        row = trades[count]
        row[0], row[1], row[2], row[3], row[4] = opened_at, at, strike, entry, sold
        row[5], row[6], row[7] = peak, reason, pnl
        count, pnl_today = count + 1, pnl_today + pnl
    return trades[:count], fates


@njit(cache=True, nogil=True)
def out_of_hours(hours: Hours, at: float) -> int:
    """Whether the clock alone refuses an entry, and why."""
    if not hours.open_at <= at < hours.close_at:
        return CLOSED
    return LATE if at >= hours.cutoff_at else TRADED


@njit(cache=True, nogil=True)
def refused(rules: Rules, hours: Hours, at: float, last_exit: float, trades: int, pnl: int) -> int:
    """Condition 8, but for a position that is open: why there is no entry."""
    shut = out_of_hours(hours, at)
    if shut:
        return shut
    if rules.entry_cooldown_s - (at - last_exit) > 0:
        return COOLDOWN
    if rules.trades_max > 0 and trades >= rules.trades_max:
        return ENOUGH_TRADES
    return LOSS_HALT if rules.loss_halt > 0 and pnl <= -rules.loss_halt else TRADED


@njit(cache=True, nogil=True)
def leave(
    rules: Rules,
    readings: Readings,
    i: int,
    at: float,
    marked_at: float,
    mark: int,
    peak: int,
    hits: int,
    opened_at: float,
    open_at: int,
) -> int:
    """The exits 2-5 in their order, by what is known: the first that holds, or -1."""
    newest, below = readings.newest[i], readings.below[i]
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
