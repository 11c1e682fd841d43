"""python -m replay.past DATE: a recorded day as the page would have shown it, second by second, into DATA_DIR/past.

The desk is led through the day's tapes again; at the end of every second that they know, the page's sections are made of it as they
are made live, and what has changed is written down. A piece of the day is five minutes: all sections at its first second, then the
changes. The charts hold each second as it was when it was the newest, what history filled in besides, and the way of each option held.
Exit codes: 0 done, 2 it could not be done, and why in one line.

The worker starts this for its page and must not feel it: `--nice`, first to go when memory is short, `--share` of one core, a cap on
memory and processor time; and it ends when the one who started it does.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import os
import resource
import shutil
import sys
import time
from collections import deque
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dashboard.paths import Paths
    from dashboard.sections import Sections
    from desk.desk import Desk
    from events import AnyAction
    from utils import Session

MEMORY_MAX = 600_000_000
PROCESSOR_MAX_S = 300
FREE_MIN = 200_000_000
DAYS_KEPT = 10
GAP_S = 30
LINES = 30
BREATH_S = 0.01


class Impossible(Exception):
    """The day cannot be made; the message says why."""


# --- modesty -----------------------------------------------------------------------------------------------------------


def be_modest(niceness: int) -> None:
    """Give way to everybody else on this machine."""
    os.nice(niceness)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    with contextlib.suppress(OSError, ValueError):  # macOS caps no address space
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_MAX_S, PROCESSOR_MAX_S))


class Share:
    """At most this part of one core, in short breaths: a container's quota is shared whatever the priority."""

    def __init__(self, share: float) -> None:
        self._share, self._parent = share, os.getppid()
        self._worked, self._at = time.process_time(), time.monotonic()

    def give_way(self) -> None:
        worked = time.process_time() - self._worked
        if worked < BREATH_S:
            return
        if os.getppid() != self._parent:
            raise Impossible("nobody waits for it any more")
        time.sleep(max(0.0, worked / self._share - (time.monotonic() - self._at)))
        self._worked, self._at = time.process_time(), time.monotonic()


# --- the day -----------------------------------------------------------------------------------------------------------


class PastDay:
    """Seconds of a day come in, pieces and the index go out into `folder`."""

    def __init__(self, folder: Path, session: Session) -> None:
        from dashboard.chart import COLUMNS

        self.folder, self.session = folder, session
        self.points: dict[float, list[Any]] = {}
        self.gaps: list[tuple[int, int]] = []
        self.pieces: list[int] = []
        self.first = self.last = 0
        self._names = COLUMNS
        self._shown: dict[str, bytes] = {}
        self._piece: list[bytes] = []
        self._number = -1

    def take(self, second: int, shown: dict[str, bytes], point: list[Any] | None) -> None:
        from dashboard.past import PIECE_S
        from dashboard.sections import joined

        number = (second - self.session.open_at) // PIECE_S
        if number != self._number:
            self.end_piece()
            self._number, self._shown = number, {}
        changed = {name: section for name, section in shown.items() if self._shown.get(name) != section}
        self._piece.append(b"[%d,%b]" % (second, joined(changed)))
        self._shown = shown
        if self.last and second - self.last > GAP_S:
            self.gaps.append((self.last, second))
        self.first, self.last = self.first or second, second
        if point is not None:
            self.points.setdefault(point[0], point)

    def fill(self, known: dict[str, list[Any]]) -> None:
        """What history filled in, in columns, where no second was recorded."""
        for point in zip(*(known[name] for name in self._names), strict=True):
            self.points.setdefault(point[0], list(point))

    def end_piece(self) -> None:
        from dashboard.past import piece_of

        if self._piece:
            written(piece_of(self.folder, self._number), b"[" + b",".join(self._piece) + b"]")
            self.pieces.append(self._number)
        self._piece = []

    def end(self, desk: Desk, more: dict[str, Any]) -> None:
        import msgspec

        from dashboard import frame
        from dashboard.past import FORMAT, PIECE_S, index_of

        self.end_piece()
        points = [self.points[start] for start in sorted(self.points)]
        index = {
            "format": FORMAT,
            "day": self.session.date.isoformat(),
            "symbol": desk.config.symbol,
            "leader": desk.config.leader,
            "open_at": self.session.open_at,
            "from": self.first,
            "to": self.last,
            "piece_s": PIECE_S,
            "pieces": self.pieces,
            "gaps": self.gaps,
            "marks": frame.marks(desk.state),
            "columns": {name: [point[place] for point in points] for place, name in enumerate(self._names)},
            **more,
        }
        written(index_of(self.folder), msgspec.json.encode(index))


def written(file: Path, data: bytes) -> None:
    file.write_bytes(gzip.compress(data, 6))


