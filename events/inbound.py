"""Events: what comes in, named in the past tense. `at` is the worker's time of arrival, in Unix seconds."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from events.market import Bar, ChainRow, Mills, Quote, Right, Source
from events.orders import AccountView, Fill, Holding, Mode, OrderView


class Event(Struct, frozen=True, tag=True, kw_only=True):
    """What came in. An `underlying` or a `symbol` that is empty is the only one there was, on tapes of the first format."""

    at: float


class WorkerStarted(Event, frozen=True, kw_only=True):
    """The first event of a life. `away_s`: how long nobody watched, None on the first start; `crashes`: unclean ends of late."""

    version: str
    mode: str
    away_s: float | None = None
    crashes: int = 0


class BarClosed(Event, frozen=True, kw_only=True, gc=False):
    """A second bar came over the socket, new or corrected."""

    bar: Bar


class BarsFetched(Event, frozen=True, kw_only=True):
    """History of [start, end) for one symbol by REST, in order. It decides nothing. `strategy`: for whom alone it was asked."""

    symbol: str
    start: int
    end: int
    bars: tuple[Bar, ...]
    strategy: str = ""


class BackfillFailed(Event, frozen=True, kw_only=True):
    """`refused`: the key or the plan does not allow it."""

    symbol: str
    reason: str
    refused: bool = False


class MinutesFetched(Event, frozen=True, kw_only=True):
    """Minute bars of regular hours by REST, in order: today's from `start` on, and before them those of earlier sessions asked for."""

    symbol: str
    start: int
    bars: tuple[Bar, ...]


class MinutesFailed(Event, frozen=True, kw_only=True):
    """`refused`: the key or the plan does not allow it."""

    symbol: str
    reason: str
    refused: bool = False


class ModelRead(Event, frozen=True, kw_only=True):
    """A strategy's model file as it is on disk; None: there is none."""

    strategy: str
    text: str | None


class ProfileArrived(Event, frozen=True, kw_only=True):
    """Average volume of each regular minute over the last full sessions; `sessions` are the dates it was made of."""

    symbol: str = ""
    date: str
    minutes: tuple[float, ...]
    sessions: tuple[str, ...]


class ProfileFailed(Event, frozen=True, kw_only=True):
    symbol: str = ""
    date: str
    reason: str


class ChainArrived(Event, frozen=True, kw_only=True):
    """Every page of one expiry and right. `asked_at` orders answers: an older question never replaces a newer one."""

    underlying: str = ""
    asked_at: float
    right: Right
    expiration: str
    rows: tuple[ChainRow, ...]


class ChainFailed(Event, frozen=True, kw_only=True):
    underlying: str = ""
    right: Right
    reason: str
    refused: bool = False


class QuotesArrived(Event, frozen=True, kw_only=True):
    """The answer to RefreshQuotes: the rows that could be had in time, and why not all of them."""

    ticket: int
    rows: tuple[ChainRow, ...]
    reason: str | None = None


class QuoteSeen(Event, frozen=True, kw_only=True):
    """A quote of the held contract. `asked_at` is when it was asked for; None: it came by itself."""

    contract: str
    quote: Quote
    source: Source
    underlying: float | None = None
    asked_at: float | None = None


class IndexSeen(Event, frozen=True, kw_only=True):
    """A value of an index, such as VIX, as its source told it at `told_at`. `live`: the source vouches for real time."""

    symbol: str
    value: float
    told_at: float
    live: bool = True


class QuoteFailed(Event, frozen=True, kw_only=True):
    contract: str
    reason: str


class FeedConnected(Event, frozen=True, kw_only=True):
    """A socket is subscribed and acknowledged; only bars prove that it works."""

    feed: Literal["stocks", "options"]


class FeedDropped(Event, frozen=True, kw_only=True):
    feed: Literal["stocks", "options"]
    reason: str
    retry_in_s: float = 0.0


class FeedRefused(Event, frozen=True, kw_only=True):
    """The server will not have us: a key, a plan, or another process on the same key (`busy`)."""

    feed: Literal["stocks", "options"]
    reason: str
    busy: bool = False


class JunkDropped(Event, frozen=True, kw_only=True):
    """Malformed input was dropped since the last such event, by reason."""

    feed: str
    counts: dict[str, int]


class Committed(Event, frozen=True, kw_only=True):
    """It is durable, but for the parts that the ledger refused: by owner, why."""

    commit: int
    refused: dict[str, str] = {}


class CommitFailed(Event, frozen=True, kw_only=True):
    commit: int
    reason: str


class AlertDelivered(Event, frozen=True, kw_only=True):
    alert_id: str
    attempt: int
    channel: Literal["pushover", "fallback"] = "pushover"
    receipt: str | None = None
    quota_left: int | None = None
    quota_reset_at: float | None = None


class AlertFailed(Event, frozen=True, kw_only=True):
    """A delivery did not succeed. `failed`: it certainly did not arrive; `unknown`: it may have; `refused`: never ask again."""

    alert_id: str
    attempt: int
    outcome: Literal["failed", "unknown", "refused"]
    reason: str
    channel: Literal["pushover", "fallback"] = "pushover"
    quota_left: int | None = None
    quota_reset_at: float | None = None


class ReceiptSeen(Event, frozen=True, kw_only=True):
    """What became of an emergency alert on the phone."""

    alert_id: str
    receipt: str
    acknowledged_at: float | None = None
    acknowledged_by: str | None = None
    expired: bool = False


