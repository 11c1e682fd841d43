"""An order's life: planned, sent, working, cancelling or unknown, and an end that is proven. Pure: every function takes a turn.

- The intent is in this turn's commit. An entry leaves when that is durable, never before; an exit waits two seconds for the disk.
- An order is never changed at its broker: it is cancelled, its end is proven, and another follows with the next `seq`.
- A status is a hint. An end is proven when the broker says so and its executions were read again, some quiet time after that; and
  by executions of all its units, for no more can come. Until then no other order of its trade leaves.
- What may be there and may not is *unknown*: it is asked for by its ref and never sent again. Only two complete snapshots without it,
  some seconds apart, make it `not_placed`.
- Executions are kept by root and revision; units, positions and P&L follow from them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from desk import books, reconcile
from desk.state import DESK, Course, Dealings, State, Turn
from events import (
    BrokerAccount,
    BrokerTrade,
    CancelAnswered,
    CancelOrder,
    FindOrder,
    Leg,
    Mills,
    Mode,
    Order,
    OrderAnswered,
    OrderChanged,
    OrderPlanned,
    OrderSeen,
    OrderState,
    OrderView,
    Part,
    PlaceOrder,
    TradeBegun,
)
from pnl_tracker import held

UNRECORDED_AFTER_S = 2.0
SNAPSHOT_MAX_S = 60.0
ASK_AFTER_S = (0.5, 1.0, 2.0, 4.0)
ASK_EVERY_S = 5.0
LOOK_EVERY_S = 1.0


class Patience(Struct, frozen=True):
    """How long is waited for a broker, in seconds.

    `ack_s` for the answer to a send, `cancel_s` for a cancel to be an end, `settle_s` of quiet before an end is believed, `apart_s`
    between two snapshots that prove an absence. Snapshots are taken every `busy_s` with anything open, else every `idle_s`.
    """

    ack_s: float
    cancel_s: float
    settle_s: float
    apart_s: float
    busy_s: float = 30.0
    idle_s: float = 60.0


PATIENCE: dict[str, Patience] = {
    "paper": Patience(ack_s=5.0, cancel_s=5.0, settle_s=0.0, apart_s=1.0),
    "alpaca": Patience(ack_s=10.0, cancel_s=5.0, settle_s=1.0, apart_s=5.0),
    "ibkr": Patience(ack_s=10.0, cancel_s=25.0, settle_s=2.0, apart_s=10.0, busy_s=60.0),
}


def patience(mode: Mode) -> Patience:
    return PATIENCE[mode.partition("-")[0]]


# --- what may be asked -------------------------------------------------------------------------------------------------


def next_trade_id(turn: Turn[Any], prefix: str) -> str:
    """`SC-20261120-2`: above every number of the day that is known, here or at a broker. It is used up."""
    dealings, day = turn.state.dealings, turn.state.day
    key = f"{prefix}-{day:%Y%m%d}"
    number = dealings.numbers.get(key, 0) + 1
    turn.deal(numbers={**dealings.numbers, key: number})
    return f"{key}-{number}"


def next_ref(state: State, trade_id: str, role: str) -> tuple[str, int]:
    """The ref of the next order of a trade in a role, and its seq."""
    used = [order.seq for order in of_trade(state.dealings, trade_id) if order.role == role]
    seq = max(used, default=0) + 1
    return f"{trade_id}-{role}-{seq}", seq


def next_order(
    turn: Turn[Any],
    trade: BrokerTrade,
    role: str,
    limit: Mills | None,
    *,
    good_for_s: float,
    units: int | None = None,
    **parts: Any,
) -> Order | None:
    """The next entry or exit of a trade, of as many units as may follow, at most `units`; None where none may.

    `role` ENTRY buys what the trade wants and has not; any other gives back what it holds, and the broker reports.
    """
    opens = role == "ENTRY"
    most = units_wanted(turn.state, trade) if opens else units_to_close(turn.state, trade)
    count = most if units is None else min(units, most)
    if count < 1:
        return None
    ref, seq = next_ref(turn.state, trade.id, role)
    legs = trade.legs if opens else tuple(map(turned, trade.legs))
    return Order(
        ref=ref, strategy=trade.strategy, trade_id=trade.id, mode=trade.mode, role=role, seq=seq, legs=legs, units=count,
        limit=limit, created_at=turn.at, good_until=turn.at + good_for_s, **parts,
    )  # fmt: skip


def turned(leg: Leg) -> Leg:
    """The leg that closes what this one opened."""
    return Leg(leg.contract, "sell" if leg.side == "buy" else "buy", not leg.opens, leg.ratio)


def units_wanted(state: State, trade: BrokerTrade) -> int:
    """How many units an entry may still be asked for: wanted less filled, by whatever count is higher."""
    entries = (order for order in of_trade(state.dealings, trade.id) if order.opens)
    return 0 if trade.entered else trade.units - sum(counted(state.dealings, order) for order in entries)


def units_to_close(state: State, trade: BrokerTrade) -> int:
    """How many whole units are held, of which the broker reports as many."""
    return min((leg_units(state, trade, turned(leg)) for leg in trade.legs), default=0)


def leg_units(state: State, trade: BrokerTrade, leg: Leg) -> int:
    """How many units of a closing leg our executions and the broker's report both allow."""
    sign = 1 if leg.side == "sell" else -1
    ours = sign * held(state.dealings.fills.get(trade.id, ())).get(leg.contract, 0)
    account = state.dealings.accounts.get(trade.mode)
    theirs = 0 if account is None else sign * reconcile.reported(account, leg.contract).available
    return max(0, min(ours, theirs)) // leg.ratio


