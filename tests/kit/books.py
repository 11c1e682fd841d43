"""Positions, trades and alerts to write into a ledger, and a day's worth of commits drawn by lot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random

from msgspec.structs import replace

from events import (
    Alert,
    AlertChanged,
    AlertKind,
    AnyWrite,
    FactSet,
    Noted,
    Outgoing,
    Part,
    Position,
    PositionClosed,
    PositionMarked,
    PositionOpened,
    PositionVoided,
    Quote,
    Trade,
)
from pnl_tracker import settle

OPENED_AT = 1_759_416_000.0  # 2025-10-02 10:40:00 New York
QUOTE = Quote(bid=1390, ask=1420, bid_size=35, ask_size=40, quoted_at=OPENED_AT)


def a_position(name: str = "T1", at: float = OPENED_AT, entry: int = 1430) -> Position:
    return Position(
        id=name,
        contract="O:IWM251002C00215000",
        strike=215_000,
        expiration="2025-10-02",
        opened_at=at,
        entry=entry,
        entry_quote=QUOTE,
        peak=1405,
        session_close_at=OPENED_AT + 19_200,
        signal={"z": 1.8, "rel_volume": 1.9, "skew": None},
    )


def an_alert(kind: AlertKind, position: Position, at: float | None = None) -> Outgoing:
    when = position.opened_at if at is None else at
    return Outgoing(Alert(f"{position.id}-{kind}", kind, f"🔥 {kind}", "Entry ~$1.43", 1, when, trade_id=position.id))


def opening(position: Position) -> tuple[AnyWrite, ...]:
    return PositionOpened(position), AlertChanged(an_alert("BUY", position)), FactSet("last_signal_at", position.opened_at)


def a_trade(position: Position, exit: int | None = 1500, at: float | None = None) -> Trade:
    when = position.opened_at + 60 if at is None else at
    return settle(position, exit, at=when, reason="hard giveback", detail="Giveback 31.2%", quote=QUOTE)


def closing(position: Position, exit: int | None = 1500, at: float | None = None) -> tuple[AnyWrite, ...]:
    trade = a_trade(position, exit, at)
    return (
        PositionClosed(trade),
        AlertChanged(an_alert("SELL", position, trade.closed_at)),
        FactSet("last_exit_at", trade.closed_at),
    )


def delivered(outgoing: Outgoing, at: float) -> AlertChanged:
    return AlertChanged(replace(outgoing, outcome="delivered", attempts=outgoing.attempts + 1, settled_at=at))


def commits(random: Random, number: int) -> Iterator[tuple[AnyWrite, ...]]:
    """A worker's commits: positions opened, followed, closed or voided, alerts counted and delivered, facts and notes."""
    position: Position | None = None
    pending: list[Outgoing] = []
    for count in range(number):
        at = OPENED_AT + count
        lot = random.random()
        if position is None and lot < 0.4:
            position = a_position(f"T{count}", at, entry=random.randrange(300, 2000))
            pending.append(an_alert("BUY", position))
            yield (*opening(position), Noted(at, "signal", {"slope": random.random(), "why": "x" * random.randrange(2000)}))
        elif position is not None and lot < 0.5:
            position = replace(position, peak=position.peak + 10, last_mark=random.randrange(3000), stop_hits=count)
            yield (PositionMarked(position),)
        elif position is not None and lot < 0.7:
            pending.append(an_alert("SELL", position, at))
            yield closing(position, random.randrange(3000), at)
            position = None
        elif position is not None and lot < 0.75:
            yield (PositionVoided(position, at, "never announced"),)
            position = None
        elif pending:
            first = pending.pop(0)
            yield (delivered(first, at), FactSet("quota_left", float(count)))
        else:
            yield (FactSet("alive_at", at),)


def whole(writes: Iterable[AnyWrite]) -> tuple[Part, ...]:
    """Writes of the desk itself, as one part of a commit."""
    return (Part("desk", tuple(writes)),)
