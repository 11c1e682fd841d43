"""The life of a position: opened, priced, watched, closed once. Pure: every function takes the desk's turn.

No exit is decided before a price was seen after a restart; an unusable quote moves nothing, but its ask may be the stop; without a
fresh quote the owner is told that the stops cannot fire, and the time stop still closes, at the last bid known.
"""

from __future__ import annotations

from math import ceil
from typing import Any

from msgspec.structs import replace

import alerts
import pnl_tracker
import risk_manager
from desk import delivery
from desk.state import Flat, Holding, Settling, Turn, trades_of
from events import (
    AlertFailed,
    ChainRow,
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
    Quote,
    QuoteSeen,
    SettlementArrived,
    Trade,
    TradeVoided,
    UnwatchContract,
    WatchContract,
)
from pnl_tracker import Record
from risk_manager import BLIND_AFTER_S, CHAIN_MAX_AGE_S, Leave, Sight, is_fresh
from signals import Reading
from strategies.vwap.windows import Market, numbers
from utils import dollars, new_york, to_mills

BLIND_SILENCE_S = 15.0
BLIND_OWN_SILENCE_S = 30.0
REPRICE_PATIENCE_S = 10.0
SETTLE_TRIES = 5
UNRESOLVED_RETRY_S, UNRESOLVED_FOR_S = 3600.0, 7 * 86_400.0
SETTLE_RETRY_S = 30.0
LAST_BARS_S, FINAL_S = 60.0, 900.0  # after the close: the last bars have come; they are corrected no more


# --- opened ------------------------------------------------------------------------------------------------------------


def open_position(turn: Turn, market: Market, row: ChainRow, reading: Reading) -> None:
    """Book the assumed entry and queue its BUY, in this turn's one commit."""
    state, quote = turn.state, row.quote
    assert state.session is not None
    assert quote is not None
    middle = risk_manager.mid(quote)
    assert middle is not None
    entry = risk_manager.assumed_entry(turn.config, quote)
    number = state.opened_today + 1
    position = Position(
        id=f"{state.session.date:%Y%m%d}-{number}",
        contract=row.contract,
        strike=row.strike,
        expiration=row.expiration,
        opened_at=turn.at,
        entry=entry,
        entry_quote=quote,
        peak=middle,
        session_close_at=float(state.session.close_at),
        last_bid=quote.bid,
        signal=numbers(reading),
    )
    turn.set(phase=Holding(position, since=turn.at), opened_on={**state.opened_on, str(state.day): number})
    turn.write(PositionOpened(position))
    turn.do(WatchContract(row.contract))
    turn.log(
        "info", f"🔥 ENTRY: {row.contract} @ {dollars(entry)}", id=position.id, mid=dollars(middle), peak=dollars(middle)
    )
    skew = state.skew if state.skew is not None and is_fresh(turn.at - state.skew_at, CHAIN_MAX_AGE_S) else None
    time_stop_at = risk_manager.time_stop(turn.config, state.session)
    delivery.say(turn, alerts.buy(turn.config, position, row, reading, skew=skew, time_stop_at=time_stop_at))


def resume(turn: Turn, position: Position) -> None:
    """Take up a position that the last life left open: price it first, decide second; an ended session is settled."""
    if turn.at >= position.session_close_at:
        turn.set(phase=Settling(position))
        return
    turn.set(phase=Holding(position, since=turn.at, wait_until=turn.at + REPRICE_PATIENCE_S))
    turn.do(WatchContract(position.contract))
    turn.log("warning", f"position resumed: {position.contract}", id=position.id, peak=dollars(position.peak))


# --- priced ------------------------------------------------------------------------------------------------------------