def of_trade(dealings: Dealings, trade_id: str) -> list[Order]:
    return [order for order in dealings.orders.values() if order.trade_id == trade_id]


def counted(dealings: Dealings, order: Order) -> int:
    """Units filled: by our executions, or by the broker's own count while that says more."""
    course = dealings.courses.get(order.ref)
    return max(order.filled, 0 if course is None else course.counted)


def in_flight(state: State, trade_id: str | None = None) -> list[Order]:
    """Orders that may still be filled, of one trade or of all."""
    orders = state.dealings.orders.values()
    return [order for order in orders if order.in_flight and trade_id in (None, order.trade_id)]


def entry_refusal(state: State, mode: Mode, strategy: str, legs: Iterable[Leg] = (), at: float | None = None) -> str | None:
    """Why no entry may be sent to this account now; None while one may. An exit is never refused by it."""
    now = state.at if at is None else at
    account = state.dealings.accounts.get(mode)
    if state.stopping is not None:
        return "the worker is stopping"
    if state.entries_stopped:
        return "entries are stopped by hand"
    if strategy in state.barred:
        return state.barred[strategy]
    if state.way_out.disk is not None:
        return state.way_out.disk
    if account is None or account.link_since is None:
        return f"no link to {mode}: {'not linked yet' if account is None else account.reason}"
    if account.complete_at is None or now - account.complete_at > SNAPSHOT_MAX_S:
        return f"no complete snapshot of {mode} for {SNAPSHOT_MAX_S:.0f} s"
    for order in state.dealings.orders.values():
        if order.mode == mode and order.state == "unknown":
            return f"nobody knows what became of {order.ref}"
    contracts = {leg.contract for leg in legs}
    for finding in account.findings:
        if finding.kind != "fill missed" and (finding.kind != "extra" or finding.subject in contracts):
            return f"{finding.kind}: {finding.text}"
    return None


def order_refusal(state: State, order: Order) -> str | None:
    """Why this order may not be sent at all: it would be the second of its trade, or of more than may follow."""
    dealings = state.dealings
    trade = dealings.trades.get(order.trade_id)
    if trade is None:
        return f"there is no trade {order.trade_id}"
    if order.ref in dealings.orders:
        return f"{order.ref} was used before"
    if order.units < 1 or not order.legs:
        return "nothing is asked for"
    if flying := in_flight(state, order.trade_id):
        return f"{flying[0].ref} is {flying[0].state}, and its end is not proven"
    if order.opens:
        most = units_wanted(state, trade)
    else:
        most = min(leg_units(state, trade, leg) for leg in order.legs)
    return f"{order.units} units are more than the {most} that may follow" if order.units > most else None


# --- planned, and sent -------------------------------------------------------------------------------------------------


def begin(turn: Turn[Any], trade: BrokerTrade) -> None:
    """Begin a trade; its row is in the commit of its first order."""
    turn.deal(trades={**turn.state.dealings.trades, trade.id: trade})
    turn.set(owners={**turn.state.owners, trade.id: trade.strategy})
    turn.write(TradeBegun(trade), trade.id)
    books.watch_quotes(turn)


def place(turn: Turn[Any], order: Order) -> str | None:
    """Plan an order in this turn's commit; it leaves when that is durable. Why not, where it may not be sent."""
    why = order_refusal(turn.state, order)
    if why is None and order.opens:
        why = entry_refusal(turn.state, order.mode, order.strategy, order.legs, turn.at)
    if why is not None:
        turn.log_change(f"order of {order.trade_id}", f"order not placed: {why}", "warning", role=order.role)
        return why
    turn.log_change(f"order of {order.trade_id}", "")
    put(turn, order, Course(since=turn.at, quiet_since=turn.at))
    turn.write(OrderPlanned(order), order.trade_id)
    turn.sheet.to_send.append(order.ref)
    return None


