"""What a commit writes, and what a start reads back."""

from __future__ import annotations

from msgspec import Struct

from events.books import Position, Trade
from events.phone import Outgoing


class Write(Struct, frozen=True, tag=True):
    pass


class PositionOpened(Write, frozen=True):
    position: Position


class PositionMarked(Write, frozen=True):
    """The position's moving parts (peak, last mark, runs) as they are now."""

    position: Position


class PositionClosed(Write, frozen=True):
    trade: Trade


class PositionVoided(Write, frozen=True):
    """The BUY never reached anybody: there was no trade."""

    position: Position
    voided_at: float
    reason: str


class TradeVoided(Write, frozen=True):
    """A closed trade whose BUY turned out to have reached nobody: there was no trade, and what it booked is booked back."""

    trade_id: str
    voided_at: float
    reason: str


class AlertChanged(Write, frozen=True):
    """An alert was queued, counted or settled: the outbox row as it is now."""

    outgoing: Outgoing


class FactSet(Write, frozen=True):
    """One remembered value: cooldowns, switches, levels already said."""

    key: str
    value: float | str | None


class Noted(Write, frozen=True):
    """A line of the journal that books nothing: a signal, a near-miss, an operator's word."""

    at: float
    kind: str
    body: dict[str, float | str | None]


AnyWrite = PositionOpened | PositionMarked | PositionClosed | PositionVoided | TradeVoided | AlertChanged | FactSet | Noted


class Remembered(Struct, frozen=True):
    """All that the ledger knows at a start: what the last process knew, to the last commit.

    `trades_opened_on`: by New York date, how many positions were opened, voided ones too: an id is never used again.
    """

    position: Position | None = None
    trades: tuple[Trade, ...] = ()
    outbox: tuple[Outgoing, ...] = ()
    facts: dict[str, float | str | None] = {}
    trades_opened_on: dict[str, int] = {}
    notes: tuple[Noted, ...] = ()