def take_quote(turn: Turn, market: Market, event: QuoteSeen) -> None:
    """A quote of the held contract came: move the mark, then look at the exits."""
    holding = turn.state.phase
    if not isinstance(holding, Holding) or event.contract != holding.position.contract:
        return
    if event.asked_at is not None and holding.quote_at is not None and event.asked_at < holding.quote_at:
        return  # a newer one overtook it: old news, and no reason to distrust what is known
    distrust = why_distrusted(turn, market, event)
    if distrust is not None:
        turn.set(phase=replace(holding, distrust=distrust))
        return
    turn.log_change("quote", "")
    before = holding.position
    is_another = not risk_manager.is_same(event.quote, holding.quote)
    position = risk_manager.with_quote(turn.config, before, event.quote, event.at, is_another=is_another)
    marked_at = event.at if risk_manager.mark(event.quote) is not None else holding.marked_at
    turn.set(
        phase=replace(
            holding,
            position=position,
            quote=event.quote,
            quote_at=event.at,
            marked_at=marked_at,
            distrust="",
            wait_until=0.0,
        )
    )
    if replace(position, last_quote_at=before.last_quote_at) != before:
        turn.write(PositionMarked(position))
    if position.peak > before.peak:
        turn.log("debug", f"peak {dollars(position.peak)}", id=position.id, entry=dollars(position.entry))
    judge(turn, market, event.quote)


def why_distrusted(turn: Turn, market: Market, event: QuoteSeen) -> str | None:
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
    off = market.apart(turn.at, event.underlying)
    return None if off is None else f"the quote's underlying price is {off:.1%} from the stream's"


def judge(turn: Turn, market: Market, quote: Quote | None = None) -> None:
    """Close the position if an exit holds now; `quote` is the one that just came, if any."""
    holding = turn.state.phase
    if not isinstance(holding, Holding) or (quote is None and turn.at < holding.wait_until):
        return
    leave = risk_manager.exit_reason(turn.config, holding.position, sight_of(turn, market, holding, quote))
    if leave is not None:
        close(turn, market, leave)


def take_word(turn: Turn, event: OperatorSpoke) -> None:
    """What the owner did: bought, sold, or neither. The stop and a second P&L run on it; every word is noted, refused ones too.

    While the position is open, "I took it" says that he holds it. Of a closed trade, the note itself keeps his side.
    """
    side = side_of(turn, event.trade_id)
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
        assert isinstance(turn.state.phase, Holding | Settling)
        position = replace(side, **told)
        turn.set(phase=replace(turn.state.phase, position=position))
        turn.write(PositionMarked(position))
        turn.write(Noted(turn.at, event.command, note))
        return
    trade = pnl_tracker.told(side, **told)
    know_better(turn, trade)
    kept = {"real_entry": trade.real_entry, "real_exit": trade.real_exit, "real_pnl": trade.real_pnl}
    turn.write(Noted(turn.at, event.command, {**note, **kept, "skipped": "yes" if trade.skipped else "no"}))
    if not pnl_tracker.owner_holds(trade):
        delivery.answered(turn, alerts.sell_id(trade.id), event.who)


def side_of(turn: Turn, trade_id: str | None) -> Position | Trade | None:
    """The open position (`trade_id` None: that one), or a closed trade."""
    phase = turn.state.phase
    if isinstance(phase, Holding | Settling) and trade_id in (None, phase.position.id):
        return phase.position
    return next((trade for trade in reversed(turn.state.trades) if trade.id == trade_id), None)


def word_refusal(side: Position | Trade, event: OperatorSpoke) -> str | None:
    if event.command == "skipped_it":
        return None
    if event.price is None:
        return "no price"
    refusal = risk_manager.fill_refusal if event.command == "took_it" else risk_manager.sale_refusal
    return refusal(side, event.price)


def sight_of(turn: Turn, market: Market, holding: Holding, quote: Quote | None) -> Sight:
    assert turn.state.session is not None
    below_since = below_vwap_since(market, holding.position)
    return Sight(
        at=turn.at,
        time_stop_at=risk_manager.time_stop(turn.config, turn.state.session),
        quote=quote,
        marked=holding.marked_at is not None and is_fresh(turn.at - holding.marked_at),
        below_vwap=market.below_vwap(),
        below_s=0 if below_since is None else market.newest_start() - below_since,
        stalled=turn.state.stalled_since is not None,
    )


