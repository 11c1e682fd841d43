"""From the desk to the phone: queue, count, commit, and only then speak. Pure: every function takes the desk's turn.

The policy (when, how often, by which channel) is `outbox`'s. Here it meets the position: a BUY that certainly reached nobody takes
its position with it, and a SELL that the disk keeps waiting for a second is said all the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from msgspec.structs import replace

import alerts
from desk import outbox
from desk.state import ASSUMED, DESK, TOLD_KEPT, Pending, State, Turn
from events import (
    Alert,
    AlertChanged,
    AlertDelivered,
    AlertFailed,
    CancelReceipt,
    CommitFailed,
    Committed,
    FactSet,
    Noted,
    Outgoing,
    Part,
    PhoneChecked,
    PollReceipt,
    PositionOpened,
    ReceiptSeen,
    TakeBack,
)

UNRECORDED_AFTER_S = 1.0
WAITING_MAX = 20

Unheard = list[tuple[str, str]]  # trades whose BUY certainly reached nobody, and why


# --- into the outbox ---------------------------------------------------------------------------------------------------


def say(turn: Turn[Any], alert: Alert, owner: str | None = None) -> None:
    """Queue an alert in this turn's commit; its first attempt is counted in the same one, unless it has to wait its turn.

    `owner` is in whose places an OPS message stands, so that a noisy strategy silences no other: else that of the turn.
    """
    if alert.id in turn.state.outbox:
        return
    row = Outgoing(alert, next_at=turn.at, owner=place_of(owner or turn.owner))
    if alert.kind == "OPS" and row.owner and waiting(turn.state, row.owner) >= WAITING_MAX:
        turn.log_change("too many", f"{row.owner} has too much to tell: it is only logged")
        return
    if alert.kind in outbox.URGENT and outbox.closed(turn.state.line, turn.at) is None:
        attempt(turn, row, "pushover")
    else:
        keep(turn, row)


def place_of(owner: str) -> str:
    """In whose places an OPS message stands: the desk and the strategy it began with share theirs."""
    return "" if owner in (DESK, ASSUMED) else owner


def waiting(state: State, owner: str) -> int:
    """How many OPS messages of this owner wait."""
    return sum(row.owner == owner and row.alert.kind == "OPS" for row in state.outbox.values())


def keep(turn: Turn[Any], row: Outgoing) -> None:
    turn.set(outbox={**turn.state.outbox, row.alert.id: row})
    turn.write(AlertChanged(row), row.alert.trade_id)


def attempt(turn: Turn[Any], row: Outgoing, channel: Literal["pushover", "fallback"]) -> None:
    """Count an attempt; it leaves when the count is durable."""
    turn.set(line=outbox.line_sending(turn.state.line, row, turn.at))
    if row.alert.kind == "OPS" and not row.owner:
        turn.write(FactSet("ops_at", " ".join(map(str, turn.state.line.ops_at))))
    keep(turn, outbox.sending(row, turn.at, channel))
    turn.sheet.to_say.append(row.alert.id)


def cancel(turn: Turn[Any], alert_id: str, why: str) -> None:
    """An alert that must not be tried again: an attempt that has not begun is taken back, one on the wire is left to end."""
    row = turn.state.outbox.get(alert_id)
    unsaid = awaits_disk(turn.state, alert_id)
    if row is None:
        return
    if row.outcome in ("queued", "failed", "unknown") or unsaid:
        keep(turn, outbox.dropped(replace(row, fallback="") if unsaid else row, turn.at))
        turn.log("info", f"alert cancelled: {why}", id=alert_id)
    elif in_flight(row):
        turn.do(TakeBack(alert_id))
    elif row.receipt is not None:
        turn.set(outbox={**turn.state.outbox, alert_id: replace(row, next_at=turn.at)})


def unsay(turn: Turn[Any], alert_id: str) -> bool:
    """Take back an alert that there is no reason for any more, as far as that can be; whether it may be on the phone."""
    cancel(turn, alert_id, "there is no reason for it any more")
    row = turn.state.outbox.get(alert_id)
    if row is None:
        return True
    if row.outcome == "dropped" and not row.maybe_seen:
        return False
    if row.receipt is not None:
        turn.do(CancelReceipt(alert_id, row.receipt))
    keep(turn, replace(row, acknowledged_at=turn.at, acknowledged_by="nobody: its BUY never arrived"))
    return True


def never_announced(state: State, trade_id: str) -> bool:
    """Whether every attempt of the position's BUY has certainly failed, and none is on its way."""
    row = state.outbox.get(alerts.buy_id(trade_id))
    if row is None or row.maybe_seen:
        return False
    return awaits_disk(state, row.alert.id) or (row.outcome in ("queued", "failed", "refused") and not in_flight(row))


