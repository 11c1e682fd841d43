"""Which strategies there are, and the one way to build a desk of those that are on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from desk.desk import Desk, no_stopwatch

if TYPE_CHECKING:
    from config import Config
    from desk.strategy import Strategy
    from events import Remembered
    from utils import SessionCalendar


def strategies(config: Config) -> list[Strategy]:
    """Those that are on, in the order of the settings. What is off is not imported."""
    from strategies.vwap.strategy import Vwap

    return [Vwap(config)]


def build(
    config: Config,
    calendar: SessionCalendar,
    remembered: Remembered,
    more: Sequence[Strategy] = (),
    stopwatch: Callable[[], float] = no_stopwatch,
) -> Desk:
    """The desk, for a live worker, a tape, a replay and a test alike; `more` are strategies beside those of the settings."""
    return Desk(config, calendar, remembered, [*strategies(config), *more], stopwatch)
