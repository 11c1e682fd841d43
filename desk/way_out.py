"""The way out: whether disk, clock and threads are as an entry needs them, and what the owner hears when they are not. Pure."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

import alerts
from desk import delivery
from desk.market import Market
from desk.state import Turn
from events import ClockChecked, ThreadFailed

MAX_SKEW_S = 2.0
DISK, DISK_PATIENCE_S = "disk", 60.0


def watch_disk(turn: Turn[Any]) -> None:
    """A disk that refuses for a minute, or a viewer that holds the ledger for as long: no BUY, and the owner hears why."""
    reason = turn.state.way_out.disk
    if reason is not None and turn.every(DISK, 3600.0):
        delivery.say(turn, alerts.disk_trouble(turn.config, reason, at=turn.at))


def clock_checked(turn: Turn[Any], event: ClockChecked) -> None:
    """The market's own time decides; where it cannot be had, the bars do."""
    if event.skew_s is None:
        turn.log_change("clock", "the market's time cannot be asked: the bars decide whether the clock is right")
        turn.set(clock_by_bars=True)
        return
    off = abs(event.skew_s) > MAX_SKEW_S
    fault = f"the host's clock is {event.skew_s:+.1f}s off {event.source}" if off else None
    turn.set(way_out=replace(turn.state.way_out, clock=fault), clock_by_bars=event.by_itself)
    turn.log_change("clock", fault or "the clock is right", "warning" if fault else "info", source=event.source)
    if off and turn.every("clock", 3600.0):
        delivery.say(turn, alerts.clock_off(turn.config, event.skew_s, event.source or "", at=turn.at))


def trust_clock_by_bars(turn: Turn[Any], market: Market) -> None:
    """Bars that arrive as old as bars are when they arrive say that the clock is right."""
    state = turn.state
    if state.way_out.clock is not None and state.clock_by_bars and market.is_in_time(turn.at):
        turn.set(way_out=replace(state.way_out, clock=None))
        turn.log_change("clock", "the clock is right, by the bars")


def thread_failed(turn: Turn[Any], event: ThreadFailed) -> None:
    turn.log("error", f"thread {event.thread} replaced: {event.reason}")
    delivery.say(turn, alerts.thread_failed(turn.config, event.thread, event.reason, at=turn.at))
