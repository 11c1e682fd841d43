"""Positions and trades: opened, closed, settled, told of by their owner; and what they add up to. Pure: every function takes a turn.

An assumed position is booked the moment it is decided on. A BUY that reached nobody was no trade.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

import alerts
import pnl_tracker
import risk_manager
from desk import delivery
from desk.state import ASSUMED, Held, Settling, State, Turn, trades_of
from desk.strategy import Scene
from events import (
    Alert,
    AlertFailed,
    FactSet,
    FetchSettlement,
    Mills,
    Noted,
    OperatorSpoke,
    Position,
    PositionClosed,
    PositionMarked,
    PositionOpened,
    PositionVoided,
    SettlementArrived,
    Trade,
    TradeVoided,
    Watch,
)
from pnl_tracker import Record
from risk_manager import Leave, is_fresh
from utils import dollars, new_york, to_mills, underlying_of

REPRICE_PATIENCE_S = 10.0
SETTLE_TRIES = 5
SETTLE_RETRY_S = 30.0
LAST_BARS_S, FINAL_S = 60.0, 900.0  # after the close: the last bars have come; they are corrected no more
UNRESOLVED_RETRY_S, UNRESOLVED_FOR_S = 3600.0, 7 * 86_400.0


# --- opened ------------------------------------------------------------------------------------------------------------


def next_id(turn: Turn[Any]) -> str:
    """The id of the next position of this session."""
    session = turn.state.session
    assert session is not None
    return f"{session.date:%Y%m%d}-{turn.state.opened_today + 1}"


def open_position(turn: Turn[Any], position: Position, buy: Alert) -> None:
    """Book the assumed entry and queue its BUY, in this turn's one commit; nothing of a strategy whose entries are off."""
    state = turn.state
    if turn.owner in state.barred:
        turn.log_change("barred", f"no entry: {turn.owner} may not: {state.barred[turn.owner]}")
        return
    if turn.owner == ASSUMED:
        turn.set(opened_on={**state.opened_on, str(state.day): state.opened_today + 1})
    turn.set(owners={**state.owners, position.id: turn.owner})
    turn.hold(Held(turn.owner, position, since=turn.at))
    turn.write(PositionOpened(position), position.id)
    watch_quotes(turn)
    delivery.say(turn, buy)


def resume(turn: Turn[Any], strategy: str, position: Position) -> None:
    """Take up a position that the last life left open: price it first, decide second; an ended session is settled."""
    turn.set(owners={**turn.state.owners, position.id: strategy})
    if turn.at >= position.session_close_at:
        turn.hold(Held(strategy, position, since=turn.at, settling=Settling()))
        return
    turn.hold(Held(strategy, position, since=turn.at, wait_until=turn.at + REPRICE_PATIENCE_S))
    watch_quotes(turn)
    turn.log("warning", f"position resumed: {alerts.named(position.contract)}", id=position.id, peak=dollars(position.peak))


def watch_quotes(turn: Turn[Any]) -> None:
    """Say whose quotes are wanted, as the open positions want them."""
    of_orders = {leg.contract for trade in turn.state.dealings.trades.values() for leg in trade.legs}
    turn.do(Watch(tuple(sorted(of_orders | {held.position.contract for held in turn.state.open()}))))


# --- what its owner says -----------------------------------------------------------------------------------------------


