"""The way of an option from its BUY to its SELL, as far as this life of the worker has seen it. Its own chart is drawn from that.

Collected from one View after another, a point a second at most. The newest trades are kept, and of each no more seconds than a
session has.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import risk_manager
from dashboard.view import View
from events import Mills, Position, Quote, Trade

if TYPE_CHECKING:
    from config import Config

COLUMNS = ("t", "bid", "ask", "mark", "stop", "hard", "tight", "peak")
TRADES_KEPT = 20
POINTS_MAX = 23_400

Point = list[float | None]


class Paths:
    """COLUMNS of each trade, in dollars; `t` is Unix seconds. `look` is to be called often: what it does not see is not drawn.

    `config` may be replaced by that of the worker's next life.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self._points: dict[str, list[Point]] = {}
        self._held: Position | None = None
        self._quote_at: float | None = None

    def look(self, view: View) -> None:
        seen = view.held
        if seen is None:
            if self._held is not None:
                self._end(self._held, view.state.trades)
                self._held = None
            return
        held = seen.position
        if self._held is not None and self._held.id != held.id:
            self._end(self._held, view.state.trades)
        if held.id not in self._points:
            self._begin(held)
        if seen.quote is not None and seen.quote_at is not None and (held, seen.quote_at) != (self._held, self._quote_at):
            self._add(held, seen.quote_at, seen.quote)
        self._held, self._quote_at = held, seen.quote_at

    def newest(self) -> list[object] | None:
        """The id of the held option and its newest point; None while none is held."""
        return None if self._held is None else [self._held.id, *self._points[self._held.id][-1]]

    def of(self, trade_id: str) -> dict[str, list[float | None]] | None:
        points = self._points.get(trade_id)
        return None if points is None else {name: [point[place] for point in points] for place, name in enumerate(COLUMNS)}

    def all(self) -> dict[str, dict[str, list[float | None]]]:
        return {trade_id: found for trade_id in self._points if (found := self.of(trade_id)) is not None}

    def _begin(self, held: Position) -> None:
        while len(self._points) >= TRADES_KEPT:
            del self._points[next(iter(self._points))]
        self._points[held.id] = []
        self._add(held, held.opened_at, held.entry_quote)

    def _end(self, held: Position, trades: Sequence[Trade]) -> None:
        trade = next((trade for trade in reversed(trades) if trade.id == held.id), None)
        if trade is not None and trade.exit_quote is not None:
            self._add(held, trade.closed_at, trade.exit_quote)

    def _add(self, held: Position, at: float, quote: Quote) -> None:
        points = self._points[held.id]
        second = int(at)
        if points and points[-1][0] is not None and second <= points[-1][0]:
            second = int(points.pop()[0] or 0)
        elif len(points) >= POINTS_MAX:
            return
        stop, hard, tight = levels(self.config, held)
        prices = (quote.bid, quote.ask, risk_manager.mark(quote), stop, hard, tight, held.peak)
        points.append([second, *(in_dollars(price) for price in prices)])


def levels(config: Config, held: Position) -> tuple[Fraction, Fraction, Fraction]:
    """The marks, in mills, at which the stop loss, the hard giveback and the VWAP giveback fire."""
    return (
        risk_manager.stop_basis(held) * (1 - risk_manager.percent(config.stop_loss_percent)),
        held.peak * (1 - risk_manager.percent(config.max_giveback_percent)),
        held.peak * (1 - risk_manager.percent(config.tighten_giveback_percent)),
    )


def in_dollars(mills: Mills | Fraction | None) -> float | None:
    return None if mills is None else round(float(mills) / 1000, 4)
