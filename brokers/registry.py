"""Which brokers there are. What no strategy asks for is not imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from brokers.broker import Broker
    from events import Fill, Mode


def made(mode: Mode, now: Callable[[], float], fills: tuple[Fill, ...]) -> Broker:
    """The broker of a mode; `fills` are the executions of it that the books have. ValueError for a mode that is not at hand."""
    if mode == "paper":
        from brokers.paper import Paper

        return Paper(now, fills=fills)
    raise ValueError(f"there is no broker for {mode}")
