"""When an alert is tried, by which channel, and when it is given up. Pure: rows in, rows out; time is an argument.

`Outgoing` is a row of the outbox, `Line` is what is known of the way to the phone. The desk asks `due` what is to be done
about a row, counts the attempt with `sending` (durable before the wire), sends what `delivery` makes of it, and takes the
answer in with `after` and `line_after`. Rules (the service's own, and those of the faults):
- What may have arrived is marked, across restarts; the next attempt says REPEAT and carries the same id.
- No sooner than 5 s after the last attempt ended; then doubling to a minute. A BUY every 5 s, and only while it lives.
- What Pushover refused is not asked again: SELL, BLIND, CRITICAL and a living BUY go to the fallback channel at once.
  Three refusals in five minutes, refused keys or a used-up quota close the line until the phone is proven again.
- A SELL is tried until it is delivered: without a fallback, a refused one again after each check that finds the keys good.
  Unseen when it stops ringing: once more, then by the fallback channel.
- OPS: three an hour; what waits meanwhile becomes one message (`grouped`). No other kind is ever grouped.
- NEWS, what a strategy does with orders, takes no place of the hour; what is refused is dropped, and what is old too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from msgspec.structs import replace

import alerts
import links
from events import (
    Alert,
    AlertDelivered,
    AlertFailed,
    AlertKind,
    Deliver,
    Outgoing,
    PhoneChecked,
    ReceiptSeen,
)
from utils import clock_text

if TYPE_CHECKING:
    from config import Config
    from utils import Session

NOT_ASKED = "not asked yet"
FIRST_RETRY_S = 5.0
LAST_RETRY_S = 60.0
IN_FLIGHT_S = 30.0
RECEIPT_POLL_S = 5.0
LATE_S = 900.0
OPS_PER_HOUR = 3
HOUR_S = 3600.0
REFUSALS_MAX = 3
REFUSALS_WITHIN_S = 300.0
CHECK_FINE_S = 3600.0
CHECK_DOUBT_S = 60.0
CHECK_REFUSED_S = 600.0
LINK_TITLES: dict[AlertKind, str] = {
    "BUY": "Say what you did, or close it now",
    "SELL": "Say what you sold it at",
    "BLIND": "Look at it, or close it now",
}
URGENT: tuple[AlertKind, ...] = ("BUY", "SELL", "BLIND", "CRITICAL")

Step = Literal["send", "fallback", "poll", "cancel", "reissue", "drop", "overdue"]


# --- the line ----------------------------------------------------------------------------------------------------------


class Line(Struct, frozen=True):
    """What is known of the way to the phone. `ok`: the keys are good, refused, or nobody could be asked yet.

    `checked_at` is when they were last found good, `proven_at` when they were after not having been; `refusals` and `ops_at`
    are moments of late; `stopped` after too many refusals.
    """

    ok: bool | None = None
    proven_at: float = 0.0
    checked_at: float = 0.0
    reason: str = NOT_ASKED
    refusals: tuple[float, ...] = ()
    stopped: bool = False
    quota_left: int | None = None
    quota_reset_at: float | None = None
    ops_at: tuple[float, ...] = ()
    ops_of: dict[str, tuple[float, ...]] = {}

    def ops(self, owner: str) -> tuple[float, ...]:
        return self.ops_of.get(owner, ()) if owner else self.ops_at

    def with_ops(self, owner: str, moments: tuple[float, ...]) -> Line:
        return replace(self, ops_of={**self.ops_of, owner: moments}) if owner else replace(self, ops_at=moments)


def closed(line: Line, now: float) -> str | None:
    """Why nothing may be asked of Pushover now; None while it may."""
    if line.ok is False:
        return f"Pushover refuses the keys: {line.reason}"
    if line.stopped:
        return f"{REFUSALS_MAX} requests refused within {REFUSALS_WITHIN_S / 60:.0f} minutes"
    if line.quota_left == 0 and (line.quota_reset_at is None or now < line.quota_reset_at):
        return "the month's messages are used up"
    return None


def doubt(line: Line, now: float, config: Config) -> str | None:
    """Why a SELL might not get through, so that no BUY may be told; None when the phone is proven."""
    if (why := closed(line, now)) is not None:
        return why
    if line.ok is None:
        return f"the phone has not been proven: {line.reason}"
    if refused_since_proof(line):
        return "a message was refused, and the phone has not been proven since"
    expired = line.quota_reset_at is not None and now >= line.quota_reset_at
    if line.quota_left is not None and line.quota_left < config.phone_quota_reserve and not expired:
        return f"{line.quota_left} messages left this month, fewer than PHONE_QUOTA_RESERVE"
    return None


def refused_since_proof(line: Line) -> bool:
    return bool(line.refusals) and line.refusals[-1] >= line.checked_at


def check_every_s(line: Line, now: float, config: Config) -> float:
    """How long after one check of the phone the next is due: a check of refused keys is itself a refusal, so seldom."""
    if line.ok is False or line.stopped:
        return CHECK_REFUSED_S
    return CHECK_FINE_S if doubt(line, now, config) is None else CHECK_DOUBT_S


def line_sending(line: Line, row: Outgoing, now: float) -> Line:
    """The line as an attempt leaves: an OPS message takes one of its owner's places of the hour."""
    if row.alert.kind != "OPS":
        return line
    return line.with_ops(row.owner, (*(at for at in line.ops(row.owner) if at > now - HOUR_S), now))


