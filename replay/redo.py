"""A tape decided again: the same desk, the same batches, and whether the same actions come out, byte for byte."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from desk.desk import Desk
from desk.state import DESK, Memory
from disk import tape
from disk.folder import is_held
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
from strategies.registry import build
from utils import SessionCalendar, clock_text, new_york

_encode = msgspec.json.Encoder().encode
MISSING = object()
KILLED = "cut: the process was killed"
OPEN = "still open: the worker is running"
SIGNED = re.compile(rb"(#[A-Za-z0-9-]{1,40}\.[0-9]{1,12}\.)[A-Za-z0-9_-]{1,43}")  # the word of a link (`links.word`)
FIELDS_MAX = 20
SHOWN_MAX = 400


class Redone(Struct, frozen=True):
    """One batch decided again. `agrees`: the actions (or the exception) are those of the tape, but for a link's signature."""

    events: list[AnyEvent]
    actions: list[AnyAction]
    agrees: bool
    recorded: bytes
    decided: bytes
    raised_then: dict[str, str] = {}
    raised: dict[str, str] = {}

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
    memory = memory_of(head)
    desk = build(head.config(), SessionCalendar(new_york(head.begun_at).date()), memory.remembered)
    desk.recall(memory)
    return desk


def memory_of(head: Head) -> Memory:
    """What the desk knew as the tape began. TapeError where it cannot be read."""
    try:
        return msgspec.json.decode(head.memory, type=Memory)
    except msgspec.MsgspecError as fault:
        raise TapeError(f"what the desk knew at the beginning cannot be read: {fault}") from None


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
        actions = desk.decide(record.events)
        raised = tape.raised_by(desk)
        decided, recorded = _encode(actions), bytes(record.actions)
        same = decided == recorded or unsigned(decided) == unsigned(recorded)
        then = record.raised if isinstance(record.raised, dict) else {}
        agrees = same and raised == then
        yield Redone(record.events, actions, agrees, recorded, decided, then, raised)


def unsigned(actions: bytes) -> bytes:
    """Actions without the signatures of links: they are made with a secret that no tape holds, and decide nothing."""
    return SIGNED.sub(rb"\1(signed)", actions)


# --- where they differ -------------------------------------------------------------------------------------------------


class Field(Struct, frozen=True):
    """A place in the actions at which the two differ, as JSON; empty on the side that has nothing there."""

    field: str
    recorded: str
    decided: str


class Difference(Struct, frozen=True):
    """A batch that is decided otherwise: its events, and the first fields that differ (`more`: how many there are besides)."""

    batch: int
    at: str
    events: list[str]
    fields: list[Field]
    more: int


def raised_words(raised: dict[str, str]) -> str:
    """The exceptions of a turn, by whose part failed."""
    return ", ".join(name if owner == DESK else f"{owner}: {name}" for owner, name in sorted(raised.items()))


def difference_of(batch: int, done: Redone) -> Difference:
    then, now = msgspec.json.decode(unsigned(done.recorded)), msgspec.json.decode(unsigned(done.decided))
    found = list(fields_of(then, now))
    if done.raised != done.raised_then:
        found.insert(0, Field("raised", raised_words(done.raised_then), raised_words(done.raised)))
    events = [type(event).__name__ for event in done.events]
    return Difference(batch, clock_text(done.at), events, found[:FIELDS_MAX], max(0, len(found) - FIELDS_MAX))


def fields_of(then: list[Any], now: list[Any]) -> Iterator[Field]:
    """The actions side by side, those of a kind together, field by field."""
    kinds = [[str(action.get("type")) for action in actions] for actions in (then, now)]
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, kinds[0], kinds[1], autojunk=False).get_opcodes():
        if tag == "equal":
            for k in range(i2 - i1):
                yield from apart(f"{j1 + k + 1} {kinds[1][j1 + k]}", then[i1 + k], now[j1 + k])
        else:
            yield from (Field(f"{k + 1} {kinds[0][k]}", text_of(then[k]), "") for k in range(i1, i2))
            yield from (Field(f"{k + 1} {kinds[1][k]}", "", text_of(now[k])) for k in range(j1, j2))


def apart(place: str, then: Any, now: Any) -> Iterator[Field]:
    """The leaves at which two values differ."""
    if isinstance(then, dict) and isinstance(now, dict):
        for name in [*then, *(name for name in now if name not in then)]:
            yield from apart(f"{place}.{name}", then.get(name, MISSING), now.get(name, MISSING))
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for k, (one, other) in enumerate(zip(then, now, strict=True)):
            kind = f" {one['type']}" if isinstance(one, dict) and "type" in one else ""
            yield from apart(f"{place}[{k + 1}{kind}]", one, other)
    elif then != now:
        yield Field(place, text_of(then), text_of(now))


def text_of(value: Any) -> str:
    if value is MISSING:
        return ""
    text = value if isinstance(value, str) else _encode(value).decode()
    return text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "…"


# --- a whole file ------------------------------------------------------------------------------------------------------


class Checked(Struct, frozen=True):
    """What became of one file. `first_difference` is None where every batch agrees; `ended` is why the tape stops.

    `earlier`: an earlier version recorded it in other words, so that it can be looked at and not verified.
    """

    file: str
    version: str
    begun_at: float
    until: float
    batches: int
    events: int
    actions: int
    differing: int
    first_difference: Difference | None
    ended: str
    earlier: bool = False


def check(path: Path) -> Checked:
    head = head_of(path)
    batches = events = actions = differing = 0
    first: Difference | None = None
    until = head.begun_at
    if head.format < tape.FORMAT:
        return Checked(path.name, head.version, head.begun_at, until, 0, 0, 0, 0, None, ended_of(path), earlier=True)
    for done in redo(path):
        batches, events, actions, until = batches + 1, events + len(done.events), actions + len(done.actions), done.at
        if not done.agrees:
            differing += 1
            first = first or difference_of(batches, done)
    return Checked(path.name, head.version, head.begun_at, until, batches, events, actions, differing, first, ended_of(path))


def ended_of(path: Path) -> str:
    """Why a tape stops: its last line says so; without one its worker was killed, or is writing on it still."""
    for record in tape.read(path):
        if isinstance(record, End):
            return record.reason
    folder = path.parents[1]
    newest = tape.files_of(folder, tape.days(folder)[-1])[-1] if tape.days(folder) else path
    return OPEN if newest == path and is_held(folder.parent) else KILLED


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
        path.name, head.version, head.begun_at, head.begun_at, path.stat().st_size, 0, {}, 0, ended_of(path),
        head.config().non_defaults(),
    )  # fmt: skip
    for record in tape.read(path):
        match record:
            case Recorded():
                seen.batches += 1
                seen.raised += bool(record.raised)
                counts.update(type(event).__name__ for event in record.events)
                seen.until = record.events[-1].at
    seen.events = dict(counts.most_common())
    return seen


def day_of(text: str) -> date | None:
    """A date written YYYY-MM-DD; None if it is something else."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
