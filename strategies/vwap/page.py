"""What who looks on, the page or a replay, may see of the strategy beside the desk's state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strategies.vwap.memory import Memory
from strategies.vwap.strategy import Vwap
from strategies.vwap.windows import Underlying

if TYPE_CHECKING:
    from desk.desk import Desk


def look_at(desk: Desk) -> tuple[Underlying, Memory]:
    """The windows of a desk's vwap, and what it remembers."""
    strategy = desk.strategies[Vwap.name]
    assert isinstance(strategy, Vwap)
    memory: Memory = desk.owners[Vwap.name].memory
    return strategy.iwm, memory