def take_word(turn: Turn[Any], event: OperatorSpoke) -> None:
    """What the owner did: bought, sold, or neither. The stop and a second P&L run on it; every word is noted, refused ones too.

    While the position is open, "I took it" says that he holds it. Of a closed trade, the note itself keeps his side.
    """
    side = side_of(turn.state, event.trade_id)
    why = "no such trade" if side is None else word_refusal(side, event)
    trade_id = None if side is None else side.id
    note: dict[str, float | str | None] = {"who": event.who, "price": event.price, "trade": trade_id}
    if side is None or why is not None:
        turn.write(Noted(turn.at, event.command, {**note, "refused": why}))
        turn.log("warning", f"not taken: {why}", id=event.trade_id)
        return
    told: dict[str, Any] = {"real_entry": side.real_entry, "real_exit": side.real_exit, "skipped": False}
    match event.command:
        case "took_it":
            told["real_entry"] = event.price
            if isinstance(side, Position):
                told["real_exit"] = None
        case "sold_it":
            told["real_exit"] = event.price
        case _:
            told = {"real_entry": None, "real_exit": None, "skipped": True}
    if isinstance(side, Position):
        position = replace(side, **told)
        turn.hold(replace(turn.state.held[side.id], position=position))
        turn.write(PositionMarked(position), position.id)
        turn.write(Noted(turn.at, event.command, note))
        return
    trade = pnl_tracker.told(side, **told)
    know_better(turn, trade)
    kept = {"real_entry": trade.real_entry, "real_exit": trade.real_exit, "real_pnl": trade.real_pnl}
    turn.write(Noted(turn.at, event.command, {**note, **kept, "skipped": "yes" if trade.skipped else "no"}))
    if not pnl_tracker.owner_holds(trade):
        delivery.answered(turn, alerts.sell_id(trade.id), event.who)


def side_of(state: State, trade_id: str | None) -> Position | Trade | None:
    """An open position (`trade_id` None: the only one), one that is settled, or a closed trade."""
    held = state.held
    if trade_id is None and len(held) == 1:
        return next(iter(held.values())).position
    if trade_id in held:
        return held[trade_id].position
    return trade_of(state, trade_id)


def word_refusal(side: Position | Trade, event: OperatorSpoke) -> str | None:
    if event.command == "skipped_it":
        return None
    if event.price is None:
        return "no price"
    refusal = risk_manager.fill_refusal if event.command == "took_it" else risk_manager.sale_refusal
    return refusal(side, event.price)


# --- closed ------------------------------------------------------------------------------------------------------------


def close(turn: Turn[Any], held: Held, leave: Leave, scene: Scene) -> None:
    """Book the assumed exit at the bid and queue its SELL, in this turn's one commit; or void what nobody was told."""
    position = held.position
    if delivery.never_announced(turn.state, position.id):
        void(turn, position.id, f"{leave.reason} before its BUY could be delivered")
        return
    fresh = held.quote_at is not None and is_fresh(turn.at - held.quote_at)
    trade = pnl_tracker.settle(
        position,
        risk_manager.assumed_exit(position, held.quote),
        at=turn.at,
        reason=leave.reason,
        detail=leave.detail + ("" if fresh else " (stale price)"),
        fee=to_mills(turn.config.fee_per_contract),
        quote=held.quote,
        stale=not fresh,
    )
    book(turn, position, trade, scene, held.mark)
    watch_quotes(turn)


def book(turn: Turn[Any], position: Position, trade: Trade, scene: Scene, mark: Mills | None = None) -> None:
    """The trade into the ledger, the SELL into the outbox, its strategy's record one further."""
    strategy = turn.state.held[position.id].strategy
    account = turn.state.account(strategy)
    record, trades = pnl_tracker.booked(account.record, trade.pnl), (*account.trades, trade)
    turn.write(PositionClosed(trade), trade.id)
    exit_at = min(turn.at, position.session_close_at)  # one that expired begins no cooldown of another day
    keep_exit(turn, strategy, exit_at)
    turn.let_go(position.id)
    turn.change_account(strategy, trades=trades, today=trades_of(trades, turn.state.day))
    delivery.cancel(turn, alerts.buy_id(position.id), "its position is closed")
    delivery.say(turn, alerts.sell(turn.config, trade, record, mark=mark, spot=scene.spot, vwap=scene.vwap))
    change_record(turn, strategy, record)
    result = "unresolved" if trade.pnl is None else dollars(trade.pnl)
    turn.log("info", f"🚪 EXIT: {alerts.named(trade.contract)}", id=trade.id, reason=trade.detail, pnl=result)


