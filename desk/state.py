"""What the desk knows: one frozen state that is replaced whole, and the turns that replace it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from datetime import time, timedelta
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar

from msgspec import Raw, Struct
from msgspec.structs import replace

from desk.outbox import Line
from events import (
    AnyAction,
    AnyWrite,
    BrokerAccount,
    BrokerTrade,
    Commit,
    Explain,
    Fill,
    Mills,
    Mode,
    Noted,
    Order,
    Outgoing,
    Part,
    Position,
    Quote,
    Remembered,
    Trade,
)
from pnl_tracker import Record
from risk_manager import WayOut
from utils import Session, unix_time

if TYPE_CHECKING:
    from config import Config


class Settling(Struct, frozen=True):
    """A position outlived its session; its settlement price is being asked for. `close`: the last answer, not final yet."""

    tries: int = 0
    next_at: float = 0.0
    close: float | None = None


class Held(Struct, frozen=True):
    """An open position as the desk sees it: the last fresh quote, its mark (None: it was not usable), and since when none is trusted.

    Until `wait_until` nothing is decided before a price was seen: after a restart, and for the last quote of a shutdown.
    """

    strategy: str
    position: Position
    since: float
    quote: Quote | None = None
    quote_at: float | None = None
    mark: Mills | None = None
    marked_at: float | None = None
    distrust: str = ""
    wait_until: float = 0.0
    blind_since: float | None = None
    settling: Settling | None = None


class Stopping(Struct, frozen=True):
    since: float
    reason: str
    told: bool = False


class Pending(Struct, frozen=True):
    """A commit on its way to the disk, and the alerts and orders that wait for it."""

    since: float
    parts: tuple[Part, ...]
    alert_ids: tuple[str, ...] = ()
    refs: tuple[str, ...] = ()


class FeedDay(Struct, frozen=True):
    """How good the day's data were, as far as this life has seen: `since` is when it began to look."""

    since: float = 0.0
    stalls: int = 0
    stalled_s: float = 0.0
    drops: int = 0
    chain_misses: int = 0
    junk: int = 0
    blind_s: float = 0.0


class Course(Struct, frozen=True):
    """How an order's life goes on, beside what is written down of it.

    `since` is when its state began, `quiet_since` when something of it was last heard; `counted` the units that its broker calls
    filled. It is asked for from `ask_at` on, `tries` times so far, and sent again from `again_at` on. `unwanted`: it ends as soon as
    it is found, for it was cancelled in doubt, or is of an earlier life. `told`: the phone knows that nobody knows.
    """

    since: float
    quiet_since: float
    counted: int = 0
    tries: int = 0
    ask_at: float = 0.0
    again_at: float | None = None
    unwanted: bool = False
    told: bool = False


class Priced(Struct, frozen=True):
    """The last quote of a contract that was trusted."""

    quote: Quote
    at: float


class Dealings(Struct, frozen=True):
    """Trades made of orders: those that are open, what ended, their orders and executions, and the accounts they are in.

    `orders` and `fills` (by trade) are those of open trades, and of the ones that ended today, for a correction may come. `closing`
    are trades that the desk itself closes, and why. `numbers` is the highest trade number of a prefix and date, here or at a broker;
    `prefixes` tell whose a trade's id is, `modes` which broker a strategy trades with.
    """

    trades: dict[str, BrokerTrade] = {}
    ended: tuple[BrokerTrade, ...] = ()
    orders: dict[str, Order] = {}
    courses: dict[str, Course] = {}
    fills: dict[str, tuple[Fill, ...]] = {}
    accounts: dict[str, BrokerAccount] = {}
    quotes: dict[str, Priced] = {}
    closing: dict[str, str] = {}
    numbers: dict[str, int] = {}
    prefixes: dict[str, str] = {}
    modes: dict[str, Mode] = {}


class Account(Struct, frozen=True):
    """What the assumed trades of one strategy add up to; `today` are those that were opened this day."""

    record: Record = Record()
    trades: tuple[Trade, ...] = ()
    today: tuple[Trade, ...] = ()
    last_exit_at: float | None = None


Level = Literal["debug", "info", "warning", "error"]

DESK = "desk"
ASSUMED = "vwap"  # whose the ledger's one assumed position is, and whose account the first views are
TOLD_KEPT = 60
NOTED_KEPT = 300


NO_TRADES = Account()


