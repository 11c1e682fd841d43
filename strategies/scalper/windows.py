"""One symbol as the scalper sees it: its closed minutes, and what runs on over them. Filled in place, for speed; reads no clock."""

from __future__ import annotations

from bisect import bisect_left
from datetime import date
from typing import TYPE_CHECKING

from events import Bar
from market.indicators import Trend
from market.minutes import Board, Minutes
from market.walls import Snapshots
from signals import above
from utils import Session, new_york

if TYPE_CHECKING:
    from strategies.scalper.settings import Settings

FRESH_CLOSE_S = 10.0
TOO_YOUNG_S = 2.0


class Window:
    """The series of EMA and RSI begins with the bars of earlier sessions and runs on over today's; VWAP begins at the open.

    An index is a bar's place in that series; a place is a minute's number from the open.
    """

    __slots__ = ("_places", "_sums", "_warm_bars", "first_today", "minutes", "trend")

    def __init__(self, settings: Settings, minutes: Minutes) -> None:
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


class Floor:
    """All symbols of one session: their minutes, their windows, the snapshots of their chains."""

    def __init__(self, settings: Settings, session: Session) -> None:
        symbols = (*settings.symbols, settings.benchmark)
        self.session = session
        self.board = Board(symbols, session, settings.bar_grace_seconds)
        self.windows = {symbol: Window(settings, self.board.minutes[symbol]) for symbol in symbols}
        self.snapshots = {symbol: Snapshots() for symbol in settings.symbols}

    def follow(self) -> None:
        for window in self.windows.values():
            window.follow()

    def last_session(self, symbol: str) -> date | None:
        """The date of the session before, by its bars; None while none is known."""
        before = self.board.minutes[symbol].before
        return new_york(before[-1].start).date() if before else None

    def spot(self, symbol: str, at: float) -> float | None:
        """The last price, if its second ended at most ten seconds ago, and not in the future."""
        minutes = self.board.minutes[symbol]
        newest = minutes.newest
        if newest is None or not -TOO_YOUNG_S <= at - newest - 1 <= FRESH_CLOSE_S:
            return None
        return minutes.last

    def short_of_vwap(self, symbol: str, sign: int, at: float) -> str:
        """Why the newest second is not beyond the VWAP of the last closed minute, in a direction; empty where it is."""
        window, price = self.windows[symbol], self.spot(symbol, at)
        vwap = window.vwap(window.has_all() - 1)
        if price is None:
            return f"no price of {symbol} in the last {FRESH_CLOSE_S:.0f} s"
        if vwap is None:
            return "no VWAP yet"
        return "" if above(sign * price, sign * vwap) else f"${price:.2f} is not beyond the VWAP of ${vwap:.2f}"
