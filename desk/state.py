"""What the desk knows: its phases as types, one frozen state that is replaced whole, and the turn that replaces it."""

from __future__ import annotations

import datetime
from datetime import time, timedelta
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from contract_selector import Selection
from desk.outbox import Line
from events import AnyAction, AnyWrite, ChainRow, Commit, Explain, Noted, Outgoing, Position, Quote, Remembered, Trade
from pnl_tracker import Record
from risk_manager import WayOut
from signals import Reading
from utils import Session, unix_time

if TYPE_CHECKING:
    from config import Config


class Flat(Struct, frozen=True, tag=True):
    """No position, none in sight."""


class Seeking(Struct, frozen=True, tag=True):
    """A signal was seen; fresh quotes of the tracked contracts were asked for under `ticket`."""

    ticket: int
    since: float
    reading: Reading


class Holding(Struct, frozen=True, tag=True):
    """A position is open. `quote` is its last fresh quote, `marked_at` is when a usable one last came.

    Until `wait_until` nothing is decided before a price was seen: after a restart, and for the last quote of a shutdown.
    """

    position: Position
    since: float
    quote: Quote | None = None
    quote_at: float | None = None
    marked_at: float | None = None
    distrust: str = ""
    wait_until: float = 0.0


class Settling(Struct, frozen=True, tag=True):
    """A position outlived its session; its settlement price is being asked for. `close`: the last answer, not final yet."""

    position: Position
    tries: int = 0
    next_at: float = 0.0
    close: float | None = None


class Halted(Struct, frozen=True, tag=True):
    """Nothing more is decided."""

    reason: str


Phase = Flat | Seeking | Holding | Settling | Halted


class Chain(Struct, frozen=True):
    """The newest calls of today, and which of them are tracked. `apart_since`: they go by another price of the underlying."""

    received_at: float
    asked_at: float
    rows: tuple[ChainRow, ...]
    selection: Selection
    apart_since: float | None = None


class Stopping(Struct, frozen=True):
    since: float
    reason: str
    told: bool = False


class Pending(Struct, frozen=True):
    """A commit on its way to the disk, and the alerts that wait for it."""

    since: float
    writes: tuple[AnyWrite, ...]
    alert_ids: tuple[str, ...] = ()


class FeedDay(Struct, frozen=True):
    """How good the day's data were, as far as this life has seen: `since` is when it began to look."""

    since: float = 0.0
    stalls: int = 0
    stalled_s: float = 0.0
    drops: int = 0
    chain_misses: int = 0
    junk: int = 0
    blind_s: float = 0.0


Level = Literal["debug", "info", "warning", "error"]

TOLD_KEPT = 60
NOTED_KEPT = 300


class State(Struct, frozen=True):
    """All that is known besides the windows of bars; any thread may read it.

    `opened_on`: by New York date, how many positions were opened, so that no id is ever given again.
    `told`: the last alerts that nothing can happen to any more. `noted`: the day's signals, near misses and words by hand.
    """

    at: float = 0.0
    started_at: float = 0.0
    day: datetime.date | None = None
    session: Session | None = None
    phase: Phase = Flat()
    chain: Chain | None = None
    skew: float | None = None
    skew_at: float = 0.0
    last_exit_at: float | None = None
    last_signal_at: float | None = None
    entries_stopped: bool = False
    record: Record = Record()
    trades: tuple[Trade, ...] = ()
    trades_today: tuple[Trade, ...] = ()
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
    blind_since: float | None = None
    feed_refused: str = ""
    commit: int = 0
    pending: dict[int, Pending] = {}
    ticket: int = 0
    stopping: Stopping | None = None

    @property
    def opened_today(self) -> int:
        """How many positions this day has had, voided ones too."""
        return self.opened_on.get(str(self.day), 0)


class Memory(Struct, frozen=True):
    """All that a desk carries from one turn to the next but the windows of bars, so that the tape can begin anywhere without them.

    `due` is when each repeated thing may be said again.
    """

    remembered: Remembered
    state: State
    said: dict[str, str]
    due: dict[str, float]


def trades_of(trades: tuple[Trade, ...], day: datetime.date | None) -> tuple[Trade, ...]:
    """The trades that were opened on a New York date."""
    if day is None:
        return ()
    begins, ends = (unix_time(date, time(0)) for date in (day, day + timedelta(days=1)))
    return tuple(trade for trade in trades if begins <= trade.opened_at < ends)


class Turn:
    """One turn of the desk: the state as it becomes, and what is to be done, written and said because of it.

    Nothing of it counts until the desk takes it over whole. `said` is what was last logged of a topic, `due` when one is due again.
    """

    __slots__ = ("actions", "at", "config", "due", "said", "state", "to_say", "writes")

    def __init__(
        self, config: Config, state: State, at: float, said: dict[str, str], due: dict[str, float] | None = None
    ) -> None:
        self.config = config
        self.state = state
        self.at = at
        self.said = said
        self.due = {} if due is None else due
        self.actions: list[AnyAction] = []
        self.writes: list[AnyWrite] = []
        self.to_say: list[str] = []

    def set(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)

    def do(self, action: AnyAction) -> None:
        self.actions.append(action)

    def write(self, write: AnyWrite) -> None:
        self.writes.append(write)
        if isinstance(write, Noted):
            self.set(noted=(*self.state.noted, write)[-NOTED_KEPT:])

    def log(self, level: Level, text: str, **fields: float | str | None) -> None:
        self.actions.append(Explain(level, text, fields))

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

    def seal(self) -> list[AnyAction]:
        """Put all that is to be written into one commit, and give the actions."""
        if self.writes:
            number = self.state.commit + 1
            pending = Pending(self.at, tuple(self.writes), tuple(self.to_say))
            self.set(commit=number, pending={**self.state.pending, number: pending})
            self.actions.append(Commit(number, pending.writes))
        return self.actions
