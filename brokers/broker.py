"""What a broker is: calls that end within a deadline, each of which says what is known and never guesses. It decides nothing."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from events import (
    AnyEvent,
    CancelAnswered,
    Mode,
    Order,
    OrderAnswered,
    OrderSeen,
    PreviewArrived,
    Quote,
    SnapshotTaken,
)


class Can(Struct, frozen=True):
    """What a broker can do: say what an order would cost, take orders of several legs, give quotes, tell fills by itself."""

    preview: bool
    combos: bool
    sells_quotes: bool
    tells_fills: bool


class Broker(Protocol):
    """One account at one broker, used by one thread. Nothing is ever sent twice by it.

    Calls raise TryAgain or Refused as everywhere on the wire where there is no answer; `place` and `cancel` never do: what became of
    an order is in their answer, and `unknown` where nobody knows.
    """

    mode: Mode
    can: Can

    def open(self) -> None:
        """Make the link. TryAgain or Refused says why not."""
        ...

    def close(self) -> None: ...

    def place(self, order: Order) -> OrderAnswered: ...

    def cancel(self, ref: str, broker_id: str) -> CancelAnswered: ...

    def find(self, ref: str) -> OrderSeen:
        """The order under our own ref, asked for afresh; None in it where the broker says that there is none."""
        ...

    def preview(self, order: Order) -> PreviewArrived: ...

    def snapshot(self, since: float) -> SnapshotTaken:
        """Orders and executions since a moment, positions, account; incomplete, with its reason, where not all was told in time."""
        ...

    def show(self, contract: str, quote: Quote, at: float) -> None:
        """A quote that is trusted; only a broker that fills by quotes heeds it."""
        ...

    def wait(self) -> list[AnyEvent]:
        """What came by itself since the last call. TryAgain where the link is lost."""
        ...
