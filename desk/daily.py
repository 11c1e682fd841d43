"""The day's two messages: GO or NO-GO five minutes before the open, and what the day was worth after its close. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import alerts
from desk import delivery
from desk.market import DELAYED_S, Market
from desk.state import Turn
from desk.strategy import Check, Status
from events import Noted
from utils import clock_text

GO_BEFORE_S = 300.0
STARTED_S = 30.0  # before that nothing was asked yet, and everything would be a NO-GO
SUMMARY_AFTER_S = 60.0
REASONS_TOLD = 4


def is_morning(turn: Turn[Any]) -> bool:
    session = turn.state.session
    if session is None or turn.at - turn.state.started_at < STARTED_S:
        return False
    return session.open_at - GO_BEFORE_S <= turn.at < session.open_at


def is_evening(turn: Turn[Any]) -> bool:
    session = turn.state.session
    over = session is not None and turn.at >= session.close_at + SUMMARY_AFTER_S
    return over and not turn.state.held


# --- the morning -------------------------------------------------------------------------------------------------------


def say_go(turn: Turn[Any], market: Market, statuses: Sequence[Status]) -> None:
    assert turn.state.session is not None
    told = list(checks(turn, market, statuses))
    for check in told:
        if check.fault is not None:
            turn.log("warning", f"NO-GO: {check.name}: {check.fault}")
    delivery.say(
        turn,
        alerts.morning(
            turn.config, turn.state.session, [(check.name, check.fault, check.found) for check in told], at=turn.at
        ),
    )


def checks(turn: Turn[Any], market: Market, statuses: Sequence[Status]) -> Iterator[Check]:
    """What an entry will need today, of the market first."""
    state, way_out = turn.state, turn.state.way_out
    asked = [check for status in statuses for check in status.checks]
    yield Check("feed", feed_fault(turn, market), delay_words(market))
    yield from (check for check in asked if check.of == "market")
    yield Check("clock", way_out.clock)
    yield Check("disk", way_out.disk)
    left = state.line.quota_left
    yield Check("phone", way_out.phone, "" if left is None else f"{left:,} messages left")
    yield from (check for check in asked if check.of == "desk")
    if way_out.starts is not None:
        yield Check("starts", way_out.starts)
    if state.entries_stopped:
        yield Check("entries", "stopped (manual)")


def feed_fault(turn: Turn[Any], market: Market) -> str | None:
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


# --- the evening -------------------------------------------------------------------------------------------------------


def say_summary(turn: Turn[Any], statuses: Sequence[Status]) -> None:
    state = turn.state
    assert state.session is not None
    lines = (*signal_lines(turn), *feed_lines(turn, statuses))
    delivery.say(turn, alerts.summary(turn.config, state.session, state.trades_today, state.record, at=turn.at, notes=lines))


def signal_lines(turn: Turn[Any]) -> Iterator[str]:
    """How many signals, and why those that became no BUY did not."""
    notes = turn.state.noted
    signals = [note for note in notes if note.kind == "signal"]
    refused = [str(note.body.get("refused")) for note in (*signals, *near_misses(turn)) if note.body.get("refused")]
    yield f"{len(signals)} signal{'' if len(signals) == 1 else 's'}, {len(refused)} not taken"
    reasons = Counter(without_numbers(why) for why in refused)
    if reasons:
        yield "Why not: " + ", ".join(f"{count}× {why}" for why, count in reasons.most_common(REASONS_TOLD))


def near_misses(turn: Turn[Any]) -> list[Noted]:
    return [note for note in turn.state.noted if note.kind == "near miss"]


def without_numbers(why: str) -> str:
    """`entry cooldown, 277s left` and `no contract: spread within 4% (nearest …)` without what differs each time."""
    return re.sub(r"\s*[(,].*", "", why)


def feed_lines(turn: Turn[Any], statuses: Sequence[Status]) -> Iterator[str]:
    """How good the data were that all this rests on."""
    state, feed = turn.state, turn.state.feed
    known, of = statuses[0].known if statuses else (0, 0)
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
