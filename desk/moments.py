"""What becomes of remembered moments when the clock is put right while the desk runs. Pure: every function takes the desk's turn.

The desk's own time follows the market's, so it can step, by an hour if the host's clock was an hour off. As in a new life, then: no
past lies ahead, nothing that is due waits longer than it would have, and a price comes before a decision.
"""

from __future__ import annotations

from typing import Any, overload

from msgspec.structs import replace

from desk import books, outbox
from desk.market import Market
from desk.outbox import Line
from desk.state import Turn
from events import FactSet, Outgoing


@overload
def past(now: float, moment: float) -> float: ...
@overload
def past(now: float, moment: float | None) -> float | None: ...
def past(now: float, moment: float | None) -> float | None:
    """A moment of the past; one that a wrong clock had put ahead is now."""
    return None if moment is None else min(moment, now)


def put_right(turn: Turn[Any], market: Market, moved_s: float) -> None:
    """The clock has stepped by `moved_s`, to this turn's moment: forward, or (negative) back."""
    state, now = turn.state, turn.at
    turn.log("warning", f"the clock was put {'back' if moved_s < 0 else 'forward'}", by_s=round(abs(moved_s)))
    turn.due.clear()
    turn.write(FactSet("running_since", now))
    market.unheard()
    turn.set(
        started_at=now,
        phone_asked_at=0.0,
        accounts={
            name: replace(account, last_exit_at=past(now, account.last_exit_at)) for name, account in state.accounts.items()
        },
        stalled_since=None,
        feed=replace(state.feed, since=past(now, state.feed.since)),
        outbox={key: of_row(row, now) for key, row in state.outbox.items()},
        line=of_line(state.line, now),
        pending={number: replace(pending, since=now) for number, pending in state.pending.items()},
    )
    if state.stopping is not None:
        turn.set(stopping=replace(state.stopping, since=now))
    for held in state.held.values():
        if held.settling is not None:
            turn.hold(replace(held, since=now, settling=replace(held.settling, next_at=now)))
            continue
        position = replace(held.position, last_quote_at=past(now, held.position.last_quote_at))
        books.resume(turn, held.strategy, position)
        again = turn.state.held[position.id]
        turn.hold(replace(again, blind_since=past(now, held.blind_since)))


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
        ops_of={owner: tuple(past(now, at) for at in sent) for owner, sent in line.ops_of.items()},
    )
