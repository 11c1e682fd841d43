"""What the strategy remembers from one turn to the next."""

from __future__ import annotations

from msgspec import Struct

from contract_selector import Selection
from events import ChainRow
from signals import Reading


class Seeking(Struct, frozen=True):
    """A signal was seen; fresh quotes of the tracked contracts were asked for under `ticket`."""

    ticket: int
    since: float
    reading: Reading


class Chain(Struct, frozen=True):
    """The newest calls of today, and which of them are tracked. `apart_since`: they go by another price of the underlying."""

    received_at: float
    asked_at: float
    rows: tuple[ChainRow, ...]
    selection: Selection
    apart_since: float | None = None


class Memory(Struct, frozen=True):
    """`judged` is the start of the newest second that was judged; `skew` is in points of IV, as of
    `skew_at`; `puts` came before there were calls."""

    seeking: Seeking | None = None
    chain: Chain | None = None
    puts: tuple[ChainRow, ...] = ()
    skew: float | None = None
    skew_at: float = 0.0
    last_signal_at: float | None = None
    judged: int = 0
