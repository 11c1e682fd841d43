"""What the trades add up to, in exact mills; and, as a program, the check, the repair and the export of the ledger.

Everything above `main` is pure. A win is a trade with P&L above zero; every other resolved trade is a loss, one of exactly
$0 included (`flats` says how many those are), so that wins + losses is what the win rate divides by. An unresolved trade has
no P&L: it is counted as such and nowhere else.

    python -m pnl_tracker verify|restore|export [--data-dir DIR] [--json]
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from events import ExitReason, Mills, Position, Quote, Trade
from utils import SHARES


class Record(Struct, frozen=True):
    """The fold of all trades. Money is mills; `win_rate` is a fraction (None before the first resolved trade).

    `streak` is the run that stands: +3 three wins, -2 two losses. `lowest` and `highest` are the extremes of the balance,
    which starts at 0; `max_drawdown` is its deepest fall from a high, as a positive sum.
    """

    balance: Mills = 0
    trades: int = 0
    wins: int = 0
    losses: int = 0
    flats: int = 0
    unresolved: int = 0
    win_rate: float | None = None
    best: Mills | None = None
    worst: Mills | None = None
    streak: int = 0
    longest_win_streak: int = 0
    longest_loss_streak: int = 0
    gross_profit: Mills = 0
    gross_loss: Mills = 0
    lowest: Mills = 0
    highest: Mills = 0
    max_drawdown: Mills = 0

    @property
    def resolved(self) -> int:
        return self.wins + self.losses


def fold(trades: Iterable[Trade]) -> Record:
    """The record of trades in the order in which they were closed."""
    record = Record()
    for trade in trades:
        record = booked(record, trade.pnl)
    return record


def booked(record: Record, pnl: Mills | None) -> Record:
    """`record` with one more trade; `pnl` None is an unresolved one."""
    if pnl is None:
        return replace(record, trades=record.trades + 1, unresolved=record.unresolved + 1)
    won = pnl > 0
    balance = record.balance + pnl
    wins, losses = record.wins + won, record.losses + (not won)
    streak = max(record.streak, 0) + 1 if won else min(record.streak, 0) - 1
    highest = max(record.highest, balance)
    return replace(
        record,
        balance=balance,
        trades=record.trades + 1,
        wins=wins,
        losses=losses,
        flats=record.flats + (pnl == 0),
        win_rate=wins / (wins + losses),
        best=pnl if record.best is None else max(record.best, pnl),
        worst=pnl if record.worst is None else min(record.worst, pnl),
        streak=streak,
        longest_win_streak=max(record.longest_win_streak, streak),
        longest_loss_streak=max(record.longest_loss_streak, -streak),
        gross_profit=record.gross_profit + max(pnl, 0),
        gross_loss=record.gross_loss + min(pnl, 0),
        lowest=min(record.lowest, balance),
        highest=highest,
        max_drawdown=max(record.max_drawdown, highest - balance),
    )


def profit(entry: Mills, exit: Mills, fee: Mills = 0) -> Mills:
    """P&L of one contract bought and sold: (exit - entry) x 100 shares, the fee off each way."""
    return (exit - entry) * SHARES - 2 * fee


def settle(
    position: Position,
    exit: Mills | None,
    *,
    at: float,
    reason: ExitReason,
    detail: str,
    fee: Mills = 0,
    quote: Quote | None = None,
    stale: bool = False,
    real_exit: Mills | None = None,
) -> Trade:
    """The trade that closing `position` at `exit` makes; `exit` None leaves it unresolved. `fee` is per contract and way.

    `quote` is the one that was sold into. The real P&L runs on the owner's own fill, if one was told, and takes the assumed
    exit where only the entry was. ValueError for a negative exit or fee.
    """
    if fee < 0 or (exit is not None and exit < 0):
        raise ValueError("an exit price and a fee are not negative")
    sold = exit if real_exit is None else real_exit
    return Trade(
        id=position.id,
        contract=position.contract,
        strike=position.strike,
        expiration=position.expiration,
        opened_at=position.opened_at,
        closed_at=at,
        entry=position.entry,
        exit=exit,
        entry_quote=position.entry_quote,
        exit_quote=quote,
        peak=position.peak,
        reason=reason,
        detail=detail,
        fees=2 * fee,
        pnl=None if exit is None else profit(position.entry, exit, fee),
        stale=stale,
        real_entry=position.real_entry,
        real_exit=real_exit,
        real_pnl=None if position.real_entry is None or sold is None else profit(position.real_entry, sold, fee),
        signal=position.signal,
    )


def critical_levels(before: Record, after: Record, limit: Mills) -> tuple[Mills, ...]:
    """The levels limit, 2 x limit, ... (limit < 0) to which the balance fell for the first time between two records.

    A level that was reached before, and left again, is not told twice. A limit of 0 tells nothing.
    """
    if limit >= 0:
        return ()
    return tuple(limit * step for step in range(before.lowest // limit + 1, after.lowest // limit + 1))
