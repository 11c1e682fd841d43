"""The open condor: what it is by its fills, which exit holds, and the next order that closes it.

Its legs and units follow from the desk's trade, fills and the broker's report, so that a new life takes it up as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from desk import delivery, orders
from desk.state import State, Turn
from events import Alert, BrokerTrade, ChainRow, Order, Quote
from events.market import Mills
from pnl_tracker import held as held_of
from strategies.condor import closing, exits, words
from strategies.condor.closing import Closing, Tried, held_by
from strategies.condor.credit import credit_of
from strategies.condor.exits import Condor, Picture, Watch
from strategies.condor.legs import ROLES, Four, Index, Role, bid_of, index_fault, mark, package, prices_to_close, quote_fault
from strategies.condor.memory import Leaving, Memory
from strategies.condor.settings import Settings
from utils import Session

UNEVEN_S = 10.0


def four_of(trade: BrokerTrade) -> Four:
    """The condor's legs by their contracts: the lowest strike first."""
    legs = sorted(trade.legs, key=lambda leg: (leg.contract[-9] == "C", leg.contract[-8:]))
    names = [leg.contract for leg in legs]
    strikes = [int(name[-8:]) for name in names]
    return Four(names[0], names[1], names[2], names[3], (strikes[0], strikes[1], strikes[2], strikes[3]))


def condor_of(state: State, trade: BrokerTrade) -> Condor:
    """What is held, by executions; while the legs' are not all there its credit is the limit, provisional."""
    entries = {order.ref: order for order in orders.of_trade(state.dealings, trade.id) if order.opens}
    fills = [fill for fill in state.dealings.fills.get(trade.id, ()) if fill.ref in entries]
    units = sum(orders.counted(state.dealings, order) for order in entries.values())
    limits = [-(order.limit or 0) for order in entries.values() if orders.counted(state.dealings, order)]
    brought = credit_of(four_of(trade), fills, units, min(limits, default=0))
    fees = sum(fill.fee if fill.fee is not None else trade.fee * fill.quantity for fill in fills)
    return Condor(
        four_of(trade), brought.units, brought.amount, trade.opened_at or trade.created_at, fees, brought.provisional
    )


class Eyes:
    """What is seen of the market at one instant, for a condor."""

    def __init__(self, rows: Mapping[str, ChainRow], index: Index, session: Session) -> None:
        self.rows, self.index, self.session = rows, index, session

    def quotes(self, four: Four) -> tuple[Quote | None, Quote | None, Quote | None, Quote | None]:
        one, two, three, four_ = (row.quote if (row := self.rows.get(name)) else None for name in four.contracts)
        return one, two, three, four_

    def delta(self, contract: str) -> float | None:
        row = self.rows.get(contract)
        return None if row is None else row.delta


def once(turn: Turn[Any], alert: Alert) -> None:
    """Say it once in this life."""
    if alert.id not in turn.said:
        turn.said[alert.id] = ""
        delivery.say(turn, alert)


def manage(settings: Settings, turn: Turn[Memory], trade: BrokerTrade, eyes: Eyes, *, stopping: bool) -> None:
    """One look at the open condor: blindness, the exit that holds, and its next order."""
    held = condor_of(turn.state, trade)
    by_hand = trade.id in turn.state.dealings.closing
    if not held.units or by_hand or turn.at >= eyes.session.close_at:
        return
    watch = turn.memory.watch or Watch(turn.at)
    seen = Picture(
        turn.at, eyes.session, eyes.quotes(held.four), eyes.index,
        (eyes.delta(held.four.put_short), eyes.delta(held.four.call_short)), shutting_down=stopping,
    )  # fmt: skip
    watch, found = exits.look(settings, held, watch, seen)
    turn.remember(watch=watch)
    tell_blindness(settings, turn, trade, watch, eyes.index)
    leaving = turn.memory.leaving
    if leaving is None and found is not None:
        leaving = Leaving(found, turn.at)
        turn.log("info", f"{trade.id}: {found.detail}", exit=found.name)
    elif leaving is not None:
        leaving = replace(leaving, exit=exits.takes_over(leaving.exit, found))
    if leaving is not None and leaving.exit.urgent and leaving.urgent_at is None:
        leaving = replace(leaving, urgent_at=turn.at, cost=None)
    turn.remember(leaving=leaving)
    if uncovered_now(turn, trade, held) or leaving is not None:
        press(settings, turn, trade, held, seen)


def tell_blindness(settings: Settings, turn: Turn[Memory], trade: BrokerTrade, watch: Watch, index: Index) -> None:
    since = turn.memory.blind_since
    if exits.is_blind(settings, watch, turn.at):
        if since is None:
            turn.remember(blind_since=watch.mark_at)
            sees = settings.condor_touch_exit and not index_fault(index, turn.at, settings.condor_underlying_max_age_seconds)
            delivery.say(turn, words.blind(trade, watch.mark_at, sees, at=turn.at))
    elif since is not None:
        turn.remember(blind_since=None)
        delivery.say(turn, words.sees_again(trade, since, at=turn.at))


