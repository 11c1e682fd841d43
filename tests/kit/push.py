"""Push: what stands between a queued alert and a phone, small enough to test by itself.

`Courier` is the smallest desk: on a clock of its own it asks the outbox what is due, has it delivered, and hears the answer
a moment later. `scripted` makes answers up; a real `phone.Phone` before a `simulator.push.PushServer` gets them by socket.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from msgspec.structs import replace

from config import Config
from desk import outbox
from desk.outbox import Line
from events import Alert, AlertDelivered, AlertFailed, AlertKind, Deliver, Outgoing, PollReceipt, ReceiptSeen

AT = 1759416137.0  # 2025-10-02 10:42:17 in New York
PROVEN = Line(ok=True, proven_at=AT - 3600, checked_at=AT - 3600, quota_left=9000, quota_reset_at=AT + 1e6)
Answer = Literal["delivered", "failed", "unknown", "refused", "silence"]
Settled = AlertDelivered | AlertFailed


class HandClock:
    """A clock that is set by hand. It is a `utils.Clock`."""

    def __init__(self, at: float = AT) -> None:
        self.at = at

    def now(self) -> float:
        return self.at

    def steady(self) -> float:
        return self.at

    def moved(self) -> float:
        return 0.0

    def wall(self) -> float:
        return self.at

    def real_seconds(self, seconds: float) -> float:
        return seconds

    def confirm(self) -> None:
        pass


def alert(kind: AlertKind = "SELL", alert_id: str = "20251002-1-SELL", at: float = AT) -> Alert:
    """An alert as the desk would queue it; a SELL is an emergency that rings for ten minutes."""
    emergency = kind == "SELL"
    return Alert(
        id=alert_id,
        kind=kind,
        title=f"title of {alert_id}",
        text=f"the text\n#{alert_id}",
        priority={"SELL": 2, "OPS": 0}.get(kind, 1),
        created_at=at,
        expires_at={"BUY": at + 20, "OPS": at + 14_400}.get(kind),
        trade_id="20251002-1",
        retry_s=30 if emergency else None,
        expire_s=600 if emergency else None,
    )


def scripted(answer: Callable[[Deliver, float], Answer]) -> Callable[[Deliver, float], Settled | None]:
    """Deliveries that end as `answer(deliver, now)` says; silence is no answer at all."""

    def deliver(action: Deliver, now: float) -> Settled | None:
        outcome = answer(action, now)
        if outcome == "silence":
            return None
        if outcome == "delivered":
            receipt = "r" * 30 if action.priority == 2 and action.channel == "pushover" else None
            return AlertDelivered(
                at=now, alert_id=action.alert_id, attempt=action.attempt, channel=action.channel, receipt=receipt
            )
        return AlertFailed(
            at=now,
            alert_id=action.alert_id,
            attempt=action.attempt,
            outcome=outcome,
            reason="scripted",
            channel=action.channel,
        )

    return deliver


@dataclass
class Courier:
    """Asks every half second what is due; an answer is heard `takes` seconds after its attempt left.

    `sent` and `dropped` tell when, in seconds from the start of the day's story (AT).
    """

    config: Config
    deliver: Callable[[Deliver, float], Settled | None]
    look: Callable[[PollReceipt], ReceiptSeen | None] = lambda poll: None
    rows: dict[str, Outgoing] = field(default_factory=dict)
    line: Line = PROVEN
    clock: HandClock = field(default_factory=HandClock)
    takes: float = 1.0
    position_open: bool = True
    sent: list[tuple[float, Deliver]] = field(default_factory=list)
    polls: list[float] = field(default_factory=list)
    dropped: list[tuple[float, str]] = field(default_factory=list)
    on_the_wire: list[tuple[float, Settled]] = field(default_factory=list)

    @property
    def now(self) -> float:
        return self.clock.at

    def say(self, *told: Alert) -> Courier:
        self.rows |= {one.id: Outgoing(one) for one in told}
        return self

    def run(self, seconds: float) -> Courier:
        until = self.now + seconds
        while self.now < until:
            self.hear()
            for together, rows in list(outbox.grouped(self.rows.values(), self.line, self.now)):
                self.rows |= {row.alert.id: outbox.dropped(row, self.now) for row in rows}
                self.say(together.alert)
            for row in list(self.rows.values()):
                self.do(row, outbox.due(row, self.now, self.config, self.line, position_open=self.position_open))
            self.clock.at += 0.5
        return self

    def do(self, row: Outgoing, step: outbox.Step | None) -> None:
        match step:
            case "send" | "fallback":
                self.line = outbox.line_sending(self.line, row, self.now)
                row = outbox.sending(row, self.now, "pushover" if step == "send" else "fallback")
                action = outbox.delivery(row, self.now, self.config)
                self.sent.append((self.now - AT, action))
                if (event := self.deliver(action, self.now)) is not None:
                    self.on_the_wire.append((self.now + self.takes, event))
            case "poll":
                self.polls.append(self.now - AT)
                assert row.receipt is not None
                seen = self.look(PollReceipt(row.alert.id, row.receipt))
                row = outbox.polling(row, self.now)
                row = row if seen is None else outbox.seen(row, seen, self.now)
            case "reissue":
                row = outbox.reissued(row)
            case "drop":
                self.dropped.append((self.now - AT, row.alert.id))
                row = outbox.dropped(row, self.now)
            case "overdue":
                row = outbox.overdue(row, self.now)
            case None:
                return
        self.rows[row.alert.id] = row

    def hear(self) -> None:
        due = [answer for answer in self.on_the_wire if answer[0] <= self.now]
        self.on_the_wire = [answer for answer in self.on_the_wire if answer[0] > self.now]
        for at, event in due:
            heard = replace(event, at=at)
            row = self.rows[event.alert_id]
            self.line = outbox.line_after(self.line, row, heard)
            self.rows[event.alert_id] = outbox.after(row, heard, at)

    def moments(self, channel: str = "pushover") -> list[float]:
        return [at for at, action in self.sent if action.channel == channel]

    def texts(self) -> list[str]:
        return [action.text for _, action in self.sent]