class PhoneChecked(Event, frozen=True, kw_only=True):
    """The phone's keys were checked: True valid, False refused, None could not be asked."""

    ok: bool | None
    reason: str
    quota_left: int | None = None
    quota_reset_at: float | None = None


class ClockChecked(Event, frozen=True, kw_only=True):
    """The host's clock against another source: how far ahead it is, in seconds. `skew_s` None: nobody could be asked.

    `by_itself`: only the clock's own jump is known, and nobody could be asked which of its two times is right.
    """

    skew_s: float | None
    source: str | None
    by_itself: bool = False


class SettlementArrived(Event, frozen=True, kw_only=True):
    """The underlying's close on the day an overlooked position expired; None: it could not be had."""

    trade_id: str
    close: float | None
    reason: str = ""


class BrokerLinked(Event, frozen=True, kw_only=True):
    """The link to a broker's account came up, or is down; what happened in between was not told."""

    mode: Mode
    linked: bool
    reason: str = ""


class OrderAnswered(Event, frozen=True, kw_only=True):
    """What came back when an order was sent. `unknown`: it may be there. `not_sent`: it certainly is not. `later`: not taken now, and
    the same may be sent again from `again_at` on.
    """

    mode: Mode
    ref: str
    answer: Literal["accepted", "rejected", "unknown", "not_sent", "later"]
    reason: str = ""
    broker_id: str = ""
    again_at: float = 0.0


class CancelAnswered(Event, frozen=True, kw_only=True):
    """A cancel was heard, or may have been: whatever it says, it proves no end."""

    mode: Mode
    ref: str
    heard: bool
    reason: str = ""


class OrderSeen(Event, frozen=True, kw_only=True):
    """An order as its broker tells it, asked for or by itself. `order` None: asked for, and not known there."""

    mode: Mode
    ref: str
    order: OrderView | None
    reason: str = ""


class FillSeen(Event, frozen=True, kw_only=True):
    mode: Mode
    fill: Fill


class SnapshotTaken(Event, frozen=True, kw_only=True):
    """All that a broker says of an account, asked for from `as_of` on. Only a complete one allows a conclusion."""

    mode: Mode
    as_of: float
    complete: bool
    reason: str = ""
    orders: tuple[OrderView, ...] = ()
    fills: tuple[Fill, ...] = ()
    positions: tuple[Holding, ...] = ()
    account: AccountView | None = None


class PreviewArrived(Event, frozen=True, kw_only=True):
    """What an order would cost, in mills for all its units; None where the broker cannot say it, and why not. `refused`: it would not
    take the order.
    """

    mode: Mode
    ref: str
    margin: Mills | None
    fee: Mills | None = None
    reason: str = ""
    refused: bool = False


class HalfSecondPassed(Event, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """Time itself. `moved_s`: how far the worker's own time was put right since the last one, forward or (negative) back."""

    moved_s: float = 0.0


class OperatorSpoke(Event, frozen=True, kw_only=True):
    """A person's word: `stop entries`, `resume entries`, `close now`, `I took it`, `I sold it`, `I skipped it`.

    `trade_id`: which position or closed trade is meant; None: the one that is open. `resolve` ends an unresolved trade, at a net price
    a share (+ is paid, - is received) or, without one, by asking the broker again; `why` is for the journal.
    """

    command: Literal["stop_entries", "resume_entries", "close_now", "took_it", "sold_it", "skipped_it", "resolve"]
    who: str
    price: Mills | None = None
    trade_id: str | None = None
    why: str = ""


class CommandGiven(Event, frozen=True, kw_only=True):
    """What a person or a program asks of one strategy. `key` makes it idempotent; its answer is found under the key."""

    strategy: str
    command: Literal["execute", "close", "kill", "resume"]
    who: str
    mode: str
    key: str = ""
    signal_id: str = ""
    trade_id: str = ""
    quantity: int | None = None


class TookLong(Event, frozen=True, kw_only=True):
    """A strategy kept everybody waiting for so many seconds in one turn."""

    strategy: str
    seconds: float


class ThreadFailed(Event, frozen=True, kw_only=True):
    """An edge thread ended or stuck and was replaced."""

    thread: str
    reason: str


class StopRequested(Event, frozen=True, kw_only=True):
    reason: str


AnyEvent = (
    WorkerStarted
    | BarClosed
    | BarsFetched
    | BackfillFailed
    | MinutesFetched
    | MinutesFailed
    | ModelRead
    | ProfileArrived
    | ProfileFailed
    | ChainArrived
    | ChainFailed
    | QuotesArrived
    | QuoteSeen
    | IndexSeen
    | QuoteFailed
    | FeedConnected
    | FeedDropped
    | FeedRefused
    | JunkDropped
    | Committed
    | CommitFailed
    | AlertDelivered
    | AlertFailed
    | ReceiptSeen
    | PhoneChecked
    | ClockChecked
    | SettlementArrived
    | BrokerLinked
    | OrderAnswered
    | CancelAnswered
    | OrderSeen
    | FillSeen
    | SnapshotTaken
    | PreviewArrived
    | HalfSecondPassed
    | OperatorSpoke
    | CommandGiven
    | TookLong
    | ThreadFailed
    | StopRequested
)
