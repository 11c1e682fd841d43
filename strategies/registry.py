"""Which strategies there are, and the one way to build a desk of those that are on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from desk.desk import Desk, no_stopwatch

if TYPE_CHECKING:
    from config import Config
    from desk.strategy import Strategy
    from events import Remembered
    from utils import SessionCalendar

STRATEGIES = {
    "vwap": ("strategies.vwap.strategy", "Vwap"),
    "scalper": ("strategies.scalper.strategy", "Scalper"),
}


def strategies(config: Config) -> list[Strategy]:
    """Those that are on, in the order of STRATEGIES. What is off is not imported."""
    made = []
    for name in config.strategies:
        module, kind = STRATEGIES[name]
        made.append(getattr(import_module(module), kind)(config))
    return made


def build(
    config: Config,
    calendar: SessionCalendar,
    remembered: Remembered,
    more: Sequence[Strategy] = (),
    stopwatch: Callable[[], float] = no_stopwatch,
) -> Desk:
    """The desk, for a live worker, a tape, a replay and a test alike; `more` are strategies beside those of the settings."""
    return Desk(config, calendar, remembered, [*strategies(config), *more], stopwatch)
