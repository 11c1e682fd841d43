"""What was done to the venue and by it: every message, every order with every price it had, every event. It only grows.

Rules: a change of an order has a number of its own, so that "at the same time" is exact. `misuses` are requests that a client
should never make; the venue answers them as TWS does and remembers them.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from simulator.tws.messages import Order

KEPT_MESSAGES = 100_000
T = TypeVar("T")


class Received(NamedTuple):
    """A message of a client: monotonic seconds, market seconds, its client id, its number and name, all its fields."""

    at: float
    market_at: float
    client: int
    number: int
    name: str
    fields: list[str]


class Event(NamedTuple):
    """Something that happened to an order or a client: market seconds, what, whose, and one line of words."""

    at: float
    kind: str
    client: int
    ref: str
    words: str


@dataclass
class Record:
    """All of it, and the questions tests ask of it. `heard` is called with every event."""

    messages: deque[Received] = field(default_factory=lambda: deque(maxlen=KEPT_MESSAGES))
    orders: list[Order] = field(default_factory=list)
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=KEPT_MESSAGES))
    misuses: list[str] = field(default_factory=list)
    lines_open: int = 0
    peak_lines: int = 0
    heard: Callable[[Event], None] = lambda _: None
    _prices: list[tuple[str, int | None]] = field(default_factory=list)
    _changes: int = 0
    _told: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    # --- by the venue --------------------------------------------------------------------------------------------------

    def began(self, order: Order) -> None:
        self._changes += 1
        order.first_seen = self._changes
        self.orders.append(order)

    def ended(self, order: Order) -> None:
        self._changes += 1
        order.last_seen = self._changes

    def priced(self, order: Order, at: float) -> None:
        """An order has the limit it has now."""
        order.limits.append((at, order.limit))
        self._prices.append((order.ref, order.limit))

    def line(self, change: int) -> None:
        """Market data lines opened or closed."""
        self.lines_open += change
        self.peak_lines = max(self.peak_lines, self.lines_open)

    def event(self, event: Event) -> None:
        self.events.append(event)
        self.heard(event)
        self.notify()

    def message(self, message: Received) -> None:
        self.messages.append(message)
        self.notify()

    def notify(self) -> None:
        with self._changed:
            self._told += 1
            self._changed.notify_all()

    # --- by whoever asks -----------------------------------------------------------------------------------------------

    def wait_for(self, condition: Callable[[], T], timeout_s: float = 10.0) -> T:
        """Wait until a condition on what happened is true; its value, or TimeoutError."""
        until = time.monotonic() + timeout_s
        while True:
            told = self._told
            if value := condition():  # without the lock: it may ask the venue, which may be telling
                return value
            with self._changed:
                if self._told == told and not self._changed.wait(until - time.monotonic()):
                    raise TimeoutError(f"not seen within {timeout_s:g} s")

    def of(self, ref: str) -> list[Order]:
        """The orders whose ref matches a regular expression, oldest first."""
        return [order for order in self.orders if re.search(ref, order.ref)]

    def limits(self, ref: str = "") -> list[int]:
        """Every limit those orders ever had, in mills, in order of time."""
        return [limit for whose, limit in self._prices if limit is not None and re.search(ref, whose)]

    def peak_live(self, ref: str = "") -> int:
        """The most orders of those refs that were live at the same time."""
        steps = []
        for order in self.of(ref):
            steps.append((order.first_seen, 1))
            if order.last_seen is not None:
                steps.append((order.last_seen, -1))
        peak = live = 0
        for _, change in sorted(steps):
            live += change
            peak = max(peak, live)
        return peak

    def asked(self, name: str) -> list[Received]:
        """The messages of a kind: `order`, `cancel`, `positions` ..."""
        return [message for message in list(self.messages) if message.name == name]

    def counts(self) -> Counter[str]:
        """How many messages of each kind came."""
        return Counter(message.name for message in list(self.messages))

    def peak_rate(self, window_s: float = 1.0) -> int:
        """The most messages of one client within any stretch of so many real seconds."""
        peak = 0
        waiting: dict[int, deque[float]] = {}
        for message in list(self.messages):
            times = waiting.setdefault(message.client, deque())
            times.append(message.at)
            while times[0] <= message.at - window_s:
                times.popleft()
            peak = max(peak, len(times))
        return peak
