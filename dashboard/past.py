"""Past days for the page: which there are, and each as the page would have shown it, second by second.

A day is made from its tape by a process of its own (`python -m replay.past`), which has the lowest priority, a cap on memory,
processor and time, none of our secrets, and while the market is open a fifth of a core. It is kept in `DATA_DIR/past`: an index with
the charts, and a piece for every five minutes, compressed as they are sent. Here only files are passed on. One day at a time
is made; a day is there once its session is over. No path comes from a URL: a day has to be one of those listed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

import logger
from dashboard.server import Reply
from dashboard.view import View
from disk import tape
from utils import new_york

if TYPE_CHECKING:
    from config import Config
    from utils import Clock, SessionCalendar

log = logger.of("past")

FORMAT = 2
PIECE_S = 300
SHARE_IN_HOURS = 0.2
NICE = 19
OPENS_SOON_S = 600.0
MAKING_MAX_S = 900.0
FAULT_KEPT_S = 30.0
HOME = Path(__file__).resolve().parents[1]
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")
JSON = "application/json"
ZIPPED = (("Content-Encoding", "gzip"),)


def folder_of(data_dir: Path, day: date) -> Path:
    """Where a day is kept; one of another format is not found, and so is made anew."""
    return data_dir / "past" / f"{day.isoformat()}.{FORMAT}"


def piece_of(folder: Path, number: int) -> Path:
    return folder / f"{number:02d}.json.gz"


def index_of(folder: Path) -> Path:
    """Written last: where it is, all is."""
    return folder / "index.json.gz"


class Past:
    """Runs in the http thread alone. `watch` is to be called now and then, `close` at the end."""

    def __init__(self, config: Config, clock: Clock, calendar: SessionCalendar, sees: Callable[[], View | None]) -> None:
        self._config, self._clock, self._calendar, self._sees = config, clock, calendar, sees
        self._tapes = config.data_dir / "tape"
        self._making: Making | None = None
        self._faults: dict[date, tuple[float, str]] = {}

    def days(self) -> list[date]:
        """Sessions that are over and have a tape, newest first."""
        now = self._clock.now()
        today = new_york(now).date()
        return [day for day in reversed(tape.days(self._tapes)) if day <= today and self._is_over(day, now)]

    def _is_over(self, day: date, now: float) -> bool:
        session = self._calendar.on(day)
        if session is None:
            return day < self._calendar.first
        return now >= session.close_at + 60.0

    # --- answers ---

    def listed(self) -> Reply:
        return said(200, days=[day.isoformat() for day in self.days()])

    def index(self, text: str) -> Reply:
        """A day's index; 202 while it is being made, and how far; 409 when it cannot be."""
        day = self._known(text)
        if day is None:
            return said(404, says="There is no such day.")
        folder = folder_of(self._config.data_dir, day)
        if (found := whole(index_of(folder))) is not None:
            return Reply(200, found, JSON, headers=ZIPPED)
        self.watch()
        if self._making is not None:
            first = "" if self._making.day == day else f"{self._making.day} comes first. "
            return said(202, says=f"{first}{self._making.progress()}")
        at, fault = self._faults.get(day, (float("-inf"), ""))
        if time.monotonic() - at < FAULT_KEPT_S:
            return said(409, says=fault)
        self._making = Making(self._config, day, 1.0 if self._is_quiet() else SHARE_IN_HOURS)
        return said(202, says="The day is being made from its tape.")

    def piece(self, text: str, number: int) -> Reply:
        day = self._known(text)
        found = None if day is None else whole(piece_of(folder_of(self._config.data_dir, day), number))
        return said(404, says="There is no such piece.") if found is None else Reply(200, found, JSON, headers=ZIPPED)

    def _known(self, text: str) -> date | None:
        return next((day for day in self.days() if day.isoformat() == text), None)

    def _is_quiet(self) -> bool:
        """Whether no session is on, nor near."""
        view, now = self._sees(), self._clock.now()
        session = None if view is None else view.state.session
        return session is None or not session.open_at - OPENS_SOON_S <= now < session.close_at

    # --- the process that makes a day ---

    def watch(self) -> None:
        """See what became of the day that is being made."""
        making = self._making
        if making is None or not making.is_over():
            return
        self._making = None
        if making.fault:
            self._faults[making.day] = time.monotonic(), making.fault
            log.warning("a past day could not be made", day=str(making.day), why=making.fault)

    def close(self) -> None:
        if self._making is not None:
            self._making.end()
            self._making = None


class Making:
    """The process that makes one day; `fault` says why it failed."""

    def __init__(self, config: Config, day: date, share: float) -> None:
        self.day, self.fault = day, ""
        self._since = time.monotonic()
        data_dir = config.data_dir.absolute()
        self._folder = folder_of(data_dir, day).with_suffix(".new")
        self._process = subprocess.Popen(  # noqa: S603 - our own program, and a date
            [sys.executable, "-m", "replay.past", day.isoformat(), "--share", str(share), "--nice", str(NICE)],
            cwd=HOME,
            env=environment(data_dir),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def progress(self) -> str:
        done = sum(1 for _ in self._folder.glob("*.gz")) if self._folder.is_dir() else 0
        return f"The day is being made from its tape: {done * PIECE_S // 60} minutes of it so far."

    def is_over(self) -> bool:
        code = self._process.poll()
        if code is None:
            if time.monotonic() - self._since < MAKING_MAX_S:
                return False
            self.end()
            self.fault = "It took too long."
            return True
        assert self._process.stdout is not None
        with self._process.stdout as words:
            told = words.read().decode(errors="replace").strip()
        if code:
            self.fault = (told if code == 2 and told else f"It could not be made (exit code {code}).")[:500]
        return True

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def environment(data_dir: Path) -> dict[str, str]:
    """What the process gets of ours: where things are, and no secret."""
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return kept | {"DATA_DIR": str(data_dir), "PYTHONUTF8": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def whole(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None


def said(status: int, **what: object) -> Reply:
    return Reply(status, msgspec.json.encode(what), JSON)