def below_vwap_since(market: Market, position: Position) -> int | None:
    """Start of the first bar since entry of the unbroken run that closed below VWAP_60."""
    since = market.below_since()
    return None if since is None else market.first_from(max(since, ceil(position.opened_at)))


def after_bars(turn: Turn, market: Market) -> None:
    """New bars were taken in: remember the run below VWAP, and look at the exits."""
    holding = turn.state.phase
    if not isinstance(holding, Holding):
        return
    since = below_vwap_since(market, holding.position)
    if since != holding.position.below_since:
        holding = replace(holding, position=replace(holding.position, below_since=since))
        turn.set(phase=holding)
        turn.write(PositionMarked(holding.position))
    judge(turn, market)


# --- closed ------------------------------------------------------------------------------------------------------------


def close(turn: Turn, market: Market, leave: Leave) -> None:
    """Book the assumed exit at the bid and queue its SELL, in this turn's one commit; or void what nobody was told."""
    holding = turn.state.phase
    assert isinstance(holding, Holding)
    position = holding.position
    if delivery.never_announced(turn.state, position.id):
        void(turn, f"{leave.reason} before its BUY could be delivered")
        return
    fresh = holding.quote_at is not None and is_fresh(turn.at - holding.quote_at)
    trade = pnl_tracker.settle(
        position,
        risk_manager.assumed_exit(position, holding.quote),
        at=turn.at,
        reason=leave.reason,
        detail=leave.detail + ("" if fresh else " (stale price)"),
        fee=to_mills(turn.config.fee_per_contract),
        quote=holding.quote,
        stale=not fresh,
    )
    book(turn, market, position, trade)
    turn.do(UnwatchContract(position.contract))


def book(turn: Turn, market: Market, position: Position, trade: Trade) -> None:
    """The trade into the ledger, the SELL into the outbox, the record one further."""
    record = pnl_tracker.booked(turn.state.record, trade.pnl)
    trades = (*turn.state.trades, trade)
    turn.write(PositionClosed(trade))
    exit_at = min(turn.at, position.session_close_at)  # one that expired begins no cooldown of another day
    turn.write(FactSet("last_exit_at", exit_at))
    turn.set(
        phase=Flat(),
        trades=trades,
        trades_today=trades_of(trades, turn.state.day),
        last_exit_at=exit_at,
        blind_since=None,
    )
    delivery.cancel(turn, alerts.buy_id(position.id), "its position is closed")
    spot, vwap = market.spot_and_vwap(turn.at)
    mark = None if trade.exit_quote is None else risk_manager.mark(trade.exit_quote)
    delivery.say(turn, alerts.sell(turn.config, trade, record, mark=mark, spot=spot, vwap=vwap))
    change_record(turn, record)
    result = "unresolved" if trade.pnl is None else dollars(trade.pnl)
    turn.log("info", f"🚪 EXIT: {trade.contract}", id=trade.id, reason=trade.detail, pnl=result)


def void(turn: Turn, why: str) -> None:
    """The BUY reached nobody: there was no trade. Only the signal's cooldown has been started by it."""
    assert isinstance(turn.state.phase, Holding | Settling)
    position = turn.state.phase.position
    turn.write(PositionVoided(position, turn.at, why))
    turn.set(phase=Flat(), blind_since=None)
    turn.do(UnwatchContract(position.contract))
    delivery.cancel(turn, alerts.buy_id(position.id), why)
    delivery.say(turn, alerts.missed_buy(turn.config, position, why, at=turn.at))
    turn.log("warning", f"position voided: {why}", id=position.id)


