"""What the day's own trades forbid: counted from the rows of today's session in one mode, so that a restart changes nothing. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from events.orders import BrokerTrade, Mode
from utils import Session, new_york

if TYPE_CHECKING:
    from strategies.scalper.settings import Settings

Code = Literal[
    "stopping", "killed", "wrong_mode", "already_executed", "stale_signal", "window_closed", "discipline", "position_open",
    "too_many_positions", "entry_in_flight", "way_out", "broker", "data", "no_contract", "too_small", "over_cap",
]  # fmt: skip
HELD = ("open", "closing")
REJECTED = "rejected"  # how the reason of a trade begins whose entry its broker would not take


class Refusal(Struct, frozen=True):
    """Why a signal is not executed; of several that hold, the first in the order of `Code` is told."""

    code: Code
    says: str


class Day(Struct, frozen=True):
    """Today's session in one mode. `trades` counts those with a filled contract and, as places taken, working entries.

    `why` ends the day's entries; empty: they go on.
    """

    trades: int = 0
    losses_in_row: int = 0
    rejects_in_row: int = 0
    why: str = ""


def of_today(trades: Iterable[BrokerTrade], session: Session, mode: Mode, strategy: str) -> list[BrokerTrade]:
    """The trades of one strategy and mode that began on the session's date, in the order of their beginning."""
    today = [
        trade
        for trade in trades
        if trade.strategy == strategy and trade.mode == mode and new_york(trade.created_at).date() == session.date
    ]
    return sorted(today, key=lambda trade: (trade.created_at, trade.id))


def day_of(settings: Settings, today: Sequence[BrokerTrade]) -> Day:
    """Four trades, two losses in a row, three rejected entries in a row, whichever comes first."""
    counted = sum(trade.opened_at is not None or trade.state == "entering" for trade in today)
    ended = sorted(
        (trade for trade in today if trade.opened_at is not None and trade.state in ("closed", "unresolved")),
        key=lambda trade: (trade.closed_at or float("inf"), trade.id),
        reverse=True,
    )
    losses = sum(1 for _ in takewhile(is_lost, ended))
    done = [trade for trade in today if trade.state != "entering"]
    rejects = sum(1 for _ in takewhile(is_rejected, reversed(done)))
    why = ""
    if losses >= settings.max_losses:
        why = f"{losses} losses in a row" if losses > 1 else "the last trade lost"
    elif counted >= settings.max_trades:
        why = f"{counted} of {settings.max_trades} trades"
    elif rejects >= settings.max_rejects:
        why = f"{rejects} entries rejected in a row"
    return Day(counted, losses, rejects, why)


def is_lost(trade: BrokerTrade) -> bool:
    """P&L of 0 or less after fees; what is unresolved counts as lost."""
    return trade.pnl is None or trade.pnl <= 0


def is_rejected(trade: BrokerTrade) -> bool:
    """Whether its entry was refused by the broker, and nothing of it filled."""
    return trade.opened_at is None and trade.reason.startswith(REJECTED)


def refusal(settings: Settings, day: Day, open_now: Iterable[BrokerTrade], symbol: str) -> Refusal | None:
    """What forbids an entry in this symbol: the day, a position in it, too many of them, another entry on its way."""
    if day.why:
        return Refusal("discipline", day.why)
    trades = list(open_now)
    held = [trade for trade in trades if trade.state in HELD]
    entering = [trade for trade in trades if trade.state == "entering"]
    if any(trade.underlying == symbol for trade in held):
        return Refusal("position_open", f"a position in {symbol} is open")
    if len(held) >= settings.max_positions:
        return Refusal("too_many_positions", f"{len(held)} of {settings.max_positions} positions are open")
    if entering:
        return Refusal("entry_in_flight", f"an entry in {entering[0].underlying} is on its way")
    return None
