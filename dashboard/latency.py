"""How long the phone took: from the decision to the service's acceptance, and to the owner's acknowledgement. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from desk.state import State
from events import Outgoing

Step = Literal["accepted", "acknowledged"]
LATENCIES: tuple[Step, ...] = ("accepted", "acknowledged")


class Latency(Struct, frozen=True):
    """`count` alerts of late; nearest-rank percentiles in seconds."""

    count: int
    p50: float
    p95: float


def rows(state: State) -> Iterator[Outgoing]:
    """The alerts of late, the oldest first: those that are done with, and those that are not."""
    open_ids = state.outbox.keys()
    yield from (row for row in state.told if row.alert.id not in open_ids)
    yield from state.outbox.values()


def latency_s(row: Outgoing, step: Step) -> float | None:
    if step == "acknowledged":
        return None if row.acknowledged_at is None else row.acknowledged_at - row.alert.created_at
    if row.outcome != "delivered" or row.settled_at is None or row.reissues:
        return None
    return row.settled_at - row.alert.created_at


def latencies(state: State, step: Step) -> Latency | None:
    """Over the BUYs and SELLs; None before the first."""
    found = sorted(
        took for row in rows(state) if row.alert.kind in ("BUY", "SELL") and (took := latency_s(row, step)) is not None
    )
    if not found:
        return None
    count = len(found)
    return Latency(count, found[-(-count * 50 // 100) - 1], found[-(-count * 95 // 100) - 1])