def awaits_disk(state: State, alert_id: str) -> bool:
    """Whether an attempt is counted but has not left: its commit is on the way to the disk."""
    return any(alert_id in pending.alert_ids for pending in state.pending.values())


def in_flight(row: Outgoing) -> bool:
    return "sending" in (row.outcome, row.fallback)


# --- from the disk -----------------------------------------------------------------------------------------------------


def committed(turn: Turn[Any], event: Committed) -> Unheard:
    """It is durable: what waited for it may be said. Of a part that the ledger refused, as if the disk had."""
    if turn.state.way_out.disk is not None:
        turn.set(way_out=replace(turn.state.way_out, disk=None))
        turn.log_change("disk", "the ledger can be written again", "warning")
    pending = taken(turn, event.commit)
    if pending is None:
        return []
    lost = [part for part in pending.parts if part.owner in event.refused]
    unsaid = {write.outgoing.alert.id for part in lost for write in part.writes if isinstance(write, AlertChanged)}
    for alert_id in pending.alert_ids:
        if alert_id not in unsaid:
            speak(turn, alert_id, recorded=True)
    return unrecorded(turn, lost, [alert_id for alert_id in pending.alert_ids if alert_id in unsaid])


def taken(turn: Turn[Any], number: int) -> Pending | None:
    """The commit of this number, which is on its way no more."""
    waiting = turn.state.pending
    turn.set(pending={other: kept for other, kept in waiting.items() if other != number})
    return waiting.get(number)


def speak(turn: Turn[Any], alert_id: str, *, recorded: bool) -> None:
    row = turn.state.outbox.get(alert_id)
    if row is None or not in_flight(row):
        return
    expires_at = row.alert.expires_at
    if row.alert.kind == "BUY" and expires_at is not None and turn.at >= expires_at:
        keep(turn, replace(row, outcome="failed", fallback=""))
        return
    turn.do(outbox.delivery(row, turn.at, turn.config, recorded=recorded, session=turn.state.session))


def commit_failed(turn: Turn[Any], event: CommitFailed) -> Unheard:
    """The disk refused, and tries again by itself: no BUY without its record; a SELL is said all the same."""
    turn.set(way_out=replace(turn.state.way_out, disk=event.reason))
    turn.log_change("disk", f"the ledger could not be written: {event.reason}", "error")
    pending = taken(turn, event.commit)
    return [] if pending is None else unrecorded(turn, pending.parts, pending.alert_ids)


def unrecorded(turn: Turn[Any], parts: Iterable[Part], alert_ids: Iterable[str]) -> Unheard:
    """What was not written: its BUY is not said, and its position was none; all else is said as it is."""
    opened = [write.position.id for part in parts for write in part.writes if isinstance(write, PositionOpened)]
    for alert_id in alert_ids:
        row = turn.state.outbox.get(alert_id)
        if row is not None and row.alert.kind == "BUY" and in_flight(row):
            unsaid = replace(row, outcome="failed", fallback="", next_at=turn.at + outbox.FIRST_RETRY_S)
            turn.set(outbox={**turn.state.outbox, alert_id: unsaid})
        else:
            speak(turn, alert_id, recorded=False)
    return [(trade_id, "its record could not be written") for trade_id in opened if trade_id in turn.state.held]