def line_after(line: Line, row: Outgoing, event: AlertDelivered | AlertFailed) -> Line:
    """The line after an answer to one of `row`'s attempts."""
    if event.channel == "fallback":
        return line
    if event.quota_left is not None:
        line = replace(line, quota_left=event.quota_left, quota_reset_at=event.quota_reset_at)
    if isinstance(event, AlertDelivered) or event.outcome == "unknown":
        return line
    if row.alert.kind == "OPS":
        line = line.with_ops(row.owner, line.ops(row.owner)[:-1])
    if event.outcome == "failed":
        return line
    refusals = (*(at for at in line.refusals if at > event.at - REFUSALS_WITHIN_S), event.at)
    return replace(line, refusals=refusals, stopped=line.stopped or len(refusals) >= REFUSALS_MAX)


def line_checked(line: Line, event: PhoneChecked) -> Line:
    """The line after its keys were checked. A check that could not be made unproves only what was refused before it."""
    if event.quota_left is not None:
        line = replace(line, quota_left=event.quota_left, quota_reset_at=event.quota_reset_at)
    if event.ok is None:
        if line.ok and not refused_since_proof(line):
            return line
        return replace(line, ok=False if line.ok is False else None, reason=event.reason)
    if not event.ok:
        return replace(line, ok=False, reason=event.reason)
    proven_at = line.proven_at if line.ok else event.at
    refusals = () if line.stopped else line.refusals
    line = replace(line, ok=True, proven_at=proven_at, checked_at=event.at, reason=event.reason)
    return replace(line, stopped=False, refusals=refusals)


# --- what is to be done ------------------------------------------------------------------------------------------------


def due(row: Outgoing, now: float, config: Config, line: Line, *, position_open: bool = True) -> Step | None:
    """What is to be done about a row now.

    `send`, `fallback`: one attempt; `poll`: ask what became of an emergency; `cancel`: it is to ring no longer;
    `reissue`: it rang unseen, queue it once more;
    `drop`: no longer worth saying; `overdue`: no answer came, take it for unknown. `position_open`: that of a BUY still is.
    """
    alert = row.alert
    if "sending" in (row.outcome, row.fallback):
        return "overdue" if now >= row.next_at else None
    if row.outcome == "dropped" or row.fallback == "delivered" or row.acknowledged_at is not None:
        return None
    if row.outcome == "delivered":
        return _until_seen(row, now, config, line, position_open=position_open)
    if alert.kind == "BUY" and not position_open:
        return "drop"
    if alert.expires_at is not None and now >= alert.expires_at:
        return "drop"
    only_way = alert.kind == "SELL" and not config.fallback_alert_urls
    refused = row.outcome == "refused" and (row.settled_at or 0.0) >= (line.checked_at if only_way else line.proven_at)
    if refused or closed(line, now) is not None:
        if alert.kind in URGENT and config.fallback_alert_urls:
            return "fallback" if row.fallback == "" or now >= row.next_at else None
        return "drop" if refused and alert.kind in ("BUY", "NEWS", "OPS") else None
    if now < row.next_at or (alert.kind == "OPS" and (refused_since_proof(line) or not ops_places(line, now, row.owner))):
        return None
    return "send"


