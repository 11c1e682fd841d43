"""One symbol's seconds of one session, and the rules by which a bar is let in.

There is a place for every second, so that a window of time is a slice and a missing second is a zero. Rules:
- Only bars that start in regular hours count. A second already known is replaced, an unknown older one is filled in: the
  last price never moves back. What is older than every window is dropped.
- A close more than 2 % from the last is held until the next second agrees with it; else it is dropped. The same second sent
  again is no second opinion.
- A second seen live stays as it was whatever REST says of it.

Prices are dollars; a bar is known by the Unix second it starts at. No clock, socket or file.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Literal

from events import Bar
from utils import Session

EQUAL = 1e-7
LONGEST_WINDOW_S = 1200
OPEN = LONGEST_WINDOW_S  # the place of the first second, so that no window starts before the lists do
REFERENCE_MAX_AGE_S = 10
APART = 0.02 + EQUAL

Taken = Literal["new", "corrected", "late", "held", "dropped:outside hours", "dropped:too old", "dropped:malformed"]


class Seconds:
    """The closes of one symbol. `dropped` counts what was refused, by reason; `newest` is the start of the newest bar.

    `changed` are the starts of seconds that were filled in or corrected after they had passed, in the order of the changes.
    """

    __slots__ = ("_closes", "_end", "_held", "_kinds", "_newest", "_zero", "changed", "dropped", "session")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.dropped: dict[str, int] = {}
        self.changed: list[int] = []
        self._zero = session.open_at - OPEN
        self._end = session.close_at - self._zero
        self._closes = [0.0] * self._end
        self._kinds = bytearray(self._end)  # 0: unknown, 1: from history, 2: live
        self._newest = OPEN - 1
        self._held: Bar | None = None

    @property
    def newest(self) -> int | None:
        return self._zero + self._newest if self._kinds[self._newest] else None

    @property
    def last(self) -> float | None:
        """The last price: the close of the newest bar."""
        return self._closes[self._newest] or None

    def closes(self) -> list[float]:
        """The close of each second from the open to the newest bar, 0 where there is none; a copy, for other threads too."""
        return self._closes[OPEN : self._newest + 1]

    def first_from(self, start: int) -> int | None:
        """Start of the first bar at or after `start`; None where there is none yet."""
        places = range(max(start - self._zero, OPEN), self._newest + 1)
        return next((self._zero + place for place in places if self._kinds[place]), None)

    def close_by(self, start: int) -> float | None:
        """The close of the last bar that starts at or before `start`, if it is at most 10 s older."""
        return self._close_at(start - self._zero)

    def _close_at(self, index: int) -> float | None:
        closes = self._closes
        for place in range(min(index, self._end - 1), max(index - REFERENCE_MAX_AGE_S, OPEN) - 1, -1):
            if closes[place]:
                return closes[place]
        return None

    def _sift(self, index: int, bar: Bar) -> Taken:
        """Every way in but the plain one."""
        if not OPEN <= index < self._end:
            return self._drop("outside hours", "dropped:outside hours")
        if index < self._newest - LONGEST_WINDOW_S:
            return self._drop("too old", "dropped:too old")
        if not _well_formed(bar):
            return self._drop("malformed", "dropped:malformed")
        held, self._held = self._held, None
        if held is not None and held.start != bar.start:
            if _agree(bar.close, held.close):
                newest = self._newest
                self._put(held.start - self._zero, held, 2)
                taken = self._put(index, bar, 2)
                return "new" if self._newest > newest else taken
            self._count("disagreed")
        last = self._closes[self._newest]
        if last and not _agree(bar.close, last):
            self._held = bar
            return "held"
        return self._put(index, bar, 2)

    def _put(self, index: int, bar: Bar, kind: int) -> Taken:
        known = self._kinds[index]
        self._closes[index] = bar.close
        self._kinds[index] = kind
        if index > self._newest:
            self._newest = index
            return "new"
        self.changed.append(self._zero + index)
        return "corrected" if known else "late"

    def _drop(self, reason: str, taken: Taken) -> Taken:
        self._count(reason)
        return taken

    def _count(self, reason: str) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1

    def _merge(self, start: int, end: int, bars: Iterable[Bar]) -> None:
        """Put REST's bars where no live one is, in order of time, each judged by the close before it."""
        first, last = max(start - self._zero, OPEN), min(end - self._zero, self._end)
        offered = {bar.start - self._zero: bar for bar in bars}
        price = next((close for close in reversed(self._closes[OPEN:first]) if close), 0.0)
        held: Bar | None = None
        for index in range(first, last):
            bar = offered.get(index) if self._kinds[index] != 2 else None
            if bar is not None and not _well_formed(bar):
                self._count("malformed")
                continue
            close = self._closes[index] if bar is None else bar.close
            if not close:
                continue
            if held is not None and _agree(close, held.close):
                self._put(held.start - self._zero, held, 1)
                price = held.close
            elif held is not None:
                self._count("disagreed")
            held = None
            if bar is not None and price and not _agree(close, price):
                held = bar
                continue
            if bar is not None:
                self._put(index, bar, 1)
            price = close
        if held is not None:
            self._count("disagreed")


def _agree(close: float, other: float) -> bool:
    return abs(close - other) <= other * APART


def _well_formed(bar: Bar) -> bool:
    return 0.0 < bar.close < inf and 0.0 < bar.vwap < inf and 0.0 <= bar.volume < inf
