"""From a signal to a position: what refuses it, the fresh quotes, the first order, the attempts, and the end of them.

Every function takes the strategy's turn. A refusal leaves nothing behind but its answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from desk import delivery, orders, trades
from desk.state import State, Turn
from events import BrokerTrade, ChainRow, CommandGiven, Leg, Mills, Order, Quote, RefreshQuotes
from pnl_tracker import record_of
from risk_manager import FRESH_S, is_fresh, mark
from strategies.scalper import discipline, words
from strategies.scalper.conditions import Direction, force_close
from strategies.scalper.contract import (
    CHAIN_MAX_AGE_S,
    RIGHTS,
    Size,
    choose,
    entry_limit,
    select,
    size_of,
    worst_of,
)
from strategies.scalper.discipline import Refusal
from strategies.scalper.memory import Answer, Entry, Memory, Seeking, Signal
from strategies.scalper.windows import Floor
from utils import Session, to_mills

if TYPE_CHECKING:
    from strategies.scalper.settings import Settings

NAME, PREFIX = "scalper", "SC"
SILENT_S = 60.0
REFRESH_GRACE_S = 0.5
ATTEMPTS_MAX = 4
LEVEL_MIN = 2
ANSWERS_KEPT = 200
WALL_S = 20_700.0  # 15:15 is so long after 09:30
WALL_BEFORE_CLOSE_S = 2_700.0
OUT_GRACE_S = 25.0  # the ladder of a flatten, before the desk closes without it

Own = Turn[Memory]
SIGNS: dict[Direction, int] = {"long": 1, "short": -1}


def last_entry(settings: Settings, session: Session) -> float:
    """From when on no entry is begun: some minutes before the force close, and before the broker's wall."""
    out = force_close(settings, session) - 60.0 * settings.last_entry_minutes
    wall = min(session.open_at + WALL_S, session.close_at - WALL_BEFORE_CLOSE_S)
    window = min(session.at(settings.window_end), force_close(settings, session))
    return min(out, wall, window)


# --- what refuses it ---------------------------------------------------------------------------------------------------


def refusal(turn: Own, settings: Settings, floor: Floor, signal: Signal, mode: str) -> Refusal | None:
    """The first of the reasons not to execute a signal now, in their order; None where there is none."""
    state, memory = turn.state, turn.memory
    if state.stopping is not None:
        return Refusal("stopping", "the worker is stopping")
    if memory.killed:
        return Refusal("killed", "the kill switch is on, until it is resumed")
    if mode != settings.broker:
        return Refusal("wrong_mode", f"this worker trades {settings.broker}, not {mode}")
    if signal.trade_id:
        return Refusal("already_executed", f"it was executed as {signal.trade_id}")
    if turn.at >= signal.expires_at:
        return Refusal("stale_signal", f"it is {turn.at - signal.at:.0f} s old, at most {settings.signal_life_seconds}")
    if turn.at >= last_entry(settings, floor.session):
        return Refusal("window_closed", "no entry is begun so late")
    today = discipline.of_today(all_trades(state), floor.session, settings.broker, NAME)
    day = discipline.day_of(settings, today)
    return (
        discipline.refusal(settings, day, of_mode(state, settings), signal.symbol)
        or _way_out(turn)
        or _broker(turn, settings)
        or _data(turn, floor, signal)
    )


def all_trades(state: State) -> list[BrokerTrade]:
    return [*state.dealings.ended, *state.dealings.trades.values()]


def of_mode(state: State, settings: Settings) -> list[BrokerTrade]:
    return [trade for trade in state.dealings.trades.values() if trade.record == (NAME, settings.broker)]


def _way_out(turn: Own) -> Refusal | None:
    """What of the way out an order rests on is not proven. By hand a doubtful phone warns, and refuses nothing."""
    way_out, state = turn.state.way_out, turn.state
    by_hand = "entries are stopped by hand" if state.entries_stopped else None
    why = by_hand or state.barred.get(NAME) or way_out.disk or way_out.clock or way_out.starts
    return None if why is None else Refusal("way_out", why)


