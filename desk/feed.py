"""The market's side of a turn: bars, their history, the sockets, silence and delay. Pure: every function takes the desk's turn.

History is asked for again until it has come, symbol by symbol. A new connection knows nothing of the seconds before it. A stall is
silence of the whole basket; bars that come a quarter of an hour late are a plan without real-time data.
"""

from __future__ import annotations

import alerts
from desk import delivery
from desk.state import Turn
from events import Backfill, BackfillFailed, Bar, BarsFetched, FeedConnected, FeedDropped, FeedRefused, JunkDropped
from strategies.vwap.windows import Market

HISTORY_S = 1800
HISTORY_PATIENCE_S = 60.0
HISTORY_RETRY_S, HISTORY_REFUSED_S = 15.0, 300.0
SILENT_S = 5.0
REFUSED_AGAIN_S = 3600.0
JUNK_MANY, JUNK_AGAIN_S = 100, 3600.0


# --- history -----------------------------------------------------------------------------------------------------------


def ask_history(turn: Turn, *symbols: str) -> None:
    """The last half hour of these symbols, and again if no answer comes."""
    session = turn.state.session
    if session is not None and turn.in_hours():
        start = max(session.open_at, int(turn.at) - HISTORY_S)
        turn.do(Backfill(symbols, start, int(turn.at) + 1))
        for symbol in symbols:
            turn.due[history_of(symbol)] = turn.at + HISTORY_PATIENCE_S


def ask_history_again(turn: Turn) -> None:
    both = (turn.config.symbol, turn.config.leader)
    late = [symbol for symbol in both if turn.at >= turn.due.get(history_of(symbol), float("inf"))]
    if late:
        for symbol in late:
            del turn.due[history_of(symbol)]
        ask_history(turn, *late)


def take_history(turn: Turn, market: Market, event: BarsFetched) -> None:
    market.take_history(event)
    turn.due.pop(history_of(event.symbol), None)
    covered = market.coverage_s()
    turn.log_change(history_of(event.symbol), "")
    turn.log("info", f"history of {event.symbol} taken in", bars=len(event.bars), coverage_s=covered)


def miss_history(turn: Turn, event: BackfillFailed) -> None:
    topic = history_of(event.symbol)
    turn.log_change(topic, f"{topic} could not be had: {event.reason}", "warning")
    turn.due[topic] = turn.at + (HISTORY_REFUSED_S if event.refused else HISTORY_RETRY_S)
    if event.refused and turn.every("history refused", REFUSED_AGAIN_S):
        delivery.say(turn, alerts.feed_refused(turn.config, "history of bars", event.reason, at=turn.at))


def history_of(symbol: str) -> str:
    return f"history of {symbol}"


# --- the sockets -------------------------------------------------------------------------------------------------------


def connected(turn: Turn, market: Market, event: FeedConnected) -> None:
    turn.log("info", f"{event.feed} socket subscribed")
    if event.feed == "stocks":
        look_again(turn, market, event.at)


def look_again(turn: Turn, market: Market, at: float) -> None:
    """Every second from `at` on is told, and nothing is known of those before it that history does not tell."""
    market.lost_sight()
    market.in_sight(at)
    ask_history(turn, turn.config.symbol, turn.config.leader)


def dropped(turn: Turn, market: Market, event: FeedDropped) -> None:
    turn.log("warning", f"{event.feed} socket lost: {event.reason}", retry_in_s=round(event.retry_in_s, 1))
    if event.feed == "stocks":
        turn.tally(drops=1)
        market.lost_sight()


def refused(turn: Turn, market: Market, event: FeedRefused) -> None:
    """The owner is told once of a reason; without the options socket quotes come by REST, so that is said seldom."""
    if event.feed == "options":
        turn.log_change("options", f"options socket not available, quotes come by REST: {event.reason}")
        if turn.config.options_stream == "on" and turn.every("options refused", REFUSED_AGAIN_S):
            say_refused(turn, event)
        return
    market.lost_sight()
    if turn.state.feed_refused != event.reason:
        turn.set(feed_refused=event.reason)
        turn.log("error", f"{event.feed} feed refused: {event.reason}")
        say_refused(turn, event)


def say_refused(turn: Turn, event: FeedRefused) -> None:
    delivery.say(turn, alerts.feed_refused(turn.config, f"{event.feed} feed", event.reason, at=turn.at, busy=event.busy))


def junk_dropped(turn: Turn, event: JunkDropped) -> None:
    count = sum(event.counts.values())
    turn.tally(junk=count)
    turn.log("warning", f"malformed input dropped from {event.feed}", **dict(event.counts))
    if count >= JUNK_MANY and turn.every(f"junk from {event.feed}", JUNK_AGAIN_S):
        worst = max(event.counts, key=lambda reason: event.counts[reason])
        delivery.say(turn, alerts.bad_input(turn.config, event.feed, count, worst, at=turn.at))


# --- silence and delay -------------------------------------------------------------------------------------------------


def watch(turn: Turn, market: Market) -> None:
    """Silence of the whole basket for five seconds is a stall: say it, pause signals and the VWAP exits."""
    state = turn.state
    if not turn.in_hours() or state.session is None:
        if state.stalled_since is not None:
            turn.set(stalled_since=None)
        return
    silent = market.silence(turn.at, max(state.started_at, state.session.open_at + SILENT_S))
    if state.stalled_since is not None or silent < SILENT_S:
        return
    turn.set(stalled_since=turn.at - silent)
    market.reset_below()
    turn.log("warning", "data feed stalled: no bars of any symbol", silent_s=round(silent, 1))
    if not state.feed_refused:
        delivery.say(turn, alerts.data_stall(turn.config, silent, at=turn.at))


def back(turn: Turn, market: Market, bar: Bar) -> None:
    """A bar of the basket ends a stall, and a refusal. What history tells of the stall later starts no run below the VWAP."""
    since = turn.state.stalled_since
    if bar.symbol not in market.basket:
        return
    turn.set(stalled_since=None, feed_refused="")
    if since is None:
        return
    market.reset_below(bar.start)
    turn.tally(stalls=1, stalled_s=turn.at - since)
    turn.log("info", "data feed restored", stalled_s=round(turn.at - since, 1))
    delivery.say(turn, alerts.data_restored(turn.config, turn.at - since, at=turn.at))
    ask_history(turn, turn.config.symbol, turn.config.leader)


def condition(turn: Turn, market: Market) -> str:
    """How the feed does, in a word or two."""
    since = turn.state.stalled_since
    if since is not None:
        return f"stalled for {alerts.lasting(turn.at - since)}"
    return f"delayed by {alerts.lasting(market.delay_s)}" if market.is_delayed else "active"


def watch_delay(turn: Turn, market: Market) -> None:
    """Bars that come a quarter of an hour late are a plan without real-time data: nothing is traded on them."""
    if market.is_delayed and turn.every("delay", 86_400.0):
        reason = f"its bars come {market.delay_s:.0f}s late: the plan is delayed"
        turn.log("error", f"stocks feed refused: {reason}")
        delivery.say(turn, alerts.feed_refused(turn.config, "stocks feed", reason, at=turn.at))