def _until_seen(row: Outgoing, now: float, config: Config, line: Line, *, position_open: bool) -> Step | None:
    """An emergency that was delivered: polled while it rings, then, if it is a SELL, said once more and then elsewhere.

    A BUY rings no longer than its position is open.
    """
    if row.alert.priority < 2:
        return None
    if now < rings_until(row):
        if row.receipt is None or now < row.next_at:
            return None
        return "cancel" if row.alert.kind == "BUY" and not position_open else "poll"
    if row.alert.kind != "SELL":
        return None
    if row.reissues == 0 and closed(line, now) is None:
        return "reissue"
    if config.fallback_alert_urls and (row.fallback == "" or now >= row.next_at):
        return "fallback"
    return None


def rings_until(row: Outgoing) -> float:
    return (row.settled_at or 0.0) + (row.alert.expire_s or 0)


def ops_places(line: Line, now: float, owner: str) -> int:
    """How many OPS messages of this owner may still be sent in this hour."""
    return OPS_PER_HOUR - sum(at > now - HOUR_S for at in line.ops(owner))


def is_open(row: Outgoing, now: float, config: Config) -> bool:
    """Whether something may still have to be done about a row."""
    if row.outcome == "dropped" or row.fallback == "delivered" or row.acknowledged_at is not None:
        return False
    if row.outcome != "delivered":
        return True
    if row.alert.priority < 2:
        return False
    escalates = row.alert.kind == "SELL" and (row.reissues == 0 or bool(config.fallback_alert_urls))
    return escalates or now < rings_until(row)


# --- the row, step by step ---------------------------------------------------------------------------------------------


def sending(row: Outgoing, now: float, channel: Literal["pushover", "fallback"] = "pushover") -> Outgoing:
    """The row as an attempt is about to leave: counted, and overdue when no answer has come by `next_at`."""
    row = replace(row, attempts=row.attempts + 1, next_at=now + IN_FLIGHT_S)
    return replace(row, fallback="sending") if channel == "fallback" else replace(row, outcome="sending")


def delivery(row: Outgoing, now: float, config: Config, *, recorded: bool = True, session: Session | None = None) -> Deliver:
    """The attempt that `sending` counted. `recorded` False: it could not be written down, and the text says so.

    The link is made here, as the message leaves; a channel that has no place of its own for it finds it in the text. `session` is
    the day's.
    """
    alert, url = row.alert, link(row.alert, now, config, session)
    fallback = row.fallback == "sending"
    return Deliver(
        alert_id=alert.id,
        attempt=row.attempts,
        kind=alert.kind,
        title=alert.title,
        text=alerts.with_heading(alert, heading(row, now, recorded=recorded), url if fallback else None),
        priority=alert.priority,
        channel="fallback" if fallback else "pushover",
        created_at=alert.created_at,
        ttl_s=max(1, round(alert.created_at + config.buy_void_seconds - now)) if alert.kind == "BUY" else None,
        retry_s=alert.retry_s,
        expire_s=alert.expire_s,
        not_after=alert.expires_at if alert.kind == "BUY" else None,
        sound={"BUY": config.buy_sound, "SELL": config.sell_sound}.get(alert.kind),
        url=None if fallback else url,
        url_title=None if fallback or url is None else LINK_TITLES[alert.kind],
    )


def link(alert: Alert, now: float, config: Config, session: Session | None) -> str | None:
    """Where the owner may act on the alert's trade; None if it has none, or there is no page to be reached from outside."""
    if alert.trade_id is None or alert.kind not in LINK_TITLES:
        return None
    return links.link(config, alert.trade_id, links.good_until(session, now))