def _broker(turn: Own, settings: Settings) -> Refusal | None:
    mode = settings.broker
    others = [t for t in turn.state.dealings.trades.values() if t.strategy == NAME and t.mode != mode]
    if others:
        return Refusal("broker", f"{others[0].id} is open under {others[0].mode}: close it there first")
    why = orders.entry_refusal(turn.state, mode, NAME, at=turn.at)
    account = turn.state.dealings.accounts.get(mode)
    view = None if account is None else account.view
    if why is None and view is None:
        why = "the account is not known yet"
    if why is None and view is not None:
        if view.blocks:
            why = "; ".join(view.blocks)
        elif view.level is not None and view.level < LEVEL_MIN:
            why = f"options level {view.level}, {LEVEL_MIN} is needed"
        elif settings.live is not None and mode == "alpaca-live" and view.number != settings.live.get_secret_value():
            why = "the account is not the one that SCALPER_LIVE names"
    return None if why is None else Refusal("broker", why)


def _data(turn: Own, floor: Floor, signal: Signal) -> Refusal | None:
    """Feed, chain and price as an entry needs them."""
    state, chain = turn.state, turn.memory.chains.get(f"{signal.symbol} {RIGHTS[signal.direction]}")
    silent = floor.board.silence(signal.symbol)
    if state.stalled_since is not None:
        return Refusal("data", "data feed stalled")
    if state.delayed:
        return Refusal("data", "the feed is delayed: a real-time plan is needed")
    if silent >= SILENT_S:
        return Refusal("data", f"{signal.symbol} is silent for {silent:.0f} s")
    if chain is None or not is_fresh(turn.at - chain.received_at, CHAIN_MAX_AGE_S):
        return Refusal("data", "no chain of the last 60 s")
    if not chain.rows:
        return Refusal("data", "no 0DTE today")
    if why := floor.short_of_vwap(signal.symbol, SIGNS[signal.direction], turn.at):
        return Refusal("data", why)
    return None


# --- asked for ---------------------------------------------------------------------------------------------------------


def execute(turn: Own, settings: Settings, floor: Floor, event: CommandGiven) -> None:
    """Ask for fresh quotes of the contracts nearest the sought delta; what comes of it is answered under the key."""
    memory = turn.memory
    if event.key in memory.answers:
        return
    signal = next((each for each in memory.signals if each.id == event.signal_id), None)
    if signal is None:
        refuse(turn, event.key, event.signal_id, Refusal("stale_signal", "there is no such signal any more"))
        return
    why = refusal(turn, settings, floor, signal, event.mode)
    if why is None and memory.seeking is not None:
        why = Refusal("entry_in_flight", "another signal is being executed")
    if why is None and event.quantity is not None and event.quantity > settings.max_contracts:
        why = Refusal("over_cap", f"{event.quantity} asked, at most {settings.max_contracts}")
    if why is not None:
        refuse(turn, event.key, signal.id, why)
        return
    right = RIGHTS[signal.direction]
    rows = memory.chains[f"{signal.symbol} {right}"].rows
    spot = floor.spot(signal.symbol, turn.at)
    near = select(rows, settings, signal.symbol, right, turn.at, floor.session, spot)
    if not near.tracked:
        refuse(turn, event.key, signal.id, Refusal("no_contract", near.why()))
        return
    ticket = turn.ticket()
    turn.remember(seeking=Seeking(ticket, turn.at, signal.id, event.key, event.who, event.quantity))
    answer(turn, event.key, Answer(turn.at, signal_id=signal.id, quantity=event.quantity, pending=True))
    turn.do(RefreshQuotes(ticket, tuple(row.contract for row in near.tracked)))


def answer(turn: Own, key: str, made: Answer) -> None:
    kept = {**turn.memory.answers, key: made}
    turn.remember(answers=dict(list(kept.items())[-ANSWERS_KEPT:]))


def refuse(turn: Own, key: str, signal_id: str, why: Refusal) -> None:
    turn.log("info", f"not executed: {why.says}", signal=signal_id, code=why.code)
    answer(turn, key, Answer(turn.at, why.code, why.says, signal_id=signal_id))


def overdue(turn: Own, settings: Settings, floor: Floor) -> None:
    """Fresh quotes that do not come are none."""
    seeking = turn.memory.seeking
    if seeking is not None and turn.at - seeking.since >= turn.config.http_timeout_seconds + REFRESH_GRACE_S:
        begin(turn, settings, floor, (), "no answer in time")