class Led:
    """The desk led through a day's tapes; `differing` batches were decided otherwise when they were live."""

    def __init__(self, day: PastDay, share: Share) -> None:
        self.day, self.share = day, share
        self.differing = self.batches = 0
        self.lines: deque[str] = deque(maxlen=LINES)
        self.now = 0
        self.paths: Paths | None = None

    def through(self, file: Path) -> Desk:
        from dashboard.chart import columns
        from dashboard.paths import Paths
        from dashboard.sections import Sections
        from dashboard.view import look
        from edges.inbox import Inbox
        from replay import redo

        desk = redo.desk_of(redo.head_of(file))
        made = Sections(desk.config)
        self.paths = self.paths or Paths(desk.config)
        self.paths.config = desk.config
        self.now = 0
        for done in redo.redo(file, desk, before=lambda batch: self._pass(desk, made, int(batch.events[-1].at))):
            self.batches += 1
            self.differing += not done.agrees
            self._hear(done.at, done.actions)
            self.share.give_way()
        self._show(desk, made)
        self.day.fill(columns(look(desk, Inbox(), 0, float(self.now))))
        return desk

    def _pass(self, desk: Desk, made: Sections, second: int) -> None:
        """The first batch of another second is about to be decided: the one before it is over."""
        if second > self.now:
            self._show(desk, made)
            self.now = second

    def _show(self, desk: Desk, made: Sections) -> None:
        from dashboard import frame
        from dashboard.health import health
        from dashboard.view import look
        from edges.inbox import Inbox

        session = self.day.session
        if not session.open_at <= self.now <= session.close_at or self.now <= self.day.last:
            return
        view = look(desk, Inbox(), 0, self.now + 0.999)
        if self.paths is not None:
            self.paths.look(view)
        shown = made.of(view, health(view, view.at, view.made_at), self.lines)
        del shown["history"]
        self.day.take(self.now, shown, frame.point(view))

    def _hear(self, at: float, actions: list[AnyAction]) -> None:
        from events import Explain
        from utils import new_york

        for action in actions:
            if isinstance(action, Explain) and action.level != "debug":
                fields = "".join(f" {name}={value}" for name, value in action.fields.items() if value is not None)
                self.lines.append(f"{new_york(at):%Y-%m-%d %H:%M:%S} {action.level.upper():7} {action.text}{fields}")


def make(data_dir: Path, wanted: date, share: Share) -> Path:
    """The day's folder, made whole under another name first. Impossible or TapeError where it cannot be."""
    from dashboard.past import folder_of
    from disk import tape
    from utils import SessionCalendar

    files = tape.files_of(data_dir / "tape", wanted)
    session = SessionCalendar(wanted).on(wanted)
    if session is None:
        raise Impossible(f"{wanted} was no session")
    kept = folder_of(data_dir, wanted)
    fresh = kept.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700, parents=True)
    if shutil.disk_usage(fresh).free < FREE_MIN:
        raise Impossible("the disk is nearly full")
    led = Led(PastDay(fresh, session), share)
    for file in files:
        desk = led.through(file)
    if not led.day.last:
        raise Impossible(f"the tape of {wanted} holds nothing of the session's hours")
    paths = {} if led.paths is None else led.paths.all()
    led.day.end(desk, {"tapes": len(files), "batches": led.batches, "differing": led.differing, "paths": paths})
    shutil.rmtree(kept, ignore_errors=True)
    fresh.rename(kept)
    prune(kept.parent, kept)
    return kept


def prune(folder: Path, newest: Path) -> None:
    """Keep the days made last; what another format or a killed process left goes first."""
    others = [entry for entry in folder.iterdir() if entry != newest]
    others.sort(key=lambda entry: (entry.suffix == newest.suffix, entry.stat().st_mtime), reverse=True)
    stale = [entry for entry in others if entry.suffix != newest.suffix]
    for entry in {*others[DAYS_KEPT - 1 :], *stale}:
        shutil.rmtree(entry, ignore_errors=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m replay.past", description="A recorded day, ready for the page.")
    parser.add_argument("date", type=date.fromisoformat, metavar="DATE")
    parser.add_argument("--data-dir", type=Path, help="(DATA_DIR, as the worker reads it)")
    parser.add_argument("--share", type=float, default=1.0, help="of one core (1)")
    parser.add_argument("--nice", type=int, default=19, help="how far to give way to others, 0 to 19 (19)")
    chosen = parser.parse_args(arguments)
    be_modest(chosen.nice)
    os.umask(0o077)
    from config import ConfigError, data_dir
    from disk.tape import TapeError

    try:
        made = make(chosen.data_dir or data_dir(), chosen.date, Share(min(max(chosen.share, 0.01), 1.0)))
    except (Impossible, TapeError, ConfigError) as fault:
        print(fault)
        return 2
    except OSError as fault:
        print(f"the disk refused: {fault.strerror}")
        return 2
    print(made.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