def attempt_failed(turn: Turn, event: AlertFailed) -> None:
    """An attempt has failed; if it was the last of a BUY whose position is closed already, there was no trade after all."""
    delivery.settled(turn, event)
    row = turn.state.outbox.get(event.alert_id)
    if row is None or row.alert.kind != "BUY" or row.alert.trade_id is None:
        return
    trade = next((trade for trade in turn.state.trades if trade.id == row.alert.trade_id), None)
    if trade is not None and trade.real_entry is None and delivery.never_announced(turn.state, trade.id):
        delivery.cancel(turn, row.alert.id, "its position is closed")
        never_reached(turn, trade)


def never_reached(turn: Turn, trade: Trade) -> None:
    """Take a closed trade out of the record: its BUY certainly reached nobody. Whoever may have heard of the SELL is told so."""
    why = "closed before its BUY could be delivered"
    trades = tuple(other for other in turn.state.trades if other.id != trade.id)
    last_exit_at = max((min(other.closed_at, turn.at) for other in trades), default=None)
    turn.write(TradeVoided(trade.id, turn.at, why))
    turn.write(FactSet("last_exit_at", last_exit_at))
    turn.set(trades=trades, trades_today=trades_of(trades, turn.state.day), last_exit_at=last_exit_at)
    change_record(turn, pnl_tracker.fold(trades))
    if delivery.unsay(turn, alerts.sell_id(trade.id)):
        delivery.say(turn, alerts.never_reached(turn.config, trade, turn.state.record, at=turn.at))
    else:
        delivery.say(turn, alerts.missed_buy(turn.config, trade, why, at=turn.at))
    turn.log("warning", "that BUY never reached the phone: out of the record", id=trade.id)


# --- by the clock ------------------------------------------------------------------------------------------------------


def tick(turn: Turn, market: Market) -> None:
    """What time alone does to a position: the time stop, blindness, settlement."""
    phase = turn.state.phase
    if isinstance(phase, Settling):
        ask_settlement(turn, phase)
    elif turn.state.record.unresolved and turn.every("unresolved", UNRESOLVED_RETRY_S):
        for trade in turn.state.trades:
            if trade.pnl is None and turn.at - trade.opened_at < UNRESOLVED_FOR_S:
                turn.do(FetchSettlement(trade.id, trade.expiration))
    if not isinstance(phase, Holding):
        return
    if turn.at >= phase.position.session_close_at:
        turn.do(UnwatchContract(phase.position.contract))
        turn.set(phase=Settling(phase.position), blind_since=None)
        return
    judge(turn, market)
    watch_sight(turn, market)


def watch_sight(turn: Turn, market: Market) -> None:
    """Tell the owner when the stops cannot fire, and when they can again."""
    holding = turn.state.phase
    if not isinstance(holding, Holding):
        return
    why = blindness(turn, market, holding)
    since = turn.state.blind_since
    if why is not None and since is None:
        turn.set(blind_since=turn.at)
        turn.log("error", f"BLIND: {why}", id=holding.position.id)
        quoted = unquoted_s(turn, holding) < BLIND_AFTER_S
        delivery.say(turn, alerts.blind(turn.config, holding.position, why, at=turn.at, quoted=quoted))
    elif why is None and since is not None:
        turn.set(blind_since=None)
        turn.tally(blind_s=turn.at - since)
        turn.log("warning", "sight restored", id=holding.position.id, blind_s=round(turn.at - since))
        delivery.say(turn, alerts.sight_restored(turn.config, holding.position, turn.at - since, at=turn.at))


def blindness(turn: Turn, market: Market, holding: Holding) -> str | None:
    """Why there is no trusted price of the held contract or of the underlying; None while there is."""
    quiet = unquoted_s(turn, holding)
    if quiet >= BLIND_AFTER_S:
        return f"no fresh quote of {holding.position.contract} for {quiet:.0f}s" + (
            f": {holding.distrust}" if holding.distrust else ""
        )
    if not turn.in_hours():
        return None
    if market.silence(turn.at, holding.since) >= BLIND_SILENCE_S:
        return f"no bars of any symbol for {market.silence(turn.at, holding.since):.0f}s: market-wide halt or outage of the feed"
    own = market.own_silence(turn.at, holding.since)
    if own >= BLIND_OWN_SILENCE_S:
        return f"no bars of {turn.config.symbol} for {own:.0f}s while others trade: trading halt, or its feed is lost"
    return None


