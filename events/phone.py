"""What the phone is told, and what became of it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

AlertKind = Literal["BUY", "SELL", "BLIND", "CRITICAL", "NEWS", "OPS"]
Outcome = Literal["queued", "sending", "unknown", "failed", "delivered", "refused", "dropped"]


class Alert(Struct, frozen=True):
    """What the phone is to be told. `id` never changes; `expires_at` is when it is no longer worth saying."""

    id: str
    kind: AlertKind
    title: str
    text: str
    priority: int
    created_at: float
    expires_at: float | None = None
    trade_id: str | None = None
    retry_s: int | None = None
    expire_s: int | None = None


class Outgoing(Struct, frozen=True):
    """An alert with the state of its delivery: the row of the outbox.

    `attempts` counts requests that may have left; it is durable before the wire. `maybe_seen`: one of them had no known outcome.
    `owner` is the strategy in whose hourly places an OPS message stands; empty: the desk's.
    """

    alert: Alert
    outcome: Outcome = "queued"
    attempts: int = 0
    maybe_seen: bool = False
    next_at: float = 0.0
    settled_at: float | None = None
    receipt: str | None = None
    acknowledged_at: float | None = None
    acknowledged_by: str | None = None
    fallback: Literal["", "sending", "delivered", "failed"] = ""
    reissues: int = 0
    owner: str = ""