def watch_commits(turn: Turn[Any]) -> None:
    """Do not let the disk keep a SELL waiting for more than a second."""
    state = turn.state
    for number, pending in state.pending.items():
        if turn.at - pending.since < UNRECORDED_AFTER_S:
            continue
        urgent = [alert_id for alert_id in pending.alert_ids if cannot_wait(state.outbox.get(alert_id))]
        if urgent:
            rest = tuple(alert_id for alert_id in pending.alert_ids if alert_id not in urgent)
            turn.set(pending={**turn.state.pending, number: replace(pending, alert_ids=rest)})
        for alert_id in urgent:
            speak(turn, alert_id, recorded=False)


def cannot_wait(row: Outgoing | None) -> bool:
    return row is not None and row.alert.kind in ("SELL", "BLIND")


# --- from the phone ----------------------------------------------------------------------------------------------------


def settled(turn: Turn[Any], event: AlertDelivered | AlertFailed) -> None:
    """An attempt has ended, one way or another."""
    row = turn.state.outbox.get(event.alert_id)
    if row is None:
        return
    line = outbox.line_after(turn.state.line, row, event)
    if isinstance(event, AlertDelivered) and event.channel == "pushover":
        line = outbox.line_checked(line, PhoneChecked(at=event.at, ok=True, reason="a message was accepted"))
    turn.set(line=line)
    judge_line(turn)
    after = outbox.after(row, event, turn.at)
    if after != row:
        keep(turn, after)
    if isinstance(event, AlertDelivered):
        latency_ms = round(1000 * (turn.at - row.alert.created_at))
        turn.log("info", f"✓ Alert sent: {row.alert.title}", id=row.alert.id, attempt=event.attempt, latency_ms=latency_ms)
    else:
        turn.log(
            "warning", f"alert not delivered: {event.reason}", id=row.alert.id, attempt=event.attempt, outcome=event.outcome
        )


def receipt_seen(turn: Turn[Any], event: ReceiptSeen) -> None:
    row = turn.state.outbox.get(event.alert_id)
    if row is None:
        return
    after = outbox.seen(row, event, turn.at)
    if after.acknowledged_at is not None and row.acknowledged_at is None:
        keep(turn, after)
        turn.log("info", f"seen on the phone: {row.alert.title}", id=row.alert.id, by=after.acknowledged_by)
    else:
        turn.set(outbox={**turn.state.outbox, row.alert.id: after})


def answered(turn: Turn[Any], alert_id: str, who: str) -> None:
    """The owner has acted on it: it was seen, whatever its receipt says, and need not be said once more."""
    row = turn.state.outbox.get(alert_id)
    if row is not None and row.outcome == "delivered" and row.alert.priority == 2 and row.acknowledged_at is None:
        keep(turn, replace(row, acknowledged_at=turn.at, acknowledged_by=f"the {who}"))


def phone_checked(turn: Turn[Any], event: PhoneChecked) -> None:
    turn.set(line=outbox.line_checked(turn.state.line, event))
    judge_line(turn)
    left = turn.state.line.quota_left
    turn.log_change("phone", f"phone checked: {event.reason}", quota_left=event.quota_left)
    turn.log_change("quota", "how many messages are left this month is not known" if left is None else "", "warning")


def judge_line(turn: Turn[Any]) -> None:
    doubt = outbox.doubt(turn.state.line, turn.at, turn.config)
    before = turn.state.way_out.phone
    if doubt == before:
        return
    turn.set(way_out=replace(turn.state.way_out, phone=doubt))
    said = doubt is not None and turn.state.line.reason != outbox.NOT_ASKED
    turn.log_change("line", f"phone in doubt: {doubt}" if said else "", "warning")
    if doubt is not None and before is None and turn.config.fallback_alert_urls:
        say(turn, alerts.phone_trouble(turn.config, doubt, at=turn.at))


# --- by the clock ------------------------------------------------------------------------------------------------------


