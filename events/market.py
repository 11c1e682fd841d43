"""What a market says: bars, quotes, rows of a chain.

Units: `start` is a Unix second (UTC). Option prices are whole mills (1 mill = $0.001, a tenth of a cent); stock prices are dollars.
Volumes are shares or contracts. `contract` is the full ticker, `O:IWM251002C00215000`.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Mills = int
Right = Literal["call", "put"]
Source = Literal["rest", "stream"]


class Bar(Struct, frozen=True, gc=False):
    """One second of one symbol, or one minute. `start` is the Unix second at which it starts; `vwap` is that time's own."""

    symbol: str
    start: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    vwap: float


class Quote(Struct, frozen=True, gc=False):
    """An option's best bid and ask, as quoted at `quoted_at` (None: not said). A side that was not given is None."""

    bid: Mills | None
    ask: Mills | None
    bid_size: int
    ask_size: int
    quoted_at: float | None = None
    delayed: bool = False


class ChainRow(Struct, frozen=True, gc=False):
    """One contract of a chain snapshot. None stands for what the feed did not give; `computed` marks greeks that are ours."""

    contract: str
    right: Right
    strike: Mills
    expiration: str
    shares: int
    quote: Quote | None
    delta: float | None = None
    iv: float | None = None
    computed: bool = False
    volume: int | None = None
    volume_at: float | None = None
    open_interest: int | None = None
    underlying: float | None = None
