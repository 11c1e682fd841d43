"""The tape: every batch of events the desk was given and the actions it answered with, so that a day can be decided again.

One file for each life and day, `DATA_DIR/tape/YYYY-MM-DD/HHMMSS.jsonl.zst`: zstd-compressed JSON lines. The first line (`Head`)
holds the settings, without secrets, and all that the desk remembered; each further one a `Batch`; an `End` says why a file stops.
Rules: writing never blocks or fails a decision. `take` only puts the batch into a box; the tape's own thread empties it twice a
second onto the disk, so a killed process loses at most the last half second. A disk that refuses, or the day's TAPE_MEGABYTES,
ends the tape until the next day; no more than TAPE_DAYS days are kept.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import msgspec
import zstandard
from msgspec import Struct

import logger
from config import Config, ConfigError, fields, is_secret
from events import AnyAction, AnyEvent
from setting import shown
from utils import new_york

if TYPE_CHECKING:
    from utils import Clock

FLUSH_S = 0.5
BACKLOG_MAX = 100_000
FORMAT = 2
LEVEL = 3
SUFFIX = ".jsonl.zst"
STAND_INS = {
    "POLYGON_API_KEY": "replayed-key",
    "PUSHOVER_TOKEN": "a" + "0" * 29,
    "PUSHOVER_USER_KEY": "u" + "0" * 29,
    "FALLBACK_ALERT_URLS": "json://localhost/replayed",
    "HEARTBEAT_URL": "http://localhost/replayed",
    "DASHBOARD_TOKEN": "replayed-token-0000",
}


class TapeError(Exception):
    """A tape that is not there or cannot be read."""


# --- what is written ---------------------------------------------------------------------------------------------------


class Head(Struct, frozen=True, tag="head"):
    """The first line. `settings` are all of the environment, as one would write them; of a secret only that it is set.

    `memory` is the desk's own, as JSON.
    `format` is that of events and actions: what an earlier one holds can be read, and is not decided alike. `day`: the file's."""

    version: str
    begun_at: float
    settings: dict[str, str]
    warnings: tuple[str, ...]
    memory: msgspec.Raw
    format: int = 1
    day: str = ""

    def config(self) -> Config:
        """The same settings again, secrets replaced by stand-ins that decide alike. TapeError where they mean nothing any more."""
        given = {name: STAND_INS[name] if is_secret(name) else text for name, text in self.settings.items()}
        clock = given.pop("CLOCK_FILE", None)  # a simulated market's, gone with it
        try:
            config = Config.from_env(given)
        except ConfigError as fault:
            raise TapeError(f"the tape's settings cannot be used: {'; '.join(fault.lines)}") from None
        return config.model_copy(update={"warnings": self.warnings, "clock_file": None if clock is None else Path(clock)})


class Batch(Struct, frozen=True, tag="batch", omit_defaults=True, gc=False):
    """What waited together, and what came of it; `raised` names the exceptions of whose part failed."""

    events: Sequence[AnyEvent]
    actions: Sequence[AnyAction] = ()
    raised: dict[str, str] = {}


class End(Struct, frozen=True, tag="end"):
    reason: str


class Recorded(Struct, frozen=True, tag="batch", gc=False):
    """A `Batch` as it is read: `actions` are the very bytes."""

    events: list[AnyEvent]
    actions: msgspec.Raw = msgspec.Raw(b"[]")
    raised: dict[str, str] | str = {}  # a word on tapes of the first format


class Decider(Protocol):
    """What the tape needs of the desk that it records."""

    @property
    def state(self) -> Any: ...
    @property
    def market(self) -> Any: ...
    @property
    def faults(self) -> Sequence[Any]: ...
    def memory(self) -> Any: ...


def raised_by(desk: Decider) -> dict[str, str]:
    """The exceptions of the desk's last turn, by whose part failed."""
    return {fault.owner: type(fault.raised).__name__ for fault in desk.faults}


def settings_of(config: Config) -> dict[str, str]:
    """Every setting as text; a secret that is set is told as `(set)`."""
    values = {name: getattr(config, name.lower()) for name in fields()}
    return {name: "(set)" if is_secret(name) else shown(value) for name, value in values.items() if value not in (None, ())}


# --- writing -----------------------------------------------------------------------------------------------------------


