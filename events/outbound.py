"""Actions: what goes out, as imperatives."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from events.market import Quote
from events.orders import Mode, Order
from events.phone import AlertKind
from events.writes import AnyWrite, Part


class Action(Struct, frozen=True, tag=True):
    pass


class RefreshQuotes(Action, frozen=True):
    """Ask for these contracts now; answer with QuotesArrived of the same ticket."""

    ticket: int
    contracts: tuple[str, ...]


class Watch(Action, frozen=True):
    """The contracts whose quotes are wanted from now on: all of them, so that what is left out is watched no more."""

    contracts: tuple[str, ...]


class Commit(Action, frozen=True):
    """Write it in one transaction, or nothing of it; a part that the ledger refuses is left out alone.

    Answer Committed or CommitFailed.
    """

    commit: int
    parts: tuple[Part, ...]

    @property
    def writes(self) -> tuple[AnyWrite, ...]:
        """What all owners write, in order."""
        return tuple(write for part in self.parts for write in part.writes)


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
    """Fetch second bars of [start, end) for each symbol: for all who want them, or for one strategy alone."""

    symbols: tuple[str, ...]
    start: int
    end: int
    strategy: str = ""


class FetchMinutes(Action, frozen=True):
    """Fetch minute bars of regular hours in [start, end), and the last `before` of earlier sessions; answer MinutesFetched."""

    symbol: str
    start: int
    end: int
    before: int = 0


class ReadModel(Action, frozen=True):
    """Read a strategy's model file, `name` in the data folder; answer ModelRead."""

    strategy: str
    name: str


class FetchProfile(Action, frozen=True):
    symbol: str
    date: str


class FetchSettlement(Action, frozen=True):
    trade_id: str
    symbol: str
    date: str


class PlaceOrder(Action, frozen=True):
    """Send an order to its broker, once. Answer OrderAnswered."""

    order: Order


class CancelOrder(Action, frozen=True):
    """Ask for an order's end, once. Answer CancelAnswered, which proves nothing."""

    mode: Mode
    ref: str
    broker_id: str = ""


class FindOrder(Action, frozen=True):
    """Ask what became of an order, by our own ref. Answer OrderSeen."""

    mode: Mode
    ref: str


class PreviewOrder(Action, frozen=True):
    """Ask what an order would cost. Answer PreviewArrived."""

    order: Order


class TakeSnapshot(Action, frozen=True):
    """Ask for all that the broker knows of the account since a moment. Answer SnapshotTaken."""

    mode: Mode
    since: float


class ShowQuote(Action, frozen=True):
    """A quote that the desk trusts, for a broker that fills by what is quoted. `at` is when it came."""

    mode: Mode
    contract: str
    quote: Quote
    at: float


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
    | Watch
    | Commit
    | Deliver
    | TakeBack
    | PollReceipt
    | CancelReceipt
    | CheckPhone
    | Backfill
    | FetchMinutes
    | ReadModel
    | FetchProfile
    | FetchSettlement
    | PlaceOrder
    | CancelOrder
    | FindOrder
    | PreviewOrder
    | TakeSnapshot
    | ShowQuote
    | Explain
    | Exit
)
