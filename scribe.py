"""The one thread that owns the disk: it writes what main hands it, in order, and says when it is durable."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from events import AnyWrite, Commit, CommitFailed, Committed, FactSet, Remembered
from failpoints import hit
from ledger import DiskTrouble, Ledger
from threads import Boxed, Emit

if TYPE_CHECKING:
    from utils import Clock

ALIVE_S = 5.0
CHECK_S = 3600.0
OWN = 0


class LedgerUnsound(Exception):
    """The hourly check found that the books do not add up."""


class Scribe(Boxed):
    """Opens the ledger in its own thread; `opened` is set when `remembered` (or `fault`) is there.

    A disk that refuses is told of, commit by commit (number 0 for the scribe's own writes); one that fails ends the thread.
    """

    name = "scribe"

    def __init__(self, emit: Emit, data_dir: Path, clock: Clock) -> None:
        super().__init__(emit)
        self.data_dir = data_dir
        self.clock = clock
        self.opened = threading.Event()
        self.remembered: Remembered | None = None

    def run(self) -> None:
        try:
            ledger = Ledger.open(self.data_dir, self.clock.now())
            self.remembered = ledger.remembered()
        finally:
            self.opened.set()
        try:
            self._serve(ledger)
        finally:
            ledger.close()

    def _serve(self, ledger: Ledger) -> None:
        alive_at, check_at = self.clock.now() + ALIVE_S, self.clock.now() + CHECK_S
        while True:
            action = self.next(self.clock.real_seconds(1.0))
            hit("scribe.loop")
            if isinstance(action, Commit):
                self._try(action.commit, ledger.commit, action.writes)
            elif self.stopping.is_set():
                return
            elif self.clock.now() >= alive_at:
                alive_at = self.clock.now() + ALIVE_S
                self._try(OWN, ledger.commit, (FactSet("alive_at", self.clock.now()),))
                self._try(OWN, ledger.snapshot_if_due, self.clock.now())
            elif self.clock.now() >= check_at:
                check_at = self.clock.now() + CHECK_S
                if faults := ledger.check():
                    raise LedgerUnsound("; ".join(faults))

    def _try(self, commit: int, write: Callable[..., object], what: Sequence[AnyWrite] | float) -> None:
        try:
            hit("scribe.before-commit")
            write(what)
            hit("scribe.after-commit")
        except DiskTrouble as trouble:
            if trouble.must_stop:
                raise
            self.emit(CommitFailed(at=self.clock.now(), commit=commit, reason=str(trouble)))
        else:
            if commit or isinstance(what, tuple):
                self.emit(Committed(at=self.clock.now(), commit=commit))
