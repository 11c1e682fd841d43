"""The accounts: links, snapshots compared with the books, what was found there and is not ours; and a life's beginning. Pure.

What a broker reports and no order of ours has done is shown and left alone. What differs is told once; it refuses entries, never
exits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from desk import closing, delivery, orders, reconcile, trades, words
from desk.state import State, Turn
from events import (
    BrokerAccount,
    BrokerLinked,
    BrokerTrade,
    CancelAnswered,
    Fill,
    FillSeen,
    Finding,
    Mode,
    Noted,
    Order,
    OrderAnswered,
    OrderPlanned,
    OrderSeen,
    OrderView,
    Remembered,
    SnapshotTaken,
)
from pnl_tracker import held
from utils import new_york

ABANDONED_S = 60.0
UNKNOWN_TOLD_S = 60.0
QUIET_FINDINGS = ("fill missed", "order gone", "incomplete")

BrokerEvent = BrokerLinked | OrderAnswered | CancelAnswered | OrderSeen | FillSeen | SnapshotTaken


def take(turn: Turn[Any], event: BrokerEvent) -> list[str]:
    """Book what a broker told; the strategies that it concerns."""
    match event:
        case BrokerLinked():
            linked(turn, event)
        case OrderAnswered():
            orders.answered(turn, event)
        case CancelAnswered():
            orders.cancel_answered(turn, event)
        case OrderSeen():
            orders.seen(turn, event)
        case FillSeen():
            trades.filled(turn, event.mode, event.fill)
        case SnapshotTaken():
            compare(turn, event)
    trades.finish_all(turn)
    if isinstance(event, BrokerLinked | SnapshotTaken):
        return [name for name, mode in turn.state.dealings.modes.items() if mode == event.mode]
    ref = event.fill.ref if isinstance(event, FillSeen) else event.ref
    owner = orders.owner_of(turn.state, ref)
    return [] if owner is None else [owner]


def linked(turn: Turn[Any], event: BrokerLinked) -> None:
    """The link came up, or fell: what was going on in between is asked for before anything else."""
    before = trades.account_of(turn.state, event.mode)
    account = replace(before, link_since=turn.at if event.linked else None, reason=event.reason, missed={}, asked_at=None)
    trades.keep(turn, account)
    word = "linked" if event.linked else f"no link: {event.reason}"
    turn.log_change(f"link {event.mode}", f"broker {event.mode}: {word}", "info" if event.linked else "warning")
    if event.linked:
        trades.ask_snapshot(turn, event.mode)
    else:
        orders.links(turn, event.mode, account)


def compare(turn: Turn[Any], event: SnapshotTaken) -> None:
    """Compare books and snapshot: executions first, then orders, then positions."""
    account = trades.account_of(turn.state, event.mode)
    if account.complete_at is not None and event.as_of < account.complete_at:
        return
    remember_numbers(turn, event.orders)
    dealings = turn.state.dealings
    believed = reconcile.Believed(
        mode=event.mode,
        trades=tuple(trades.of_mode(turn.state, event.mode)),
        orders={ref: order for ref, order in dealings.orders.items() if order.mode == event.mode},
        fills=dealings.fills,
        account=account,
        prefixes=tuple(dealings.prefixes),
        apart_s=orders.patience(event.mode).apart_s,
    )
    found = reconcile.compare(believed, event)
    if event.complete:
        idle = not any(order.mode == event.mode for order in orders.in_flight(turn.state))
        holdings = {
            held_there.contract: held_there if idle else replace(held_there, available=held_there.quantity)
            for held_there in event.positions
        }
        account = replace(account, complete_at=event.as_of, view=account.view or event.account, holdings=holdings)
    else:
        turn.log_change(f"snapshot {event.mode}", f"snapshot of {event.mode} incomplete: {event.reason}", "warning")
    trades.keep(turn, replace(account, asked_at=None, missed=found.missed, short=found.short))
    for view in found.orphans:
        adopt(turn, event.mode, view)
    for trade_id, fill in (*found.apply, *adopted(turn.state, event.fills), *found.elsewhere):
        trades.book(turn, trade_id, fill, told=True)
    for view in (*found.seen, *found.orphans):
        if view.ref in turn.state.dealings.orders:
            orders.look(turn, turn.state.dealings.orders[view.ref], view)
    for ref in found.gone:
        orders.lacking(turn, ref)
    for trade_id in found.lost:
        trades.lose(turn, trade_id, found.findings)
    if event.complete:
        turn.log_change(f"snapshot {event.mode}", "")
        orders.prove(turn, event.mode, event.as_of)
    tell(turn, event.mode, found.findings)


def tell(turn: Turn[Any], mode: Mode, findings: tuple[Finding, ...]) -> None:
    """What differs now: what is new of it is logged, written down and said, once."""
    account = trades.account_of(turn.state, mode)
    known = {(finding.kind, finding.subject, finding.theirs) for finding in account.findings}
    trades.keep(turn, replace(account, findings=findings))
    for finding in findings:
        if (finding.kind, finding.subject, finding.theirs) in known:
            continue
        turn.log("warning", f"{mode}: {finding.kind}: {finding.text}")
        asked_again = finding.kind == "shortfall" and not finding.trade_id
        if finding.kind not in QUIET_FINDINGS and not asked_again:
            body: dict[str, float | str | None] = {"mode": mode, "kind": finding.kind, "text": finding.text}
            turn.write(Noted(turn.at, "finding", {**body, "trade": finding.trade_id or None}))
            delivery.say(turn, words.differs(finding, at=turn.at))


def remember_numbers(turn: Turn[Any], views: Iterable[OrderView]) -> None:
    """Trade numbers go on above the highest that the broker knows: an emptied folder uses none again."""
    numbers = dict(turn.state.dealings.numbers)
    for view in views:
        ref = reconcile.OURS.fullmatch(view.ref)
        if ref is not None:
            key = f"{ref['prefix']}-{ref['date']}"
            numbers[key] = max(numbers.get(key, 0), int(ref["number"]))
    if numbers != turn.state.dealings.numbers:
        turn.deal(numbers=numbers)


def adopt(turn: Turn[Any], mode: Mode, view: OrderView) -> None:
    """An order of our form that nobody wrote down: written down, and cancelled if it is an entry that lives."""
    ref = reconcile.OURS.fullmatch(view.ref)
    if ref is None or not view.legs:
        return
    dealings, state = turn.state.dealings, turn.state
    trade_id, strategy = ref["trade"], dealings.prefixes[ref["prefix"]]
    opens = any(leg.opens for leg in view.legs)
    if trade_id not in dealings.trades:
        if not opens or any(trade.id == trade_id for trade in dealings.ended):
            return
        contract = view.legs[0].contract
        close_at = turn.at if state.session is None else state.session.close_at
        trade = BrokerTrade(
            trade_id, strategy, mode, contract.removeprefix("O:")[:-15], expiration_of(contract), view.legs, view.units,
            created_at=turn.at, session_close_at=close_at, entered=True, memo={"adopted": "yes"},
        )  # fmt: skip
        orders.begin(turn, trade)
    order = Order(
        view.ref, strategy, trade_id, mode, ref["role"], int(ref["seq"]), view.legs, view.units, view.limit,
        created_at=turn.at, good_until=turn.at, state="unknown", reason="found at the broker", broker_id=view.broker_id,
    )  # fmt: skip
    turn.log("warning", f"order {view.ref} was found at the broker and not in the books: it is taken up")
    turn.write(OrderPlanned(order), trade_id)
    orders.adopt(turn, order, unwanted=opens)


def adopted(state: State, fills: Iterable[Fill]) -> list[tuple[str, Fill]]:
    """The executions of orders that are known, by their trades; those that are booked change nothing."""
    known = state.dealings.orders
    return [(known[fill.ref].trade_id, fill) for fill in fills if fill.ref in known]


def expiration_of(contract: str) -> str:
    """`2026-11-20` of `O:IWM261120C00226000`."""
    digits = contract[-15:-9]
    return f"20{digits[:2]}-{digits[2:4]}-{digits[4:]}"


def tick(turn: Turn[Any]) -> None:
    """What time does: orders asked for, snapshots taken, trades that were left alone ended or settled."""
    dealings = turn.state.dealings
    if not (dealings.accounts or dealings.orders or dealings.trades):
        return
    orders.tick(turn)
    for ref in orders.watch_disk(turn):
        unrecorded(turn, ref)
    for mode in tuple(turn.state.dealings.accounts):
        watch_account(turn, turn.state.dealings.accounts[mode])
    for trade in tuple(turn.state.dealings.trades.values()):
        watch_trade(turn, trade)
    trades.finish_all(turn)
    drop_old(turn)


def unrecorded(turn: Turn[Any], ref: str) -> None:
    order = turn.state.dealings.orders[ref]
    what = f"Order {ref} left and is NOT RECORDED: the ledger could not be written, note it down"
    delivery.say(turn, words.act_now(order.mode, ref, what, at=turn.at))


def watch_account(turn: Turn[Any], account: BrokerAccount) -> None:
    """Take a snapshot when one is due; say once what nobody has known for a minute."""
    mode, waits = account.mode, orders.patience(account.mode)
    flying = [order for order in orders.in_flight(turn.state) if order.mode == mode]
    for order in flying:
        course = turn.state.dealings.courses[order.ref]
        if order.state == "unknown" and not course.told and turn.at - course.since >= UNKNOWN_TOLD_S:
            orders.course(turn, order.ref, told=True)
            what = f"Nobody knows what became of order {order.ref}: {order.reason}"
            delivery.say(turn, words.act_now(mode, order.ref, what, at=turn.at))
    if account.link_since is None:
        return
    age = float("inf") if account.complete_at is None else turn.at - account.complete_at
    unproven = any(
        order.has_ended and turn.at >= turn.state.dealings.courses[order.ref].quiet_since + waits.settle_s
        for order in flying
    )
    doubtful = any(order.state == "unknown" for order in flying) or account.missed or account.short
    every = waits.busy_s if flying or trades.of_mode(turn.state, mode) else waits.idle_s
    if unproven or age >= every or (doubtful and age >= waits.apart_s):
        trades.ask_snapshot(turn, mode)


def watch_trade(turn: Turn[Any], trade: BrokerTrade) -> None:
    """One that its strategy has left alone is ended, or closed by the desk; one that outlived its session is settled."""
    flying = orders.in_flight(turn.state, trade.id)
    mine = orders.of_trade(turn.state.dealings, trade.id)
    if turn.at >= trade.session_close_at and trade.state not in ("settling", "unresolved"):
        closing.outlive(turn, trade)
        return
    if not trade.entered and not flying:
        quiet = max((order.ended_at or order.created_at for order in mine), default=trade.created_at)
        if turn.at - quiet >= ABANDONED_S:
            trades.enter_no_more(turn, trade.id, "no order of it followed")
            return
    if trade.id in turn.state.dealings.closing:
        closing.press(turn, trade.id)


def drop_old(turn: Turn[Any]) -> None:
    """Orders and executions of trades that ended on an earlier day need no place in memory; the ledger has them."""
    dealings, day = turn.state.dealings, turn.state.day
    kept = {trade.id for trade in dealings.ended if day is None or new_york(trade.closed_at or 0.0).date() == day}
    old = {order.trade_id for order in dealings.orders.values()} - kept - set(dealings.trades)
    if old:
        orders.forget(turn, old, ())


def start(turn: Turn[Any], kept: Remembered, prefixes: Mapping[str, str], modes: Mapping[str, Mode]) -> None:
    """Take up what the last life left: trades, executions, and orders that are looked for before any other leaves."""
    if not (modes or kept.broker_trades):
        return
    fills: dict[str, tuple[Fill, ...]] = {}
    for trade_id, fill in kept.fills:
        fills[trade_id] = reconcile.upserted(fills.get(trade_id, ()), fill)
    turn.deal(
        trades={trade.id: trade for trade in kept.broker_trades},
        ended=kept.broker_ended,
        fills=fills,
        prefixes=dict(prefixes),
        modes=dict(modes),
        accounts={
            mode: BrokerAccount(mode) for mode in sorted({*modes.values(), *(trade.mode for trade in kept.broker_trades)})
        },
    )
    every = (*kept.broker_trades, *kept.broker_ended)
    turn.set(owners={**turn.state.owners, **{trade.id: trade.strategy for trade in every}})
    remember_numbers(turn, [OrderView(f"{trade.id}-ENTRY-1", "", "filled", 0, 0) for trade in every])
    orders.resume(turn, kept.orders)
    for trade in kept.broker_trades:
        turn.log("warning", f"trade resumed: {trade.id}", state=trade.state, held=str(held(fills.get(trade.id, ()))))
    trades.finish_all(turn)


def put_right(turn: Turn[Any]) -> None:
    """The clock has stepped: no moment lies ahead, every order in flight is asked for now, and no quote counts any more."""
    dealings, now = turn.state.dealings, turn.at
    if not dealings.accounts:
        return
    turn.deal(
        quotes={},
        courses={
            ref: replace(course, since=min(course.since, now), quiet_since=now, ask_at=now, again_at=course.again_at and now)
            for ref, course in dealings.courses.items()
        },
        accounts={
            mode: replace(
                account,
                link_since=None if account.link_since is None else min(account.link_since, now),
                complete_at=None if account.complete_at is None else min(account.complete_at, now),
                asked_at=None, missed={}, short={},
            )
            for mode, account in dealings.accounts.items()
        },
    )  # fmt: skip
