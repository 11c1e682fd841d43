"""The vocabulary: every event that comes in, every action that goes out. Imports nothing of ours.

Events are named in the past tense and carry `at`, the worker's time of arrival; actions are imperatives. All are frozen data, so
that a day can be written down, read back and decided again.

Units: `at`, `*_at` and `start` are Unix seconds (UTC). Option prices are whole mills (1 mill = $0.001, a tenth of a cent);
stock prices are dollars. P&L is mills. Volumes are shares or contracts. `contract` is the full ticker, `O:IWM251002C00215000`.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Mills = int
Right = Literal["call", "put"]
Source = Literal["rest", "stream"]


# --- market data -------------------------------------------------------------------------------------------------------


class Bar(Struct, frozen=True, gc=False):
    """One second of one symbol. `start` is the Unix second at which it starts; `vwap` is that second's own."""

    symbol: str
    start: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    vwap: float


class Quote(Struct, frozen=True, gc=False):
    """An option's best bid and ask, as quoted at `quoted_at` (None: not said). A side that was not given is None."""

    bid: Mills | None
    ask: Mills | None
    bid_size: int
    ask_size: int
    quoted_at: float | None = None
    delayed: bool = False


class ChainRow(Struct, frozen=True, gc=False):
    """One contract of a chain snapshot. None stands for what the feed did not give; `computed` marks greeks that are ours."""

    contract: str
    right: Right
    strike: Mills
    expiration: str
    shares: int
    quote: Quote | None
    delta: float | None = None
    iv: float | None = None
    computed: bool = False
    volume: int | None = None
    volume_at: float | None = None
    open_interest: int | None = None
    underlying: float | None = None


# --- what is remembered ------------------------------------------------------------------------------------------------


class Position(Struct, frozen=True):
    """The one open position: assumed bought at `entry`, followed to its exit.

    The owner's side, as far as he told it: bought at `real_entry`, sold already at `real_exit`, or `skipped`.
    """

    id: str
    contract: str
    strike: Mills
    expiration: str
    opened_at: float
    entry: Mills
    entry_quote: Quote
    peak: Mills
    session_close_at: float
    last_mark: Mills | None = None
    last_bid: Mills | None = None
    last_quote_at: float | None = None
    stop_hits: int = 0
    below_since: int | None = None
    real_entry: Mills | None = None
    real_exit: Mills | None = None
    skipped: bool = False
    signal: dict[str, float | str | None] = {}


ExitReason = Literal[
    "time stop", "stop loss", "hard giveback", "VWAP giveback", "VWAP persistence", "shutdown", "by hand", "expired"
]


class Trade(Struct, frozen=True):
    """A closed position, never changed again but for what its owner tells of his own side (`real_*`, `skipped`).

    `pnl` is mills per contract of 100 shares, fees off; None: unresolved.
    """

    id: str
    contract: str
    strike: Mills
    expiration: str
    opened_at: float
    closed_at: float
    entry: Mills
    exit: Mills | None
    entry_quote: Quote
    exit_quote: Quote | None
    peak: Mills
    reason: ExitReason
    detail: str
    fees: Mills
    pnl: Mills | None
    stale: bool = False
    real_entry: Mills | None = None
    real_exit: Mills | None = None
    real_pnl: Mills | None = None
    skipped: bool = False
    signal: dict[str, float | str | None] = {}


AlertKind = Literal["BUY", "SELL", "BLIND", "CRITICAL", "OPS"]
Outcome = Literal["queued", "sending", "unknown", "failed", "delivered", "refused", "dropped"]


class Alert(Struct, frozen=True):
    """What the phone is to be told. `id` never changes; `expires_at` is when it is no longer worth saying."""

    id: str
    kind: AlertKind
    title: str
    text: str
    priority: int
    created_at: float
    expires_at: float | None = None
    trade_id: str | None = None
    retry_s: int | None = None
    expire_s: int | None = None


class Outgoing(Struct, frozen=True):
    """An alert with the state of its delivery: the row of the outbox.

    `attempts` counts requests that may have left; it is durable before the wire. `maybe_seen`: one of them had no known outcome.
    """

    alert: Alert
    outcome: Outcome = "queued"
    attempts: int = 0
    maybe_seen: bool = False
    next_at: float = 0.0
    settled_at: float | None = None
    receipt: str | None = None
    acknowledged_at: float | None = None
    acknowledged_by: str | None = None
    fallback: Literal["", "sending", "delivered", "failed"] = ""
    reissues: int = 0


