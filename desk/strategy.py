"""What a strategy is: it decides, and the desk keeps the books.

Whatever must stay true while a strategy fails is the desk's: positions, records, the way out. Whatever differs between strategies is
the strategy's. A call that raises costs its strategy that turn, and nobody else anything.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

from msgspec import Struct

from desk.state import Turn
from events import AnyEvent, BarClosed, BarsFetched, FeedConnected, FeedDropped, FeedRefused, Mode, Right
from signals import Gate
from utils import Session


class Stalled(Struct, frozen=True):
    """The whole basket has fallen silent."""


class Restored(Struct, frozen=True):
    """The bar of second `start` ended a stall: what history tells of it later is no news."""

    start: int


class PutRight(Struct, frozen=True):
    """The clock was put right, and has stepped: no remembered moment may lie ahead, and a price comes before a decision."""


MarketEvent = BarClosed | BarsFetched | FeedConnected | FeedDropped | FeedRefused | Stalled | Restored


class ChainWanted(Struct, frozen=True):
    """Today's contracts of one underlying and right, asked for every so many seconds."""

    underlying: str
    right: Right
    every_s: float


class Wants(Struct, frozen=True):
    """What a strategy needs: second bars of `symbols`, options of `underlyings`, their `chains`, and the broker of a mode.

    `prefix` begins its trades' ids where they are made of orders, `SC` of `SC-20261120-1`: by it an order of ours is known again.
    """

    symbols: tuple[str, ...]
    underlyings: tuple[str, ...]
    chains: tuple[ChainWanted, ...] = ()
    mode: Mode | None = None
    prefix: str = ""


class Scene(Struct, frozen=True):
    """Where the underlying stands as a position is closed: its last price while it is fresh, and the VWAP beside it. Dollars."""

    spot: float | None = None
    vwap: float | None = None


class Check(Struct, frozen=True):
    """One thing that an entry will need today: what is wrong with it (None: nothing), and what was found."""

    name: str
    fault: str | None
    found: str = ""
    of: Literal["market", "desk"] = "market"


class Status(Struct, frozen=True):
    """What a strategy has to say of itself now, for people: it is read by the page, the metrics, the morning message.

    `refusal` is why it takes no entry, whatever the bars say; `known` of how many seconds of the session have a bar.
    """

    name: str
    refusal: str | None = None
    gates: tuple[Gate, ...] = ()
    checks: tuple[Check, ...] = ()
    known: tuple[int, int] = (0, 0)


class Strategy(Protocol):
    """One strategy. `memory` is what it remembers at first, a frozen struct whose type reads it off a tape."""

    name: str
    wants: Wants
    memory: Any

    def begin(self, session: Session | None) -> None:
        """Make the day anew; None: there is no session. Called again where a bar could not be taken in: history fills it."""
        ...

    def take(self, event: MarketEvent) -> None:
        """Into the windows; nothing is decided here."""
        ...

    def hear(self, turn: Turn[Any], event: AnyEvent | PutRight) -> None:
        """What is addressed to it, or to all: quotes of its positions, chains, refreshed quotes, time, the end."""
        ...

    def judge(self, turn: Turn[Any]) -> None:
        """Bars came, and all that waited are in: decide on the newest second."""
        ...

    def out_by(self, session: Session) -> float | None:
        """When its positions must be out, as Unix seconds; a little later the desk closes what is left without it."""
        ...

    def scene(self, at: float) -> Scene: ...

    def status(self, turn: Turn[Any]) -> Status: ...
