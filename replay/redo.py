"""A tape decided again: the same desk, the same batches, and whether the same actions come out, byte for byte."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import msgspec
from msgspec import Struct

from desk.desk import Desk
from disk import tape
from disk.tape import End, Head, Recorded, TapeError
from events import (
    AnyAction,
    AnyEvent,
    Commit,
    Noted,
    Position,
    PositionClosed,
    PositionOpened,
    PositionVoided,
    Trade,
    TradeVoided,
)
from utils import SessionCalendar, clock_text, new_york

_encode = msgspec.json.Encoder().encode
KILLED = "cut: the process was killed"


class Redone(Struct, frozen=True):
    """One batch decided again. `agrees`: the actions (or the exception) are those of the tape."""

    events: list[AnyEvent]
    actions: list[AnyAction]
    agrees: bool
    recorded: bytes
    decided: bytes

    @property
    def at(self) -> float:
        return self.events[-1].at


def head_of(path: Path) -> Head:
    """The first line of a tape. TapeError where it is missing."""
    head = next(tape.read(path), None)
    if not isinstance(head, Head):
        raise TapeError(f"{path.name} does not begin with a head")
    return head


def desk_of(head: Head) -> Desk:
    """The desk as it was before the first batch."""
    desk = Desk(head.config(), SessionCalendar(new_york(head.begun_at).date()), head.memory.remembered)
    desk.recall(head.memory)
    return desk


def redo(path: Path, desk: Desk | None = None, before: Callable[[Recorded], None] | None = None) -> Iterator[Redone]:
    """Decide a tape again, batch by batch; `before` sees each batch before the desk does. TapeError where it cannot be read."""
    records = tape.read(path)
    head = next(records, None)
    if not isinstance(head, Head):
        raise TapeError(f"{path.name} does not begin with a head")
    desk = desk_of(head) if desk is None else desk
    for record in records:
        if not isinstance(record, Recorded):
            continue
        if before is not None:
            before(record)
        raised, actions = "", list[AnyAction]()
        try:
            actions = desk.decide(record.events)
        except Exception as fault:
            raised = type(fault).__name__
        decided, recorded = _encode(actions), bytes(record.actions)
        agrees = decided == recorded and raised == record.raised
        yield Redone(record.events, actions, agrees, recorded, decided)


class Checked(Struct, frozen=True):
    """What became of one file. `first_difference` is None where every batch agrees; `ended` is why the tape stops."""

    file: str
    version: str
    begun_at: float
    until: float
    batches: int
    events: int
    actions: int
    differing: int
    first_difference: dict[str, str] | None
    ended: str


def check(path: Path) -> Checked:
    head, ended = head_of(path), KILLED
    batches = events = actions = differing = 0
    first: dict[str, str] | None = None
    until = head.begun_at
    for done in redo(path):
        batches, events, actions, until = batches + 1, events + len(done.events), actions + len(done.actions), done.at
        if not done.agrees:
            differing += 1
            first = first or {
                "batch": str(batches),
                "at": clock_text(done.at),
                "events": ", ".join(type(event).__name__ for event in done.events),
                "recorded": done.recorded.decode()[:2000],
                "decided": done.decided.decode()[:2000],
            }
    for record in tape.read(path):
        if isinstance(record, End):
            ended = record.reason
    return Checked(path.name, head.version, head.begun_at, until, batches, events, actions, differing, first, ended)


# --- what happened -----------------------------------------------------------------------------------------------------


class Story(Struct):
    """What the actions of some hours book: positions opened, trades closed, positions voided, signals noted."""

    opened: list[Position] = []
    trades: list[Trade] = []
    voided: list[tuple[Position | Trade, str]] = []
    noted: list[Noted] = []

    def take(self, actions: list[AnyAction]) -> None:
        for action in actions:
            if isinstance(action, Commit):
                self._take_commit(action)

    def _take_commit(self, commit: Commit) -> None:
        for write in commit.writes:
            match write:
                case PositionOpened(position):
                    self.opened.append(position)
                case PositionClosed(trade):
                    self.trades.append(trade)
                case PositionVoided(position, _, reason):
                    self.voided.append((position, reason))
                case TradeVoided(trade_id, _, reason):
                    self.voided += [(trade, reason) for trade in self.trades if trade.id == trade_id]
                    self.trades = [trade for trade in self.trades if trade.id != trade_id]
                case Noted():
                    self.noted.append(write)


class Look(Struct):
    """What is on one file, without deciding anything."""

    file: str
    version: str
    begun_at: float
    until: float
    bytes: int
    batches: int
    events: dict[str, int]
    raised: int
    ended: str
    settings: dict[str, str]


def look(path: Path) -> Look:
    head = head_of(path)
    counts: Counter[str] = Counter()
    seen = Look(
        path.name, head.version, head.begun_at, head.begun_at, path.stat().st_size, 0, {}, 0, KILLED,
        head.config().non_defaults(),
    )  # fmt: skip
    for record in tape.read(path):
        match record:
            case Recorded():
                seen.batches += 1
                seen.raised += bool(record.raised)
                counts.update(type(event).__name__ for event in record.events)
                seen.until = record.events[-1].at
            case End(reason):
                seen.ended = reason
    seen.events = dict(counts.most_common())
    return seen


def day_of(text: str) -> date | None:
    """A date written YYYY-MM-DD; None if it is something else."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