def heading(row: Outgoing, now: float, *, recorded: bool = True) -> list[str]:
    """What must stand above the text: that it is a repeat, unseen, late, or not in the ledger."""
    alert, lines = row.alert, []
    if row.maybe_seen:
        lines.append(f"REPEAT of #{alert.id}" + (", do not buy twice" if alert.kind == "BUY" else ""))
    if row.reissues and alert.kind == "SELL":
        lines.append("⚠️ NOT SEEN YET: a call in the money at 16:00 becomes 100 shares")
    if alert.kind == "SELL" and now - alert.created_at >= LATE_S:
        lines.append(f"LATE: decided at {clock_text(alert.created_at)} ET, said at {clock_text(now)} ET")
    if not recorded:
        lines.append("NOT RECORDED: the ledger could not be written, note it down")
    return lines


def after(row: Outgoing, event: AlertDelivered | AlertFailed, now: float) -> Outgoing:
    """The row after an answer; the failure of an attempt that was already given up changes nothing."""
    fallback = event.channel == "fallback"
    if isinstance(event, AlertDelivered):
        if fallback:
            return replace(row, fallback="delivered", maybe_seen=True, settled_at=row.settled_at or now)
        poll_at = now + RECEIPT_POLL_S
        return replace(row, outcome="delivered", maybe_seen=True, settled_at=now, receipt=event.receipt, next_at=poll_at)
    if event.attempt != row.attempts or "sending" not in (row.outcome, row.fallback):
        return row
    row = replace(row, maybe_seen=row.maybe_seen or event.outcome == "unknown", next_at=now + pause(row))
    if fallback:
        return replace(row, fallback="failed")
    if event.outcome == "refused":
        return replace(row, outcome="refused", settled_at=now)
    return replace(row, outcome=event.outcome)


def pause(row: Outgoing) -> float:
    """Seconds from the end of an attempt to the next one."""
    if row.alert.kind == "BUY":
        return FIRST_RETRY_S
    return min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(row.attempts - 1, 10))


def overdue(row: Outgoing, now: float) -> Outgoing:
    """The row when no answer came: it may have arrived."""
    row = replace(row, maybe_seen=True, next_at=now)
    return replace(row, fallback="failed") if row.fallback == "sending" else replace(row, outcome="unknown")


def taken_up(row: Outgoing, now: float) -> Outgoing:
    """The row as the next life finds it: what was on the wire may have arrived."""
    return overdue(row, now) if "sending" in (row.outcome, row.fallback) else row


def polling(row: Outgoing, now: float) -> Outgoing:
    return replace(row, next_at=now + RECEIPT_POLL_S)


def seen(row: Outgoing, event: ReceiptSeen, now: float) -> Outgoing:
    """The row after its receipt was read; one that has expired, or is lost, is not asked for again."""
    if event.receipt != row.receipt:
        return row
    if event.acknowledged_at is None:
        return replace(row, receipt=None) if event.expired else polling(row, now)
    return replace(row, acknowledged_at=event.acknowledged_at, acknowledged_by=event.acknowledged_by)


def reissued(row: Outgoing) -> Outgoing:
    """Nobody looked: queued once more."""
    return replace(row, outcome="queued", receipt=None, reissues=row.reissues + 1, next_at=0.0)


def dropped(row: Outgoing, now: float) -> Outgoing:
    return replace(row, outcome="dropped", settled_at=now)


def grouped(rows: Iterable[Outgoing], line: Line, now: float) -> Iterator[tuple[Outgoing, tuple[Outgoing, ...]]]:
    """Where more OPS messages of one owner wait than its hour has places for: one that says them all, and the rows it stands for."""
    waiting: dict[str, list[Outgoing]] = {}
    for row in rows:
        if row.alert.kind == "OPS" and row.outcome == "queued" and not row.attempts:
            waiting.setdefault(row.owner, []).append(row)
    for owner, together in waiting.items():
        places = ops_places(line, now, owner)
        if places and len(together) > places and closed(line, now) is None:
            alert = alerts.together([row.alert for row in together], at=now)
            yield Outgoing(alert, next_at=now, owner=owner), tuple(together)
