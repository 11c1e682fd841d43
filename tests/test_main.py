"""The start of a worker's life, without its threads."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

import main
from config import Config
from events import (
    AlertKind,
    AnyAction,
    AnyEvent,
    Commit,
    Committed,
    Explain,
    HalfSecondPassed,
    QuoteFailed,
    Remembered,
    Watch,
    WorkerStarted,
)
from main import OK, Worker
from strategies.registry import build
from tests.kit.books import a_position, an_alert
from utils import SystemClock

KEYS = {"POLYGON_API_KEY": "k" * 20, "PUSHOVER_TOKEN": "a" * 30, "PUSHOVER_USER_KEY": "u" * 30}


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    kept = {name: signal.getsignal(name) for name in main.STOP_SIGNALS}
    yield
    for name, handler in kept.items():
        signal.signal(name, handler)


def test_the_day_has_begun_before_any_thread_can_say_something(tmp_path: Path) -> None:
    """Else the first chain could come before the day whose chain it is, and the next one is ten seconds away."""

    class Mute(Worker):
        waiting: tuple[AnyEvent, ...] = ()

        def _make_edges(self) -> None:
            self.waiting = tuple(self.inbox.take(0.0))
            self.exit_code = OK

    worker = Mute(Config.from_env({**KEYS, "DATA_DIR": str(tmp_path)}), SystemClock())
    assert worker.run() == OK
    assert [type(event) for event in worker.waiting] == [WorkerStarted]


def test_an_event_that_the_desk_cannot_decide_takes_none_of_those_beside_it_along(tmp_path: Path) -> None:
    """A commit whose answer were lost with it would keep its SELL unsaid for ever."""
    clock = SystemClock()
    worker = Worker(Config.from_env({**KEYS, "DATA_DIR": str(tmp_path), "TAPE": "off"}), clock)
    worker.desk = build(worker.config, worker.calendar, Remembered())
    decided: list[AnyEvent] = []

    def fail(turn: object, event: AnyEvent) -> None:
        raise ZeroDivisionError

    worker.desk._handlers[QuoteFailed] = fail
    worker.desk._handlers[Committed] = lambda turn, event: decided.append(event)
    now = clock.now()
    worker._decide([Committed(at=now, commit=1), QuoteFailed(at=now, contract="X", reason=""), Committed(at=now, commit=2)])
    assert [event.commit for event in decided[-2:]] == [1, 2]  # type: ignore[union-attr]
    assert [type(fault.raised) for fault in worker.desk.faults] == [ZeroDivisionError]


def test_a_commit_is_on_its_way_before_the_log_has_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(Config.from_env({**KEYS, "DATA_DIR": str(tmp_path), "TAPE": "off"}), SystemClock())
    worker.desk = build(worker.config, worker.calendar, Remembered())
    entry, watch, commit = Explain("info", "ENTRY"), Watch(("O:IWM261120C00240000",)), Commit(1, ())
    monkeypatch.setattr(worker.desk, "decide", lambda events: [entry, watch, commit])
    handed: list[AnyAction] = []
    monkeypatch.setattr(worker, "_hand_over", handed.append)
    worker._decide([HalfSecondPassed(at=worker.clock.now())])
    assert handed == [commit, watch, entry]


@pytest.mark.fault("X19")
def test_a_long_wait_before_the_start_is_no_loop_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watchdog ended it at its first look, and each end made the next wait longer."""
    ends: list[int] = []
    monkeypatch.setattr(os, "_exit", ends.append)

    class Waiting(Worker):
        def _wait_after_crashes(self, remembered: Remembered) -> None:
            self.beat_at -= 100.0

        def _make_edges(self) -> None:
            self.exit_code = OK

    assert Waiting(Config.from_env({**KEYS, "DATA_DIR": str(tmp_path)}), SystemClock()).run() == OK
    for thread in threading.enumerate():
        if thread.name == "watchdog":
            thread.join(10.0)
    assert ends == []


@pytest.mark.fault("X19", "P11")
@pytest.mark.parametrize("kind", ["SELL", "OPS"])
def test_after_many_crashes_a_sell_that_is_owed_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: AlertKind
) -> None:
    monkeypatch.setattr(main, "CRASH_PAUSE_MAX_S", 0.01)
    worker = Worker(Config.from_env({**KEYS, "DATA_DIR": str(tmp_path)}), SystemClock())
    waited: list[float] = []
    monkeypatch.setattr(worker.ended, "wait", waited.append)
    owed = replace(an_alert(kind, a_position()), outcome="failed", attempts=3)
    worker._wait_after_crashes(Remembered(facts={"crashes": 9.0, "running_since": 1.0}, outbox=(owed,)))
    assert bool(waited) is (kind != "SELL")
