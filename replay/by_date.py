"""Trades by date: the P&L of each session and month, the equity over dates beside the underlying bought and held, Sharpe and Sortino.

Money is dollars of one contract, and of `SHARES` shares of the underlying. Both ratios are of the daily P&L in dollars, sessions
without a trade counted as 0, no interest taken off, times the root of 252 (Sharpe 1994; Sortino and van der Meer 1991, with the
downside deviation below 0 over all days). No capital is assumed, so neither is comparable with one of returns on capital.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import accumulate
from math import sqrt

from msgspec import Struct

from replay.paths import Closed, Result
from utils import SHARES, Session

SESSIONS_A_YEAR = 252


class DayTotal(Struct, frozen=True):
    """One session. `equity`: the balance at its end; `held`: the same shares of the underlying since the first open, None unknown."""

    date: date
    signals: int
    trades: int
    wins: int
    pnl: float
    equity: float
    held: float | None


class Month(Struct, frozen=True):
    """`month`: YYYY-MM."""

    month: str
    sessions: int
    signals: int
    trades: int
    wins: int
    pnl: float
    held: float | None


class ByDate(Struct, frozen=True):
    """`sharpe`, `sortino`: of the daily P&L, None where they have no value. `max_drawdown`: of the equity at the sessions' ends."""

    days: list[DayTotal]
    months: list[Month]
    sharpe: float | None
    sortino: float | None
    max_drawdown: float
    best_day: float
    worst_day: float


def by_date(sessions: Sequence[Session], results: Sequence[Result]) -> ByDate:
    """The results of sessions in order, by date."""
    pnl = [sum(trade.pnl for trade in result.trades) / 1000 for result in results]
    first = next((result.prices[0] for result in results if result.prices), None)
    days = []
    for session, result, day, balance in zip(sessions, results, pnl, accumulate(pnl), strict=True):
        wins = sum(trade.pnl > 0 for trade in result.trades)
        held = None if first is None or not result.prices else round((result.prices[1] - first) * SHARES, 2)
        signals, trades = len(result.signals), len(result.trades)
        days.append(DayTotal(session.date, signals, trades, wins, round(day, 3), round(balance, 3), held))
    high = fall = 0.0
    for one in days:
        high = max(high, one.equity)
        fall = max(fall, high - one.equity)
    return ByDate(days, months_of(days), sharpe(pnl), sortino(pnl), round(fall, 3), max(pnl), min(pnl))


def months_of(days: Sequence[DayTotal]) -> list[Month]:
    """The same by month; what was held counts from the end of the month before."""
    found: list[Month] = []
    before: float | None = 0.0
    for name in sorted({f"{day.date:%Y-%m}" for day in days}):
        own = [day for day in days if f"{day.date:%Y-%m}" == name]
        end = own[-1].held
        held = None if end is None or before is None else round(end - before, 2)
        counts = (sum(day.signals for day in own), sum(day.trades for day in own), sum(day.wins for day in own))
        found.append(Month(name, len(own), *counts, round(sum(day.pnl for day in own), 3), held))
        before = end
    return found


def sharpe(pnl: Sequence[float]) -> float | None:
    """Mean over sample standard deviation, times the root of 252. None below two days and where no day differs."""
    if len(pnl) < 2:
        return None
    mean = sum(pnl) / len(pnl)
    deviation = sqrt(sum((value - mean) ** 2 for value in pnl) / (len(pnl) - 1))
    return mean / deviation * sqrt(SESSIONS_A_YEAR) if deviation > 0 else None


def sortino(pnl: Sequence[float]) -> float | None:
    """Mean over the downside deviation below 0, times the root of 252. None below two days and where no day lost."""
    if len(pnl) < 2:
        return None
    below = sqrt(sum(min(value, 0.0) ** 2 for value in pnl) / len(pnl))
    return sum(pnl) / len(pnl) / below * sqrt(SESSIONS_A_YEAR) if below > 0 else None


def error_by_session(groups: Sequence[Sequence[Closed]]) -> float | None:
    """The standard error of the expectancy in dollars, trades of a session taken to hang together (Liang and Zeger 1986).

    Sessions are taken as independent of each other. None where fewer than two of them have a trade.
    """
    traded = [[trade.pnl / 1000 for trade in group] for group in groups if group]
    count = sum(map(len, traded))
    if len(traded) < 2:
        return None
    mean = sum(map(sum, traded)) / count
    off = sum((sum(group) - mean * len(group)) ** 2 for group in traded)
    return sqrt(off * len(traded) / (len(traded) - 1)) / count
