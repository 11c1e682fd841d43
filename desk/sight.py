"""What may be trusted of the quotes of open positions, what they are worth by them, and when the stops cannot fire. Pure."""

from __future__ import annotations

from msgspec.structs import replace

import alerts
import risk_manager
from desk import delivery
from desk.market import Market
from desk.state import Held, Turn
from events import PositionMarked, QuoteFailed, QuoteSeen
from risk_manager import BLIND_AFTER_S, is_fresh
from utils import dollars, underlying_of

BLIND_SILENCE_S = 15.0
BLIND_OWN_SILENCE_S = 30.0


def take_quote(turn: Turn[None], market: Market, held: Held, event: QuoteSeen) -> bool:
    """A quote of an open position came: mark the position by it. Whether it is trusted."""
    if event.asked_at is not None and held.quote_at is not None and event.asked_at < held.quote_at:
        return False  # a newer one overtook it: old news, and no reason to distrust what is known
    distrust = why_distrusted(turn, market, held, event)
    if distrust is not None:
        turn.hold(replace(held, distrust=distrust))
        return False
    turn.log_change(f"quote of {held.strategy}", "")
    before = held.position
    is_another = not risk_manager.is_same(event.quote, held.quote)
    mark = risk_manager.mark(event.quote)
    position = risk_manager.with_quote(turn.config, before, event.quote, mark, event.at, is_another=is_another)
    marked_at = held.marked_at if mark is None else event.at
    marked = replace(
        held,
        position=position,
        quote=event.quote,
        quote_at=event.at,
        mark=mark,
        marked_at=marked_at,
        distrust="",
        wait_until=0.0,
    )
    turn.hold(marked)
    if replace(position, last_quote_at=before.last_quote_at) != before:
        turn.write(PositionMarked(position), position.id)
    if position.peak > before.peak:
        turn.log("debug", f"peak {dollars(position.peak)}", id=position.id, entry=dollars(position.entry))
    return True


def miss_quote(turn: Turn[None], event: QuoteFailed) -> None:
    for held in of_contract(turn, event.contract):
        turn.hold(replace(held, distrust=event.reason))
        turn.log_change(f"quote of {held.strategy}", f"quote could not be had: {event.reason}", "warning")


def of_contract(turn: Turn[None], contract: str) -> list[Held]:
    """The positions that are followed by the quotes of this contract."""
    return [held for held in turn.state.open() if held.position.contract == contract]


def why_distrusted(turn: Turn[None], market: Market, held: Held, event: QuoteSeen) -> str | None:
    """Why a quote is no trusted price: it waited, is delayed, empty, or of another underlying price.

    Its own time stamp says nothing: an unchanged quote keeps an old one.
    """
    quote = event.quote
    if not is_fresh(turn.at - event.at):
        return f"quotes wait {turn.at - event.at:.0f}s before they are looked at"
    if quote.delayed:
        return "quotes are marked DELAYED"
    if not risk_manager.says_something(quote):
        return "no bid and no ask"
    off = market.apart(underlying_of(held.position.contract), turn.at, event.underlying)
    return None if off is None else f"the quote's underlying price is {off:.1%} from the stream's"


# --- blindness ---------------------------------------------------------------------------------------------------------


def watch(turn: Turn[None], market: Market) -> None:
    """Tell the owner when the stops of a position cannot fire, and when they can again."""
    for held in turn.state.open():
        why = blindness(turn, market, held)
        position, since = held.position, held.blind_since
        if why is not None and since is None:
            turn.hold(replace(held, blind_since=turn.at))
            turn.log("error", f"BLIND: {why}", id=position.id)
            quoted = unquoted_s(turn, held) < BLIND_AFTER_S
            delivery.say(turn, alerts.blind(turn.config, position, why, at=turn.at, quoted=quoted))
        elif why is None and since is not None:
            turn.hold(replace(held, blind_since=None))
            turn.tally(blind_s=turn.at - since)
            turn.log("warning", "sight restored", id=position.id, blind_s=round(turn.at - since))
            delivery.say(turn, alerts.sight_restored(turn.config, position, turn.at - since, at=turn.at))


def blindness(turn: Turn[None], market: Market, held: Held) -> str | None:
    """Why there is no trusted price of the held contract or of the underlying; None while there is."""
    quiet = unquoted_s(turn, held)
    if quiet >= BLIND_AFTER_S:
        return f"no fresh quote of {alerts.named(held.position.contract)} for {quiet:.0f}s" + (
            f": {held.distrust}" if held.distrust else ""
        )
    if not turn.in_hours():
        return None
    silent = market.silence(turn.at, held.since)
    if silent >= BLIND_SILENCE_S:
        return f"no bars of any symbol for {silent:.0f}s: market-wide halt or outage of the feed"
    symbol = underlying_of(held.position.contract)
    own = market.own_silence(symbol, turn.at, held.since)
    if own >= BLIND_OWN_SILENCE_S:
        return f"no bars of {symbol} for {own:.0f}s while others trade: trading halt, or its feed is lost"
    return None


def unquoted_s(turn: Turn[None], held: Held) -> float:
    """How long no fresh quote of the held contract has come."""
    return turn.at - max(held.since, held.quote_at or 0.0)
