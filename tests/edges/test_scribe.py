"""The scribe: what waits together is written together, every commit is answered, and a busy one still says that it lives."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from disk import ledger
from disk.ledger import Contradiction, DataFolder, DiskTrouble, Ledger, LedgerBusy
from edges.scribe import Scribe, latest
from events import (
    AlertChanged,
    AnyEvent,
    AnyWrite,
    Commit,
    CommitFailed,
    Committed,
    FactSet,
    Part,
    PositionMarked,
    PositionOpened,
    Remembered,
)
from tests.kit.books import OPENED_AT, a_position, an_alert, closing, opening, whole
from tests.kit.ears import Ears


class StepClock:
    """A clock that goes some seconds further whenever it is read."""

    def __init__(self, step_s: float = 6.0) -> None:
        self.at = OPENED_AT
        self.step_s = step_s

    def now(self) -> float:
        self.at += self.step_s
        return self.at

    def steady(self) -> float:
        return self.now()

    def moved(self) -> float:
        return 0.0

    def wall(self) -> float:
        return self.at

    def real_seconds(self, seconds: float) -> float:
        return min(seconds, 0.05)

    def confirm(self) -> None:
        pass


@pytest.fixture
def transactions(monkeypatch: pytest.MonkeyPatch) -> list[tuple[AnyWrite, ...]]:
    """What the ledger was asked to write, call by call."""
    asked: list[tuple[AnyWrite, ...]] = []
    commit = Ledger.commit

    def noted(self: Ledger, parts: Sequence[Part]) -> dict[str, str]:
        asked.append(tuple(write for part in parts for write in part.writes))
        return commit(self, parts)

    monkeypatch.setattr(Ledger, "commit", noted)
    return asked


def life(folder: Path, *commits: Commit) -> tuple[Scribe, list[AnyEvent]]:
    """A scribe's whole life: these commits wait for it when it begins, and it is told to stop behind them."""
    heard: list[AnyEvent] = []
    with DataFolder(folder).lock():
        scribe = Scribe(heard.append, folder, StepClock())
        for commit in commits:
            scribe.put(commit)
        scribe.stop()
        scribe.start()
        scribe.join(10.0)
    assert not scribe.is_alive
    return scribe, heard


def answered(heard: list[AnyEvent]) -> list[int]:
    return [event.commit for event in heard if isinstance(event, Committed) and event.commit]


def remembered(folder: Path) -> Remembered:
    _, found = ledger.read(folder, OPENED_AT + 3600)
    assert found is not None
    return found


def facts(*numbers: int) -> list[Commit]:
    return [Commit(number, whole((FactSet(f"fact {number}", float(number)),))) for number in numbers]


def test_what_waits_together_is_one_transaction_and_each_commit_is_answered(
    tmp_path: Path, transactions: list[tuple[AnyWrite, ...]]
) -> None:
    """A BUY does not wait for the disk once more for each commit ahead of it."""
    _, heard = life(tmp_path, *facts(1, 2, 3))
    assert answered(heard) == [1, 2, 3]
    together = [writes for writes in transactions if FactSet("fact 1", 1.0) in writes]
    assert len(together) == 1
    assert FactSet("fact 3", 3.0) in together[0]
    assert remembered(tmp_path).facts["fact 2"] == 2.0