def put(turn: Turn[Any], order: Order, course: Course | None = None) -> None:
    dealings = turn.state.dealings
    courses = dealings.courses if course is None else {**dealings.courses, order.ref: course}
    turn.deal(orders={**dealings.orders, order.ref: order}, courses=courses)


def change(turn: Turn[Any], order: Order, **parts: Any) -> Order:
    """An order as it is now, in state and ledger; what has not changed is not written."""
    changed = replace(order, **parts)
    if changed != order:
        course = turn.state.dealings.courses[order.ref]
        if changed.state != order.state:
            course = replace(course, since=turn.at, tries=0, ask_at=turn.at + ASK_AFTER_S[0])
            turn.log("info", f"order {order.ref} {changed.state}", reason=changed.reason or None, filled=changed.filled)
        put(turn, changed, course)
        turn.write(OrderChanged(turn.at, changed), order.trade_id)
    return changed


def course(turn: Turn[Any], ref: str, **parts: Any) -> None:
    courses = turn.state.dealings.courses
    turn.deal(courses={**courses, ref: replace(courses[ref], **parts)})


def leave(turn: Turn[Any], ref: str, *, recorded: bool = True) -> bool:
    """Send a planned order, once; True where it leaves without its record. A late entry is not sent; an exit waits for a link."""
    order = turn.state.dealings.orders.get(ref)
    if order is None or order.state != "planned":
        return False
    account = turn.state.dealings.accounts.get(order.mode)
    linked = account is not None and account.link_since is not None
    if order.opens and (turn.at >= order.good_until or not linked):
        not_placed(turn, order, "its time was over before it could leave" if linked else "there is no link")
        return False
    if not linked:
        course(turn, ref, again_at=turn.at + 1.0)
        return False
    course(turn, ref, since=turn.at, quiet_since=turn.at, again_at=None)
    sent = replace(order, state="sent", sent_at=turn.at)
    put(turn, sent)
    turn.do(PlaceOrder(sent))
    if not recorded:
        turn.log("error", f"order {ref} leaves, and is NOT RECORDED: the ledger could not be written")
    return not recorded


def not_placed(turn: Turn[Any], order: Order, why: str) -> None:
    """It certainly never came to be."""
    change(turn, order, state="not_placed", reason=why, ended_at=turn.at, proven=True)


def committed(turn: Turn[Any], refs: Iterable[str], lost: Iterable[Part]) -> list[str]:
    """The intents are durable, but for those in a part that was not written. The exits that leave without their record."""
    unwritten = [write for part in lost for write in part.writes]
    planned = {write.order.ref for write in unwritten if isinstance(write, OrderPlanned)}
    unrecorded = []
    for ref in refs:
        order = turn.state.dealings.orders.get(ref)
        if ref not in planned:
            leave(turn, ref)
        elif order is not None and order.opens:
            forget(turn, [order.trade_id] if order.seq == 1 else [], [ref])
            turn.log("warning", f"order {ref} is not sent: its record was refused")
        elif leave(turn, ref, recorded=False):
            unrecorded.append(ref)
    return unrecorded


def commit_failed(turn: Turn[Any], refs: Iterable[str]) -> list[str]:
    """The disk refused, and writes it later: no entry leaves without its record, an exit does."""
    unrecorded = []
    for ref in refs:
        order = turn.state.dealings.orders.get(ref)
        if order is not None and order.opens:
            not_placed(turn, order, "its record could not be written")
        elif leave(turn, ref, recorded=False):
            unrecorded.append(ref)
    return unrecorded


def watch_disk(turn: Turn[Any]) -> list[str]:
    """Do not let the disk keep an exit for more than two seconds."""
    unrecorded = []
    for number, pending in turn.state.pending.items():
        if not pending.refs or turn.at - pending.since < UNRECORDED_AFTER_S:
            continue
        orders = turn.state.dealings.orders
        exits = [ref for ref in pending.refs if ref in orders and not orders[ref].opens]
        if exits:
            rest = tuple(ref for ref in pending.refs if ref not in exits)
            turn.set(pending={**turn.state.pending, number: replace(pending, refs=rest)})
            unrecorded += [ref for ref in exits if leave(turn, ref, recorded=False)]
    return unrecorded