def keep_exit(turn: Turn[Any], strategy: str, exit_at: float | None) -> None:
    """When a strategy last left a position, across restarts."""
    turn.change_account(strategy, last_exit_at=exit_at)
    turn.write(FactSet("last_exit_at" if strategy == ASSUMED else f"{strategy}.last_exit_at", exit_at))


def void(turn: Turn[Any], trade_id: str, why: str) -> None:
    """The BUY reached nobody: there was no trade. Only the signal's cooldown has been started by it."""
    position = turn.state.held[trade_id].position
    turn.write(PositionVoided(position, turn.at, why), trade_id)
    turn.let_go(trade_id)
    watch_quotes(turn)
    delivery.cancel(turn, alerts.buy_id(trade_id), why)
    delivery.say(turn, alerts.missed_buy(turn.config, position, why, at=turn.at))
    turn.log("warning", f"position voided: {why}", id=trade_id)


def attempt_failed(turn: Turn[Any], event: AlertFailed) -> None:
    """An attempt has failed; if it was the last of a BUY whose position is closed already, there was no trade after all."""
    delivery.settled(turn, event)
    row = turn.state.outbox.get(event.alert_id)
    if row is None or row.alert.kind != "BUY" or row.alert.trade_id is None:
        return
    trade = trade_of(turn.state, row.alert.trade_id)
    if trade is not None and trade.real_entry is None and delivery.never_announced(turn.state, trade.id):
        delivery.cancel(turn, row.alert.id, "its position is closed")
        never_reached(turn, trade)


def never_reached(turn: Turn[Any], trade: Trade) -> None:
    """Take a closed trade out of the record: its BUY certainly reached nobody. Whoever may have heard of the SELL is told so."""
    why = "closed before its BUY could be delivered"
    strategy = strategy_of(turn.state, trade.id)
    trades = tuple(other for other in turn.state.account(strategy).trades if other.id != trade.id)
    turn.write(TradeVoided(trade.id, turn.at, why), trade.id)
    keep_exit(turn, strategy, max((min(other.closed_at, turn.at) for other in trades), default=None))
    turn.change_account(strategy, trades=trades, today=trades_of(trades, turn.state.day))
    change_record(turn, strategy, pnl_tracker.fold(trades))
    if delivery.unsay(turn, alerts.sell_id(trade.id)):
        delivery.say(turn, alerts.never_reached(turn.config, trade, turn.state.account(strategy).record, at=turn.at))
    else:
        delivery.say(turn, alerts.missed_buy(turn.config, trade, why, at=turn.at))
    turn.log("warning", "that BUY never reached the phone: out of the record", id=trade.id)


# --- settled -----------------------------------------------------------------------------------------------------------


def tick(turn: Turn[Any]) -> None:
    """What time alone does to positions: those that outlived their session are settled."""
    for held in tuple(turn.state.held.values()):
        if held.settling is None and turn.at >= held.position.session_close_at:
            turn.hold(replace(held, settling=Settling(), blind_since=None))
            watch_quotes(turn)
        elif held.settling is not None:
            ask_settlement(turn, held, held.settling)
    settling = any(held.settling is not None for held in turn.state.held.values())
    accounts = turn.state.accounts.values()
    unresolved = any(account.record.unresolved for account in accounts)
    if unresolved and not settling and turn.every("unresolved", UNRESOLVED_RETRY_S):
        for trade in (trade for account in accounts for trade in account.trades):
            if trade.pnl is None and turn.at - trade.opened_at < UNRESOLVED_FOR_S:
                turn.do(FetchSettlement(trade.id, underlying_of(trade.contract), trade.expiration))


def ask_settlement(turn: Turn[Any], held: Held, settling: Settling) -> None:
    position = held.position
    if turn.at < max(settling.next_at, position.session_close_at + LAST_BARS_S):
        return
    day = new_york(position.session_close_at).date().isoformat()
    turn.hold(replace(held, settling=replace(settling, tries=settling.tries + 1, next_at=turn.at + SETTLE_RETRY_S)))
    turn.do(FetchSettlement(position.id, underlying_of(position.contract), day))