def tick(turn: Turn[Any]) -> Unheard:
    """Do for every open row what is due now."""
    unheard: Unheard = []
    watch_commits(turn)
    judge_line(turn)
    state = turn.state
    for together, rows in list(outbox.grouped(state.outbox.values(), state.line, turn.at)):
        for row in rows:
            keep(turn, outbox.dropped(row, turn.at))
        attempt(turn, together, "pushover")
    for row in tuple(turn.state.outbox.values()):
        if has_just_expired(row, turn.at) and not awaits_disk(turn.state, row.alert.id):
            turn.do(TakeBack(row.alert.id))
        position_open = is_open_position(turn.state, row.alert.trade_id)
        due = outbox.due(row, turn.at, turn.config, turn.state.line, position_open=position_open)
        if step(turn, row, due) and row.alert.trade_id is not None:
            unheard.append((row.alert.trade_id, "its BUY could not be delivered in time"))
    forget(turn)
    return unheard


def has_just_expired(row: Outgoing, now: float) -> bool:
    """Whether the life of a BUY that was handed over has just ended: what of it has not begun is asked back."""
    expires_at = row.alert.expires_at
    return row.alert.kind == "BUY" and in_flight(row) and expires_at is not None and expires_at <= now < expires_at + 1.0


def step(turn: Turn[Any], row: Outgoing, due: outbox.Step | None) -> bool:
    """Do it; true where a BUY has certainly reached nobody, and its position is still open."""
    match due:
        case "send" | "fallback":
            attempt(turn, row, "pushover" if due == "send" else "fallback")
        case "poll":
            assert row.receipt is not None
            turn.do(PollReceipt(row.alert.id, row.receipt))
            turn.set(outbox={**turn.state.outbox, row.alert.id: outbox.polling(row, turn.at)})
        case "cancel":
            assert row.receipt is not None
            turn.do(CancelReceipt(row.alert.id, row.receipt))
            turn.set(outbox={**turn.state.outbox, row.alert.id: outbox.polling(row, turn.at)})
        case "reissue":
            turn.log("warning", f"nobody has seen it, said once more: {row.alert.title}", id=row.alert.id)
            attempt(turn, outbox.reissued(row), "pushover")
        case "overdue":
            if not awaits_disk(turn.state, row.alert.id):
                keep(turn, outbox.overdue(row, turn.at))
        case "drop":
            unheard = row.alert.kind == "BUY" and row.alert.trade_id and never_announced(turn.state, row.alert.trade_id)
            keep(turn, outbox.dropped(row, turn.at))
            if unheard and is_open_position(turn.state, row.alert.trade_id):
                return True
            if row.alert.kind == "BUY" and row.maybe_seen:
                turn.write(Noted(turn.at, "possibly announced", {"id": row.alert.trade_id}))
                turn.log(
                    "warning", "position possibly announced: no answer said whether its BUY arrived", id=row.alert.trade_id
                )
    return False


def is_open_position(state: State, trade_id: str | None) -> bool:
    return trade_id in state.held or trade_id in state.dealings.trades


def forget(turn: Turn[Any]) -> None:
    """Rows that nothing can happen to any more need no place in memory; the ledger has them."""
    rows = turn.state.outbox
    kept = {key: row for key, row in rows.items() if outbox.is_open(row, turn.at, turn.config)}
    if len(kept) < len(rows):
        gone = (row for key, row in rows.items() if key not in kept)
        turn.set(outbox=kept, told=(*turn.state.told, *gone)[-TOLD_KEPT:])


# --- what is still owed ------------------------------------------------------------------------------------------------


def taken_up(rows: Iterable[Outgoing], now: float) -> dict[str, Outgoing]:
    """The outbox as the next life finds it."""
    return {row.alert.id: outbox.taken_up(row, now) for row in rows}


def owes(state: State, *kinds: str) -> bool:
    """Whether an alert of these kinds (of any, if none is named) is still to be delivered, or a commit to be written."""
    undelivered = ("queued", "sending", "failed", "unknown")
    waiting = any(row.outcome in undelivered and (not kinds or row.alert.kind in kinds) for row in state.outbox.values())
    return waiting or bool(state.pending)
