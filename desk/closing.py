"""Trades that the desk itself brings to an end: closed as the package they are, settled, or resolved by a person. Pure."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from desk import delivery, orders, reconcile, trades, words
from desk.state import Turn
from events import (
    BrokerTrade,
    Fill,
    Mills,
    Noted,
)
from pnl_tracker import held
from risk_manager import FRESH_S

FLATTEN_S = 5.0
FLATTEN_PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
TICK = 10  # mills: what a refused market order is followed by


def close(turn: Turn[Any], trade_id: str, why: str) -> None:
    """The desk closes a trade itself, as the package it is, without its strategy's code."""
    dealings = turn.state.dealings
    trade = dealings.trades.get(trade_id)
    if trade is None or trade_id in dealings.closing:
        return
    turn.deal(closing={**dealings.closing, trade_id: why})
    turn.log("warning", f"the desk closes {trade_id}: {why}")
    trades.amend(turn, replace(turn.state.dealings.trades[trade_id], entered=True, detail=why))
    press(turn, trade_id)


def press(turn: Turn[Any], trade_id: str) -> None:
    """The next step of a closing: what works is cancelled, and once its end is proven what is left is sold."""
    trade = turn.state.dealings.trades[trade_id]
    flying = orders.in_flight(turn.state, trade_id)
    for order in flying:
        if order.role != "FLATTEN":
            orders.cancel(turn, order.ref, "its trade is closed by the desk")
    if flying or trade.state in ("unresolved", "settling"):
        return
    before = [order for order in orders.of_trade(turn.state.dealings, trade_id) if order.role == "FLATTEN"]
    refused = [order for order in before if order.state == "rejected"]
    if refused:
        pause = FLATTEN_PAUSES_S[min(len(refused), len(FLATTEN_PAUSES_S)) - 1]
        if turn.at < (refused[-1].ended_at or 0.0) + pause:
            return
    cost = natural(turn, trade)
    if len(trade.legs) > 1 and cost is None:
        if turn.every(f"flatten {trade_id}", 60.0):
            delivery.say(
                turn, words.act_now(trade.mode, trade_id, "It cannot be closed: no fresh quotes of its legs", at=turn.at)
            )
        return
    limit = cost if len(trade.legs) > 1 else None
    if limit is None and refused and before[-1] is refused[-1] and before[-1].limit is None:
        limit = -TICK if cost is None or cost > -TICK else cost
    rest = orders.next_order(turn, trade, "FLATTEN", limit, good_for_s=FLATTEN_S)
    if rest is not None:
        orders.place(turn, rest)


def natural(turn: Turn[Any], trade: BrokerTrade) -> Mills | None:
    """What closing a unit costs now, net: asks of what is bought, bids of what is sold; None where a needed side is not fresh."""
    total = 0
    for leg in map(orders.turned, trade.legs):
        priced = turn.state.dealings.quotes.get(leg.contract)
        if priced is None or turn.at - priced.at > FRESH_S:
            return None
        if leg.side == "buy":
            if priced.quote.ask is None:
                return None
            total += priced.quote.ask * leg.ratio
        else:
            total -= (priced.quote.bid or 0) * leg.ratio
    return total


def outlive(turn: Turn[Any], trade: BrokerTrade) -> None:
    """The session is over, and it is held: cash settles it, or a person has to look, for shares may have come of it."""
    if not held(turn.state.dealings.fills.get(trade.id, ())):
        trades.enter_no_more(turn, trade.id, "its session is over")
        return
    if trade.cash_settled:
        trades.amend(turn, replace(trade, state="settling", entered=True))
        return
    trades.amend(
        turn, replace(trade, state="unresolved", entered=True, detail="it was held at expiry: it may have become shares")
    )
    delivery.say(
        turn, words.act_now(trade.mode, trade.id, f"{trade.id} was held at expiry: it may have become shares", at=turn.at)
    )


def settle(turn: Turn[Any], trade_id: str, close: Mills, *, provisional: bool) -> None:
    """The underlying's close on the day it expired, in mills: every leg ends at what it was worth, as an execution of its own."""
    trade = trades.trade_of(turn.state.dealings, trade_id)
    if trade is None or trade.state not in ("settling", "closed"):
        return
    fills = turn.state.dealings.fills.get(trade_id, ())
    settled = [fill for fill in fills if not fill.root.startswith("settled:")]
    for contract, quantity in held(settled).items():
        strike, call = int(contract[-8:]), contract[-9] == "C"
        worth = max(0, close - strike if call else strike - close)
        revision = 1 + max((fill.revision for fill in fills if fill.root == f"settled:{contract}"), default=-1)
        side = "sell" if quantity > 0 else "buy"
        fill = Fill(f"settled:{contract}", "", contract, side, abs(quantity), worth, turn.at, revision, 0)  # type: ignore[arg-type]
        trades.book(turn, trade_id, fill, told=True)
    if trade_id in turn.state.dealings.trades:
        trades.amend(turn, replace(turn.state.dealings.trades[trade_id], provisional=provisional))
        trades.finish(turn, trade_id)


def resolve(turn: Turn[Any], trade_id: str, price: Mills | None, who: str, why: str) -> str | None:
    """A person ends an unresolved trade: what we hold beyond the broker's report is booked as closed at a net price, or asked again.

    Why not, where it is not unresolved.
    """
    trade = turn.state.dealings.trades.get(trade_id)
    body: dict[str, float | str | None] = {"who": who, "why": why, "trade": trade_id, "price": price}
    if trade is None or trade.state != "unresolved":
        turn.write(Noted(turn.at, "resolve", {**body, "refused": "it is not unresolved"}))
        return "it is not unresolved"
    turn.write(Noted(turn.at, "resolve", body))
    trades.amend(turn, replace(trade, state="open", detail=f"resolved by {who}: {why}"))
    if price is None:
        trades.ask_snapshot(turn, trade.mode)
        return None
    account = trades.account_of(turn.state, trade.mode)
    in_hand = held(turn.state.dealings.fills.get(trade_id, ()))
    left = price
    for contract, quantity in in_hand.items():
        lacking = reconcile.missing_of(quantity, reconcile.reported(account, contract).quantity)
        if lacking:
            worth = max(-left, 0) if lacking > 0 else max(left, 0)  # the whole net price is that of the first leg it fits
            left += worth if lacking > 0 else -worth
            side = "sell" if lacking > 0 else "buy"
            root = f"hand:{trade_id}:{contract}"
            trades.book(turn, trade_id, Fill(root, "", contract, side, abs(lacking), worth, turn.at, fee=0), told=True)  # type: ignore[arg-type]
    trades.finish(turn, trade_id)
    return None
