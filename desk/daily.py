"""The day's two messages: GO or NO-GO five minutes before the open, and what the day was worth after its close. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import alerts
from desk import delivery
from desk.state import Holding, Settling, Turn
from events import Noted
from strategies.vwap.windows import DELAYED_S, Market
from utils import clock_text

GO_BEFORE_S = 300.0
STARTED_S = 30.0  # before that nothing was asked yet, and everything would be a NO-GO
SUMMARY_AFTER_S = 60.0
REASONS_TOLD = 4

Check = tuple[str, str | None, str]


def is_morning(turn: Turn) -> bool:
    session = turn.state.session
    if session is None or turn.at - turn.state.started_at < STARTED_S:
        return False
    return session.open_at - GO_BEFORE_S <= turn.at < session.open_at


def is_evening(turn: Turn) -> bool:
    session = turn.state.session
    over = session is not None and turn.at >= session.close_at + SUMMARY_AFTER_S
    return over and not isinstance(turn.state.phase, Holding | Settling)


# --- the morning -------------------------------------------------------------------------------------------------------


def say_go(turn: Turn, market: Market) -> None:
    assert turn.state.session is not None
    told = list(checks(turn, market))
    for name, fault, _ in told:
        if fault is not None:
            turn.log("warning", f"NO-GO: {name}: {fault}")
    delivery.say(turn, alerts.morning(turn.config, turn.state.session, told, at=turn.at))


def checks(turn: Turn, market: Market) -> Iterator[Check]:
    """What a BUY will need today: its name, what is wrong with it (None: nothing), and what was found."""
    state, way_out = turn.state, turn.state.way_out
    yield "feed", feed_fault(turn, market), delay_words(market)
    yield from chain_checks(turn)
    yield "clock", way_out.clock, ""
    yield "disk", way_out.disk, ""
    left = state.line.quota_left
    yield "phone", way_out.phone, "" if left is None else f"{left:,} messages left"
    if turn.config.relative_volume_filter:
        yield "volume profile", None if market.has_profile() else "not there yet, it is tried again every minute", ""
    if way_out.starts is not None:
        yield "starts", way_out.starts, ""
    if state.entries_stopped:
        yield "entries", "stopped by hand", ""


def feed_fault(turn: Turn, market: Market) -> str | None:
    """Key and real-time entitlement, as the bars before the open show them."""
    if turn.state.feed_refused:
        return turn.state.feed_refused
    if not market.heard or market.heard_delay_s is None:
        return "no bar was heard yet"
    if market.heard_delay_s > DELAYED_S:
        return f"bars are {market.heard_delay_s:.0f} s late: a real-time plan is needed"
    return None


def delay_words(market: Market) -> str:
    return "" if market.heard_delay_s is None else f"in real time ({max(market.heard_delay_s, 0.0):.1f} s)"


def chain_checks(turn: Turn) -> Iterator[Check]:
    chain = turn.state.chain
    if chain is None:
        yield "chain", "none could be had yet", ""
    elif not chain.rows:
        yield "expiry", "no calls expire today", ""
    else:
        quotes = [row.quote for row in chain.rows if row.quote is not None]
        delayed = bool(quotes) and all(quote.delayed for quote in quotes)
        yield (
            "chain",
            "quotes are delayed: a real-time plan is needed" if delayed else None,
            f"{len(chain.rows)} calls expire today",
        )


# --- the evening -------------------------------------------------------------------------------------------------------


def say_summary(turn: Turn, market: Market) -> None:
    state = turn.state
    assert state.session is not None
    lines = (*signal_lines(turn), *feed_lines(turn, market))
    delivery.say(turn, alerts.summary(turn.config, state.session, state.trades_today, state.record, at=turn.at, notes=lines))


def signal_lines(turn: Turn) -> Iterator[str]:
    """How many signals, and why those that became no BUY did not."""
    notes = turn.state.noted
    signals = [note for note in notes if note.kind == "signal"]
    refused = [str(note.body.get("refused")) for note in (*signals, *near_misses(turn)) if note.body.get("refused")]
    yield f"{len(signals)} signal{'' if len(signals) == 1 else 's'}, {len(refused)} not taken"
    reasons = Counter(without_numbers(why) for why in refused)
    if reasons:
        yield "Why not: " + ", ".join(f"{count}× {why}" for why, count in reasons.most_common(REASONS_TOLD))


def near_misses(turn: Turn) -> list[Noted]:
    return [note for note in turn.state.noted if note.kind == "near miss"]


def without_numbers(why: str) -> str:
    """`entry cooldown, 277s left` and `no contract: spread within 4% (nearest …)` without what differs each time."""
    return re.sub(r"\s*[(,].*", "", why)


def feed_lines(turn: Turn, market: Market) -> Iterator[str]:
    """How good the data were that all this rests on."""
    state, feed = turn.state, turn.state.feed
    known, of = market.seconds_known()
    parts = [
        f"bars in {known / of:.1%} of the seconds" if of else "no bars",
        f"{feed.stalls} stall{'' if feed.stalls == 1 else 's'}"
        + (f" ({alerts.lasting(feed.stalled_s)})" if feed.stalls else ""),
        f"{feed.drops} reconnect{'' if feed.drops == 1 else 's'}",
        f"{feed.chain_misses} chains missed" if feed.chain_misses else "",
        f"{feed.junk} malformed" if feed.junk else "",
        f"blind for {alerts.lasting(feed.blind_s)}" if feed.blind_s else "",
    ]
    seen = (
        "" if state.session is None or feed.since <= state.session.open_at else f" (seen since {clock_text(feed.since)[:5]})"
    )
    yield "Feed: " + ", ".join(part for part in parts if part) + seen
