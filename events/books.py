"""What the desk books: a position, and the trade it became. P&L is whole mills (1 mill = $0.001); moments are Unix seconds."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from events.market import Mills, Quote


class Position(Struct, frozen=True):
    """The one open position: assumed bought at `entry`, followed to its exit.

    The owner's side, as far as he told it: bought at `real_entry`, sold already at `real_exit`, or `skipped`.
    """

    id: str
    contract: str
    strike: Mills
    expiration: str
    opened_at: float
    entry: Mills
    entry_quote: Quote
    peak: Mills
    session_close_at: float
    last_mark: Mills | None = None
    last_bid: Mills | None = None
    last_quote_at: float | None = None
    stop_hits: int = 0
    below_since: int | None = None
    real_entry: Mills | None = None
    real_exit: Mills | None = None
    skipped: bool = False
    signal: dict[str, float | str | None] = {}


ExitReason = Literal[
    "time stop", "stop loss", "hard giveback", "VWAP giveback", "VWAP persistence", "shutdown", "by hand", "expired"
]


class Trade(Struct, frozen=True):
    """A closed position, never changed again but for what its owner tells of his own side (`real_*`, `skipped`).

    `pnl` is mills per contract of 100 shares, fees off; None: unresolved.
    """

    id: str
    contract: str
    strike: Mills
    expiration: str
    opened_at: float
    closed_at: float
    entry: Mills
    exit: Mills | None
    entry_quote: Quote
    exit_quote: Quote | None
    peak: Mills
    reason: ExitReason
    detail: str
    fees: Mills
    pnl: Mills | None
    stale: bool = False
    real_entry: Mills | None = None
    real_exit: Mills | None = None
    real_pnl: Mills | None = None
    skipped: bool = False
    signal: dict[str, float | str | None] = {}