def legs_held(turn: Turn[Any], trade: BrokerTrade, four: Four) -> dict[Role, closing.Held]:
    account = turn.state.dealings.accounts.get(trade.mode)
    reported = {} if account is None else {name: one.quantity for name, one in account.holdings.items()}
    return held_by(four, held_of(turn.state.dealings.fills.get(trade.id, ())), reported)


def uncovered_now(turn: Turn[Memory], trade: BrokerTrade, held: Condor) -> bool:
    """Whether a short has been without its wing for ten seconds, with no order of ours on its way."""
    if orders.in_flight(turn.state, trade.id) or closing.uncovered(legs_held(turn, trade, held.four)) is None:
        turn.remember(uneven_at=None)
        return False
    if turn.memory.uneven_at is None:
        turn.remember(uneven_at=turn.at)
    return turn.at - (turn.memory.uneven_at or turn.at) >= UNEVEN_S


def press(settings: Settings, turn: Turn[Memory], trade: BrokerTrade, held: Condor, seen: Picture) -> None:
    """The next order that closes: after the last one's end is proven, with what is left of it."""
    leaving = turn.memory.leaving or Leaving(exits.Exit("by hand", True, "an uncovered short"), turn.at, turn.at)
    alarm(settings, turn, trade, leaving)
    legs = legs_held(turn, trade, held.four)
    left = [*closing.odd_legs(legs), *(f"{name} is a wing to spare" for name in closing.spare(legs))]
    turn.log_change(f"legs of {trade.id}", "; ".join(left), "warning")
    most_s = settings.condor_quote_max_age_seconds
    flying = orders.in_flight(turn.state, trade.id)
    if flying:
        worth = mark(package(seen.quotes, turn.at, most_s), held.four.width)
        if leaving.exit.most is not None and worth is None:
            orders.cancel(turn, flying[0].ref, "no mark")
        return
    what = next_closing(settings, turn, trade, held, seen, leaving)
    if what is None:
        return
    roles = [held.four.role_of(leg.contract) for leg in what.legs]
    prices = prices_to_close(roles, seen.quotes, held.four.width, turn.at, most_s)
    urgent = replace(leaving.exit, urgent=True, most=None) if what.uncovered else leaving.exit
    cap = exits.cap_of(settings, held.four, what)
    asked = exits.next_cost(settings, urgent, prices, cap, leaving.cost, turn.at, seen.session)
    turn.log_change(f"exit of {trade.id}", asked.why_not, "warning")
    if asked.cost is None:
        if asked.wait:
            turn.remember(leaving=None)
        elif urgent.urgent:
            once(turn, words.act_now(trade, "NO-PRICE", f"{trade.id} has to be closed: {asked.why_not}", at=turn.at))
        return
    if orders.place(turn, order_of(settings, turn, trade, what, asked.cost, urgent=urgent.urgent)) is None:
        turn.remember(leaving=replace(leaving, cost=asked.cost))
    if what.ring:
        once(turn, words.act_now(trade, "LEGS", f"{trade.id} is being closed leg by leg", at=turn.at))


def alarm(settings: Settings, turn: Turn[Memory], trade: BrokerTrade, leaving: Leaving) -> None:
    """An exit that has not filled for too long rings once; the chase goes on."""
    if turn.at - leaving.began_at >= settings.condor_exit_alarm_seconds:
        what = f"{trade.id} is not closed after {settings.condor_exit_alarm_seconds:g} s: {leaving.exit.detail}"
        once(turn, words.act_now(trade, f"EXIT-{leaving.began_at:.0f}", what, at=turn.at))


def next_closing(
    settings: Settings, turn: Turn[Memory], trade: BrokerTrade, held: Condor, seen: Picture, leaving: Leaving
) -> Closing | None:
    rejects: dict[str, int] = {}
    for order in orders.of_trade(turn.state.dealings, trade.id):
        if order.state == "rejected" and not order.opens:
            rejects[order.role] = rejects.get(order.role, 0) + 1
    most_s = settings.condor_quote_max_age_seconds
    bids: dict[Role, Mills] = {
        role: bid_of(quote)
        for role, quote in zip(ROLES, seen.quotes, strict=True)
        if quote is not None and not quote_fault(quote, turn.at, most_s)
    }
    spot = None if seen.index.level is None else seen.index.level.value
    tested = closing.tested_side(held.four, spot) if spot is not None else "PUTS"
    urgent_s = 0.0 if leaving.urgent_at is None else turn.at - leaving.urgent_at
    return closing.plan(settings, legs_held(turn, trade, held.four), bids, tested, Tried(rejects, urgent_s))


def order_of(settings: Settings, turn: Turn[Any], trade: BrokerTrade, what: Closing, cost: Mills, *, urgent: bool) -> Order:
    ref, seq = orders.next_ref(turn.state, trade.id, what.rung)
    good_for_s = settings.condor_exit_step_seconds if urgent else settings.condor_step_seconds
    return Order(
        ref=ref, strategy=trade.strategy, trade_id=trade.id, mode=trade.mode, role=what.rung, seq=seq, legs=what.legs,
        units=what.units, limit=cost, created_at=turn.at, good_until=turn.at + good_for_s,
    )  # fmt: skip
