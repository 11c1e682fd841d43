"""What a commit writes, and what a start reads back."""

from __future__ import annotations

from msgspec import Struct

from events.books import Position, Trade
from events.orders import BrokerTrade, Fill, Order
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


class TradeBegun(Write, frozen=True):
    """A trade made of orders, in the same commit as its first order."""

    trade: BrokerTrade


class TradeChanged(Write, frozen=True):
    """Its moving parts (state, memo) as they are now."""

    trade: BrokerTrade


class TradeEnded(Write, frozen=True):
    """Nothing of it is held and no order of it can be filled; or it is unresolved, and later again when that is known."""

    at: float
    trade: BrokerTrade


class OrderPlanned(Write, frozen=True):
    """The intent: durable before an entry leaves."""

    order: Order


class OrderChanged(Write, frozen=True):
    at: float
    order: Order


class FillBooked(Write, frozen=True):
    """One execution of a trade, by its root and revision."""

    at: float
    trade_id: str
    fill: Fill


AnyWrite = (
    PositionOpened
    | PositionMarked
    | PositionClosed
    | PositionVoided
    | TradeVoided
    | AlertChanged
    | FactSet
    | Noted
    | TradeBegun
    | TradeChanged
    | TradeEnded
    | OrderPlanned
    | OrderChanged
    | FillBooked
)


class Part(Struct, frozen=True):
    """What one owner, the desk or a strategy, writes in a commit: all of it, or none."""

    owner: str
    writes: tuple[AnyWrite, ...]


class Remembered(Struct, frozen=True):
    """All that the ledger knows at a start: what the last process knew, to the last commit.

    `trades_opened_on`: by New York date, how many positions were opened, voided ones too: an id is never used again. `assumed` are the
    open positions of strategies other than vwap, by strategy. Of trades made of orders: the open ones, all that ended, the orders
    that are kept, and the fills of the open ones and of a few days, by trade.
    """

    position: Position | None = None
    trades: tuple[Trade, ...] = ()
    outbox: tuple[Outgoing, ...] = ()
    facts: dict[str, float | str | None] = {}
    trades_opened_on: dict[str, int] = {}
    notes: tuple[Noted, ...] = ()
    assumed: tuple[tuple[str, Position], ...] = ()
    broker_trades: tuple[BrokerTrade, ...] = ()
    broker_ended: tuple[BrokerTrade, ...] = ()
    orders: tuple[Order, ...] = ()
    fills: tuple[tuple[str, Fill], ...] = ()