def forget(turn: Turn[Any], trade_ids: Iterable[str], refs: Iterable[str]) -> None:
    """Let go of what is of no more use in memory, or never was written down."""
    dealings, gone, done = turn.state.dealings, set(refs), set(trade_ids)
    gone |= {ref for ref, order in dealings.orders.items() if order.trade_id in done}
    turn.deal(
        trades={key: trade for key, trade in dealings.trades.items() if key not in done},
        orders={ref: order for ref, order in dealings.orders.items() if ref not in gone},
        courses={ref: kept for ref, kept in dealings.courses.items() if ref not in gone},
        fills={key: fills for key, fills in dealings.fills.items() if key not in done},
        closing={key: why for key, why in dealings.closing.items() if key not in done},
    )


# --- cancelled ---------------------------------------------------------------------------------------------------------


def cancel(turn: Turn[Any], ref: str, why: str = "") -> None:
    """Ask for an order's end; what had not left never does. Asked once: what comes of it is looked at, not assumed."""
    order = turn.state.dealings.orders.get(ref)
    if order is None or order.has_ended or order.state == "cancelling":
        return
    if order.state == "planned":
        not_placed(turn, order, why or "cancelled before it left")
        return
    if order.state == "unknown":
        course(turn, ref, unwanted=True)  # cancelled as soon as it is found
        return
    change(turn, order, state="cancelling", reason=why)
    turn.do(CancelOrder(order.mode, ref, order.broker_id))


def cancel_answered(turn: Turn[Any], event: CancelAnswered) -> None:
    """To a cancel every answer means: look."""
    order = turn.state.dealings.orders.get(event.ref)
    if order is not None and order.in_flight:
        turn.do(FindOrder(order.mode, order.ref))


# --- what the broker says ----------------------------------------------------------------------------------------------


def answered(turn: Turn[Any], event: OrderAnswered) -> None:
    """The answer to a send."""
    order = turn.state.dealings.orders.get(event.ref)
    if order is None:
        return
    match event.answer:
        case "accepted":
            accepted(turn, order, event.broker_id)
        case "rejected" if not order.has_ended:
            ended(turn, order, "rejected", event.reason)
        case "not_sent" if order.state in ("sent", "cancelling"):
            not_placed(turn, order, event.reason)
        case "later" if order.state in ("sent", "cancelling"):
            if order.state == "cancelling" or (order.opens and event.again_at >= order.good_until):
                not_placed(turn, order, event.reason or "not taken in time")
            else:
                put(turn, replace(order, state="planned"))
                course(turn, order.ref, again_at=event.again_at)
        case "unknown" if order.state in ("sent", "cancelling"):
            doubt(turn, order, event.reason)


def accepted(turn: Turn[Any], order: Order, broker_id: str) -> None:
    """It lives there. One that we had given up must end all the same."""
    given_up = order.state in ("cancelling", "not_placed") or turn.state.dealings.courses[order.ref].unwanted
    if order.has_ended and order.state != "not_placed":
        return
    if not given_up:
        change(turn, order, state="working", broker_id=broker_id or order.broker_id)
        return
    course(turn, order.ref, unwanted=False)
    name = broker_id or order.broker_id
    change(turn, order, state="cancelling", broker_id=name, ended_at=None, proven=False)
    turn.do(CancelOrder(order.mode, order.ref, name))


def doubt(turn: Turn[Any], order: Order, why: str) -> None:
    """Nobody knows whether it is there: it is never sent again, and asked for."""
    was_cancelled = order.state == "cancelling"
    change(turn, order, state="unknown", reason=why)
    course(turn, order.ref, unwanted=was_cancelled or turn.state.dealings.courses[order.ref].unwanted)


def ended(turn: Turn[Any], order: Order, state: OrderState, why: str = "") -> None:
    """Its end was said; it is proven once its executions were read after a quiet time."""
    if order.has_ended:
        return
    change(turn, order, state=state, reason=why or order.reason, ended_at=turn.at)
    course(turn, order.ref, quiet_since=turn.at, ask_at=turn.at + patience(order.mode).settle_s)


def seen(turn: Turn[Any], event: OrderSeen) -> None:
    """An order as its broker tells it. That it is not known there proves nothing yet: two snapshots do."""
    order = turn.state.dealings.orders.get(event.ref)
    if order is not None and event.order is not None:
        look(turn, order, event.order)


