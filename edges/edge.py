"""The edge threads: each has one job, its own connections and a box; none of them decides.

An edge ends when it is told to. One that ends by itself, or shows no sign of life, is replaced by a fresh one; the scribe is not: who
cannot write any more must not go on.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from events import (
    AnyEvent,
)

if TYPE_CHECKING:
    pass

Emit = Callable[[AnyEvent], None]

STUCK_S = 30.0
PUTS_POLL_S = 60.0
JUNK_EVERY_S = 60.0
CHAIN_AHEAD_S = 600.0


class Edge:
    """One thread's life. `run` returns when `stopping` is set; it shows that it lives by calling `beat`."""

    name = "edge"
    is_spare = False  # the worker can do without it: that it ends again and again is no reason to end too

    def __init__(self, emit: Emit) -> None:
        self.emit = emit
        self.stopping = threading.Event()
        self.fault: BaseException | None = None
        self.beat_at = time.monotonic()
        self._thread = threading.Thread(target=self._live, name=self.name, daemon=True)

    def start(self) -> None:
        self.beat()
        self._thread.start()

    def beat(self) -> None:
        self.beat_at = time.monotonic()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def is_stuck(self) -> bool:
        return time.monotonic() - self.beat_at > STUCK_S

    def stop(self) -> None:
        self.stopping.set()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def put(self, action: Any, rank: int = 0) -> None:
        """Something to do, for the edges that are told."""

    def inherit(self, other: Edge) -> None:
        """Take over from the edge that this one replaces."""

    def _live(self) -> None:
        try:
            self.run()
        except BaseException as fault:  # whatever ended it, the supervisor must know: SystemExit ends a thread in silence
            self.fault = fault

    @abstractmethod
    def run(self) -> None: ...


class Boxed(Edge):
    """An edge that waits for what is put into its box, the most urgent first."""

    def __init__(self, emit: Emit) -> None:
        super().__init__(emit)
        self._box: queue.PriorityQueue[tuple[int, int, Any]] = queue.PriorityQueue()
        self._count = itertools.count()

    def put(self, action: Any, rank: int = 0) -> None:
        self._box.put((rank, next(self._count), action))

    def stop(self) -> None:
        super().stop()
        self._box.put((99, next(self._count), None))

    def next(self, timeout_s: float) -> Any:
        """The next thing to do, or None."""
        self.beat()
        try:
            return self._box.get(timeout=min(timeout_s, STUCK_S / 6))[2]
        except queue.Empty:
            return None

    def inherit(self, other: Edge) -> None:
        """Take over what still waits in the box of the edge that this one replaces."""
        assert isinstance(other, Boxed)
        with suppress(queue.Empty):
            while True:
                rank, _, action = other._box.get_nowait()
                if action is not None:
                    self.put(action, rank)