class State(Struct, frozen=True):
    """All that is known besides the windows of bars and what each strategy remembers; any thread may read it.

    `opened_on`: by New York date, how many positions were opened, so that no id is ever given again. `owners` tells whose a trade of
    this life is, `faults` when a part failed of late, `barred` why a strategy may not enter.
    `told`: the last alerts that nothing can happen to any more. `noted`: the day's signals, near misses and words by hand.
    """

    at: float = 0.0
    started_at: float = 0.0
    day: datetime.date | None = None
    session: Session | None = None
    held: dict[str, Held] = {}
    accounts: dict[str, Account] = {}
    entries_stopped: bool = False
    opened_on: dict[str, int] = {}
    outbox: dict[str, Outgoing] = {}
    told: tuple[Outgoing, ...] = ()
    noted: tuple[Noted, ...] = ()
    feed: FeedDay = FeedDay()
    line: Line = Line()
    phone_asked_at: float = 0.0
    told_on: dict[str, str] = {}
    way_out: WayOut = WayOut(phone="the phone has not been proven yet", clock="the clock has not been proven yet")
    clock_by_bars: bool = False
    stalled_since: float | None = None
    delayed: bool = False
    delay_s: float = 0.0
    feed_refused: str = ""
    owners: dict[str, str] = {}
    faults: dict[str, tuple[float, ...]] = {}
    barred: dict[str, str] = {}
    commit: int = 0
    pending: dict[int, Pending] = {}
    ticket: int = 0
    stopping: Stopping | None = None
    ended: str = ""
    dealings: Dealings = Dealings()

    def account(self, strategy: str) -> Account:
        return self.accounts.get(strategy, NO_TRADES)

    @property
    def record(self) -> Record:
        """The account's of the strategy that the desk began with; the others' are never added to it."""
        return self.account(ASSUMED).record

    @property
    def trades(self) -> tuple[Trade, ...]:
        return self.account(ASSUMED).trades

    @property
    def trades_today(self) -> tuple[Trade, ...]:
        return self.account(ASSUMED).today

    @property
    def last_exit_at(self) -> float | None:
        return self.account(ASSUMED).last_exit_at

    @property
    def opened_today(self) -> int:
        """How many positions this day has had, voided ones too."""
        return self.opened_on.get(str(self.day), 0)

    def open(self) -> tuple[Held, ...]:
        """The positions that are followed to an exit; what outlived its session is only settled."""
        return tuple(held for held in self.held.values() if held.settling is None)

    @property
    def blind_since(self) -> float | None:
        """Since when a position has had no trusted price; None while each has one."""
        return min((held.blind_since for held in self.held.values() if held.blind_since is not None), default=None)


class Kept(Struct, frozen=True):
    """What one owner of the desk carries from turn to turn: `memory` is a strategy's own, as JSON that it reads.

    `said` is what was last logged of a topic, `due` when each repeated thing may be said or asked again.
    """

    said: dict[str, str] = {}
    due: dict[str, float] = {}
    memory: Raw = Raw(b"null")


class Memory(Struct, frozen=True):
    """All that a desk carries from one turn to the next but the windows of bars, so that the tape can begin anywhere without them.

    `owners` are the desk itself and each strategy, by name.
    """

    remembered: Remembered
    state: State
    owners: dict[str, Kept] = {}


def trades_of(trades: tuple[Trade, ...], day: datetime.date | None) -> tuple[Trade, ...]:
    """The trades that were opened on a New York date."""
    if day is None:
        return ()
    begins, ends = (unix_time(date, time(0)) for date in (day, day + timedelta(days=1)))
    return tuple(trade for trade in trades if begins <= trade.opened_at < ends)


class Sheet:
    """One turn of the whole desk: the state as it becomes, and what is done, written and said because of it, by all owners.

    `facts` are what the ledger kept of the last life.
    """

    __slots__ = ("actions", "facts", "state", "to_say", "to_send", "writes")

    def __init__(self, state: State, facts: Mapping[str, float | str | None]) -> None:
        self.state = state
        self.facts = facts
        self.actions: list[AnyAction] = []
        self.writes: list[tuple[str, AnyWrite]] = []
        self.to_say: list[str] = []
        self.to_send: list[str] = []

    def seal(self, at: float) -> list[AnyAction]:
        """Put all that is to be written into one commit, in order, what one owner writes in a row as one part; give the actions."""
        if self.writes:
            runs = groupby(self.writes, key=itemgetter(0))
            parts = tuple(Part(owner, tuple(write for _, write in run)) for owner, run in runs)
            commit = Commit(self.state.commit + 1, parts)
            pending = Pending(at, commit.parts, tuple(self.to_say), tuple(self.to_send))
            self.state = replace(self.state, commit=commit.commit, pending={**self.state.pending, commit.commit: pending})
            self.actions.append(commit)
        return self.actions


