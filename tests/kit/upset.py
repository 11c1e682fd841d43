"""The worker as it is, but ready to fail at a signal, with secrets in its hands. Run in the place of main.py.

What a signal asks for happens at the next turn of the main loop, so that it is always the same place that fails.
SIGUSR1: a thread ends by an exception, and one is raised where nobody can hear it. SIGUSR2: the main thread ends by one.
SIGALRM: the main thread hangs for good, with the log's lock; the watchdog then waits for a second, not for thirty.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

import main  # noqa: E402

KEPT = {name: os.environ[name] for name in ("POLYGON_API_KEY", "PUSHOVER_TOKEN", "DASHBOARD_TOKEN")}


class Unraisable:
    def __del__(self) -> None:
        raise ValueError("in the end: " + " ".join(KEPT.values()))


def fail(where: str) -> None:
    """A chain of exceptions with secrets in its words, its notes, its arguments and the variables around it."""
    key, token, both = KEPT["POLYGON_API_KEY"], KEPT["DASHBOARD_TOKEN"], dict(KEPT)
    try:
        raise ConnectionError(f"GET https://api.massive.com/v3?apiKey={key} refused", both)
    except ConnectionError as fault:
        fault.add_note(f"Authorization: Bearer {token}")
        raise RuntimeError(f"{where} failed with {both!r}") from fault


def in_a_thread() -> None:
    threading.Thread(target=fail, args=("a thread",), name="upset").start()
    Unraisable()


def in_main() -> None:
    fail("the main thread")


def hang() -> None:
    key = KEPT["POLYGON_API_KEY"]
    main.STUCK_S = 1.0
    with logging.getLogger().handlers[0].lock:
        time.sleep(600.0 + 0.0 * len(key))


asked: deque[Callable[[], None]] = deque()
genuine = main.hit


def hit(name: str) -> None:
    genuine(name)
    if name == "main.loop" and asked:
        asked.popleft()()


main.hit = hit
for number, what in ((signal.SIGUSR1, in_a_thread), (signal.SIGUSR2, in_main), (signal.SIGALRM, hang)):
    signal.signal(number, lambda *_, what=what: asked.append(what))
sys.exit(main.main(sys.argv[1:]))
