"""Indicators of a series of closes: exponential average, relative strength. Pure, and as the field defines them.

EMA: k = 2/(n + 1), seeded with the plain mean of the first n. RSI: Wilder (1978), its averages seeded with plain means of the first
n gains and losses; 50 where there was neither a gain nor a loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

NEITHER = 50.0


class Trend:
    """Two EMAs and the RSI of a growing series; after a correction it is gone over again from there.

    Place by place `closes`, `fast`, `slow` (dollars) and `rsi` (0 to 100); None while there are too few closes.
    """

    __slots__ = ("_averages", "_bars", "_fast_bars", "_slow_bars", "closes", "fast", "rsi", "slow")

    def __init__(self, fast_bars: int, slow_bars: int, rsi_bars: int) -> None:
        self._fast_bars, self._slow_bars, self._bars = fast_bars, slow_bars, rsi_bars
        self.closes: list[float] = []
        self.fast: list[float | None] = []
        self.slow: list[float | None] = []
        self.rsi: list[float | None] = []
        self._averages: list[tuple[float, float]] = []  # of gains and losses, from the place rsi_bars on

    def cut(self, count: int) -> None:
        """Keep the first `count` closes."""
        del self.closes[count:], self.fast[count:], self.slow[count:], self.rsi[count:]
        del self._averages[max(count - self._bars, 0) :]

    def add(self, close: float) -> None:
        self.closes.append(close)
        self.fast.append(_ema(self.fast, self.closes, self._fast_bars))
        self.slow.append(_ema(self.slow, self.closes, self._slow_bars))
        self.rsi.append(self._next_rsi())

    def _next_rsi(self) -> float | None:
        closes, bars = self.closes, self._bars
        if len(closes) <= bars:
            return None
        if not self._averages:
            averages = _plain(closes)
        else:
            change = closes[-1] - closes[-2]
            gain, loss = self._averages[-1]
            averages = (gain * (bars - 1) + max(change, 0.0)) / bars, (loss * (bars - 1) + max(-change, 0.0)) / bars
        self._averages.append(averages)
        gain, loss = averages
        return 100 * gain / (gain + loss) if gain + loss > 0.0 else NEITHER


def _ema(values: Sequence[float | None], closes: Sequence[float], bars: int) -> float | None:
    """The next value of an EMA, of the closes up to the newest."""
    if len(closes) < bars:
        return None
    before = values[-1] if values else None
    if before is None:
        return sum(closes[-bars:]) / bars
    return before + 2 / (bars + 1) * (closes[-1] - before)


def _plain(closes: Sequence[float]) -> tuple[float, float]:
    """Mean gain and mean loss of all steps."""
    steps = [after - before for before, after in pairwise(closes)]
    return sum(max(step, 0.0) for step in steps) / len(steps), sum(max(-step, 0.0) for step in steps) / len(steps)


def ema(closes: Iterable[float], bars: int) -> list[float | None]:
    """The EMA at each close; None before there are `bars` of them."""
    trend = Trend(bars, bars, bars)
    for close in closes:
        trend.add(close)
    return trend.fast


def rsi(closes: Iterable[float], bars: int) -> list[float | None]:
    """Wilder's RSI at each close; None before there are `bars` changes."""
    trend = Trend(bars, bars, bars)
    for close in closes:
        trend.add(close)
    return trend.rsi