class Remembered(Struct, frozen=True):
    """All that the ledger knows at a start: what the last process knew, to the last commit.

    `trades_opened_on`: by New York date, how many positions were opened, voided ones too: an id is never used again.
    """

    position: Position | None = None
    trades: tuple[Trade, ...] = ()
    outbox: tuple[Outgoing, ...] = ()
    facts: dict[str, float | str | None] = {}
    trades_opened_on: dict[str, int] = {}
    notes: tuple[Noted, ...] = ()


# --- events ------------------------------------------------------------------------------------------------------------


class Event(Struct, frozen=True, tag=True, kw_only=True):
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
    """History of [start, end) for one symbol by REST, in order. It decides nothing."""

    symbol: str
    start: int
    end: int
    bars: tuple[Bar, ...]


class BackfillFailed(Event, frozen=True, kw_only=True):
    """`refused`: the key or the plan does not allow it."""

    symbol: str
    reason: str
    refused: bool = False


class ProfileArrived(Event, frozen=True, kw_only=True):
    """Average volume of each regular minute over the last full sessions; `sessions` are the dates it was made of."""

    date: str
    minutes: tuple[float, ...]
    sessions: tuple[str, ...]


class ProfileFailed(Event, frozen=True, kw_only=True):
    date: str
    reason: str


class ChainArrived(Event, frozen=True, kw_only=True):
    """Every page of one expiry and right. `asked_at` orders answers: an older question never replaces a newer one."""

    asked_at: float
    right: Right
    expiration: str
    rows: tuple[ChainRow, ...]


class ChainFailed(Event, frozen=True, kw_only=True):
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
    commit: int


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


class HalfSecondPassed(Event, frozen=True, kw_only=True, gc=False):
    pass


class OperatorSpoke(Event, frozen=True, kw_only=True):
    """A person's word: `stop entries`, `resume entries`, `close now`, `I took it`, `I sold it`, `I skipped it`.

    `trade_id`: which position or closed trade is meant; None: the one that is open.
    """

    command: Literal["stop_entries", "resume_entries", "close_now", "took_it", "sold_it", "skipped_it"]
    who: str
    price: Mills | None = None
    trade_id: str | None = None


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
    | ProfileArrived
    | ProfileFailed
    | ChainArrived
    | ChainFailed
    | QuotesArrived
    | QuoteSeen
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
    | HalfSecondPassed
    | OperatorSpoke
    | ThreadFailed
    | StopRequested
)


# --- what a commit writes ----------------------------------------------------------------------------------------------


class Write(Struct, frozen=True, tag=True):
    pass


class PositionOpened(Write, frozen=True):
    position: Position


class PositionMarked(Write, frozen=True):
    """The position's moving parts (peak, last mark, runs) as they are now."""

    position: Position


class PositionClosed(Write, frozen=True):
    trade: Trade


class PositionVoided(Write, frozen=True):
    """The BUY never reached anybody: there was no trade."""

    position: Position
    voided_at: float
    reason: str


class AlertChanged(Write, frozen=True):
    """An alert was queued, counted or settled: the outbox row as it is now."""

    outgoing: Outgoing


class FactSet(Write, frozen=True):
    """One remembered value: cooldowns, switches, levels already said."""

    key: str
    value: float | str | None


class Noted(Write, frozen=True):
    """A line of the journal that books nothing: a signal, a near-miss, an operator's word."""

    at: float
    kind: str
    body: dict[str, float | str | None]


AnyWrite = PositionOpened | PositionMarked | PositionClosed | PositionVoided | AlertChanged | FactSet | Noted


# --- actions -----------------------------------------------------------------------------------------------------------


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
    """One attempt to tell the phone. `attempt` is already durable, or `text` says that it is not recorded."""

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


class PollReceipt(Action, frozen=True):
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
    | PollReceipt
    | CheckPhone
    | Backfill
    | FetchProfile
    | FetchSettlement
    | Explain
    | Exit
)
