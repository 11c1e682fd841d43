"""Trades made of orders: begun, filled, ended; what their executions make of orders, positions and P&L. Pure.

A trade's units and P&L follow from its executions and from nothing else; what settles it is an execution too. It is booked once, when
its last unit is out, and once more where a correction or a settlement says better.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import time
from typing import Any

from msgspec.structs import replace

from desk import books, delivery, orders, reconcile, words
from desk.state import Dealings, Priced, State, Turn
from events import (
    BrokerAccount,
    BrokerTrade,
    Fill,
    FillBooked,
    Finding,
    Holding,
    Mode,
    Order,
    QuoteSeen,
    ShowQuote,
    TakeSnapshot,
    TradeChanged,
    TradeEnded,
)
from pnl_tracker import held, made_of, record_of
from risk_manager import FRESH_S
from utils import new_york, unix_time

SNAPSHOT_PATIENCE_S = 20.0


def account_of(state: State, mode: Mode) -> BrokerAccount:
    return state.dealings.accounts.get(mode) or BrokerAccount(mode)


def keep(turn: Turn[Any], account: BrokerAccount) -> None:
    turn.deal(accounts={**turn.state.dealings.accounts, account.mode: account})


def ask_snapshot(turn: Turn[Any], mode: Mode) -> None:
    """Ask for all that the broker knows since the day of the oldest open trade began."""
    account = account_of(turn.state, mode)
    if account.asked_at is not None and turn.at - account.asked_at < SNAPSHOT_PATIENCE_S:
        return
    oldest = min((trade.created_at for trade in of_mode(turn.state, mode)), default=turn.at)
    since = unix_time(new_york(min(oldest, turn.at)).date(), time(0))
    keep(turn, replace(account, asked_at=turn.at))
    turn.do(TakeSnapshot(mode, since))


def of_mode(state: State, mode: Mode) -> list[BrokerTrade]:
    return [trade for trade in state.dealings.trades.values() if trade.mode == mode]


def filled(turn: Turn[Any], mode: Mode, fill: Fill) -> None:
    """An execution came by itself; one that is not ours has the account compared."""
    order = turn.state.dealings.orders.get(fill.ref)
    if order is None:
        ask_snapshot(turn, mode)
        return
    book(turn, order.trade_id, fill)


def book(turn: Turn[Any], trade_id: str, fill: Fill, *, told: bool = False) -> None:
    """One execution into its trade, its order and the account. `told`: the account's positions have it already."""
    dealings = turn.state.dealings
    before = dealings.fills.get(trade_id, ())
    after = reconcile.upserted(before, fill)
    trade = trade_of(dealings, trade_id)
    if after == before or trade is None:
        return
    turn.deal(fills={**dealings.fills, trade_id: after})
    turn.write(FillBooked(turn.at, trade_id, fill), trade_id)
    turn.log("info", f"filled: {reconcile.told(fill)}", id=trade_id)
    if not told:
        move(turn, trade.mode, held(before), held(after))
    order = turn.state.dealings.orders.get(fill.ref)
    if order is not None:
        count_units(turn, order, after)
    if trade_id not in turn.state.dealings.trades:
        rebook(turn, trade)
    elif trade.opened_at is None:
        amend(turn, replace(trade, opened_at=fill.at))


def trade_of(dealings: Dealings, trade_id: str) -> BrokerTrade | None:
    open_trade = dealings.trades.get(trade_id)
    return open_trade or next((trade for trade in reversed(dealings.ended) if trade.id == trade_id), None)


def move(turn: Turn[Any], mode: Mode, before: Mapping[str, int], after: Mapping[str, int]) -> None:
    """The positions of an account as this execution leaves them, until the next snapshot says so itself."""
    account = account_of(turn.state, mode)
    holdings = dict(account.holdings)
    for contract in {*before, *after}:
        step = after.get(contract, 0) - before.get(contract, 0)
        there = holdings.get(contract, Holding(contract, 0, 0))
        holdings[contract] = Holding(contract, there.quantity + step, there.available + step)
    keep(turn, replace(account, holdings=holdings))