def unquoted_s(turn: Turn, holding: Holding) -> float:
    """How long no fresh quote of the held contract has come."""
    return turn.at - max(holding.since, holding.quote_at or 0.0)


def ask_settlement(turn: Turn, settling: Settling) -> None:
    position = settling.position
    if turn.at < max(settling.next_at, position.session_close_at + LAST_BARS_S):
        return
    day = new_york(position.session_close_at).date().isoformat()
    turn.set(phase=replace(settling, tries=settling.tries + 1, next_at=turn.at + SETTLE_RETRY_S))
    turn.do(FetchSettlement(position.id, day))


def settle(turn: Turn, market: Market, event: SettlementArrived) -> None:
    """The close of the day the position expired: its worth at the end, or, after several tries, unresolved.

    A close is taken as final when it was told twice alike, or is old enough; until then a correction takes its place.
    """
    settling = turn.state.phase
    if not isinstance(settling, Settling) or event.trade_id != settling.position.id:
        resolve(turn, event)
        return
    if event.close is None and settling.tries < SETTLE_TRIES:
        turn.log("warning", f"settlement price not to be had yet: {event.reason}", tries=settling.tries)
        return
    position = settling.position
    close = settling.close if event.close is None else event.close
    old = turn.at >= position.session_close_at + FINAL_S
    if not (close is None or old or close == settling.close or settling.tries >= SETTLE_TRIES):
        turn.set(phase=replace(settling, close=close))
        return
    if close is None:
        price, detail = None, f"Expired, unresolved: {event.reason or 'no settlement price'}"
    else:
        price, detail = worth_at(turn, close, position.strike)
    fee = to_mills(turn.config.fee_per_contract)
    trade = pnl_tracker.settle(position, price, at=turn.at, reason="expired", detail=detail, fee=fee)
    book(turn, market, position, trade)


def resolve(turn: Turn, event: SettlementArrived) -> None:
    """The close that an unresolved trade had been waiting for: it joins the record."""
    unresolved = next((trade for trade in turn.state.trades if trade.id == event.trade_id and trade.pnl is None), None)
    if unresolved is None or event.close is None:
        return
    trade = pnl_tracker.resolved(unresolved, *worth_at(turn, event.close, unresolved.strike))
    know_better(turn, trade)
    record = pnl_tracker.fold(turn.state.trades)
    turn.write(PositionClosed(trade))
    delivery.say(turn, alerts.resolved(turn.config, trade, record, at=turn.at))
    change_record(turn, record)
    turn.log("info", f"resolved after all: {trade.contract}", id=trade.id, reason=trade.detail, pnl=dollars(trade.pnl or 0))


def change_record(turn: Turn, record: Record) -> None:
    """The one place where the record changes, and so the one that sounds the alarm of a deep loss."""
    for level in pnl_tracker.critical_levels(turn.state.record, record, to_mills(turn.config.critical_loss)):
        delivery.say(turn, alerts.critical_loss(turn.config, record, level, at=turn.at))
    turn.set(record=record)


def know_better(turn: Turn, trade: Trade) -> None:
    """Put a closed trade, of which more is known now, in the place of what was known."""
    trades = tuple(trade if other.id == trade.id else other for other in turn.state.trades)
    turn.set(trades=trades, trades_today=trades_of(trades, turn.state.day))


def worth_at(turn: Turn, close: float, strike: Mills) -> tuple[Mills, str]:
    """What an expired call was worth at the underlying's close, and the words for it."""
    return max(0, to_mills(close) - strike), f"Expired: {turn.config.symbol} closed at ${close:,.2f}"