class Tape:
    """The recorder of one life. `ended` says why nothing is recorded any more today; empty while it is."""

    def __init__(self, config: Config, clock: Clock, version: str) -> None:
        self.config, self.clock, self.version = config, clock, version
        self.folder = config.data_dir / "tape"
        self.log = logger.of("tape")
        self.ended = ""
        self._day: date | None = None
        self._box: deque[Head | Batch] = deque()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._live, name="tape", daemon=True)
        self._encode = msgspec.json.Encoder().encode
        self._file: BinaryIO | None = None
        self._press = zstandard.ZstdCompressor(level=LEVEL).compressobj()
        self._room = 0

    # --- the decider's side ---

    def begin(self, desk: Decider) -> None:
        """A life begins: what the desk knows before its first event."""
        self._head(desk, new_york(self.clock.now()).date())
        self._thread.start()

    def take(self, desk: Decider, events: Sequence[AnyEvent], actions: Sequence[AnyAction] = ()) -> None:
        """Keep a batch that was just decided. Costs a microsecond; never waits, never raises."""
        if not self.ended:
            self._box.append(Batch(events, actions, raised_by(desk)))
            if len(self._box) > BACKLOG_MAX:
                self.ended = "the disk does not keep up"
        day = desk.state.day
        if day != self._day and day is not None and not desk.market.heard:
            self._head(desk, day)

    def stop(self, timeout_s: float = 2.0) -> None:
        """Write what is left, and end the file."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _head(self, desk: Decider, day: date) -> None:
        self._day, self.ended = day, ""
        settings = settings_of(self.config)
        memory = msgspec.Raw(msgspec.json.encode(desk.memory()))
        self._box.append(Head(self.version, self.clock.now(), settings, self.config.warnings, memory, FORMAT, str(day)))

    # --- the disk's side ---

    def _live(self) -> None:
        try:
            while not self._stopping.wait(FLUSH_S):
                self._empty()
            self._empty()
            self._close("the worker stopped")
        except Exception:
            self.ended = "the tape's thread failed"
            self.log.exception("the tape failed: nothing more is recorded in this life")
            self._box.clear()

    def _empty(self) -> None:
        """Write what is in the box; a disk that refuses ends the tape for the day."""
        lines: list[bytes] = []
        try:
            while self._box:
                record = self._box.popleft()
                if isinstance(record, Head):
                    self._write(lines)
                    lines = []
                    self._close("the day ended")
                    self._open(record)
                if self._file is not None:
                    lines.append(self._encode(record) + b"\n")
            self._write(lines)
        except OSError as fault:
            self._box.clear()
            self._give_up(f"the disk refused: {fault.strerror}")

    def _open(self, head: Head) -> None:
        moment = new_york(head.begun_at)
        folder = self.folder / head.day
        folder.mkdir(parents=True, exist_ok=True)
        for old in days(self.folder)[: -self.config.tape_days]:
            rmtree(self.folder / str(old), ignore_errors=True)
        used = sum(file.stat().st_size for file in folder.iterdir())
        self._room = self.config.tape_megabytes * 1_000_000 - used
        path, more = folder / f"{moment:%H%M%S}{SUFFIX}", 1
        while path.exists():
            more += 1
            path = folder / f"{moment:%H%M%S}-{more}{SUFFIX}"
        self._file = path.open("xb", buffering=0)
        self._press = zstandard.ZstdCompressor(level=LEVEL).compressobj()

    def _write(self, lines: list[bytes]) -> None:
        if self._file is None or not lines:
            return
        data = self._press.compress(b"".join(lines)) + self._press.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        self._file.write(data)
        self._room -= len(data)
        if self._room <= 0:
            self._give_up("TAPE_MEGABYTES reached")

    def _give_up(self, reason: str) -> None:
        self.ended = reason
        self.log.warning(f"nothing more is recorded today: {reason}")
        self._close(reason)

    def _close(self, reason: str) -> None:
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            file.write(self._press.compress(self._encode(End(reason)) + b"\n") + self._press.flush())
        except OSError as fault:
            self.ended = self.ended or f"the disk refused: {fault.strerror}"
        finally:
            file.close()


# --- reading -----------------------------------------------------------------------------------------------------------


def days(folder: Path) -> list[date]:
    """The days that have a tape, oldest first."""
    found = []
    for entry in folder.iterdir() if folder.is_dir() else ():
        try:
            found.append(date.fromisoformat(entry.name))
        except ValueError:
            continue
    return sorted(found)


def files_of(folder: Path, day: date) -> list[Path]:
    """The files of one day in order of time, one a life. TapeError where there is none."""
    found = sorted(
        (folder / day.isoformat()).glob(f"*{SUFFIX}"), key=lambda path: (path.name[:6], len(path.name), path.name)
    )
    if not found:
        known = days(folder)
        told = f"recorded are {known[0]} to {known[-1]}" if known else f"{folder} has no tape at all"
        raise TapeError(f"no tape of {day}: {told}")
    return found


def read(path: Path) -> Iterator[Head | Recorded | End]:
    """The records of one file; a last line that was cut by a kill is left out. TapeError where it is damaged inside."""
    decode = msgspec.json.Decoder(Head | Recorded | End).decode
    number = 0
    try:
        with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as pressed:
            for line in _lines(pressed):
                number += 1
                yield decode(line)
    except (OSError, zstandard.ZstdError, msgspec.MsgspecError) as fault:
        raise TapeError(f"{path.name}, line {number + 1}: {fault}") from None


def _lines(pressed: zstandard.ZstdDecompressionReader) -> Iterator[bytes]:
    rest = b""
    while chunk := pressed.read(1 << 18):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
