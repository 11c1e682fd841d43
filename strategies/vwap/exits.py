"""When a position is left: by the clock, by its quotes, by where IWM stands against its VWAP. Pure."""

from __future__ import annotations

from math import ceil
from typing import Any

from msgspec.structs import replace

import risk_manager
from desk.state import Held, Turn
from events import Position, PositionMarked, Quote
from risk_manager import Leave, Sight, is_fresh
from strategies.vwap.windows import Underlying


def leave(turn: Turn[Any], iwm: Underlying, held: Held, quote: Quote | None = None) -> Leave | None:
    """The exit that holds now, if any; `quote` is the one that just came. Nothing is decided before a price was seen."""
    if quote is None and turn.at < held.wait_until:
        return None
    return risk_manager.exit_reason(turn.config, held.position, sight_of(turn, iwm, held, quote))


def sight_of(turn: Turn[Any], iwm: Underlying, held: Held, quote: Quote | None) -> Sight:
    assert turn.state.session is not None
    since = below_vwap_since(iwm, held.position)
    return Sight(
        at=turn.at,
        time_stop_at=risk_manager.time_stop(turn.config, turn.state.session),
        quote=quote,
        mark=None if quote is None else held.mark,
        marked=held.marked_at is not None and is_fresh(turn.at - held.marked_at),
        below_vwap=iwm.below_vwap(),
        below_s=0 if since is None else iwm.newest_start() - since,
        stalled=turn.state.stalled_since is not None,
    )


def below_vwap_since(iwm: Underlying, position: Position) -> int | None:
    """Start of the first bar since entry of the unbroken run that closed below VWAP_60."""
    since = iwm.below_since()
    return None if since is None else iwm.first_from(max(since, ceil(position.opened_at)))


def follow_run(turn: Turn[Any], iwm: Underlying, held: Held) -> Held:
    """Remember the run below VWAP with the position, after new bars."""
    since = below_vwap_since(iwm, held.position)
    if since == held.position.below_since:
        return held
    held = replace(held, position=replace(held.position, below_since=since))
    turn.hold(held)
    turn.write(PositionMarked(held.position))
    return held
