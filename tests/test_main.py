"""The start of a worker's life, without its threads."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from config import Config
from events import AnyEvent, WorkerStarted
from main import OK, Worker
from utils import SystemClock

KEYS = {"POLYGON_API_KEY": "k" * 20, "PUSHOVER_TOKEN": "a" * 30, "PUSHOVER_USER_KEY": "u" * 30}


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    kept = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT)}
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
