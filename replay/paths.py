"""The two ways through a session: the desk itself, event by event, and the compiled kernel; and the digest that compares them."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from typing import NamedTuple

from config import Config
from events import ExitReason
from replay import funnel, kernel, options, positions, setting
from replay.bars import BarArrays, Floats, opening_price, true_bars
from replay.world import Modelled, Onlooker, Options, Sat, World, in_order, useful_polls
from utils import Session, SessionCalendar


class SessionBars(NamedTuple):
    """A session and what is known of it: bars of the traded symbol and the leader, the profile, the seed of its options."""

    session: Session
    own: BarArrays
    leader: BarArrays
    profile: tuple[float, ...] | None
    premarket: bool = False
    seed: int = 1


class Closed(NamedTuple):
    """A trade as both paths tell it: Unix seconds and mills; and whether its quotes were modelled or recorded."""

    opened_at: float
    closed_at: float
    strike: int
    entry: int
    exit: int
    peak: int
    reason: ExitReason
    pnl: int
    quotes: str = "modelled"


class Result(NamedTuple):
    """The trades and the moments of the signals of one session, and why a signal became no trade, in order.

    `prices`: the underlying's first and last, in dollars, where they are known.
    """

    trades: tuple[Closed, ...]
    signals: tuple[float, ...]
    refused: tuple[str, ...] = ()
    prices: tuple[float, ...] = ()


def day_of(
    bars: BarArrays, leader: BarArrays | None, session: Session, profile: tuple[float, ...] | None, seed: int = 1
) -> SessionBars:
    """One session cut out of bars of many days; `premarket`: they begin before its open."""
    before = bars.between(session.open_at - 19_800, session.open_at)
    return SessionBars(
        session,
        bars.between(session.open_at, session.close_at),
        BarArrays.none() if leader is None else leader.between(session.open_at, session.close_at),
        profile,
        len(before) > 0,
        seed,
    )


# --- the desk ----------------------------------------------------------------------------------------------------------


def live_through(
    config: Config,
    calendar: SessionCalendar,
    day: SessionBars,
    delay_s: float = 0.0,
    *,
    quotes: Options | None = None,
    eager: bool = False,
    watch: Onlooker | None = None,
) -> Sat:
    """The session through the desk that runs live; option quotes are modelled unless `quotes` are given."""
    polls = None if eager else useful_polls(config, day.session, day.own, delay_s, day.profile)
    market = quotes or Modelled(day.seed, day.session, day.own, config.symbol)
    arrivals = in_order(day.own, day.leader, config, day.session, delay_s)
    return World(
        config, calendar, day.session, arrivals, market, day.profile, premarket=day.premarket, polls=polls, watch=watch
    ).play()


def result_of(sat: Sat, quotes: str = "modelled") -> Result:
    trades = tuple(
        Closed(
            trade.opened_at,
            trade.closed_at,
            trade.strike,
            trade.entry,
            trade.exit or 0,
            trade.peak,
            trade.reason,
            trade.pnl or 0,
            quotes,
        )
        for trade in sat.trades
    )
    return Result(trades, tuple(sat.signals), funnel.reasons_of(sat.noted))


# --- the kernel --------------------------------------------------------------------------------------------------------


class Ready(NamedTuple):
    """A session as the kernel has read it: what no setting changes. `prices`: where the underlying stood after each second."""

    day: SessionBars
    readings: kernel.Readings
    prices: Floats
    chain: options.Chain


def ready(day: SessionBars, delay_s: float = 0.0) -> Ready:
    return heard(day, setting.stream_of(day.own, delay_s), setting.stream_of(day.leader, delay_s))


def heard(day: SessionBars, own: kernel.Stream, leader: kernel.Stream) -> Ready:
    """A session whose bars came as these streams have them; `day.own` is what they came to in the end."""
    session = day.session
    profile, true = setting.as_array(day.profile), true_bars(day.own, session)
    return Ready(
        day,
        kernel.read(own, leader, profile, session.open_at, session.close_at, day.premarket),
        kernel.last_prices(setting.stream_of(true, 0.0), session.open_at, session.close_at - session.open_at),
        options.chain_of(day.seed, session, opening_price(true)),
    )


def fast(config: Config, given: Ready, rules: kernel.Rules | None = None) -> Result:
    """The same session in compiled code."""
    rules, hours = rules or setting.rules_of(config), setting.hours_of(config, given.day.session)
    signals = kernel.signals_of(given.readings, rules, hours)
    rows, fates = positions.trades_of(given.readings, signals, given.prices, given.chain, rules, hours)
    trades = tuple(
        Closed(
            row[0], row[1], int(row[2]), int(row[3]), int(row[4]), int(row[5]), positions.REASONS[int(row[6])], int(row[7])
        )
        for row in rows.tolist()
    )
    words = funnel.words_of(config, given.day.session)
    return Result(trades, tuple(signals[:, 0].tolist()), tuple(words[fate] for fate in fates.tolist() if fate))


# --- compared ----------------------------------------------------------------------------------------------------------


def digest(results: Iterable[Result]) -> str:
    """SHA-256 over every trade and every signal, times and prices to the last bit."""
    sum_ = hashlib.sha256()
    for result in results:
        for trade in result.trades:
            sum_.update(struct.pack("<ddqqqqq", *trade[:6], trade.pnl) + trade.reason.encode())
        sum_.update(struct.pack(f"<{len(result.signals)}d", *result.signals) + b"|")
    return sum_.hexdigest()
