"""How an open position is left: the rules of `exits` led through the desk's orders, one working sale at a time.

Every function takes the strategy's turn. What was bought and sold follows from the executions; only the stop's count and what is on
its way are remembered, and after a restart the orders tell the latter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from desk import delivery, orders, trades
from desk.state import State
from events import BrokerTrade, Order, Quote
from strategies.scalper import words
from strategies.scalper.conditions import force_close
from strategies.scalper.contract import tick_of
from strategies.scalper.entry import Own, quote_of
from strategies.scalper.exits import LATCHED, Goal, Hold, Role, flatten, follow, goal, pause_after, sale_limit
from strategies.scalper.memory import Leaving
from strategies.scalper.windows import Floor

if TYPE_CHECKING:
    from strategies.scalper.settings import Settings

MARKET_FOR_S = 60.0
BLIND_AFTER_S = 10.0
URGENCY: dict[str, int] = {"FLATTEN": 0, "STOP": 1, "TP2": 2, "TP1": 2}


def manage(turn: Own, settings: Settings, floor: Floor, trade: BrokerTrade, seen: Quote | None = None) -> None:
    """Follow a quote of an open position where one came, and do what its exits ask for now."""
    if trade.id in turn.state.dealings.closing or trade.state in ("unresolved", "settling"):
        return
    kept = turn.memory.leaving.get(trade.id) or Leaving(since=turn.at)
    hold = hold_of(turn.state, trade, kept)
    if hold.bought == 0 or hold.left <= 0:
        return
    if seen is not None:
        hold = follow(settings, hold, seen)
    if why := out_now(turn, settings, floor):
        hold = flatten(hold, why)
    wanted = goal(settings, hold, quote_of(turn, trade))
    kept = replace(kept, hits=hold.stop_hits, quote=hold.quote, role=hold.leaving, why=hold.why)
    kept = _tell(turn, trade, hold, kept, seen)
    turn.remember(leaving={**turn.memory.leaving, trade.id: kept})
    if wanted is not None:
        sell(turn, settings, trade, wanted)


def hold_of(state: State, trade: BrokerTrade, kept: Leaving) -> Hold:
    """A position by its executions, with what is remembered of its exits."""
    fills = state.dealings.fills.get(trade.id, ())
    roles = {order.ref: order.role for order in orders.of_trade(state.dealings, trade.id)}
    bought = [fill for fill in fills if fill.side == "buy"]
    sold = [fill for fill in fills if fill.side == "sell"]
    asked: list[Role] = [role for role in LATCHED if role in roles.values()]
    role = kept.role or (asked[0] if asked else None)
    return Hold(
        sum(fill.quantity for fill in bought),
        sum(fill.quantity * fill.price for fill in bought),
        sum(fill.quantity for fill in sold),
        sum(fill.quantity for fill in sold if roles.get(fill.ref) == "TP1"),
        kept.hits,
        role,
        kept.why or ("begun by an earlier life" if role else ""),
        kept.quote,
    )


def out_now(turn: Own, settings: Settings, floor: Floor) -> str:
    """Why everything is sold now; empty while nothing asks for it."""
    if turn.at >= (out := force_close(settings, floor.session)):
        return f"force close {words.clock(out)} ET"
    if turn.memory.killed:
        return "kill switch"
    if turn.state.stopping is not None and settings.on_shutdown == "close":
        return "shutdown"
    return ""


def sell(turn: Own, settings: Settings, trade: BrokerTrade, wanted: Goal) -> None:
    """The next sale: what is less urgent is cancelled first, and nothing leaves before its end is proven."""
    flying = orders.in_flight(turn.state, trade.id)
    for order in flying:
        if URGENCY.get(order.role, 0) > URGENCY[wanted.role]:
            orders.cancel(turn, order.ref, f"{wanted.role} goes before it")
    if flying:
        return
    exits = [order for order in orders.of_trade(turn.state.dealings, trade.id) if not order.opens]
    rejects = rejected_in_row(exits)
    if rejects and turn.at < (exits[-1].ended_at or 0.0) + pause_after(rejects):
        return
    quote = quote_of(turn, trade)
    before = sum(order.role == wanted.role and order.state != "rejected" for order in exits)
    refused = bool(exits) and exits[-1].state == "rejected" and exits[-1].limit is None
    tick = tick_of(trade.underlying, (quote.bid or 0) if quote is not None else 0)
    limit = sale_limit(wanted.role, before, quote, tick, refused)
    good_for_s = MARKET_FOR_S if limit is None else settings.exit_step_seconds
    net = None if limit is None else -limit
    sale = orders.next_order(turn, trade, wanted.role, net, good_for_s=good_for_s, units=wanted.contracts)
    if sale is not None and orders.place(turn, sale) is None:
        at = "at the market" if limit is None else f"at {limit / 1000:.2f}"
        turn.log("info", f"{wanted.role} {sale.units} {at}: {wanted.why}", id=trade.id)


def rejected_in_row(exits: list[Order]) -> int:
    """How many of the last sales the broker would not take."""
    count = 0
    for order in reversed(exits):
        if order.state != "rejected":
            break
        count += 1
    return count


def _tell(turn: Own, trade: BrokerTrade, hold: Hold, kept: Leaving, seen: Quote | None) -> Leaving:
    """What of it the phone does not know yet: sold in part, a close rejected, blind."""
    flying = orders.in_flight(turn.state, trade.id)
    if hold.sold > kept.sold_told and hold.left and not flying:
        delivery.say(turn, words.sold(trade, hold.sold, hold.bought, f"{hold.left} left", at=turn.at))
        kept = replace(kept, sold_told=hold.sold)
    for order in orders.of_trade(turn.state.dealings, trade.id):
        if not order.opens and order.state == "rejected" and order.reason not in kept.rejects_told:
            delivery.say(turn, words.rejected(trade, order.reason, len(kept.rejects_told) + 1, at=turn.at))
            trades.ask_snapshot(turn, trade.mode)
            kept = replace(kept, rejects_told=(*kept.rejects_told, order.reason))
    priced = turn.state.dealings.quotes.get(trade.legs[0].contract)
    unquoted = turn.at - max(kept.since, priced.at if priced is not None else 0.0)
    if seen is not None or unquoted < BLIND_AFTER_S:
        return replace(kept, blind_told=False)
    if not kept.blind_told:
        turn.log("error", f"BLIND: no fresh quote of {trade.legs[0].contract} for {unquoted:.0f} s", id=trade.id)
        delivery.say(turn, words.blind(trade, unquoted, at=turn.at))
    return replace(kept, blind_told=True)
