"""What becomes of remembered moments when the clock is put right while the desk runs. Pure: every function takes the desk's turn.

The desk's own time follows the market's, so it can step, by an hour if the host's clock was an hour off. As in a new life, then: no
past lies ahead, nothing that is due waits longer than it would have, and a price comes before a decision.
"""

from __future__ import annotations

from typing import overload

from msgspec.structs import replace

from desk import holding, outbox
from desk.outbox import Line
from desk.state import Flat, Holding, Seeking, Settling, Turn
from events import FactSet, Outgoing
from strategies.vwap.windows import Market


@overload
def past(now: float, moment: float) -> float: ...
@overload
def past(now: float, moment: float | None) -> float | None: ...
def past(now: float, moment: float | None) -> float | None:
    """A moment of the past; one that a wrong clock had put ahead is now."""
    return None if moment is None else min(moment, now)


def put_right(turn: Turn, market: Market, moved_s: float) -> None:
    """The clock has stepped by `moved_s`, to this turn's moment: forward, or (negative) back."""
    state, phase, now = turn.state, turn.state.phase, turn.at
    turn.log("warning", f"the clock was put {'back' if moved_s < 0 else 'forward'}", by_s=round(abs(moved_s)))
    turn.due.clear()
    turn.write(FactSet("running_since", now))
    market.unheard()
    turn.set(
        started_at=now,
        phone_asked_at=0.0,
        last_signal_at=past(now, state.last_signal_at),
        last_exit_at=past(now, state.last_exit_at),
        chain=None,
        skew=None,
        stalled_since=None,
        blind_since=past(now, state.blind_since),
        feed=replace(state.feed, since=past(now, state.feed.since)),
        outbox={key: of_row(row, now) for key, row in state.outbox.items()},
        line=of_line(state.line, now),
        pending={number: replace(pending, since=now) for number, pending in state.pending.items()},
    )
    if state.stopping is not None:
        turn.set(stopping=replace(state.stopping, since=now))
    match phase:
        case Seeking():
            turn.set(phase=Flat())
        case Settling():
            turn.set(phase=replace(phase, next_at=now))
        case Holding():
            holding.resume(turn, replace(phase.position, last_quote_at=past(now, phase.position.last_quote_at)))


def of_row(row: Outgoing, now: float) -> Outgoing:
    """A row of the outbox: tried again as soon as if its last attempt had just left."""
    return replace(row, next_at=min(row.next_at, now + outbox.IN_FLIGHT_S), settled_at=past(now, row.settled_at))


def of_line(line: Line, now: float) -> Line:
    """The way to the phone: what was proven or refused by a clock that was ahead, was so until now."""
    return replace(
        line,
        proven_at=past(now, line.proven_at),
        checked_at=past(now, line.checked_at),
        refusals=tuple(past(now, at) for at in line.refusals),
        ops_at=tuple(past(now, at) for at in line.ops_at),
    )