def settle(turn: Turn[Any], event: SettlementArrived) -> None:
    """The close of the day the position expired: its worth at the end, or, after several tries, unresolved.

    A close is taken as final when it was told twice alike, or is old enough; until then a correction takes its place.
    """
    held = turn.state.held.get(event.trade_id)
    if held is None or held.settling is None:
        resolve(turn, event)
        return
    if event.close is None and held.settling.tries < SETTLE_TRIES:
        turn.log("warning", f"settlement price not to be had yet: {event.reason}", tries=held.settling.tries)
        return
    position, settling = held.position, held.settling
    close = settling.close if event.close is None else event.close
    old = turn.at >= position.session_close_at + FINAL_S
    if not (close is None or old or close == settling.close or settling.tries >= SETTLE_TRIES):
        turn.hold(replace(held, settling=replace(settling, close=close)))
        return
    if close is None:
        price, detail = None, f"Expired, unresolved: {event.reason or 'no settlement price'}"
    else:
        price, detail = worth_at(position, close)
    fee = to_mills(turn.config.fee_per_contract)
    trade = pnl_tracker.settle(position, price, at=turn.at, reason="expired", detail=detail, fee=fee)
    book(turn, position, trade, Scene())


def resolve(turn: Turn[Any], event: SettlementArrived) -> None:
    """The close that an unresolved trade had been waiting for: it joins the record."""
    unresolved = trade_of(turn.state, event.trade_id)
    if unresolved is None or unresolved.pnl is not None or event.close is None:
        return
    trade, strategy = (
        pnl_tracker.resolved(unresolved, *worth_at(unresolved, event.close)),
        strategy_of(turn.state, unresolved.id),
    )
    know_better(turn, trade)
    record = pnl_tracker.fold(turn.state.account(strategy).trades)
    turn.write(PositionClosed(trade), trade.id)
    delivery.say(turn, alerts.resolved(turn.config, trade, record, at=turn.at))
    change_record(turn, strategy, record)
    turn.log(
        "info",
        f"resolved after all: {alerts.named(trade.contract)}",
        id=trade.id,
        reason=trade.detail,
        pnl=dollars(trade.pnl or 0),
    )


def change_record(turn: Turn[Any], strategy: str, record: Record) -> None:
    """The one place where a record changes, and so the one that sounds the alarm of a deep loss."""
    before = turn.state.account(strategy).record
    for level in pnl_tracker.critical_levels(before, record, to_mills(turn.config.critical_loss)):
        delivery.say(turn, alerts.critical_loss(turn.config, record, level, at=turn.at))
    turn.change_account(strategy, record=record)


def know_better(turn: Turn[Any], trade: Trade) -> None:
    """Put a closed trade, of which more is known now, in the place of what was known."""
    strategy = strategy_of(turn.state, trade.id)
    trades = tuple(trade if other.id == trade.id else other for other in turn.state.account(strategy).trades)
    turn.change_account(strategy, trades=trades, today=trades_of(trades, turn.state.day))


def trade_of(state: State, trade_id: str | None) -> Trade | None:
    """A closed trade, whosever it is."""
    trades = (trade for account in state.accounts.values() for trade in reversed(account.trades))
    return next((trade for trade in trades if trade.id == trade_id), None)


def strategy_of(state: State, trade_id: str) -> str:
    """Whose a closed trade is."""
    accounts = state.accounts.items()
    return next((name for name, account in accounts if any(trade.id == trade_id for trade in account.trades)), ASSUMED)


def worth_at(of: Position | Trade, close: float) -> tuple[Mills, str]:
    """What an expired call was worth at the underlying's close, and the words for it."""
    return max(0, to_mills(close) - of.strike), f"Expired: {underlying_of(of.contract)} closed at ${close:,.2f}"
