"""The one thread that owns the disk: it writes what main hands it, in order, and says when it is durable."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from disk.book import DESK
from disk.ledger import Contradiction, DiskTrouble, Ledger
from edges.edge import Boxed, Emit
from events import (
    AlertChanged,
    AnyWrite,
    Commit,
    CommitFailed,
    Committed,
    FactSet,
    Part,
    PositionMarked,
    Remembered,
    TradeChanged,
)
from failpoints import hit

if TYPE_CHECKING:
    from utils import Clock

ALIVE_S = COPY_S = 5.0
CHECK_S = 3600.0
COMPANY_S = 0.02
OWN = 0


class LedgerUnsound(Exception):
    """The hourly check found that the books do not add up."""


class Scribe(Boxed):
    """Opens the ledger in its own thread; `opened` is set when `remembered` (or `fault`) is there. Copies and checks it in quiet
    seconds without a position: both take the longer the more trades there are, and a SELL's commit must not wait for them.

    A disk that refuses is told of, commit by commit (number 0 for the scribe's own writes), and what it refused is written ahead of
    the next commit, so that nothing is ever written out of order. A disk that fails ends the thread.
    """

    name = "scribe"

    def __init__(self, emit: Emit, data_dir: Path, clock: Clock) -> None:
        super().__init__(emit)
        self.data_dir = data_dir
        self.clock = clock
        self.opened = threading.Event()
        self.remembered: Remembered | None = None
        self._owed: list[Part] = []
        self._copy_at = self._check_at = 0.0

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
        steady = self.clock.steady()
        alive_at, self._copy_at, self._check_at = steady + ALIVE_S, steady + COPY_S, steady + CHECK_S
        while not (self.stopping.is_set() and self._box.empty()):
            action = self.next(self.clock.real_seconds(1.0))
            hit("scribe.loop")
            commits = [] if action is None else self._together(action)
            steady = self.clock.steady()
            if steady >= alive_at:
                alive_at = steady + ALIVE_S
                commits.append(Commit(OWN, (Part(DESK, (FactSet("alive_at", self.clock.now()),)),)))
            if commits:
                self._write(ledger, commits)
            else:
                self._tend(ledger, steady)

    def _together(self, first: Commit) -> list[Commit]:
        """A commit and what waits behind it. One that no alert waits for lets the next catch up, so that a BUY is not behind it."""
        commits = [first]
        until = time.monotonic() + COMPANY_S
        while True:
            patience_s = 0.0 if any(map(is_awaited, commits)) else max(until - time.monotonic(), 0.0)
            action = self.next(patience_s)
            if action is None:
                return commits
            commits.append(action)

    def _write(self, ledger: Ledger, commits: list[Commit]) -> None:
        """What waits together goes into one transaction: the disk takes as long for it as for one commit of them."""
        parts = [*self._owed, *(part for commit in commits for part in commit.parts)]
        try:
            hit("scribe.before-commit")
            refused = ledger.commit(parts)
            hit("scribe.after-commit")
        except Contradiction:
            if len(commits) == 1:
                raise
            for commit in commits:
                self._write(ledger, [commit])
        except DiskTrouble as trouble:
            if trouble.must_stop:
                raise
            self._owed = latest(parts)
            for commit in commits:
                self._tell(commit.commit, trouble)
        else:
            self._owed = []
            for commit in commits:
                self.emit(Committed(at=self.clock.now(), commit=commit.commit, refused=of(commit, refused)))

    def _tend(self, ledger: Ledger, steady: float) -> None:
        """Copy the ledger, or check it, if that is due and no position is open."""
        try:
            if steady < min(self._copy_at, self._check_at) or ledger.holds_position():
                return
            if steady >= self._copy_at:
                self._copy_at = steady + COPY_S
                ledger.snapshot_if_due(self.clock.now())
            else:
                self._check_at = steady + CHECK_S
                if faults := ledger.check():
                    raise LedgerUnsound("; ".join(faults))
        except DiskTrouble as trouble:
            if trouble.must_stop:
                raise
            self._tell(OWN, trouble)

    def _tell(self, commit: int, trouble: DiskTrouble) -> None:
        self.emit(CommitFailed(at=self.clock.now(), commit=commit, reason=str(trouble)))


def of(commit: Commit, refused: dict[str, str]) -> dict[str, str]:
    """What was refused of this commit."""
    return {part.owner: refused[part.owner] for part in commit.parts if part.owner in refused}


def latest(parts: Iterable[Part]) -> list[Part]:
    """The same writes in order, one part for each owner; of those that say how a thing is now, only the last."""
    kept: dict[object, tuple[str, AnyWrite]] = {}
    for number, (owner, write) in enumerate((part.owner, write) for part in parts for write in part.writes):
        match write:
            case AlertChanged(outgoing):
                key: object = ("alert", outgoing.alert.id)
            case PositionMarked(position):
                key = ("mark", position.id)
            case FactSet(name):
                key = ("fact", name)
            case TradeChanged(trade):
                key = ("trade", trade.id)
            case _:
                key = number
        kept.pop(key, None)
        kept[key] = owner, write
    by_owner: dict[str, list[AnyWrite]] = {}
    for owner, write in kept.values():
        by_owner.setdefault(owner, []).append(write)
    return [Part(owner, tuple(writes)) for owner, writes in by_owner.items()]


def is_awaited(commit: Commit) -> bool:
    """Whether an alert leaves as soon as this is durable."""
    rows = (write.outgoing for write in commit.writes if isinstance(write, AlertChanged))
    return any("sending" in (row.outcome, row.fallback) for row in rows)
