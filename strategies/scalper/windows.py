"""One symbol as the scalper sees it: its closed minutes, and what runs on over them. Filled in place, for speed; reads no clock."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from events import Bar
from market.indicators import Trend
from market.minutes import Minutes

if TYPE_CHECKING:
    from strategies.scalper.settings import Scalper


class Window:
    """The series of EMA and RSI begins with the bars of earlier sessions and runs on over today's; VWAP begins at the open.

    An index is a bar's place in that series; a place is a minute's number from the open.
    """

    __slots__ = ("_places", "_sums", "_warm_bars", "first_today", "minutes", "trend")

    def __init__(self, settings: Scalper, minutes: Minutes) -> None:
        self.minutes = minutes
        self.trend = Trend(settings.ema_fast, settings.ema_slow, settings.rsi_bars)
        self.first_today = 0
        self._warm_bars = settings.warm_bars
        self._places: list[int] = []
        self._sums: list[tuple[float, float]] = []  # Σ v and Σ v·vw from the open to each bar

    def follow(self) -> None:
        """Take in what has closed, and go over again what a correction changed."""
        minutes = self.minutes
        if minutes.revised < 0:
            self.trend.cut(0)
            for close in [bar.close for bar in minutes.before[-self._warm_bars :]]:
                self.trend.add(close)
            self.first_today = len(self.trend.closes)
        kept = bisect_left(self._places, max(minutes.revised, 0))
        del self._places[kept:], self._sums[kept:]
        self.trend.cut(self.first_today + kept)
        for place in range(max(min(minutes.revised, minutes.closed), 0), minutes.closed):
            bar = minutes.bar(place)
            if bar is not None:
                self._pass(place, bar)
        minutes.revised = minutes.closed

    def _pass(self, place: int, bar: Bar) -> None:
        volume, worth = self._sums[-1] if self._sums else (0.0, 0.0)
        self._places.append(place)
        self._sums.append((volume + bar.volume, worth + bar.volume * bar.vwap))
        self.trend.add(bar.close)

    def index_of(self, place: int) -> int | None:
        """Where the bar of a minute stands in the series; None: it has none."""
        at = bisect_left(self._places, place)
        return self.first_today + at if at < len(self._places) and self._places[at] == place else None

    def vwap(self, index: int) -> float | None:
        """VWAP from the open to a bar of today, dollars; None where nothing was traded."""
        at = index - self.first_today
        if not 0 <= at < len(self._sums):
            return None
        volume, worth = self._sums[at]
        return worth / volume if volume > 0.0 else None

    def has_all(self) -> int:
        """How many bars the series has."""
        return len(self.trend.closes)
