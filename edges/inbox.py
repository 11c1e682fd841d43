"""The one door: every thread puts its events here, main takes all that wait together.

Bounded. When it is full, bars that a newer bar of their symbol supersedes make room, are counted and told; nothing else ever does.
"""

from __future__ import annotations

import threading
from collections import Counter, deque

from events import AnyEvent, BarClosed, JunkDropped

LIMIT = 50_000


class Inbox:
    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.shed = self._told = 0
        self._events: deque[AnyEvent] = deque()
        self._lock = threading.Lock()
        self._wake = threading.Event()

    def __len__(self) -> int:
        return len(self._events)

    def put(self, event: AnyEvent) -> None:
        with self._lock:
            if len(self._events) >= self.limit:
                self._make_room()
            self._events.append(event)
        self._wake.set()

    def take(self, timeout_s: float) -> list[AnyEvent]:
        """All that wait, in order of arrival; waits up to `timeout_s` for the first, and may come back with none."""
        self._wake.wait(timeout_s)
        with self._lock:
            self._wake.clear()
            events = list(self._events)
            self._events.clear()
            shed, self._told = self.shed - self._told, self.shed
        if shed:
            events.append(JunkDropped(at=events[-1].at, feed="inbox", counts={"bars that newer ones had superseded": shed}))
        return events

    def _make_room(self) -> None:
        """Keep the newer half of each symbol's bars; the older are superseded, and history can fetch them again."""
        counts = Counter(event.bar.symbol for event in self._events if isinstance(event, BarClosed))
        surplus = {symbol: count // 2 for symbol, count in counts.items()}
        kept: deque[AnyEvent] = deque()
        for event in self._events:
            if isinstance(event, BarClosed) and surplus[event.bar.symbol] > 0:
                surplus[event.bar.symbol] -= 1
                self.shed += 1
            else:
                kept.append(event)
        self._events = kept