def begin(turn: Own, settings: Settings, floor: Floor, rows: tuple[ChainRow, ...], reason: str | None) -> None:
    """Fresh rows are there: all is checked again, a contract chosen, and the first order written with the trade."""
    seeking = turn.memory.seeking
    assert seeking is not None
    turn.remember(seeking=None)
    signal = next((each for each in turn.memory.signals if each.id == seeking.signal_id), None)
    if signal is None:
        refuse(turn, seeking.key, seeking.signal_id, Refusal("stale_signal", "there is no such signal any more"))
        return
    why = refusal(turn, settings, floor, signal, settings.broker)
    row, size = None, None
    if why is None:
        right, age_s = RIGHTS[signal.direction], float(settings.quote_max_age_seconds)
        spot = floor.spot(signal.symbol, turn.at)
        choice = choose(rows, settings, signal.symbol, right, turn.at, floor.session, spot, age_s)
        row = choice.row
        if row is None:
            why = Refusal("no_contract", choice.why + (f" ({reason})" if reason else ""))
    if row is not None and (off := orders.entry_refusal(turn.state, settings.broker, NAME, [leg_of(row)], turn.at)):
        why = Refusal("broker", off)
    elif row is not None and row.quote is not None:
        size = sized(turn.state, settings, seeking.asked, row.quote, signal.symbol)
        if size.code:
            why = Refusal(size.code, size.says)
    if why is not None or row is None or row.quote is None or size is None:
        refuse(turn, seeking.key, signal.id, why or Refusal("no_contract", "no quote"))
        return
    _open(turn, settings, floor, signal, seeking, row, row.quote, size.contracts)


def leg_of(row: ChainRow) -> Leg:
    return Leg(row.contract, "buy", opens=True)


def sized(state: State, settings: Settings, asked: int | None, quote: Quote, symbol: str) -> Size:
    """How many, by the broker's account; on paper by what it began with and what was booked."""
    account = state.dealings.accounts.get(settings.broker)
    view = None if account is None else account.view
    buying_power = None
    if settings.broker == "paper":
        booked = record_of(state.dealings.ended, NAME, "paper").balance
        equity = to_mills(settings.paper_equity) + booked
    else:
        equity = 0 if view is None or view.equity is None else view.equity
        buying_power = 0 if view is None or view.buying_power is None else view.buying_power
    return size_of(settings, asked, quote.ask_size, worst_of(settings, symbol, quote), equity, buying_power)


def _open(
    turn: Own, settings: Settings, floor: Floor, signal: Signal, seeking: Seeking, row: ChainRow, quote: Quote, count: int
) -> None:  # fmt: skip
    """The trade and its first order, in one commit with the key that asked for them."""
    trade_id = orders.next_trade_id(turn, PREFIX)
    worst = worst_of(settings, signal.symbol, quote)
    memo = {"key": seeking.key, "signal": signal.id, "asked": seeking.asked, "direction": signal.direction}
    out = force_close(settings, floor.session)
    trade = BrokerTrade(
        trade_id, NAME, settings.broker, signal.symbol, row.expiration, (leg_of(row),), count,
        turn.at, floor.session.close_at, out_by=out + OUT_GRACE_S, fee=to_mills(settings.fee_per_contract),
        memo={**memo, "worst": worst, "confidence": signal.confidence, "who": seeking.who},
    )  # fmt: skip
    orders.begin(turn, trade)
    limit = entry_limit(0, quote, worst, signal.symbol)
    order = orders.next_order(turn, trade, "ENTRY", limit, good_for_s=settings.entry_step_seconds, worst=worst)
    assert order is not None
    why = orders.place(turn, order)
    assert why is None, why
    turn.remember(
        entries={**turn.memory.entries, trade_id: Entry(trade_id, turn.at, 1)},
        signals=tuple(replace(s, trade_id=trade_id) if s.id == signal.id else s for s in turn.memory.signals),
    )
    made = Answer(turn.at, None, "", trade_id, order.ref, signal.id, seeking.asked)
    answer(turn, seeking.key, made)
    turn.log("info", f"entry of {signal.id}: {count} {row.contract}", id=trade_id, limit=limit, worst=worst)