M = TypeVar("M")


class Own(Generic[M]):
    """What one owner carries from turn to turn, as it is in memory."""

    __slots__ = ("due", "memory", "said")

    def __init__(self, memory: M) -> None:
        self.memory = memory
        self.said: dict[str, str] = {}
        self.due: dict[str, float] = {}


class Mark(NamedTuple):
    """Where a turn stood before a call."""

    state: State
    memory: Any
    said: dict[str, str]
    due: dict[str, float]
    counts: tuple[int, int, int, int]


class Turn(Generic[M]):
    """One owner's side of a turn. Nothing of it counts until the desk takes it over whole.

    `memory` is the owner's own, frozen; `said` is what was last logged of a topic, `due` when one is due again.
    """

    __slots__ = ("at", "config", "due", "memory", "owner", "said", "sheet")

    def __init__(self, config: Config, sheet: Sheet, at: float, owner: str, own: Own[M]) -> None:
        self.config = config
        self.sheet = sheet
        self.at = at
        self.owner = owner
        self.memory = own.memory
        self.said = dict(own.said)
        self.due = dict(own.due)

    @property
    def state(self) -> State:
        return self.sheet.state

    def mark(self) -> Mark:
        sheet = self.sheet
        counts = len(sheet.actions), len(sheet.writes), len(sheet.to_say), len(sheet.to_send)
        return Mark(sheet.state, self.memory, self.said.copy(), self.due.copy(), counts)

    def back_to(self, mark: Mark) -> None:
        """Undo what was done since: state, memory, what is asked, written and said."""
        sheet = self.sheet
        sheet.state, self.memory, self.said, self.due = mark.state, mark.memory, mark.said, mark.due
        actions, writes, to_say, to_send = mark.counts
        del sheet.actions[actions:], sheet.writes[writes:], sheet.to_say[to_say:], sheet.to_send[to_send:]

    def set(self, **changes: Any) -> None:
        self.sheet.state = replace(self.sheet.state, **changes)

    def remember(self, **changes: Any) -> None:
        self.memory = replace(self.memory, **changes)  # type: ignore[type-var]

    def hold(self, held: Held) -> None:
        """Put an open position, as it is now, in its place."""
        self.set(held={**self.state.held, held.position.id: held})

    def let_go(self, trade_id: str) -> None:
        self.set(held={key: held for key, held in self.state.held.items() if key != trade_id})

    def deal(self, **changes: Any) -> None:
        """Replace parts of what is known of trades made of orders."""
        self.set(dealings=replace(self.state.dealings, **changes))

    def change_account(self, strategy: str, **changes: Any) -> None:
        self.set(accounts={**self.state.accounts, strategy: replace(self.state.account(strategy), **changes)})

    def do(self, action: AnyAction) -> None:
        self.sheet.actions.append(action)

    def write(self, write: AnyWrite, trade_id: str | None = None) -> None:
        """Put it into this turn's commit: into the part of whose trade it is about, else into this owner's."""
        owner = self.owner if trade_id is None else self.state.owners.get(trade_id, self.owner)
        self.sheet.writes.append((owner, write))
        if isinstance(write, Noted):
            self.set(noted=(*self.state.noted, write)[-NOTED_KEPT:])

    def ticket(self) -> int:
        """A number for a question, so that its answer finds who asked."""
        self.set(ticket=self.state.ticket + 1)
        return self.state.ticket

    def log(self, level: Level, text: str, **fields: float | str | None) -> None:
        self.sheet.actions.append(Explain(level, text, fields))

    def log_change(self, topic: str, text: str, level: Level = "info", **fields: float | str | None) -> None:
        """Say it when it changes, not again and again; an empty text says nothing, and lets the next one be said."""
        if self.said.get(topic, "") != text:
            self.said[topic] = text
            if text:
                self.log(level, text, **fields)

    def every(self, topic: str, seconds: float) -> bool:
        """True at most once in `seconds`, for this topic."""
        if self.at < self.due.get(topic, float("-inf")):
            return False
        self.due[topic] = self.at + seconds
        return True

    def tally(self, **more: float) -> None:
        """Add to what is counted of the day's feed."""
        feed = self.state.feed
        self.set(feed=replace(feed, **{name: getattr(feed, name) + count for name, count in more.items()}))

    def in_hours(self) -> bool:
        session = self.state.session
        return session is not None and session.open_at <= self.at < session.close_at
