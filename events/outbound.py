"""Actions: what goes out, as imperatives."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from events.phone import AlertKind
from events.writes import AnyWrite


class Action(Struct, frozen=True, tag=True):
    pass


class RefreshQuotes(Action, frozen=True):
    """Ask for these contracts now; answer with QuotesArrived of the same ticket."""

    ticket: int
    contracts: tuple[str, ...]


class WatchContract(Action, frozen=True):
    contract: str


class UnwatchContract(Action, frozen=True):
    contract: str


class Commit(Action, frozen=True):
    """Write all of it in one transaction, or none; answer Committed or CommitFailed."""

    commit: int
    writes: tuple[AnyWrite, ...]


class Deliver(Action, frozen=True):
    """One attempt to tell the phone. `attempt` is already durable, or `text` says that it is not recorded.

    Handed over is not on the wire: what has not begun by `not_after` is not begun any more, and fails.
    """

    alert_id: str
    attempt: int
    kind: AlertKind
    title: str
    text: str
    priority: int
    channel: Literal["pushover", "fallback"] = "pushover"
    created_at: float = 0.0
    ttl_s: int | None = None
    retry_s: int | None = None
    expire_s: int | None = None
    not_after: float | None = None
    sound: str | None = None
    url: str | None = None
    url_title: str | None = None


class TakeBack(Action, frozen=True):
    """What was handed over of this alert and has not begun is not to begin; answer AlertFailed for it, and for nothing else."""

    alert_id: str


class PollReceipt(Action, frozen=True):
    alert_id: str
    receipt: str


class CancelReceipt(Action, frozen=True):
    """An emergency has nothing more to say: it is to ring no longer. Answer ReceiptSeen, expired, once it is so."""

    alert_id: str
    receipt: str


class CheckPhone(Action, frozen=True):
    pass


class Backfill(Action, frozen=True):
    """Fetch second bars of [start, end) for each symbol."""

    symbols: tuple[str, ...]
    start: int
    end: int


class FetchProfile(Action, frozen=True):
    date: str


class FetchSettlement(Action, frozen=True):
    trade_id: str
    date: str


class Explain(Action, frozen=True):
    """One line of the log. `fields` are its key=value pairs."""

    level: Literal["debug", "info", "warning", "error"]
    text: str
    fields: dict[str, float | str | None] = {}


class Exit(Action, frozen=True):
    """The last action of a life: end the process with this code once what was handed over is done."""

    code: int


AnyAction = (
    RefreshQuotes
    | WatchContract
    | UnwatchContract
    | Commit
    | Deliver
    | TakeBack
    | PollReceipt
    | CancelReceipt
    | CheckPhone
    | Backfill
    | FetchProfile
    | FetchSettlement
    | Explain
    | Exit
)