def count_units(turn: Turn[Any], order: Order, fills: tuple[Fill, ...]) -> None:
    """The units of an order that its executions make: those of the leg that has least."""
    done = {leg.contract: 0 for leg in order.legs}
    for fill in fills:
        if fill.ref == order.ref and fill.contract in done:
            done[fill.contract] += fill.quantity
    units = min(done[leg.contract] // leg.ratio for leg in order.legs)
    orders.course(turn, order.ref, quiet_since=turn.at)
    if units >= order.units:
        ended_at = turn.at if order.ended_at is None else order.ended_at
        orders.change(turn, order, filled=units, state="filled", ended_at=ended_at, proven=True)
    elif units != order.filled:
        orders.change(turn, order, filled=units)


def rebook(turn: Turn[Any], trade: BrokerTrade) -> None:
    """A correction of a trade that has ended: its P&L is made anew."""
    fills = turn.state.dealings.fills[trade.id]
    pnl, fees = made_of(fills, trade.fee)
    if held(fills) or (pnl, fees) == (trade.pnl, trade.fees):
        return
    better = replace(trade, pnl=pnl, fees=fees, provisional=False)
    ended = tuple(better if other.id == trade.id else other for other in turn.state.dealings.ended)
    turn.deal(ended=ended)
    turn.write(TradeEnded(turn.at, better), trade.id)
    record = record_of(ended, *trade.record)
    delivery.say(turn, words.closed(better, fills, record, at=turn.at, revision=int(turn.at)))


def amend(turn: Turn[Any], trade: BrokerTrade) -> None:
    """A trade as it is now, in state and ledger; what has not changed is not written."""
    if turn.state.dealings.trades.get(trade.id) != trade:
        turn.deal(trades={**turn.state.dealings.trades, trade.id: trade})
        turn.write(TradeChanged(trade), trade.id)


def enter_no_more(turn: Turn[Any], trade_id: str, why: str = "") -> None:
    """No entry of this trade follows: what is filled is the position, and nothing filled is no trade."""
    trade = turn.state.dealings.trades.get(trade_id)
    if trade is not None and not trade.entered:
        amend(turn, replace(trade, entered=True, reason=why if trade.opened_at is None else trade.reason))
        finish(turn, trade_id)


def finish_all(turn: Turn[Any]) -> None:
    for trade_id in tuple(turn.state.dealings.trades):
        finish(turn, trade_id)


def finish(turn: Turn[Any], trade_id: str) -> None:
    """Where a trade stands, from its orders and executions; and its end, once nothing is held and nothing can be filled any more."""
    trade = turn.state.dealings.trades[trade_id]
    if trade.state == "unresolved":
        return
    flying = orders.in_flight(turn.state, trade_id)
    in_hand = held(turn.state.dealings.fills.get(trade_id, ()))
    exits = any(not order.opens for order in orders.of_trade(turn.state.dealings, trade_id))
    if not flying and not in_hand and (trade.entered or trade.opened_at is not None):
        end(turn, trade)
    elif trade.state != "settling" and trade.opened_at is not None:
        closing = trade_id in turn.state.dealings.closing or any(not order.opens for order in flying)
        entering = not (trade.entered or exits) and (bool(flying) or orders.units_wanted(turn.state, trade) > 0)
        amend(turn, replace(trade, state="closing" if closing else "entering" if entering else "open"))


def end(turn: Turn[Any], trade: BrokerTrade) -> None:
    """Book a trade whose last unit is out, and say so; of what was never opened there is nothing to say."""
    dealings = turn.state.dealings
    fills = dealings.fills.get(trade.id, ())
    pnl, fees = made_of(fills, trade.fee)
    last = max(fills, key=lambda fill: fill.at, default=None)
    reason = trade.reason if trade.opened_at is None else reason_of(dealings, trade, last)
    ended = replace(
        trade,
        state="closed",
        closed_at=turn.at if last is None else last.at,
        reason=reason,
        fees=fees,
        pnl=pnl,
        entered=True,
    )
    turn.deal(
        trades={key: other for key, other in dealings.trades.items() if key != trade.id},
        ended=(*dealings.ended, ended),
        closing={key: why for key, why in dealings.closing.items() if key != trade.id},
    )
    turn.write(TradeEnded(turn.at, ended), trade.id)
    books.watch_quotes(turn)
    turn.log("info", f"trade {trade.id} ended", reason=reason, pnl=pnl if ended.opened_at is not None else None)
    if ended.opened_at is not None:
        record = record_of(turn.state.dealings.ended, *ended.record)
        delivery.say(turn, words.closed(ended, fills, record, at=turn.at))


def reason_of(dealings: Dealings, trade: BrokerTrade, last: Fill | None) -> str:
    """Why a trade ended: the role of the order that took its last contract, or what took it instead."""
    if trade.state == "settling":
        return "settled"
    order = None if last is None else dealings.orders.get(last.ref)
    return "closed elsewhere" if order is None or order.opens else order.role


def lose(turn: Turn[Any], trade_id: str, findings: tuple[Finding, ...]) -> None:
    """What a trade holds is not reported, and nothing explains it: unresolved, until a person or a later report tells."""
    trade = turn.state.dealings.trades[trade_id]
    why = next((finding.text for finding in findings if finding.trade_id == trade_id), "it is not held any more")
    amend(turn, replace(trade, state="unresolved", detail=why))


def take_quote(turn: Turn[Any], event: QuoteSeen) -> list[str]:
    """A quote of such a contract that is trusted: kept, shown to a broker that fills by it; the strategies that follow it."""
    dealings = turn.state.dealings
    following = [trade for trade in dealings.trades.values() if any(leg.contract == event.contract for leg in trade.legs)]
    known = dealings.quotes.get(event.contract)
    stale = event.quote.delayed or turn.at - event.at > FRESH_S
    overtaken = known is not None and event.asked_at is not None and event.asked_at < known.at
    if not following or stale or overtaken:
        return []
    turn.deal(quotes={**dealings.quotes, event.contract: Priced(event.quote, event.at)})
    for mode in sorted({trade.mode for trade in following}):
        turn.do(ShowQuote(mode, event.contract, event.quote, event.at))
    return sorted({trade.strategy for trade in following})
