"""How many requests a second the worker makes of the feed, all its threads together; what an exit needs never waits."""

from __future__ import annotations

import threading
import time

PER_SECOND = 80.0  # the feed recommends to stay below a hundred
BURST = 80.0
KEPT_FOR_EXITS = 20.0
WAIT_S = 0.02


class Budget:
    """A bucket that refills. What is not urgent waits while no more is left than is kept for exits."""

    def __init__(self, per_second: float = PER_SECOND, burst: float = BURST, kept: float = KEPT_FOR_EXITS) -> None:
        self._per_second, self._burst, self._kept = per_second, burst, kept
        self._left = burst
        self._at = time.monotonic()
        self._lock = threading.Lock()

    def take(self, *, urgent: bool, patience_s: float) -> bool:
        """Take the place of one request; False if there was none within `patience_s`. An urgent one has one at once, always."""
        until = time.monotonic() + patience_s
        while True:
            with self._lock:
                now = time.monotonic()
                self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
                self._at = now
                if urgent or self._left >= self._kept + 1:
                    self._left = max(self._left - 1, 0.0)
                    return True
            if now >= until:
                return False
            time.sleep(WAIT_S)
