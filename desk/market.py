"""The market as the desk hears it: when each symbol last spoke, its last price, and how late its bars come.

It changes in place, for speed: a bar costs a microsecond. What a strategy makes of the bars is in its own windows.
"""

from __future__ import annotations

from collections.abc import Iterable

from contract_selector import SAME_UNDERLYING
from events import Bar, BarClosed, BarsFetched
from market.seconds import APART
from utils import Session

FRESH_CLOSE_S = 10.0
DELAYED_S = 60.0
TOO_YOUNG_S = 2.0
DELAYED_BARS = 10


class Price:
    """The last price of one symbol: the close of its newest bar. One that is more than 2 % off waits until the next agrees."""

    __slots__ = ("close", "doubted", "start", "told")

    def __init__(self) -> None:
        self.start = self.told = 0
        self.close = 0.0
        self.doubted: Bar | None = None

    def take(self, bar: Bar) -> None:
        close = bar.close
        if bar.start <= self.start or not close > 0.0:
            return
        doubted, self.doubted = self.doubted, None
        if not self.close or agree(close, self.close) or (doubted is not None and agree(close, doubted.close)):
            self.start, self.close = bar.start, close
        else:
            self.doubted = bar


def agree(close: float, other: float) -> bool:
    return abs(close - other) <= other * APART


class Market:
    """`basket` are the symbols whose common silence is a stall; `traded` are those whose options strategies hold."""

    def __init__(self, basket: Iterable[str], traded: Iterable[str]) -> None:
        self.basket = frozenset(basket)
        self.traded = frozenset(traded)
        self.session: Session | None = None
        self.heard: dict[str, float] = {}
        self.prices: dict[str, Price] = {}
        self.delay_s = 0.0
        self.heard_delay_s: float | None = None
        self._delayed = 0

    def new_day(self, session: Session | None) -> None:
        self.session = session
        self.heard.clear()
        self.prices.clear()
        self._delayed = 0

    def unheard(self) -> None:
        """When what was heard is not known any more: the clock it was told by was wrong."""
        self.heard.clear()
        self.heard_delay_s = None
        self.delay_s, self._delayed = 0.0, 0

    # --- in ---

    def take_bar(self, event: BarClosed) -> None:
        bar, session = event.bar, self.session
        symbol = bar.symbol
        self.heard[symbol] = event.at
        delay_s = self.heard_delay_s = event.at - bar.start - 1
        if symbol not in self.traded or session is None or not session.open_at <= bar.start < session.close_at:
            return
        price = self.prices.get(symbol)
        if price is None:
            price = self.prices[symbol] = Price()
        if bar.start > price.told:  # history may know it already; a correction of an earlier one may be late
            price.told = bar.start
            self.delay_s = delay_s
            self._delayed = self._delayed + 1 if delay_s > DELAYED_S else 0
        price.take(bar)

    def take_history(self, event: BarsFetched) -> None:
        if event.symbol in self.traded:
            price = self.prices.setdefault(event.symbol, Price())
            for bar in event.bars:
                price.take(bar)

    # --- out ---

    def fresh_close(self, symbol: str, at: float) -> float | None:
        """The last price, if its bar ended at most ten seconds ago, and not in the future."""
        price = self.prices.get(symbol)
        if price is None or not price.close or not -TOO_YOUNG_S <= at - price.start - 1 <= FRESH_CLOSE_S:
            return None
        return price.close

    def apart(self, symbol: str, at: float, underlying: float | None) -> float | None:
        """How far a snapshot's price of the underlying is from the stream's, as a fraction, where that is too far to trust it."""
        close = self.fresh_close(symbol, at)
        if underlying is None or close is None:
            return None
        off = abs(underlying / close - 1)
        return off if off > SAME_UNDERLYING else None

    def silence(self, at: float, since: float) -> float:
        """Seconds since any symbol of the basket was heard, counted from `since` at the earliest."""
        return at - max(since, *self.heard.values()) if self.heard else at - since

    def own_silence(self, symbol: str, at: float, since: float) -> float:
        return at - max(since, self.heard.get(symbol, since))

    def is_in_time(self, at: float) -> bool:
        """Whether the newest bar came as old as bars are, and lately."""
        fresh = any(self.fresh_close(symbol, at) is not None for symbol in self.traded)
        return fresh and -TOO_YOUNG_S <= self.delay_s <= FRESH_CLOSE_S

    @property
    def is_delayed(self) -> bool:
        """Ten new seconds in a row that were a minute old when they came: a plan without real-time data."""
        return self._delayed >= DELAYED_BARS