def look(turn: Turn[Any], order: Order, view: OrderView) -> None:
    """Take in a view of an order. Of one that is proven ended nothing old is believed, but that it lives again ends it once more."""
    known = turn.state.dealings.courses[order.ref]
    if view.filled > max(known.counted, order.filled):
        course(turn, order.ref, counted=view.filled, quiet_since=turn.at)
    if view.broker_id and view.broker_id != order.broker_id:
        order = change(turn, order, broker_id=view.broker_id)
    match view.state:
        case "working" | "sent" | "planned" | "unknown":
            if order.state in ("sent", "unknown", "not_placed"):
                accepted(turn, order, view.broker_id)
            elif order.has_ended and not order.proven and order.state != "filled":
                change(turn, order, state="working", ended_at=None)
        case "cancelling":
            if order.state in ("sent", "unknown", "working"):
                change(turn, order, state="cancelling")
        case _:
            if order.state != "planned" and not order.has_ended:
                ended(turn, order, view.state, view.reason)


def lacking(turn: Turn[Any], ref: str) -> None:
    """Two complete snapshots have it not: never placed, or gone."""
    order = turn.state.dealings.orders[ref]
    if order.state in ("sent", "unknown") and not order.broker_id:
        not_placed(turn, order, "the broker does not have it")
    elif not order.has_ended:
        change(
            turn,
            order,
            state="cancelled",
            reason="it is not among the broker's orders any more",
            ended_at=turn.at,
            proven=True,
        )


def prove(turn: Turn[Any], mode: Mode, as_of: float) -> None:
    """Executions were read: orders of which all was quiet before that have certainly ended, if no count says more."""
    for order in in_flight(turn.state):
        if order.mode != mode or not order.has_ended:
            continue
        known = turn.state.dealings.courses[order.ref]
        quiet_since = max(known.quiet_since, order.ended_at or 0.0)
        if as_of >= quiet_since + patience(mode).settle_s and known.counted <= order.filled:
            change(turn, order, proven=True)


# --- by the clock ------------------------------------------------------------------------------------------------------


def tick(turn: Turn[Any]) -> None:
    """What time does to orders in flight: sent again, asked for, cancelled at their end."""
    for order in in_flight(turn.state):
        known, waits = turn.state.dealings.courses[order.ref], patience(order.mode)
        match order.state:
            case "planned":
                if known.again_at is not None and turn.at >= known.again_at:
                    leave(turn, order.ref)
            case "sent" if turn.at - known.since >= waits.ack_s:
                doubt(turn, order, f"no answer for {waits.ack_s:.0f} s")
            case "cancelling" if turn.at - known.since >= waits.cancel_s:
                doubt(turn, order, f"its cancel is not confirmed for {waits.cancel_s:.0f} s")
            case "working" if turn.at >= order.good_until:
                cancel(turn, order.ref, "its time is over")
            case "unknown" | "cancelling" | "working" if turn.at >= known.ask_at:
                ask(turn, order, known)


def ask(turn: Turn[Any], order: Order, known: Course) -> None:
    """Ask what became of it: ever more slowly while nobody knows, each second while it works."""
    if order.state == "unknown":
        pauses = ASK_AFTER_S[known.tries + 1 :]
        pause = pauses[0] if pauses else ASK_EVERY_S
    else:
        pause = LOOK_EVERY_S
    course(turn, order.ref, tries=known.tries + 1, ask_at=turn.at + pause)
    turn.do(FindOrder(order.mode, order.ref))


def links(turn: Turn[Any], mode: Mode, account: BrokerAccount) -> None:
    """The link fell: what was on its way is in doubt."""
    for order in in_flight(turn.state):
        if order.mode == mode and order.state in ("sent", "cancelling"):
            doubt(turn, order, f"the link fell: {account.reason}")


def adopt(turn: Turn[Any], order: Order, *, unwanted: bool) -> None:
    """Take up an order that was found at the broker."""
    put(turn, order, Course(since=turn.at, quiet_since=turn.at, ask_at=turn.at, unwanted=unwanted))


def resume(turn: Turn[Any], orders: Iterable[Order]) -> None:
    """Orders that the last life left in flight: each is looked for, and what still works is cancelled."""
    for order in orders:
        put(turn, order, Course(since=turn.at, quiet_since=turn.at, ask_at=turn.at, unwanted=True))
        if order.in_flight and not order.has_ended:
            changed = replace(order, state="unknown", reason="the worker ended while it was in flight")
            put(turn, changed)
            turn.write(OrderChanged(turn.at, changed), order.trade_id)


def owner_of(state: State, ref: str) -> str | None:
    """The strategy of an order; None: of nobody's."""
    order = state.dealings.orders.get(ref)
    return None if order is None or order.strategy == DESK else order.strategy