def test_what_no_alert_waits_for_lets_the_buy_catch_up_and_the_buy_waits_for_nobody(
    tmp_path: Path, transactions: list[tuple[AnyWrite, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal's commit comes some milliseconds before its BUY's; a slow disk would make the BUY wait for both."""
    monkeypatch.setattr("edges.scribe.COMPANY_S", 60.0)
    position, (signal,) = a_position(), facts(1)
    buy = AlertChanged(replace(an_alert("BUY", position), outcome="sending", attempts=1))
    ears = Ears()
    with DataFolder(tmp_path).lock():
        scribe = Scribe(ears, tmp_path, StepClock())
        scribe.start()
        scribe.opened.wait(10.0)
        scribe.put(signal)
        scribe.put(Commit(2, whole((PositionOpened(position), buy))))
        ears.wait_for(Committed, 2)
        scribe.stop()
        scribe.join(10.0)
    assert len([writes for writes in transactions if signal.writes[0] in writes]) == 1


def test_nothing_long_is_done_while_a_position_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy or a check of a ledger of years takes seconds, and a SELL would wait for it."""
    position, looks, copied = a_position(), threading.Semaphore(0), threading.Event()
    holds, copy = Ledger.holds_position, Ledger.snapshot_if_due

    def looked(self: Ledger) -> bool:
        looks.release()
        return holds(self)

    def noted(self: Ledger, now: float) -> Path | None:
        copied.set()
        return copy(self, now)

    monkeypatch.setattr(Ledger, "holds_position", looked)
    monkeypatch.setattr(Ledger, "snapshot_if_due", noted)
    ears = Ears()
    with DataFolder(tmp_path).lock():
        scribe = Scribe(ears, tmp_path, StepClock(1.0))
        scribe.put(Commit(1, whole(opening(position))))
        scribe.start()
        for _ in range(4):
            assert looks.acquire(timeout=10.0)
        assert not copied.is_set()
        scribe.put(Commit(2, whole(closing(position))))
        assert copied.wait(10.0)
        scribe.stop()
        scribe.join(10.0)


def test_a_ledger_that_cannot_be_looked_at_for_a_moment_ends_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = threading.Semaphore(0)

    def busy(self: Ledger) -> bool:
        looks.release()
        raise LedgerBusy("The ledger is held by another program")

    monkeypatch.setattr(Ledger, "holds_position", busy)
    ears = Ears()
    with DataFolder(tmp_path).lock():
        scribe = Scribe(ears, tmp_path, StepClock(1.0))
        scribe.start()
        for _ in range(2):
            assert looks.acquire(timeout=10.0)
        assert scribe.is_alive
        assert ears.wait_for(CommitFailed).reason.startswith("The ledger is held")
        scribe.stop()
        scribe.join(10.0)
    assert scribe.fault is None


def test_all_that_waits_is_written_before_it_ends(tmp_path: Path) -> None:
    position = a_position()
    life(tmp_path, Commit(1, whole(opening(position))), Commit(2, whole(closing(position))))
    assert [trade.id for trade in remembered(tmp_path).trades] == [position.id]


def test_a_commit_that_contradicts_the_ledger_takes_none_of_those_ahead_of_it_along(tmp_path: Path) -> None:
    never_opened = Commit(2, whole((PositionMarked(a_position()),)))
    scribe, heard = life(tmp_path, *facts(1), never_opened)
    assert isinstance(scribe.fault, Contradiction)
    assert answered(heard) == [1]
    assert remembered(tmp_path).facts["fact 1"] == 1.0


def test_a_disk_that_refuses_is_told_of_commit_by_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Ledger, parts: Sequence[Part]) -> None:
        raise DiskTrouble("the disk is full")

    monkeypatch.setattr(Ledger, "commit", full)
    scribe, heard = life(tmp_path, *facts(1, 2))
    assert scribe.fault is None
    assert [event.commit for event in heard if isinstance(event, CommitFailed) and event.commit] == [1, 2]
    assert not answered(heard)


@pytest.fixture
def refusals(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The disk refuses as many commits as there are faults in this list."""
    faults = ["the disk is full"]
    commit = Ledger.commit

    def now_and_then(self: Ledger, parts: Sequence[Part]) -> dict[str, str]:
        if faults:
            raise DiskTrouble(faults.pop())
        return commit(self, parts)

    monkeypatch.setattr(Ledger, "commit", now_and_then)
    return faults


@pytest.mark.fault("X04")
def test_what_the_disk_refused_is_written_ahead_of_what_comes_later(tmp_path: Path, refusals: list[str]) -> None:
    """Else an older peak would be written over a newer one, or a mark of a position that was never opened end the worker."""
    position, ears = a_position(), Ears()
    with DataFolder(tmp_path).lock():
        scribe = Scribe(ears, tmp_path, StepClock())
        scribe.start()
        scribe.put(Commit(1, whole(opening(position))))
        ears.wait_for(CommitFailed)
        scribe.put(Commit(2, whole((PositionMarked(replace(position, peak=1500)),))))
        ears.wait_for(Committed)
        scribe.stop()
        scribe.join(10.0)
    assert scribe.fault is None
    found = remembered(tmp_path).position
    assert found is not None
    assert found.peak == 1500


@pytest.mark.fault("X04")
def test_what_the_disk_refused_is_written_though_nothing_more_comes(tmp_path: Path, refusals: list[str]) -> None:
    refusals += ["the disk is full"] * 3
    ears = Ears()
    with DataFolder(tmp_path).lock():
        scribe = Scribe(ears, tmp_path, StepClock())
        scribe.start()
        scribe.put(facts(1)[0])
        ears.wait_for(Committed)
        scribe.stop()
        scribe.join(10.0)
    assert remembered(tmp_path).facts["fact 1"] == 1.0


def test_a_disk_that_refuses_for_hours_is_owed_no_more_than_how_things_are_now() -> None:
    position = a_position()
    marks = [PositionMarked(replace(position, peak=1405 + step)) for step in range(1000)]
    facts_ = (commit.writes[0] for commit in facts(1, 1, 2))
    kept = newest([*opening(position), *marks, *facts_, *closing(position)])
    assert [write for write in kept if isinstance(write, PositionMarked)] == marks[-1:]
    assert kept[0] == PositionOpened(position)
    assert len(kept) == len(opening(position)) + 1 + 2 + len(closing(position)) - repeated(
        opening(position), closing(position)
    )


def repeated(first: Sequence[AnyWrite], later: Sequence[AnyWrite]) -> int:
    return len(first) + len(later) - len(newest([*first, *later]))


def newest(writes: Sequence[AnyWrite]) -> tuple[AnyWrite, ...]:
    (part,) = latest(whole(writes))
    return part.writes


def test_a_scribe_that_is_never_idle_says_that_it_lives(tmp_path: Path) -> None:
    """A held position is a commit a second: the next life must not think that this one ended with its first quote."""
    life(tmp_path, *facts(1, 2, 3))
    alive_at = remembered(tmp_path).facts["alive_at"]
    assert isinstance(alive_at, float)
    assert alive_at > OPENED_AT