# --- on its way --------------------------------------------------------------------------------------------------------


def pursue(turn: Own, settings: Settings, floor: Floor, trade: BrokerTrade) -> None:
    """The next attempt of an entry, once the end of the last is proven; or its end, filled or not."""
    entry = turn.memory.entries.get(trade.id)
    flying = orders.in_flight(turn.state, trade.id)
    why = "the worker began anew" if entry is None else unfit(turn, settings, floor, trade)
    doubtful = any(order.state == "unknown" for order in flying)
    if entry is not None and doubtful:
        entry = replace(entry, attempts=ATTEMPTS_MAX)
        turn.remember(entries={**turn.memory.entries, trade.id: entry})
    if flying:
        if why is not None and not doubtful:
            for order in flying:
                orders.cancel(turn, order.ref, why)
        return
    last = orders.of_trade(turn.state.dealings, trade.id)[-1:]
    if why is None and last:
        why = _ended_badly(last[0])
    if why is None and orders.units_wanted(turn.state, trade) < 1:
        why = "filled"
    left_s = 0.0 if entry is None else entry.begun_at + settings.entry_life_seconds - turn.at
    if why is None and (entry is None or entry.attempts >= ATTEMPTS_MAX or left_s <= 0.0):
        why = "not filled"
    if why is not None or entry is None:
        finish(turn, trade, why or "not filled")
        return
    quote, worst = quote_of(turn, trade), worst_in(trade)
    assert quote is not None
    limit = entry_limit(entry.attempts, quote, worst, trade.underlying)
    good_for_s = min(settings.entry_step_seconds, left_s)
    attempt = orders.next_order(turn, trade, "ENTRY", limit, good_for_s=good_for_s, worst=worst)
    if attempt is None or orders.place(turn, attempt) is not None:
        finish(turn, trade, "not filled")
        return
    turn.remember(entries={**turn.memory.entries, trade.id: replace(entry, attempts=entry.attempts + 1)})


def _ended_badly(order: Order) -> str | None:
    if order.state == "rejected":
        return f"{discipline.REJECTED}: {order.reason}"
    return f"not placed: {order.reason}" if order.state == "not_placed" else None


def worst_in(trade: BrokerTrade) -> Mills:
    worst = trade.memo.get("worst")
    return int(worst) if isinstance(worst, int | float) else 0


def quote_of(turn: Own, trade: BrokerTrade) -> Quote | None:
    """The newest trusted quote of its contract, while it is fresh."""
    priced = turn.state.dealings.quotes.get(trade.legs[0].contract)
    return priced.quote if priced is not None and turn.at - priced.at <= FRESH_S else None


def unfit(turn: Own, settings: Settings, floor: Floor, trade: BrokerTrade) -> str | None:
    """What of quote, price, clock or kill ends an entry that is on its way; None: it goes on."""
    if turn.memory.killed:
        return "killed"
    if turn.state.stopping is not None:
        return "the worker is stopping"
    if turn.at >= last_entry(settings, floor.session):
        return "no entry goes on so late"
    entry = turn.memory.entries[trade.id]
    quote = quote_of(turn, trade)
    if (quote is None or mark(quote) is None) and turn.at - entry.begun_at > settings.quote_max_age_seconds:
        return "no usable fresh quote"
    if quote is None and not orders.in_flight(turn.state, trade.id):
        return "no fresh quote"
    sign = 1 if trade.memo.get("direction") == "long" else -1
    return floor.short_of_vwap(trade.underlying, sign, turn.at) or None


def finish(turn: Own, trade: BrokerTrade, why: str) -> None:
    """No further attempt: what is filled is the position, at its average; nothing filled is no trade."""
    turn.remember(entries={key: entry for key, entry in turn.memory.entries.items() if key != trade.id})
    trades.enter_no_more(turn, trade.id, why)
    fills = [fill for fill in turn.state.dealings.fills.get(trade.id, ()) if fill.side == "buy"]
    if count := sum(fill.quantity for fill in fills):
        cost = sum(fill.quantity * fill.price for fill in fills)
        delivery.say(turn, words.bought(trade, count, cost, at=turn.at))
    else:
        turn.log("info", f"no position: {why}", id=trade.id)
