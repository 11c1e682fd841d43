"""What trades are worth: pure statistics of closed trades, in dollars.

The win rate's interval is Wilson's (1927) at 95 %: it holds for few trades too. Drawdown is of the equity curve by trade.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt

from msgspec import Struct

from replay.paths import Closed
from utils import new_york

Z_95 = 1.959964
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")


class Part(Struct, frozen=True):
    trades: int
    wins: int
    pnl: float


class Worth(Struct, frozen=True):
    """`win_rate` and its interval are fractions, None without trades; `profit_factor` None without a loss; money in dollars."""

    sessions: int
    signals: int
    trades: int
    wins: int
    losses: int
    win_rate: float | None
    win_rate_low: float | None
    win_rate_high: float | None
    pnl: float
    expectancy: float | None
    expectancy_error: float | None
    profit_factor: float | None
    best: float | None
    worst: float | None
    drawdown: float
    mean_hold_s: float | None
    by_reason: dict[str, Part]
    by_hour: dict[str, Part]
    by_weekday: dict[str, Part]


def wilson(wins: int, trades: int) -> tuple[float | None, float | None]:
    """The 95 % interval of a rate (Wilson 1927)."""
    if not trades:
        return None, None
    rate, spread = wins / trades, Z_95 * Z_95 / trades
    middle = (rate + spread / 2) / (1 + spread)
    half = Z_95 * sqrt(rate * (1 - rate) / trades + spread / (4 * trades)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def money(sum_: float | None) -> str:
    """`+$177.00`."""
    return "" if sum_ is None else f"{'-' if sum_ < 0 else '+' if sum_ > 0 else ''}${abs(sum_):,.2f}"


def equity(trades: Sequence[Closed]) -> list[float]:
    """The balance after each trade, in dollars."""
    balance, curve = 0, []
    for trade in trades:
        balance += trade.pnl
        curve.append(balance / 1000)
    return curve


def drawdown(curve: Sequence[float]) -> float:
    """The deepest fall from a high of the balance, which starts at zero; a positive sum."""
    high = deepest = 0.0
    for balance in curve:
        high = max(high, balance)
        deepest = max(deepest, high - balance)
    return deepest


def parts(trades: Sequence[Closed], key: Callable[[Closed], str]) -> dict[str, Part]:
    found: dict[str, list[Closed]] = {}
    for trade in trades:
        found.setdefault(key(trade), []).append(trade)
    return {
        name: Part(len(group), sum(trade.pnl > 0 for trade in group), sum(trade.pnl for trade in group) / 1000)
        for name, group in sorted(found.items())
    }


def worth(trades: Sequence[Closed], sessions: int, signals: int = 0) -> Worth:
    """The worth of trades in the order in which they were closed."""
    count = len(trades)
    pnl = [trade.pnl / 1000 for trade in trades]
    wins = sum(value > 0 for value in pnl)
    low, high = wilson(wins, count)
    by_weekday = parts(trades, lambda trade: WEEKDAYS[new_york(trade.opened_at).weekday()])
    gained, lost = sum(value for value in pnl if value > 0), -sum(value for value in pnl if value < 0)
    mean = sum(pnl) / count if count else None
    error = None
    if mean is not None and count > 1:
        error = sqrt(sum((value - mean) ** 2 for value in pnl) / (count - 1) / count)
    return Worth(
        sessions=sessions,
        signals=signals,
        trades=count,
        wins=wins,
        losses=count - wins,
        win_rate=wins / count if count else None,
        win_rate_low=low,
        win_rate_high=high,
        pnl=sum(trade.pnl for trade in trades) / 1000,
        expectancy=mean,
        expectancy_error=error,
        profit_factor=gained / lost if lost else None,
        best=max(pnl, default=None),
        worst=min(pnl, default=None),
        drawdown=drawdown(equity(trades)),
        mean_hold_s=sum(trade.closed_at - trade.opened_at for trade in trades) / count if count else None,
        by_reason=parts(trades, lambda trade: trade.reason),
        by_hour=parts(trades, lambda trade: f"{new_york(trade.opened_at):%H}:00"),
        by_weekday={name: by_weekday[name] for name in WEEKDAYS if name in by_weekday},
    )
