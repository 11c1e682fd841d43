"""A life of the worker: what it takes up from the one before, and how it begins to end. Pure."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

import alerts
import pnl_tracker
from desk import books, delivery, moments, orders
from desk.state import ASSUMED, Stopping, Turn
from events import FactSet, RefreshQuotes, Remembered, StopRequested, WorkerStarted

CRASHES_MAX = 3
STEADY_S = 600.0
LAST_QUOTE_S = 2.0
ONCE_A_DAY = ("morning", "summary")


def begin(turn: Turn[Any], kept: Remembered, event: WorkerStarted) -> WorkerStarted:
    """Take up cooldowns, the record and the outbox; the event with how long nobody watched, and how the last lives ended."""
    facts = kept.facts
    last_seen_at = max(
        (at for key in ("running_since", "alive_at") if (at := number(facts.get(key))) is not None), default=None
    )
    crashes = crashes_of(facts)
    lived = replace(event, away_s=None if last_seen_at is None else max(turn.at - last_seen_at, 0.0), crashes=crashes)
    fault = f"{crashes} unclean ends in a row" if crashes >= CRASHES_MAX else None
    turn.write(FactSet("running_since", turn.at))
    turn.write(FactSet("crashes", float(crashes)))
    turn.set(
        at=turn.at,
        started_at=turn.at,
        entries_stopped=facts.get("entries_stopped") == "yes",
        told_on={topic: str(facts.get(topic)) for topic in ONCE_A_DAY},
        opened_on=kept.trades_opened_on,
        outbox={key: moments.of_row(row, turn.at) for key, row in delivery.taken_up(kept.outbox, turn.at).items()},
        line=replace(turn.state.line, ops_at=moments_of(facts.get("ops_at")) if crashes else ()),
        way_out=replace(turn.state.way_out, starts=fault),
    )
    turn.change_account(
        ASSUMED,
        record=pnl_tracker.fold(kept.trades),
        trades=kept.trades,
        last_exit_at=moments.past(turn.at, number(facts.get("last_exit_at"))),
    )
    return lived


def stop(turn: Turn[Any], event: StopRequested) -> None:
    if turn.state.stopping is not None:
        return
    turn.set(stopping=Stopping(turn.at, event.reason))
    turn.log("info", f"stopping: {event.reason}")
    for order in orders.in_flight(turn.state):
        if order.opens:
            orders.cancel(turn, order.ref, "the worker stops")
    for held in turn.state.open():
        position = held.position
        if turn.config.on_shutdown != "keep":
            turn.hold(replace(held, wait_until=turn.at + LAST_QUOTE_S))
            turn.do(RefreshQuotes(turn.ticket(), (position.contract,)))
        elif delivery.never_announced(turn.state, position.id):
            books.void(turn, position.id, "the worker ended before its BUY could be delivered")
        else:
            delivery.say(turn, alerts.going_down(turn.config, position, at=turn.at))


def crashes_of(facts: dict[str, float | str | None]) -> int:
    """Unclean ends in a row, the last life's included if it was one; a life of ten minutes ends the row."""
    since, last_seen = number(facts.get("running_since")), number(facts.get("alive_at"))
    if since is None:
        return 0
    steady = last_seen is not None and last_seen - since >= STEADY_S
    return 1 + (0 if steady else int(number(facts.get("crashes")) or 0))


def moments_of(fact: float | str | None) -> tuple[float, ...]:
    return tuple(map(float, str(fact or "").split()))


def number(fact: float | str | None) -> float | None:
    return float(fact) if isinstance(fact, int | float) else None
